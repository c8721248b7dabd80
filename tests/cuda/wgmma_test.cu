// Products of a warpgroup: csrc/cuda/ptx_wgmma.cuh. Where elements lie, in shared memory and in registers, is written
// here from the PTX ISA's figures and tables once more, not taken from the code under test.
#include "testing.h"
//
#include "cuda/launch.cuh"
#include "cuda/ptx_wgmma.cuh"

namespace steep::cuda {
namespace {

using namespace steep::testing;

constexpr int kThreads = 128, kRows = 64;

/// An operand of `rows` × `steps` elements in shared memory, and its descriptors.
struct Placed {
  int leading_bytes, stride_bytes;
  int next_bytes[4];  // where the steps of the first, second, … product begin
};

struct Job {
  Swizzle swizzle;
  Placed a, b;
  int a_bytes, b_bytes, products;
  bool add;  // to what the sums are at first
};

/// Copies A and B as they are to lie in shared memory, and multiplies them: `products` times 32 bytes of k.
template <class T, int n, Major a_major, Major b_major, bool a_in_registers>
__global__ void __launch_bounds__(kThreads)
    multiply(const __grid_constant__ Job job, const uint32_t* image, const uint32_t* fragments, float* sums) {
  STEEP_DYNAMIC_SHARED(unsigned char, memory);
  if constexpr (kWgmma) {
    const int thread = int(threadIdx.x);
    unsigned char* const shared = memory + (1024 - reinterpret_cast<uintptr_t>(memory) % 1024) % 1024;
    for (int i = thread; i < (job.a_bytes + job.b_bytes) / 4; i += kThreads)
      reinterpret_cast<uint32_t*>(shared)[i] = image[i];
    uint32_t a_registers[4][4];
    for (int p = 0; p < 4; ++p)
      for (int i = 0; i < 4; ++i) a_registers[p][i] = fragments[(p * 4 + i) * kThreads + thread];
    fence_proxy_async();
    __syncthreads();
    float d[n / 2];
    for (int i = 0; i < n / 2; ++i) d[i] = sums[i * kThreads + thread];
    const uint64_t a = matrix_descriptor(shared, job.swizzle, job.a.leading_bytes, job.a.stride_bytes);
    const uint64_t b = matrix_descriptor(shared + job.a_bytes, job.swizzle, job.b.leading_bytes, job.b.stride_bytes);
    wgmma_fence();
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      if (p >= job.products) break;
      const uint64_t next_b = advance(b, job.b.next_bytes[p]);
      if constexpr (a_in_registers)
        wgmma<T, n, b_major>(d, a_registers[p], next_b, job.add || p);
      else
        wgmma<T, n, a_major, b_major>(d, advance(a, job.a.next_bytes[p]), next_b, job.add || p);
    }
    wgmma_commit();
    wgmma_wait<0>();
    for (int i = 0; i < n / 2; ++i) sums[i * kThreads + thread] = d[i];
  }
}

// Where the 16-byte pieces of eight rows lie, in units of 16 bytes: PTX ISA, "Shared Memory Matrix Layout", the figures
// of the swizzling modes.
const int kPlaces128[8][8] = {{0, 1, 2, 3, 4, 5, 6, 7},         {9, 8, 11, 10, 13, 12, 15, 14},
                              {18, 19, 16, 17, 22, 23, 20, 21}, {27, 26, 25, 24, 31, 30, 29, 28},
                              {36, 37, 38, 39, 32, 33, 34, 35}, {45, 44, 47, 46, 41, 40, 43, 42},
                              {54, 55, 52, 53, 50, 51, 48, 49}, {63, 62, 61, 60, 59, 58, 57, 56}};
const int kPlaces64[8][4] = {{0, 1, 2, 3},     {4, 5, 6, 7},     {9, 8, 11, 10},   {13, 12, 15, 14},
                             {18, 19, 16, 17}, {22, 23, 20, 21}, {27, 26, 25, 24}, {31, 30, 29, 28}};
const int kPlaces32[8][2] = {{0, 1}, {2, 3}, {4, 5}, {6, 7}, {9, 8}, {11, 10}, {13, 12}, {15, 14}};

int width_of(Swizzle swizzle) {
  return swizzle == Swizzle::none ? 16 : swizzle == Swizzle::bytes_32 ? 32 : swizzle == Swizzle::bytes_64 ? 64 : 128;
}
int place_of(Swizzle swizzle, int row, int piece) {
  if (swizzle == Swizzle::bytes_128) return kPlaces128[row][piece];
  if (swizzle == Swizzle::bytes_64) return kPlaces64[row][piece];
  if (swizzle == Swizzle::bytes_32) return kPlaces32[row][piece];
  return row;
}

/// Puts a matrix of `rows` × `steps` elements, given by its bits, into shared memory's image in units of eight rows (or
/// steps) of the swizzle's width, and says where.
template <class Bits>
Placed place(const std::vector<Bits>& matrix, int rows, int steps, Major major, Swizzle swizzle, Bits* image) {
  const int item = int(sizeof(Bits)), width = width_of(swizzle), across = width / item;
  const int unit = 8 * width, products = steps * item / 32;
  const int k_units = major == Major::k ? steps / across : steps / 8;
  const int row_units = major == Major::k ? rows / 8 : rows / across;
  for (int row = 0; row < rows; ++row)
    for (int k = 0; k < steps; ++k) {
      // Units follow each other along the rows for Major::k, along k for Major::mn.
      const int line = major == Major::k ? row % 8 : k % 8, inside = major == Major::k ? k % across : row % across;
      const int number = major == Major::k ? k / across * row_units + row / 8 : row / across * k_units + k / 8;
      const int piece = inside * item / 16;
      const int byte = number * unit + place_of(swizzle, line, piece) * 16 + inside * item % 16;
      image[byte / item] = matrix[size_t(row * steps + k)];
    }
  Placed placed{};
  const bool plain = swizzle == Swizzle::none;
  if (major == Major::k) {
    placed.stride_bytes = unit;
    placed.leading_bytes = plain ? row_units * unit : 4080;  // not read
  } else {
    placed.leading_bytes = plain ? unit : k_units * unit;
    placed.stride_bytes = plain ? k_units * unit : unit;
  }
  for (int p = 0; p < products; ++p)
    placed.next_bytes[p] =
        major == Major::mn ? 2 * p * unit : 32 * p / width * (row_units * unit) + (plain ? 0 : 32 * p % width);
  if (major == Major::k && plain)
    for (int p = 0; p < products; ++p) placed.next_bytes[p] = 2 * p * row_units * unit;
  return placed;
}

/// The bits of an integer below 8.
template <class T>
auto bits_of(int x) {
  if constexpr (std::is_same_v<T, tf32>)
    return same_bits<uint32_t>(float(x)) | 0x1fff;  // which must not be read
  else
    return T(float(x)).bits;
}

template <class T, int n, Major a_major, Major b_major, bool a_in_registers>
void try_one(Swizzle swizzle, int products, bool add) {
  using Bits = decltype(bits_of<T>(0));
  const int item = int(sizeof(Bits)), steps = products * 32 / item;
  const std::vector<int64_t> x = random_integers(size_t(kRows * steps), -7, 8, 1),
                             y = random_integers(size_t(n * steps), -7, 8, 2);
  std::vector<Bits> a, b;
  for (int64_t v : x) a.push_back(bits_of<T>(int(v)));
  for (int64_t v : y) b.push_back(bits_of<T>(int(v)));

  Job job{};
  job.swizzle = swizzle, job.products = products, job.add = add;
  job.a_bytes = (kRows * steps * item + 1023) / 1024 * 1024, job.b_bytes = n * steps * item;
  std::vector<uint32_t> image(size_t(job.a_bytes + job.b_bytes) / 4);
  Bits* const places = reinterpret_cast<Bits*>(image.data());
  job.a = place(a, kRows, steps, a_major, swizzle, places);
  job.b = place(b, n, steps, b_major, swizzle, places + job.a_bytes / item);

  // PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16" and "…k8": A, and then D.
  std::vector<uint32_t> fragments(16 * kThreads);
  for (int thread = 0; thread < kThreads; ++thread)
    for (int p = 0; p < products; ++p)
      for (int i = 0; i < 16 / item; ++i) {
        const int warp = thread / 32, group = thread % 32 >> 2, in_group = thread % 4;
        int row, k;
        if (item == 2) {
          row = warp * 16 + ((i < 2 || (i >= 4 && i < 6)) ? group : group + 8);
          k = p * 16 + in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
        } else {
          row = warp * 16 + (i == 0 || i == 2 ? group : group + 8);
          k = p * 8 + in_group + (i >= 2 ? 4 : 0);
        }
        const uint32_t bits = a[size_t(row * steps + k)];
        if (item == 2)
          fragments[size_t((p * 4 + i / 2) * kThreads + thread)] |= bits << (16 * (i & 1));
        else
          fragments[size_t((p * 4 + i) * kThreads + thread)] = bits;
      }
  std::vector<float> before(size_t(n / 2 * kThreads));
  for (size_t i = 0; i < before.size(); ++i) before[i] = float(i % 1001);
  std::vector<float> expected = before;
  for (int thread = 0; thread < kThreads; ++thread)
    for (int i = 0; i < n / 2; ++i) {
      const int row = thread / 32 * 16 + (thread % 32 >> 2) + ((i & 2) ? 8 : 0);
      const int column = (i >> 2) * 8 + thread % 4 * 2 + (i & 1);
      int64_t sum = 0;
      for (int k = 0; k < steps; ++k) sum += x[size_t(row * steps + k)] * y[size_t(column * steps + k)];
      float& out = expected[size_t(i * kThreads + thread)];
      out = float(sum) + (add ? out : 0);
    }

  const DeviceArray<uint32_t> device_image(image), device_fragments(fragments);
  const DeviceArray<float> sums(before);
  const auto kernel = multiply<T, n, a_major, b_major, a_in_registers>;
  const int bytes = job.a_bytes + job.b_bytes + 1024;
  check("wgmma", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  launch("wgmma", kernel, 1, kThreads, size_t(bytes), job, device_image.data(), device_fragments.data(), sums.data());
  CHECK_CLOSE(sums.host(), expected, 0, 0);
}

/// Four products have 128 bytes of k, so that those of the wider swizzles are all gone through.
template <class T, int n, Major a_major = Major::k, Major b_major = Major::k>
void try_swizzles() {
  for (Swizzle swizzle : {Swizzle::none, Swizzle::bytes_32, Swizzle::bytes_64, Swizzle::bytes_128}) {
    try_one<T, n, a_major, b_major, false>(swizzle, 4, false);
    if (a_major == Major::k) try_one<T, n, a_major, b_major, true>(swizzle, 4, true);
  }
  try_one<T, n, a_major, b_major, false>(Swizzle::none, 1, true);
}

template <class T>
void try_majors() {
  try_swizzles<T, 64>();
  try_swizzles<T, 128>();
  try_swizzles<T, 64, Major::mn, Major::k>();
  try_swizzles<T, 64, Major::k, Major::mn>();
  try_swizzles<T, 128, Major::mn, Major::mn>();
}

bool has_wgmma() { return device_limits().capability == 90; }

TEST(bfloat16_operands) {
  if (!has_wgmma()) return;
  try_majors<bfloat16>();
  try_swizzles<bfloat16, 256, Major::k, Major::mn>();
}
TEST(float16_operands) {
  if (!has_wgmma()) return;
  try_majors<float16>();
  try_swizzles<float16, 256>();
}
TEST(tf32_operands) {
  if (!has_wgmma()) return;
  try_swizzles<tf32, 64>();
  try_swizzles<tf32, 128>();
  try_swizzles<tf32, 256>();
}

}  // namespace
}  // namespace steep::cuda
