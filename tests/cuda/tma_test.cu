// mbarriers, named barriers, and the copy engine: what a kernel finds in shared memory, and what is stored. For devices
// of sm_90.
#include <algorithm>
#include <numeric>

#include "cuda/launch.cuh"
#include "cuda/ptx_cluster.cuh"
#include "cuda/ptx_tma.cuh"
#include "cuda/tensor_map.h"
#include "testing.h"

using namespace steep;
using namespace steep::cuda;
using namespace steep::testing;

namespace {

bool is_hopper() { return device_limits().capability >= 90; }

template <class T>
std::vector<T> counted(size_t n) {
  std::vector<T> x(n);
  std::iota(x.begin(), x.end(), T(1));
  return x;
}

/// Asks for as much shared memory as a kernel gets.
template <class Kernel>
void allow(Kernel kernel, int bytes) {
  check("shared memory", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

// --- loads -----------------------------------------------------------------------------------------------------------

struct At {
  int c[5];
};

/// Loads one box and stores shared memory as it is, `bytes` of it.
template <int rank>
__global__ void load_box(const __grid_constant__ CUtensorMap map, At at, int bytes, unsigned char* out) {
  STEEP_DYNAMIC_SHARED(unsigned char, unaligned);
  unsigned char* const box = unaligned + (1024 - ptx::shared_address(unaligned) % 1024) % 1024;
  STEEP_SHARED(Mbarrier, full, 1);
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    tma_prefetch(&map);
    mbarrier_arrive_expect(full, uint32_t(bytes));
    if constexpr (rank == 1) tma_load(box, &map, full, at.c[0]);
    if constexpr (rank == 2) tma_load(box, &map, full, at.c[0], at.c[1]);
    if constexpr (rank == 3) tma_load(box, &map, full, at.c[0], at.c[1], at.c[2]);
    if constexpr (rank == 4) tma_load(box, &map, full, at.c[0], at.c[1], at.c[2], at.c[3]);
    if constexpr (rank == 5) tma_load(box, &map, full, at.c[0], at.c[1], at.c[2], at.c[3], at.c[4]);
  }
  mbarrier_wait(full, 0);
  for (int i = int(threadIdx.x); i < bytes; i += int(blockDim.x)) out[i] = box[i];
}

template <int rank, class T>
std::vector<T> loaded(const Boxes& boxes, At at) {
  size_t n = 1;
  for (const int size : boxes.box) n *= size_t(size);
  const DeviceArray<T> out(n);
  const int bytes = int(n * sizeof(T));
  allow(load_box<rank>, bytes + 1024);
  launch("load_box", load_box<rank>, 1, 64, size_t(bytes + 1024), make_tensor_map("load_box", boxes), at, bytes,
         reinterpret_cast<unsigned char*>(out.data()));
  return out.host();
}

/// What a box of a tensor whose rows are padded to `strides` elements must hold, element by element.
template <class T>
std::vector<T> expected_box(const std::vector<T>& tensor, std::vector<int64_t> shape, std::vector<int64_t> steps,
                            std::vector<int> box, At at) {
  std::vector<T> out;
  std::vector<int> i(box.size(), 0);
  for (;;) {
    bool inside = true;
    int64_t place = 0;
    for (size_t d = 0; d < box.size(); ++d) {
      const int64_t c = at.c[d] + i[d];
      inside &= c >= 0 && c < shape[d];
      place += c * steps[d];
    }
    out.push_back(inside ? tensor[size_t(place)] : T(0));
    size_t d = 0;
    while (d < box.size() && ++i[d] == box[d]) i[d++] = 0;
    if (d == box.size()) return out;
  }
}

TEST(a_box_of_a_matrix) {
  if (!is_hopper()) return;
  const int64_t columns = 50, pitch = 52, rows = 20;  // of float: 208 bytes
  const std::vector<float> x = counted<float>(size_t(pitch * rows));
  const DeviceArray<float> in(x);
  const Boxes boxes{DType::float32, in.data(), {columns, rows}, {pitch * 4}, {16, 5}};
  for (const At at :
       {At{{0, 0}}, At{{3, 7}}, At{{-5, 2}}, At{{40, 17}}, At{{34, 15}}, At{{-16, -5}}, At{{-7, -3}}, At{{1000, 1000}}})
    CHECK((loaded<2, float>(boxes, at)) == expected_box(x, {columns, rows}, {1, pitch}, {16, 5}, at));
}

template <class T>
void boxes_of_a_dtype(DType dtype) {
  const std::vector<T> x = counted<T>(64 * 8);
  const DeviceArray<T> in(x);
  const int row = 32 / int(sizeof(T));
  const Boxes boxes{dtype, in.data(), {60, 8}, {int64_t(64 * sizeof(T))}, {row, 3}};
  const At at{{60 - row / 2, 6}};
  CHECK((loaded<2, T>(boxes, at)) == expected_box(x, {60, 8}, {1, 64}, {row, 3}, at));
}

TEST(every_size_of_element) {
  if (!is_hopper()) return;
  boxes_of_a_dtype<uint8_t>(DType::uint8);
  boxes_of_a_dtype<uint16_t>(DType::bfloat16);
  boxes_of_a_dtype<int32_t>(DType::int32);
  boxes_of_a_dtype<float>(DType::float32);
  boxes_of_a_dtype<double>(DType::float64);
  boxes_of_a_dtype<int64_t>(DType::int64);
}

TEST(boxes_of_every_rank) {
  if (!is_hopper()) return;
  const std::vector<int64_t> shape{12, 5, 4, 3, 3}, steps{1, 16, 96, 400, 1200};
  const std::vector<int> box{8, 2, 3, 2, 2};
  const std::vector<float> x = counted<float>(3600);
  const DeviceArray<float> in(x);
  const auto check_rank = [&]<int rank>(std::integral_constant<int, rank>) {
    const std::vector<int64_t> sizes(shape.begin(), shape.begin() + rank),
        elements(steps.begin(), steps.begin() + rank);
    const std::vector<int> some(box.begin(), box.begin() + rank);
    std::vector<int64_t> bytes;
    for (int i = 1; i < rank; ++i) bytes.push_back(steps[size_t(i)] * 4);
    for (const At at : {At{{0, 0, 0, 0, 0}}, At{{6, 4, 2, 2, 1}}, At{{-2, -1, -1, -1, 2}}})
      CHECK((loaded<rank, float>({DType::float32, in.data(), sizes, bytes, some}, at)) ==
            expected_box(x, sizes, elements, some, at));
  };
  check_rank(std::integral_constant<int, 1>());
  check_rank(std::integral_constant<int, 2>());
  check_rank(std::integral_constant<int, 3>());
  check_rank(std::integral_constant<int, 4>());
  check_rank(std::integral_constant<int, 5>());
}

// The swizzles, as the PTX ISA draws them: each line is a row of 16-byte pieces in shared memory, each number the piece
// of that row (of the span's length) that lies there. The patterns repeat.
const std::vector<std::vector<int>> k128 = {
    {0, 1, 2, 3, 4, 5, 6, 7}, {1, 0, 3, 2, 5, 4, 7, 6}, {2, 3, 0, 1, 6, 7, 4, 5}, {3, 2, 1, 0, 7, 6, 5, 4},
    {4, 5, 6, 7, 0, 1, 2, 3}, {5, 4, 7, 6, 1, 0, 3, 2}, {6, 7, 4, 5, 2, 3, 0, 1}, {7, 6, 5, 4, 3, 2, 1, 0}};
const std::vector<std::vector<int>> k64 = {{0, 1, 2, 3}, {0, 1, 2, 3}, {1, 0, 3, 2}, {1, 0, 3, 2},
                                           {2, 3, 0, 1}, {2, 3, 0, 1}, {3, 2, 1, 0}, {3, 2, 1, 0}};
const std::vector<std::vector<int>> k32 = {{0, 1}, {0, 1}, {0, 1}, {0, 1}, {1, 0}, {1, 0}, {1, 0}, {1, 0}};

TEST(swizzles) {
  if (!is_hopper()) return;
  for (const auto& [swizzle, pattern] :
       {std::pair{Swizzle::bytes_128, k128}, {Swizzle::bytes_64, k64}, {Swizzle::bytes_32, k32}}) {
    const int pieces = int(pattern[0].size()), row = 8 * pieces, rows = 24;  // of 2-byte elements
    const std::vector<uint16_t> x = counted<uint16_t>(size_t(2 * row * 40));
    const DeviceArray<uint16_t> in(x);
    const At at{{row / 2, 20}};
    const Boxes boxes{DType::float16, in.data(), {2 * row, 40}, {4 * row}, {row, rows}, swizzle};
    const std::vector<uint16_t> plain = expected_box(x, {2 * row, 40}, {1, 2 * row}, {row, rows}, at);
    std::vector<uint16_t> expected;
    for (int r = 0; r < rows; ++r)
      for (const int piece : pattern[size_t(r % 8)])
        for (int i = 0; i < 8; ++i) expected.push_back(plain[size_t(r * row + 8 * piece + i)]);
    CHECK((loaded<2, uint16_t>(boxes, at)) == expected);
  }
}

// --- stores ----------------------------------------------------------------------------------------------------------

/// Fills `boxes` boxes with 1, 2, … in the order of shared memory and stores them one below the other.
__global__ void store_boxes(const __grid_constant__ CUtensorMap map, At at, int elements, int boxes, int rows) {
  STEEP_DYNAMIC_SHARED(unsigned char, unaligned);
  float* const buffer = reinterpret_cast<float*>(unaligned + (1024 - ptx::shared_address(unaligned) % 1024) % 1024);
  const int t = int(threadIdx.x);
  for (int i = 0; i < boxes; ++i) {
    float* const box = buffer + i % 2 * 1024;
    if (i >= 2) {  // until the store before last has read its box
      if (t == 0) tma_wait_read<1>();
      __syncthreads();
    }
    for (int j = t; j < elements; j += int(blockDim.x)) box[j] = float(i * elements + j + 1);
    fence_proxy_async();
    __syncthreads();
    if (t == 0) {
      tma_store(&map, box, at.c[0], at.c[1] + i * rows);
      tma_commit();
    }
  }
  if (t == 0) tma_wait<0>();
}

void check_stores(Swizzle swizzle, const std::vector<std::vector<int>>& pattern, At at) {
  const int row = 4 * int(pattern[0].size()), rows = 8, boxes = 5;
  const int64_t columns = 45, height = 37, pitch = 48;
  const DeviceArray<float> out(std::vector<float>(size_t(pitch * height), -1));
  const Boxes map{DType::float32, out.data(), {columns, height}, {pitch * 4}, {row, rows}, swizzle};
  allow(store_boxes, 9 << 10);
  launch("store_boxes", store_boxes, 1, 96, 9 << 10, make_tensor_map("store", map), at, row * rows, boxes, rows);
  std::vector<float> expected(size_t(pitch * height), -1);
  for (int r = 0; r < boxes * rows; ++r)
    for (int place = 0; place < row / 4; ++place)
      for (int i = 0; i < 4; ++i) {
        const int64_t x = at.c[0] + 4 * pattern[size_t(r % 8)][size_t(place)] + i, y = at.c[1] + r;
        if (x < 0 || y < 0 || x >= columns || y >= height) continue;
        expected[size_t(y * pitch + x)] = float(r * row + 4 * place + i + 1);
      }
  CHECK(out.host() == expected);
}

TEST(stores) {
  if (!is_hopper()) return;
  for (const At at : {At{{0, 0}}, At{{-3, -2}}, At{{36, 30}}}) {
    check_stores(Swizzle::none, std::vector<std::vector<int>>(8, {0, 1, 2, 3}), at);
    check_stores(Swizzle::bytes_32, k32, at);
    check_stores(Swizzle::bytes_64, k64, at);
    check_stores(Swizzle::bytes_128, k128, at);
  }
}

// --- mbarriers -------------------------------------------------------------------------------------------------------

constexpr int kStages = 3, kBoxRows = 8, kBoxColumns = 32;

/// One warp loads boxes into a ring of buffers, the others sum them up and give them back.
__global__ void __launch_bounds__(160, 1) pipeline(const __grid_constant__ CUtensorMap map, int boxes, float* out) {
  STEEP_DYNAMIC_SHARED(unsigned char, unaligned);
  float* const ring = reinterpret_cast<float*>(unaligned + (1024 - ptx::shared_address(unaligned) % 1024) % 1024);
  STEEP_SHARED(Mbarrier, full, kStages);
  STEEP_SHARED(Mbarrier, empty, kStages);
  constexpr int kBox = kBoxRows * kBoxColumns;
  const int t = int(threadIdx.x), consumers = int(blockDim.x) - 32;
  if (t == 0) {
    for (int i = 0; i < kStages; ++i) mbarrier_init(&full[i], 1), mbarrier_init(&empty[i], uint32_t(consumers));
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t < 32) {
    give_registers<40>();
    if (t > 0) return;
    for (int i = 0; i < boxes; ++i) {
      const int stage = i % kStages, round = i / kStages;
      mbarrier_wait(&empty[stage], uint32_t(round % 2 ^ 1));
      mbarrier_arrive_expect(&full[stage], kBox * 4);
      tma_load(ring + stage * kBox, &map, &full[stage], 0, i * kBoxRows);
    }
  } else {
    take_registers<104>();
    float sum = 0;
    for (int i = 0; i < boxes; ++i) {
      const int stage = i % kStages, round = i / kStages;
      mbarrier_wait(&full[stage], uint32_t(round % 2));
      for (int j = t - 32; j < kBox; j += consumers) sum += ring[stage * kBox + j];
      mbarrier_arrive(&empty[stage]);
    }
    out[t - 32] = sum;
  }
}

TEST(a_pipeline) {
  if (!is_hopper()) return;
  for (const int boxes : {1, 2, 3, 4, 7, 20}) {
    const int threads = 128, rows = boxes * kBoxRows;
    std::vector<float> x(size_t(rows * kBoxColumns)), expected(size_t(threads), 0.0f);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = float(i % 61);
      expected[i % (kBoxRows * kBoxColumns) % size_t(threads)] += x[i];
    }
    const DeviceArray<float> in(x), out(size_t{threads});
    const Boxes map{DType::float32, in.data(), {kBoxColumns, rows}, {kBoxColumns * 4}, {kBoxColumns, kBoxRows}};
    const size_t bytes = kStages * kBoxRows * kBoxColumns * 4 + 1024;
    launch("pipeline", pipeline, 1, threads + 32, bytes, make_tensor_map("pipeline", map), boxes, out.data());
    CHECK(out.host() == expected);
  }
}

/// An mbarrier of threads alone, its memory used anew after it.
__global__ void turns(int* out, int times) {
  STEEP_SHARED(Mbarrier, barrier, 1);
  STEEP_SHARED(int, counter, 1);
  const int t = int(threadIdx.x);
  if (t == 0) {
    mbarrier_init(barrier, blockDim.x);
    *counter = 0;
  }
  __syncthreads();
  for (int i = 0; i < times; ++i) {
    if (t == i % int(blockDim.x)) *counter += t + 1;
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, uint32_t(i % 2));
  }
  __syncthreads();
  if (t == 0) {
    mbarrier_invalidate(barrier);
    *barrier = 5;
    out[0] = *counter + int(*barrier);
    mbarrier_init(barrier, 1);
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 0);
  }
}

TEST(mbarriers_of_threads) {
  if (!is_hopper()) return;
  const DeviceArray<int> out(1);
  launch("turns", turns, 1, 70, 0, out.data(), 70);
  CHECK(out.host()[0] == 70 * 71 / 2 + 5);
}

/// Warps hand a number on in a ring of named barriers; the last warp doesn't wait for the next.
__global__ void relay(int* out, int rounds) {
  STEEP_SHARED(int, number, 1);
  const int warp = int(threadIdx.x) / 32, warps = int(blockDim.x) / 32;
  if (threadIdx.x == 0) *number = 0;
  __syncthreads();
  for (int i = 0; i < rounds; ++i) {
    if (warp > 0 || i > 0) named_barrier_sync(1 + warp, 64);  // with the warp before
    if (threadIdx.x % 32 == 0) *number = *number * 2 + warp;
    if (warp < warps - 1 || i < rounds - 1) named_barrier_arrive(1 + (warp + 1) % warps, 64);
  }
  __syncthreads();
  if (threadIdx.x == 0) *out = *number;
}

TEST(named_barriers) {
  const DeviceArray<int> out(1);
  launch("relay", relay, 1, 128, 0, out.data(), 3);
  int expected = 0;
  for (int i = 0; i < 12; ++i) expected = expected * 2 + i % 4;
  CHECK(out.host()[0] == expected);
}

// --- maps ------------------------------------------------------------------------------------------------------------

TEST(maps_that_the_driver_refuses) {
  if (!is_hopper()) return;
  const DeviceArray<float> x(4096);
  const auto refuses = [](const Boxes& boxes) {
    try {
      make_tensor_map("refused", boxes);
      return false;
    } catch (const CudaError& e) {
      return std::string(e.what()).find("refused: ") == 0;
    }
  };
  const Boxes good{DType::float32, x.data(), {60, 20}, {256}, {32, 8}, Swizzle::bytes_128};
  CHECK(!refuses(good));
  const auto with = [&](auto change) {
    Boxes boxes = good;
    change(boxes);
    return boxes;
  };
  CHECK(!refuses(with([](Boxes& b) { b.box = {32, 256}; })));
  CHECK(!refuses(with([](Boxes& b) { b.box = {256, 1}, b.swizzle = Swizzle::none; })));
  CHECK(!refuses(with([](Boxes& b) { b.box = {8, 1}, b.swizzle = Swizzle::bytes_32; })));
  CHECK(refuses(with([](Boxes& b) { b.data = static_cast<const float*>(b.data) + 1; })));
  CHECK(refuses(with([](Boxes& b) { b.strides = {248}; })));
  CHECK(refuses(with([](Boxes& b) { b.strides = {int64_t(1) << 40}; })));
  CHECK(refuses(with([](Boxes& b) { b.shape = {60, 0}; })));
  CHECK(refuses(with([](Boxes& b) { b.shape = {(int64_t(1) << 32) + 1, 20}; })));
  CHECK(refuses(with([](Boxes& b) { b.box = {32, 257}; })));
  CHECK(refuses(with([](Boxes& b) { b.box = {32, 0}; })));
  CHECK(refuses(with([](Boxes& b) { b.box = {30, 8}; })));  // rows of 120 bytes
  CHECK(refuses(with([](Boxes& b) { b.box = {36, 8}; })));  // longer than the swizzle
  CHECK(refuses(with([](Boxes& b) { b.swizzle = Swizzle::bytes_64; })));
  CHECK(refuses(with([](Boxes& b) { b.box = {32}; })));
  CHECK(refuses({DType::float32, x.data(), {4, 2, 2, 2, 2, 2}, {16, 32, 64, 128, 256}, {4, 1, 1, 1, 1, 1}}));
}

}  // namespace
