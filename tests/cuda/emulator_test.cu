// The emulated device: what kernels may do, the runtime's functions, and what happens to programs with errors in them.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "cuda/launch.cuh"
#include "testing.h"

using namespace steep::cuda;
using namespace steep::testing;

namespace {

/// What the device reports for `work`; the device is as new afterwards.
std::string error_of(const std::function<void()>& work) {
  std::string text;
  empty_cache();  // what steep's allocator keeps would be lost
  work();
  const cudaError_t status = cudaDeviceSynchronize();
  if (status != cudaSuccess) text = std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
  CHECK(cudaDeviceReset() == cudaSuccess);
  CHECK(cudaGetLastError() == cudaSuccess);
  return text;
}
bool contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return true;
  std::printf("'%s' does not contain '%s'\n", text.c_str(), part.c_str());
  return false;
}

bool is_on(const char* variable) {
  const char* text = std::getenv(variable);
  return text && std::string(text) != "0";
}
/// Is work done as late as can be?
bool is_late() {
  const char* schedule = std::getenv("STEEP_EMULATOR_SCHEDULE");
  return !is_on("STEEP_EMULATOR_EAGER") && !(schedule && std::string(schedule).starts_with("random"));
}
bool is_guarded() { return !std::getenv("STEEP_EMULATOR_GUARD") || is_on("STEEP_EMULATOR_GUARD"); }

// AddressSanitizer ends the program at accesses beside an allocation that its red zones show.
#ifdef __SANITIZE_ADDRESS__
constexpr bool kStopsAtRedZones = true;
#else
constexpr bool kStopsAtRedZones = false;
#endif

/// Memory of the driver's, which an error takes with it.
template <class T>
T* driver_array(size_t n) {
  T* p = nullptr;
  CHECK(cudaMalloc(&p, n * sizeof(T)) == cudaSuccess);
  return p;
}

/// The emulator's launch without the check that follows it in steep.
template <class... Parameter, class... Argument>
void queue(void (*kernel)(Parameter...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
           Argument... arguments) {
  emulator::launch("test", reinterpret_cast<const void*>(kernel), grid, block, 1, shared_bytes, stream,
                   [=] { kernel(Parameter(arguments)...); });
}

// --- indices, barriers, warps ----------------------------------------------------------------------------------------

__global__ void indices(uint3* thread, uint3* block) {
  const unsigned size = blockDim.x * blockDim.y * blockDim.z;
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  thread[b * size + t] = threadIdx;
  block[b * size + t] = blockIdx;
}

TEST(indices_of_every_shape) {
  for (const auto& [grid, block] : {std::pair{dim3(1), dim3(1)},
                                    {dim3(3, 2, 4), dim3(5, 3, 2)},
                                    {dim3(7), dim3(33)},
                                    {dim3(1, 5), dim3(1, 2, 64)}}) {
    const size_t size = block.x * block.y * block.z, n = size * grid.x * grid.y * grid.z;
    DeviceArray<uint3> threads(n), blocks(n);
    launch("indices", indices, grid, block, 0, threads.data(), blocks.data());
    const std::vector<uint3> t = threads.host(), b = blocks.host();
    size_t i = 0;
    for (unsigned bz = 0; bz < grid.z; ++bz)
      for (unsigned by = 0; by < grid.y; ++by)
        for (unsigned bx = 0; bx < grid.x; ++bx)
          for (unsigned z = 0; z < block.z; ++z)
            for (unsigned y = 0; y < block.y; ++y)
              for (unsigned x = 0; x < block.x; ++x, ++i) {
                CHECK(t[i].x == x && t[i].y == y && t[i].z == z);
                CHECK(b[i].x == bx && b[i].y == by && b[i].z == bz);
              }
  }
}

/// Every thread passes its number to its left neighbour, many times.
__global__ void rotate(int* out, int times) {
  STEEP_SHARED(int, ring, 1024);
  const int t = int(threadIdx.x), n = int(blockDim.x);
  int mine = t;
  for (int i = 0; i < times; ++i) {
    ring[t] = mine;
    __syncthreads();
    mine = ring[(t + 1) % n];
    __syncthreads();
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = mine;
}

TEST(barriers) {
  for (int n : {1, 2, 31, 32, 33, 257, 1024}) {
    DeviceArray<int> out(size_t(n) * 3);
    launch("rotate", rotate, 3, n, 0, out.data(), 5);
    const std::vector<int> got = out.host();
    for (int i = 0; i < 3 * n; ++i) CHECK(got[size_t(i)] == (i % n + 5) % n);
  }
}

__global__ void votes(int* out) {
  const int t = int(threadIdx.x);
  int* mine = out + 3 * t;
  mine[0] = __syncthreads_count(t % 3 == 0);
  mine[1] = __syncthreads_and(t < 70);
  mine[2] = __syncthreads_or(t == 69);
}

TEST(votes_of_blocks) {
  DeviceArray<int> out(3 * 70);
  launch("votes", votes, 1, 70, 0, out.data());
  const std::vector<int> got = out.host();
  for (size_t t = 0; t < 70; ++t) CHECK(got[3 * t] == 24 && got[3 * t + 1] == 1 && got[3 * t + 2] == 1);
}

__global__ void shuffles(int* out) {
  const int lane = int(threadIdx.x) % 32, t = int(threadIdx.x);
  int* mine = out + 8 * (blockIdx.x * blockDim.x + threadIdx.x);
  mine[0] = __shfl_sync(~0u, t, 5);
  mine[1] = __shfl_sync(~0u, t, lane + 3, 8);
  mine[2] = __shfl_xor_sync(~0u, t, 16);
  mine[3] = __shfl_down_sync(~0u, t, 4);
  mine[4] = __shfl_up_sync(~0u, t, 2, 16);
  mine[5] = int(__ballot_sync(~0u, lane % 2));
  // Halves of a warp, each by itself, and then together again: nobody's value may be overwritten too early.
  const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
  int sum = lane;
  for (int by = 8; by; by >>= 1) sum += __shfl_xor_sync(half, sum, by);
  mine[6] = sum;
  const double wide = __shfl_xor_sync(~0u, lane + 0.5, 1);
  mine[7] = int(2 * wide) + (__all_sync(~0u, lane < 32) ? 1000 : 0) + (__any_sync(~0u, lane == 31) ? 2000 : 0);
}

TEST(warp_functions) {
  DeviceArray<int> out(8 * 64);
  launch("shuffles", shuffles, 1, 64, 0, out.data());
  const std::vector<int> got = out.host();
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, warp = t - lane;
    const int expected[] = {warp + 5,
                            warp + lane / 8 * 8 + (lane + 3) % 8,
                            warp + (lane ^ 16),
                            warp + (lane + 4 < 32 ? lane + 4 : lane),
                            warp + (lane % 16 >= 2 ? lane - 2 : lane),
                            int(0xaaaaaaaa),
                            lane < 16 ? 120 : 376,
                            2 * (lane ^ 1) + 1 + 3000};
    for (int i = 0; i < 8; ++i) CHECK(got[size_t(8 * t + i)] == expected[i]);
  }
}

__global__ void partial_warp(int* out) { out[threadIdx.x] = __shfl_xor_sync(~0u, int(threadIdx.x), 1); }

TEST(a_warp_that_is_not_full) {
  DeviceArray<int> out(38);
  launch("partial_warp", partial_warp, 1, 38, 0, out.data());
  const std::vector<int> got = out.host();
  for (int i = 0; i < 38; ++i) CHECK(got[size_t(i)] == (i ^ 1));
}

__global__ void from_outside(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

TEST(a_lane_outside_the_mask_gives_no_number) {
  DeviceArray<float> out(16);
  launch("from_outside", from_outside, 1, 32, 0, out.data());
  for (float x : out.host()) CHECK(std::isnan(x));
}

__global__ void histogram(const int* x, int n, int* bins, unsigned* done, int* last) {
  for (int i = int(blockIdx.x * blockDim.x + threadIdx.x); i < n; i += int(gridDim.x * blockDim.x))
    atomicAdd(&bins[x[i]], 1);
  atomicMax(&bins[10], int(threadIdx.x));
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && atomicAdd(done, 1u) == gridDim.x - 1) {
    int sum = 0;
    for (int i = 0; i < 10; ++i) sum += bins[i];
    *last = sum;
  }
}

TEST(atomics) {
  std::vector<int> x(1000), zeros(11);
  for (size_t i = 0; i < x.size(); ++i) x[i] = int(i * i % 10);
  DeviceArray<int> in(x), bins(zeros), last(1);
  DeviceArray<unsigned> done(std::vector<unsigned>{0});
  launch("histogram", histogram, 5, 96, 0, in.data(), 1000, bins.data(), done.data(), last.data());
  const std::vector<int> got = bins.host();
  for (int d = 0; d < 10; ++d) CHECK(got[size_t(d)] == std::ranges::count(x, d));
  CHECK(got[10] == 95 && last.host()[0] == 1000);
}

// --- shared memory and asynchronous copies ---------------------------------------------------------------------------

__global__ void two_kinds_of_shared(const int* x, int n, int* out) {
  STEEP_DYNAMIC_SHARED(int, dynamic);
  STEEP_SHARED(double, fixed, 64);
  const int t = int(threadIdx.x);
  fixed[t] = x[t];
  for (int i = t; i < n; i += 64) dynamic[i] = x[i];
  __syncthreads();
  int sum = 0;
  for (int i = t; i < n; i += 64) sum += dynamic[n - 1 - i];
  out[t] = sum + int(fixed[63 - t]);
}

TEST(dynamic_shared_memory) {
  constexpr int n = 20000;
  std::vector<int> x(n);
  std::iota(x.begin(), x.end(), 0);
  DeviceArray<int> in(x), out(64);
  check("attribute", cudaFuncSetAttribute(two_kinds_of_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 100'000));
  launch("two_kinds", two_kinds_of_shared, 1, 64, n * sizeof(int), in.data(), n, out.data());
  const std::vector<int> got = out.host();
  for (int t = 0; t < 64; ++t) {
    int sum = 63 - t;
    for (int i = t; i < n; i += 64) sum += n - 1 - i;
    CHECK(got[size_t(t)] == sum);
  }
}

__global__ void poisoned(float* out, double* out64) {
  STEEP_SHARED(float, x, 100);
  STEEP_SHARED(double, y, 10);
  out[threadIdx.x] = x[threadIdx.x];
  if (threadIdx.x < 10) out64[threadIdx.x] = y[threadIdx.x];
}

TEST(shared_memory_begins_as_nan) {
  DeviceArray<float> out(100);
  DeviceArray<double> out64(10);
  for (int run = 0; run < 2; ++run) {
    launch("poisoned", poisoned, 1, 100, 0, out.data(), out64.data());
    for (float x : out.host()) CHECK(std::isnan(x));
    for (double x : out64.host()) CHECK(std::isnan(x));
  }
}

/// Sums tiles that are fetched one ahead.
__global__ void pipelined(const float* x, int tiles, float* out) {
  STEEP_SHARED(float, buffer, 2 * 128);
  const int t = int(threadIdx.x);
  const auto fetch = [&](int tile) {
    emulator::copy_async<16>(&buffer[tile % 2 * 128 + 4 * t], x + tile * 128 + 4 * t, tile + 1 < tiles ? 16 : 8);
    emulator::commit_async();
  };
  fetch(0);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      fetch(tile + 1);
      emulator::wait_async<1>();
    } else {
      emulator::wait_async<0>();
    }
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += buffer[tile % 2 * 128 + (4 * t + 32 * i + 5) % 128];
    __syncthreads();
  }
  out[t] = sum;
}

TEST(asynchronous_copies) {
  std::vector<float> x(128 * 7);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(i);
  DeviceArray<float> in(x), out(32);
  launch("pipelined", pipelined, 1, 32, 0, in.data(), 7, out.data());
  const std::vector<float> got = out.host();
  for (int t = 0; t < 32; ++t) {
    float sum = 0;
    for (int tile = 0; tile < 7; ++tile)
      for (int i = 0; i < 4; ++i) {
        const int at = (4 * t + 32 * i + 5) % 128;
        sum += tile == 6 && at % 4 >= 2 ? 0 : x[size_t(tile * 128 + at)];
      }
    CHECK(got[size_t(t)] == sum);
  }
}

// --- streams, events, memory -----------------------------------------------------------------------------------------

__global__ void set(int* p, int value) { *p = value; }
__global__ void add(int* p, const int* q) { *p += *q; }

struct Pinned {
  int* p = nullptr;
  Pinned() { check("pinned", cudaMallocHost(&p, sizeof(int))); }
  ~Pinned() { cudaFreeHost(p); }
};

TEST(work_is_done_late_and_in_order) {
  DeviceArray<int> x(1);
  Pinned host;
  *host.p = 1;
  cudaStream_t stream;
  check("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  check("copy", cudaMemcpyAsync(x.data(), host.p, 4, cudaMemcpyHostToDevice, stream));
  *host.p = 2;  // an error: the copy has not been waited for, and takes the new value
  int back = 0;
  check("copy", cudaMemcpyAsync(&back, x.data(), 4, cudaMemcpyDeviceToHost, stream));
  if (is_late()) CHECK(back == 2);
  check("copy", cudaMemcpyAsync(host.p, x.data(), 4, cudaMemcpyDeviceToHost, stream));
  queue(set, 1, 1, 0, stream, x.data(), 3);
  *host.p = 0;
  if (is_late()) CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
  while (cudaStreamQuery(stream) == cudaErrorNotReady) cudaGetLastError();
  if (is_late()) CHECK(*host.p == 2);
  int pageable = 4;  // is copied before the call returns
  check("copy", cudaMemcpyAsync(x.data(), &pageable, 4, cudaMemcpyHostToDevice, stream));
  pageable = 5;
  check("copy", cudaMemcpyAsync(&back, x.data(), 4, cudaMemcpyDeviceToHost, stream));
  CHECK(back == 4);
  check("stream", cudaStreamDestroy(stream));
  CHECK(cudaStreamSynchronize(stream) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
}

TEST(streams_wait_for_events_and_for_the_default_stream) {
  DeviceArray<int> x(std::vector<int>{0}), y(std::vector<int>{0});
  cudaStream_t a, b, blocking;
  check("stream", cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  check("stream", cudaStreamCreateWithPriority(&b, cudaStreamNonBlocking, -1));
  check("stream", cudaStreamCreate(&blocking));
  synchronize(0);
  cudaEvent_t event;
  check("event", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  queue(set, 1, 1, 0, a, x.data(), 7);
  check("event", cudaEventRecord(event, a));
  queue(set, 1, 1, 0, a, x.data(), 1000);
  check("event", cudaStreamWaitEvent(b, event, 0));
  queue(add, 1, 1, 0, b, y.data(), x.data());
  int back = 0;
  check("copy", cudaMemcpyAsync(&back, y.data(), 4, cudaMemcpyDeviceToHost, b));
  CHECK(back == 7 || back == 1000);  // a may be further
  check("event", cudaEventSynchronize(event));
  check("event", cudaEventDestroy(event));
  synchronize(0);
  // The legacy default stream comes after what blocking streams have, and they after it.
  queue(set, 1, 1, 0, blocking, x.data(), 1);
  queue(add, 1, 1, 0, nullptr, x.data(), x.data());
  queue(add, 1, 1, 0, blocking, x.data(), x.data());
  check("copy", cudaMemcpyAsync(&back, x.data(), 4, cudaMemcpyDeviceToHost, blocking));
  CHECK(back == 4);
  for (cudaStream_t stream : {a, b, blocking}) check("stream", cudaStreamDestroy(stream));
}

TEST(unordered_streams_show) {
  DeviceArray<int> x(std::vector<int>{0});
  synchronize(0);
  cudaStream_t a, b;
  check("stream", cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking));
  check("stream", cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking));
  queue(set, 1, 1, 0, a, x.data(), 7);
  int back = -1;
  check("copy", cudaMemcpyAsync(&back, x.data(), 4, cudaMemcpyDeviceToHost, b));
  if (is_late()) CHECK(back == 0);
  for (cudaStream_t stream : {a, b}) check("stream", cudaStreamDestroy(stream));
}

TEST(events_measure_time) {
  cudaEvent_t start, end, untimed;
  check("event", cudaEventCreate(&start));
  check("event", cudaEventCreate(&end));
  check("event", cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
  DeviceArray<int> out(1024);
  check("event", cudaEventRecord(start));
  check("event", cudaEventRecord(untimed));
  for (int i = 0; i < 20; ++i) launch("rotate", rotate, 1, 1024, 0, out.data(), 10);
  check("event", cudaEventRecord(end));
  check("event", cudaEventSynchronize(end));
  float milliseconds = -1;
  check("event", cudaEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds > 0.1f && milliseconds < 10000);
  CHECK(cudaEventElapsedTime(&milliseconds, start, untimed) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
  for (cudaEvent_t event : {start, end, untimed}) check("event", cudaEventDestroy(event));
}

TEST(many_tasks_do_not_pile_up) {
  DeviceArray<int> x(std::vector<int>{0}), one(std::vector<int>{1});
  for (int i = 0; i < 5000; ++i) launch("add", add, 1, 1, 0, x.data(), one.data());
  CHECK(x.host()[0] == 5000);
}

TEST(threads_of_the_host) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const OnDevice on(t % device_count());
      DeviceArray<int> out(64);
      for (int i = 1; i < 50; ++i) {
        launch("rotate", rotate, 1, 64, 0, out.data(), i + t);
        const std::vector<int> got = out.host();
        for (int k = 0; k < 64; ++k) wrong += got[size_t(k)] != (k + i + t) % 64;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST(copies_between_devices) {
  if (device_count() < 2) return;
  const std::vector<int> x = {1, 2, 3};
  DeviceArray<int> first(x);
  const OnDevice on(1);
  DeviceArray<int> second(3);
  copy_between(second.data(), 1, first.data(), 0, 12);
  CHECK(second.host() == x);
  cudaPointerAttributes attributes;
  check("attributes", cudaPointerGetAttributes(&attributes, second.data() + 1));
  CHECK(attributes.type == cudaMemoryTypeDevice && attributes.device == 1);
  check("attributes", cudaPointerGetAttributes(&attributes, &x));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
}

TEST(memory_runs_out) {
  empty_cache();
  size_t free = 0, total = 0, after = 0;
  check("info", cudaMemGetInfo(&free, &total));
  void* p = nullptr;
  CHECK(cudaMalloc(&p, total + 1) == cudaErrorMemoryAllocation && !p);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
  CHECK(cudaMalloc(&p, free) == cudaSuccess);
  void* q = nullptr;
  CHECK(cudaMalloc(&q, 1) == cudaErrorMemoryAllocation);
  const Handle stream = stream_create(0);  // of which the allocator has no memory yet
  set_stream(0, stream);
  try {
    allocate(4);
    CHECK(!"allocated");
  } catch (const std::bad_alloc& e) {
    CHECK(contains(e.what(), "out of memory"));
  }
  set_stream(0, 0);
  stream_destroy(0, stream);
  CHECK(cudaFree(p) == cudaSuccess);
  CHECK(cudaFree(p) == cudaErrorInvalidValue);
  check("info", cudaMemGetInfo(&after, &total));
  CHECK(after == free);
  cudaGetLastError();
  try {
    allocate(total + 1);
    CHECK(!"allocated");
  } catch (const std::bad_alloc& e) {
    CHECK(contains(e.what(), "out of memory"));
  }
}

TEST(blocks_of_the_allocator_are_aligned) {
  std::vector<void*> blocks;
  for (size_t bytes : {1, 511, 513, 600, 641, 769, 1000, 1025, 3000, 5000, 100'000, 600'000, 3'000'000})
    for (int i = 0; i < 3; ++i) blocks.push_back(allocate(bytes));
  for (void* p : blocks) CHECK(reinterpret_cast<uintptr_t>(p) % 256 == 0);
  for (void* p : blocks) deallocate(p);
  int elsewhere = 0;
  deallocate(&elsewhere);  // not the allocator's: nothing happens
}

/// A block that another stream of another device than the current one still uses is not given away.
TEST(blocks_in_use_elsewhere_are_kept) {
  const int device = device_count() - 1;
  const Handle stream = stream_create(device);
  void* p = nullptr;
  {
    const OnDevice on(device);
    p = allocate(4096);
    set_stream(device, stream);
    launch("set", set, 1, 1, 0, static_cast<int*>(p), 1);
    use_on_current_stream(p);
    set_stream(device, 0);
  }
  deallocate(p);
  const OnDevice on(device);
  void* q = allocate(4096);
  CHECK(q != p || stream_query(device, stream));
  deallocate(q);
  stream_destroy(device, stream);
}

// --- errors ----------------------------------------------------------------------------------------------------------

__global__ void write_at(int* p, ptrdiff_t at) {
  if (threadIdx.x == 3) p[at] = 1;
}
__global__ void read_at(const int* p, ptrdiff_t at, int* out) { *out = p[at]; }

TEST(bad_addresses) {
  std::string text = error_of([] { queue(write_at, 1, 5, 0, nullptr, driver_array<int>(64), 64); });
  CHECK(contains(text, "cudaErrorIllegalAddress") && contains(text, "thread (3, 0, 0)"));
  CHECK(contains(text, "0 bytes behind the end of 256 allocated bytes"));
  text = error_of([] { queue(read_at, 1, 1, 0, nullptr, driver_array<int>(64), 64, driver_array<int>(1)); });
  CHECK(contains(text, "cudaErrorIllegalAddress"));
  if (!kStopsAtRedZones && is_guarded()) {
    // Too near the end for a page to show it, but written: found when the kernel has ended.
    text = error_of([] { queue(write_at, 1, 5, 0, nullptr, driver_array<int>(10), 11); });
    CHECK(contains(text, "wrote 4 bytes behind the end of 40 allocated bytes"));
    text = error_of([] { queue(write_at, 1, 5, 0, nullptr, driver_array<int>(10), -2); });
    CHECK(contains(text, " bytes before an allocation of 40 bytes"));  // 8, or less where a byte was the same by chance
  }
  text = error_of([] { queue(write_at, 1, 5, 0, nullptr, static_cast<int*>(nullptr), 0); });
  CHECK(contains(text, "far from any allocation"));
  if (device_count() > 1 && is_guarded()) {
    int* p;
    {
      const OnDevice on(1);
      p = driver_array<int>(4);
    }
    text = error_of([=] { queue(write_at, 1, 5, 0, nullptr, p, 0); });
    CHECK(contains(text, "device 1"));
  }
}

TEST(an_error_stays_and_belongs_to_one_device) {
  empty_cache();
  int* p = driver_array<int>(4);
  queue(write_at, 1, 5, 0, nullptr, p, 64);
  if (is_late()) CHECK(cudaGetLastError() == cudaSuccess);  // it was only queued
  CHECK(cudaDeviceSynchronize() == cudaErrorIllegalAddress);
  void* q = nullptr;
  CHECK(cudaMalloc(&q, 4) == cudaErrorIllegalAddress);
  CHECK(cudaGetLastError() == cudaErrorIllegalAddress && cudaGetLastError() == cudaErrorIllegalAddress);
  CHECK(cudaStreamQuery(nullptr) == cudaErrorIllegalAddress);
  deallocate(q);
  if (device_count() > 1) {
    cudaSetDevice(1);
    CHECK(cudaDeviceSynchronize() == cudaSuccess);
    cudaSetDevice(0);
  }
  CHECK(cudaDeviceReset() == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess);
}

__global__ void half_waits() {
  if (threadIdx.x >= 10) __syncthreads();
}
__global__ void two_barriers(int* p) {
  if (threadIdx.x < 32) {
    p[threadIdx.x] = 1;
    __syncthreads();
  } else {
    p[threadIdx.x] = 2;
    __syncthreads();
  }
}
__global__ void lanes_apart() {
  if (threadIdx.x % 2) __syncwarp();
}
__global__ void lane_and_block() {
  if (threadIdx.x % 2)
    __syncwarp();
  else
    __syncthreads();
}
__global__ void masks_differ() { __syncwarp(threadIdx.x ? 7 : 3); }
__global__ void not_in_mask() { __syncwarp(1); }
__global__ void divides(int* p) { *p = 5 / *p; }
__global__ void traps() {
  if (blockIdx.x == 2) __trap();
}
__global__ void recurses(volatile int* p, int depth) {
  volatile char frame[4000];
  frame[depth % 4000] = char(depth);
  *p = frame[depth % 4000];
  if (depth >= 0) recurses(p, depth + 1);
  *p = *p + 1;
}

TEST(threads_that_do_not_meet) {
  std::string text = error_of([] { queue(half_waits, 2, 40, 0, nullptr); });
  CHECK(contains(text, "cudaErrorLaunchFailure") && contains(text, "threads 0-9 ended"));
  CHECK(contains(text, "threads 10-39 at the block's barrier") && contains(text, "emulator_test.cu"));
  text = error_of([] { queue(two_barriers, 1, 64, 0, nullptr, driver_array<int>(64)); });
  CHECK(contains(text, "different barriers"));
  text = error_of([] { queue(lanes_apart, 1, 64, 0, nullptr); });
  CHECK(contains(text, "ended"));
  text = error_of([] { queue(lane_and_block, 1, 64, 0, nullptr); });
  CHECK(contains(text, "deadlock"));
  text = error_of([] { queue(masks_differ, 1, 3, 0, nullptr); });
  CHECK(contains(text, "mask"));
  text = error_of([] { queue(not_in_mask, 1, 32, 0, nullptr); });
  CHECK(contains(text, "mask"));
}

TEST(other_faults_of_kernels) {
  CHECK(contains(error_of([] { queue(traps, 4, 2, 0, nullptr); }), "block (2, 0, 0)"));
#if defined(__x86_64__)  // other processors divide by zero without a fault, as GPUs do
  CHECK(contains(error_of([] {
                   int* const zero = driver_array<int>(1);
                   cudaMemset(zero, 0, sizeof(int));
                   queue(divides, 1, 1, 0, nullptr, zero);
                 }),
                 "division by zero"));
#endif
  CHECK(contains(error_of([] { queue(recurses, 1, 1, 0, nullptr, driver_array<int>(1), 0); }), "stack overflow"));
}

__global__ void overruns_shared(int by) {
  STEEP_SHARED(float, first, 33);
  STEEP_SHARED(float, second, 8);
  first[32 + by] = 1;
  second[7] = 2;
}
__global__ void too_much_shared() {
  STEEP_SHARED(float, first, 10000);
  STEEP_SHARED(float, second, 10000);
  first[0] = second[0] = 0;
}
__global__ void overruns_dynamic(int at) {
  STEEP_DYNAMIC_SHARED(char, data);
  data[at] = 1;
}

TEST(shared_memory_is_guarded) {
  CHECK(error_of([] { queue(overruns_shared, 1, 1, 0, nullptr, 0); }).empty());
  CHECK(contains(error_of([] { queue(overruns_shared, 1, 1, 0, nullptr, 1 << 17); }), "cudaErrorIllegalAddress"));
  CHECK(error_of([] { queue(overruns_dynamic, 1, 1, 100, nullptr, 99); }).empty());
  CHECK(contains(error_of([] { queue(overruns_dynamic, 1, 1, 100, nullptr, -1); }), "cudaErrorIllegalAddress"));
  CHECK(contains(error_of([] { queue(too_much_shared, 1, 1, 0, nullptr); }), "80000 bytes"));
  if (kStopsAtRedZones) return;
  CHECK(
      contains(error_of([] { queue(overruns_shared, 1, 1, 0, nullptr, 1); }), "behind the end of shared array first"));
  CHECK(contains(error_of([] { queue(overruns_dynamic, 1, 1, 100, nullptr, 101); }), "dynamic shared memory"));
}

TEST(configurations_beyond_the_limits) {
  int* const p = driver_array<int>(1);
  const auto status = [&](dim3 grid, dim3 block, size_t shared) {
    queue(set, grid, block, shared, nullptr, p, 1);
    return cudaGetLastError();
  };
  CHECK(status(1, 1, 0) == cudaSuccess);
  CHECK(status(0, 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(status(1, 1025, 0) == cudaErrorInvalidConfiguration);
  CHECK(status(1, dim3(1, 1, 65), 0) == cudaErrorInvalidConfiguration);
  CHECK(status(dim3(1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
  CHECK(status(1, 1, 50'000) == cudaErrorInvalidValue);  // not asked for
  CHECK(cudaFuncSetAttribute(set, cudaFuncAttributeMaxDynamicSharedMemorySize, 60'000) == cudaSuccess);
  CHECK(status(1, 1, 50'000) == cudaSuccess);
  CHECK(cudaFuncSetAttribute(set, cudaFuncAttributeMaxDynamicSharedMemorySize, 300'000) == cudaErrorInvalidValue);
  cudaGetLastError();
  int blocks = 0;
  check("occupancy", cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, set, 256, 0));
  CHECK(blocks == 8);
  check("occupancy", cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, set, 64, 100'000));
  CHECK(blocks == 2);
  try {
    launch("too many", set, 1, 2000, 0, p, 1);
    CHECK(!"launched");
  } catch (const CudaError& e) {
    CHECK(contains(e.what(), "too many: invalid configuration"));
  }
  check("free", cudaFree(p));
}

TEST(bad_arguments) {
  int* const p = driver_array<int>(4);
  int host[8] = {};
  CHECK(cudaMemcpy(p, host, 20, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(p, host, 16, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(p, host, 16, cudaMemcpyDefault) == cudaSuccess);
  CHECK(cudaMemset(p, 1, 17) == cudaErrorInvalidValue && cudaMemset(p, 1, 16) == cudaSuccess);
  CHECK(cudaMemcpy(host, p, 16, cudaMemcpyDeviceToHost) == cudaSuccess && host[3] == 0x01010101 && host[4] == 0);
  CHECK(cudaSetDevice(99) == cudaErrorInvalidDevice);
  CHECK(std::string(cudaGetErrorName(cudaErrorInvalidDevice)) == "cudaErrorInvalidDevice");
  CHECK(std::string(cudaGetErrorString(cudaErrorInvalidDevice)) == "invalid device ordinal");
  cudaGetLastError();
  check("free", cudaFree(p));
}

// --- the host --------------------------------------------------------------------------------------------------------

sigjmp_buf after_fault;
void jump(int) { siglongjmp(after_fault, 1); }

/// Does the host fault when it reads there?
bool faults(const void* p) {
  struct sigaction action = {}, before;
  action.sa_handler = jump;
  sigaction(SIGSEGV, &action, &before);
  const bool faulted = sigsetjmp(after_fault, 1);
  if (!faulted) (void)*static_cast<const volatile char*>(p);
  sigaction(SIGSEGV, &before, nullptr);
  return faulted;
}

TEST(the_host_cannot_read_device_memory) {
  DeviceArray<int> x(std::vector<int>{5});
  synchronize(0);
  CHECK(faults(x.data()) == is_guarded());
  launch("set", set, 1, 1, 0, x.data(), 6);
  CHECK(x.host()[0] == 6);
  CHECK(faults(x.data()) == is_guarded());
}

/// A child has no device; nothing hangs, though other threads hold the runtime's lock while the process is forked.
TEST(a_forked_process_has_no_device) {
  DeviceArray<int> out(256);
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    while (!stop) {
      launch("rotate", rotate, 1, 256, 0, out.data(), 10);
      synchronize(0);
    }
  });
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      int count = -1;
      void* p = nullptr;
      const bool right = device_count() == 0 && is_forked() && contains(unavailable_reason(), "fork") &&
                         cudaGetDeviceCount(&count) == cudaErrorInitializationError &&
                         cudaMalloc(&p, 4) == cudaErrorInitializationError;
      bool threw = false;
      try {
        allocate(4);
      } catch (const CudaError&) {
        threw = true;
      }
      deallocate(out.data());
      _exit(right && threw ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
}

TEST(properties_of_the_device) {
  const Properties p = properties(0);
  CHECK(p.name == "emulated" && p.major == 9 && p.warp_size == 32 && p.multi_processor_count == 4);
  CHECK(device_limits().capability == 90 && device_limits().shared_bytes_per_block == 227 << 10);
  CHECK(runtime_version() == driver_version() && is_emulated() && is_built());
}

__global__ void intrinsics(int* out) {
  int i = 0;
  const auto expect = [&](bool right) { out[i++] = right; };
  expect(__popc(0xf0f0u) == 8 && __clz(1) == 31 && __clz(0) == 32 && __ffs(8) == 4 && __brev(1u) == 0x80000000u);
  expect(__clzll(1) == 63 && __popcll(~0ull) == 64 && __ffsll(1ll << 40) == 41 && __brevll(1ull) == 1ull << 63);
  expect(__umulhi(~0u, ~0u) == 0xfffffffeu && __mulhi(-2, 3) == -1 && __umul64hi(~0ull, 2) == 1);
  expect(__float_as_int(1.0f) == 0x3f800000 && __int_as_float(0x40000000) == 2.0f);
  expect(__hiloint2double(__double2hiint(1.5), __double2loint(1.5)) == 1.5);
  expect(__byte_perm(0x33221100, 0x77665544, 0x7410) == 0x77441100u);
  expect(__funnelshift_l(0x80000000u, 1, 1) == 3 && __funnelshift_r(1, 1, 1) == 0x80000000u);
  expect(min(3, 5u) == 3u && max(-1, 2) == 2 && min(1.0f, NAN) == 1.0f && max(2ll, 3ll) == 3);
  expect(__float2int_rn(2.5f) == 2 && __float2int_rz(-2.7f) == -2 && __float2int_rn(1e20f) == INT32_MAX);
  expect(__saturatef(NAN) == 0 && rsqrtf(4.0f) == 0.5f && sinpif(1e6f) == 0 && cospi(0.5) == 0 && sinpi(-0.5) == -1);
  int x = 5;
  expect(atomicCAS(&x, 5, 9) == 5 && atomicExch(&x, 1) == 9 && atomicSub(&x, 3) == 1 && atomicMin(&x, -7) == -2);
  expect(atomicOr(&x, 7) == -7 && atomicAnd(&x, 6) == -1 && atomicXor(&x, 1) == 6 && x == 7);
}

TEST(functions_on_numbers) {
  DeviceArray<int> out(std::vector<int>(12, 0));
  launch("intrinsics", intrinsics, 1, 1, 0, out.data());
  const std::vector<int> got = out.host();
  for (int right : got) CHECK(right == 1);
}

}  // namespace
