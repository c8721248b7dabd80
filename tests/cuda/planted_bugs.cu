// Kernels with an error in each, and without it, to see that the emulated device shows it.
//   planted_bugs NAME [fixed]
// prints and exits with: 0 the result is right, 1 it is wrong, 2 the device reported an error.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "cuda/launch.cuh"

using namespace steep::cuda;

namespace {

constexpr int kThreads = 128;

/// Every thread takes its right neighbour's element.
template <bool bug>
__global__ void shift(const float* x, float* y) {
  STEEP_SHARED(float, tile, kThreads);
  const int t = int(threadIdx.x);
  tile[t] = x[t];
  if (!bug) __syncthreads();
  y[t] = tile[(t + 1) % kThreads];
}

/// Sums tiles; the next one must not be written before everybody has read this one.
template <bool bug>
__global__ void sum_of_tiles(const float* x, int tiles, float* y) {
  STEEP_SHARED(float, tile, kThreads);
  const int t = int(threadIdx.x);
  float sum = 0;
  for (int i = 0; i < tiles; ++i) {
    tile[t] = x[i * kThreads + t];
    __syncthreads();
    sum += tile[kThreads - 1 - t];
    if (!bug) __syncthreads();
  }
  y[t] = sum;
}

template <bool bug>
__global__ void tree_sum(const float* x, float* y) {
  STEEP_SHARED(float, part, kThreads);
  const int t = int(threadIdx.x);
  part[t] = x[t];
  for (int half = kThreads / 2; half; half /= 2) {
    if (!bug) __syncthreads();
    if (t < half) part[t] += part[t + half];
  }
  if (t == 0) *y = part[0];
}

/// The last steps within a warp, as in code for GPUs whose lanes went in step.
template <bool bug>
__global__ void warp_sum(const float* x, float* y) {
  STEEP_SHARED(float, part, 32);
  const int lane = int(threadIdx.x);
  part[lane] = x[lane];
  for (int half = 16; half; half /= 2) {
    if (!bug) __syncwarp();
    const float other = lane < half ? part[lane + half] : 0;
    if (!bug) __syncwarp();
    part[lane] += other;
  }
  if (lane == 0) *y = part[0];
}

/// Threads beyond the end of the data, not held back.
template <bool bug>
__global__ void scale(const float* x, float* y, int n) {
  const int i = int(blockIdx.x * blockDim.x + threadIdx.x);
  if (bug || i < n) y[i] = 2 * x[i];
}
template <bool bug>
__global__ void read_beyond(const float* x, float* y, int n) {
  const int i = int(threadIdx.x);
  if (i < n) y[i] = 2 * x[i] + (bug || i + 1 < n ? 0 * x[i + 1] : 0);
}

template <bool bug>
__global__ void padded(const float* x, float* y) {
  STEEP_SHARED(float, tile, kThreads + (bug ? 0 : 1));
  const int t = int(threadIdx.x);
  tile[t + 1] = x[t];
  if (t == 0) tile[0] = 0;
  __syncthreads();
  y[t] = tile[t] + (t + 1 < kThreads ? 0 : 0 * tile[t + 1]);
}

template <bool bug>
__global__ void from_poison(const float* x, float* y) {
  STEEP_SHARED(float, sums, 32);
  if (!bug) sums[threadIdx.x] = 0;
  for (int i = 0; i < kThreads; i += 32) sums[threadIdx.x] += x[i + int(threadIdx.x)];
  y[threadIdx.x] = sums[threadIdx.x];
}

/// A pipeline whose last wait lets the last copy be under way still.
template <bool bug>
__global__ void copy_through(const float* x, int tiles, float* y) {
  STEEP_SHARED(float, buffer, 2 * kThreads);
  const int t = int(threadIdx.x);
  const auto fetch = [&](int tile) {
    emulator::copy_async<4>(&buffer[tile % 2 * kThreads + t], x + tile * kThreads + t);
    emulator::commit_async();
  };
  fetch(0);
  for (int tile = 0; tile < tiles; ++tile) {
    if (tile + 1 < tiles) {
      fetch(tile + 1);
      emulator::wait_async<1>();
    } else {
      emulator::wait_async<bug ? 1 : 0>();
    }
    __syncthreads();
    y[tile * kThreads + t] = buffer[tile % 2 * kThreads + (t + 1) % kThreads];
    __syncthreads();
  }
}

template <bool bug>
__global__ void count(int* total) {
  if (bug)
    *total = *total + 1;
  else
    atomicAdd(total, 1);
}

/// Block 0 has something for the others; they must be another launch.
template <bool bug>
__global__ void after_block_0(int* data) {
  if (blockIdx.x == 0) data[0] = 7;
  if (bug && blockIdx.x > 0) data[blockIdx.x] = data[0];
}
__global__ void spread(int* data) {
  if (blockIdx.x > 0) data[blockIdx.x] = data[0];
}

template <bool bug>
__global__ void some_return(const float* x, float* y, int n) {
  STEEP_SHARED(float, tile, kThreads);
  const int t = int(threadIdx.x);
  if (bug && t >= n) return;
  tile[t] = t < n ? x[t] : 0;
  __syncthreads();
  if (t < n) y[t] = tile[n - 1 - t];
}

/// Every thread takes the element of the next warp, by ldmatrix.
template <bool bug>
__global__ void shift_matrices(const float* x, float* y) {
  STEEP_SHARED(float, tile, kThreads);
  const int t = int(threadIdx.x);
  tile[t] = x[t];
  if (!bug) __syncthreads();
  uint32_t words[4];
  emulator::load_matrices(4, false, tile + (t + 8) % 32 * 4, words);
  y[t] = __uint_as_float(words[t / 32]);
}
template <bool bug>
__global__ void load_rows(const float* x, float* y) {
  STEEP_SHARED(float, tile, kThreads + 4);
  const int t = int(threadIdx.x);
  for (int i = t; i < kThreads + 4; i += 32) tile[i] = x[i % kThreads];
  __syncthreads();
  uint32_t words[4];
  emulator::load_matrices(4, false, tile + 4 * t + (bug ? 1 : 0), words);
  for (int i = 0; i < 4; ++i) y[32 * i + t] = __uint_as_float(words[i]);
}
/// Lanes without an element of C leave too early.
template <bool bug>
__global__ void multiply_some(const float* x, float* y) {
  const int t = int(threadIdx.x);
  if (bug && t == 31) return;
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = x[32 * i + t];
  const uint32_t a[4] = {}, b[2] = {};
  emulator::mma(emulator::MmaType::tf32, d, a, b, d);
  for (int i = 0; i < 4; ++i) y[32 * i + t] = d[i];
}

// --- running them ----------------------------------------------------------------------------------------------------

std::vector<float> numbers(int n) {
  std::vector<float> x(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) x[size_t(i)] = float(i % 37 + 1);
  return x;
}

/// Device memory straight from the driver, so that each array has its own guards.
template <class T>
struct Array {
  T* p = nullptr;
  size_t n;
  explicit Array(size_t n) : n(n) { check("malloc", cudaMalloc(&p, n * sizeof(T))); }
  explicit Array(const std::vector<T>& x) : Array(x.size()) { copy_to_device(p, x.data(), n * sizeof(T)); }
  ~Array() { cudaFree(p); }
  std::vector<T> host() const {
    std::vector<T> x(n);
    copy_to_host(x.data(), p, n * sizeof(T));
    return x;
  }
};

using Kernel = void (*)(const float*, float*);

/// One block of `threads`: x → y of `outputs` elements.
bool one_block(Kernel kernel, int threads, const std::vector<float>& expected) {
  const Array<float> x(numbers(kThreads)), y(expected.size());
  launch("planted", kernel, 1, threads, 0, x.p, y.p);
  return y.host() == expected;
}

std::vector<float> shifted(int by) {
  std::vector<float> x = numbers(kThreads);
  std::rotate(x.begin(), x.begin() + (by + kThreads) % kThreads, x.end());
  return x;
}

float sum_of(int n) {
  const std::vector<float> x = numbers(n);
  return std::accumulate(x.begin(), x.end(), 0.0f);
}

template <bool bug>
bool barrier_before_read() {
  return one_block(shift<bug>, kThreads, shifted(1));
}
template <bool bug>
bool barrier_before_overwrite() {
  constexpr int tiles = 5;
  const std::vector<float> x = numbers(tiles * kThreads);
  std::vector<float> expected(kThreads, 0.0f);
  for (int i = 0; i < tiles * kThreads; ++i) expected[size_t(kThreads - 1 - i % kThreads)] += x[size_t(i)];
  const Array<float> in(x), out(kThreads);
  launch("planted", sum_of_tiles<bug>, 1, kThreads, 0, in.p, tiles, out.p);
  return out.host() == expected;
}
template <bool bug>
bool barrier_in_reduction() {
  return one_block(tree_sum<bug>, kThreads, {sum_of(kThreads)});
}
template <bool bug>
bool warp_barrier() {
  return one_block(warp_sum<bug>, 32, {sum_of(32)});
}
template <bool bug>
bool global_overrun() {
  const std::vector<float> x = numbers(200);
  const Array<float> in(x), out(200);
  launch("planted", scale<bug>, 2, kThreads, 0, in.p, out.p, 200);
  std::vector<float> expected = x;
  for (float& v : expected) v *= 2;
  return out.host() == expected;
}
template <bool bug>
bool global_read_overrun() {
  const std::vector<float> x = numbers(64);
  const Array<float> in(x), out(64);
  launch("planted", read_beyond<bug>, 1, kThreads, 0, in.p, out.p, 64);
  std::vector<float> expected = x;
  for (float& v : expected) v *= 2;
  return out.host() == expected;
}
template <bool bug>
bool shared_overrun() {
  std::vector<float> expected = shifted(-1);
  expected[0] = 0;
  return one_block(padded<bug>, kThreads, expected);
}
template <bool bug>
bool uninitialized_shared() {
  const std::vector<float> x = numbers(kThreads);
  std::vector<float> expected(32, 0.0f);
  for (size_t i = 0; i < x.size(); ++i) expected[i % 32] += x[i];
  return one_block(from_poison<bug>, 32, expected);
}
template <bool bug>
bool loose_wait() {
  constexpr int tiles = 4;
  const std::vector<float> x = numbers(tiles * kThreads);
  const Array<float> in(x), out(x.size());
  launch("planted", copy_through<bug>, 1, kThreads, 0, in.p, tiles, out.p);
  std::vector<float> expected(x.size());
  for (int i = 0; i < tiles * kThreads; ++i)
    expected[size_t(i)] = x[size_t(i / kThreads * kThreads + (i + 1) % kThreads)];
  return out.host() == expected;
}
template <bool bug>
bool non_atomic_add() {
  const Array<int> total(std::vector<int>{0});
  launch("planted", count<bug>, 2, 64, 0, total.p);
  return total.host()[0] == 128;
}
template <bool bug>
bool order_of_blocks() {
  const Array<int> data(std::vector<int>(4, 0));
  launch("planted", after_block_0<bug>, 4, 1, 0, data.p);
  if (!bug) launch("planted", spread, 4, 1, 0, data.p);
  return data.host() == std::vector<int>(4, 7);
}
template <bool bug>
bool divergent_barrier() {
  const std::vector<float> x = numbers(100);
  const Array<float> in(x), out(x.size());
  launch("planted", some_return<bug>, 1, kThreads, 0, in.p, out.p, 100);
  return out.host() == std::vector<float>(x.rbegin(), x.rend());
}
template <bool bug>
bool matrices_before_barrier() {
  return one_block(shift_matrices<bug>, kThreads, shifted(32));
}
template <bool bug>
bool misaligned_matrices() {
  return one_block(load_rows<bug>, 32, numbers(kThreads));
}
template <bool bug>
bool lanes_missing_from_product() {
  return one_block(multiply_some<bug>, 32, numbers(kThreads));
}
/// The host reads what an asynchronous copy brings, without waiting.
template <bool bug>
bool unfinished_copy() {
  const Array<float> x(numbers(8));
  float* host = nullptr;
  check("pinned", cudaMallocHost(&host, 8 * sizeof(float)));
  std::fill(host, host + 8, 0.0f);
  check("copy", cudaMemcpyAsync(host, x.p, 8 * sizeof(float), cudaMemcpyDeviceToHost, current_stream()));
  if (!bug) check("synchronize", cudaStreamSynchronize(current_stream()));
  const bool right = std::vector<float>(host, host + 8) == numbers(8);
  check("pinned", cudaFreeHost(host));
  return right;
}
/// One stream uses what another one makes, without an event.
template <bool bug>
bool unordered_streams() {
  const Array<float> x(numbers(kThreads)), y(std::vector<float>(kThreads, 0.0f)), z(kThreads);
  synchronize(0);
  const Handle a = stream_create(0), b = stream_create(0), event = event_create(0, false);
  set_stream(0, a);
  launch("planted", scale<false>, 1, kThreads, 0, x.p, y.p, kThreads);
  event_record(0, event, a);
  if (!bug) stream_wait_event(0, b, event);
  set_stream(0, b);
  launch("planted", scale<false>, 1, kThreads, 0, y.p, z.p, kThreads);
  std::vector<float> expected = numbers(kThreads);
  for (float& v : expected) v *= 4;
  const bool right = z.host() == expected;
  set_stream(0, 0);
  stream_destroy(0, a), stream_destroy(0, b), event_destroy(0, event);
  return right;
}

/// Branches of a graph, one of which uses what the other one makes.
template <bool bug>
bool unordered_branches() {
  const Array<float> x(numbers(kThreads)), y(std::vector<float>(kThreads, 0.0f)), z(kThreads), rest(kThreads);
  synchronize(0);
  const Handle a = stream_create(0), b = stream_create(0);
  const Handle forked = event_create(0, false), joined = event_create(0, false);
  const cudaStream_t first = reinterpret_cast<cudaStream_t>(a);
  check("capture", cudaStreamBeginCapture(first, cudaStreamCaptureModeThreadLocal));
  event_record(0, forked, a);
  stream_wait_event(0, b, forked);
  set_stream(0, bug ? a : b);
  launch("planted", scale<false>, 1, kThreads, 0, x.p, y.p, kThreads);
  set_stream(0, b);
  launch("planted", scale<false>, 1, kThreads, 0, y.p, z.p, kThreads);
  set_stream(0, a);
  launch("planted", scale<false>, 1, kThreads, 0, x.p, rest.p, kThreads);
  event_record(0, joined, b);
  stream_wait_event(0, a, joined);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  check("capture", cudaStreamEndCapture(first, &graph));
  check("instantiate", cudaGraphInstantiate(&exec, graph, 0));
  check("launch", cudaGraphLaunch(exec, first));
  std::vector<float> expected = numbers(kThreads);
  for (float& v : expected) v *= 4;
  const bool right = z.host() == expected;
  set_stream(0, 0);
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  stream_destroy(0, a), stream_destroy(0, b);
  event_destroy(0, forked), event_destroy(0, joined);
  return right;
}
/// A graph uses memory that was freed after it had been captured.
template <bool bug>
bool replay_of_freed_memory() {
  const Array<float> x(numbers(kThreads)), z(kThreads);
  float* between = nullptr;
  check("malloc", cudaMalloc(&between, kThreads * sizeof(float)));
  synchronize(0);
  const Handle stream = stream_create(0);
  const cudaStream_t handle = reinterpret_cast<cudaStream_t>(stream);
  check("capture", cudaStreamBeginCapture(handle, cudaStreamCaptureModeThreadLocal));
  set_stream(0, stream);
  launch("planted", scale<false>, 1, kThreads, 0, x.p, between, kThreads);
  launch("planted", scale<false>, 1, kThreads, 0, between, z.p, kThreads);
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  check("capture", cudaStreamEndCapture(handle, &graph));
  check("instantiate", cudaGraphInstantiate(&exec, graph, 0));
  if (bug) check("free", cudaFree(between));
  check("launch", cudaGraphLaunch(exec, handle));
  std::vector<float> expected = numbers(kThreads);
  for (float& v : expected) v *= 4;
  const bool right = z.host() == expected;
  set_stream(0, 0);
  return right;
}

struct Program {
  bool (*with_bug)();
  bool (*fixed)();
};
#define PROGRAM(name)                  \
  {                                    \
    #name, { name<true>, name<false> } \
  }
const std::map<std::string, Program> programs = {
    PROGRAM(barrier_before_read),
    PROGRAM(barrier_before_overwrite),
    PROGRAM(barrier_in_reduction),
    PROGRAM(warp_barrier),
    PROGRAM(global_overrun),
    PROGRAM(global_read_overrun),
    PROGRAM(shared_overrun),
    PROGRAM(uninitialized_shared),
    PROGRAM(loose_wait),
    PROGRAM(non_atomic_add),
    PROGRAM(order_of_blocks),
    PROGRAM(divergent_barrier),
    PROGRAM(unfinished_copy),
    PROGRAM(unordered_streams),
    PROGRAM(unordered_branches),
    PROGRAM(replay_of_freed_memory),
    PROGRAM(matrices_before_barrier),
    PROGRAM(misaligned_matrices),
    PROGRAM(lanes_missing_from_product),
};

}  // namespace

int main(int count, char** arguments) {
  if (count < 2 || !programs.contains(arguments[1])) {
    for (const auto& [name, program] : programs) std::printf("%s\n", name.c_str());
    return 3;
  }
  const Program& program = programs.at(arguments[1]);
  try {
    const bool right = count > 2 && !std::strcmp(arguments[2], "fixed") ? program.fixed() : program.with_bug();
    synchronize(0);
    std::printf("the result is %s\n", right ? "right" : "wrong");
    return right ? 0 : 1;
  } catch (const std::exception& e) {
    std::printf("%s\n", e.what());
    return 2;
  }
}
