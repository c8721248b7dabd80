// Tensor cores by csrc/cuda/ptx_mma.cuh. The layouts are written out here as the PTX manual gives them, and share
// nothing with the emulator: on a GPU the same tables must hold.
#include "testing.h"
//
#include <bit>

#include "cuda/launch.cuh"
#include "cuda/ptx_mma.cuh"

namespace steep::cuda {
namespace {

using namespace steep::testing;

constexpr int kWarp = 32;

// Of each lane, the row in which its registers' elements of A are, by register, and the first's place along k. PTX
// manual, "Matrix Fragments for mma.m16n8k16 with floating point type": groupID = lane >> 2 and threadID_in_group =
// lane % 4; a0, a1: (groupID, threadID_in_group·2 and the next); a2, a3: (groupID + 8, the same); a4, a5: (groupID, the
// same + 8); a6, a7: (groupID + 8, the same + 8). Two elements a register, the first in its lower half.
struct At {
  int row, column;
};
constexpr At kA16[kWarp][4] = {
    {{0, 0}, {8, 0}, {0, 8}, {8, 8}},     {{0, 2}, {8, 2}, {0, 10}, {8, 10}},   {{0, 4}, {8, 4}, {0, 12}, {8, 12}},
    {{0, 6}, {8, 6}, {0, 14}, {8, 14}},   {{1, 0}, {9, 0}, {1, 8}, {9, 8}},     {{1, 2}, {9, 2}, {1, 10}, {9, 10}},
    {{1, 4}, {9, 4}, {1, 12}, {9, 12}},   {{1, 6}, {9, 6}, {1, 14}, {9, 14}},   {{2, 0}, {10, 0}, {2, 8}, {10, 8}},
    {{2, 2}, {10, 2}, {2, 10}, {10, 10}}, {{2, 4}, {10, 4}, {2, 12}, {10, 12}}, {{2, 6}, {10, 6}, {2, 14}, {10, 14}},
    {{3, 0}, {11, 0}, {3, 8}, {11, 8}},   {{3, 2}, {11, 2}, {3, 10}, {11, 10}}, {{3, 4}, {11, 4}, {3, 12}, {11, 12}},
    {{3, 6}, {11, 6}, {3, 14}, {11, 14}}, {{4, 0}, {12, 0}, {4, 8}, {12, 8}},   {{4, 2}, {12, 2}, {4, 10}, {12, 10}},
    {{4, 4}, {12, 4}, {4, 12}, {12, 12}}, {{4, 6}, {12, 6}, {4, 14}, {12, 14}}, {{5, 0}, {13, 0}, {5, 8}, {13, 8}},
    {{5, 2}, {13, 2}, {5, 10}, {13, 10}}, {{5, 4}, {13, 4}, {5, 12}, {13, 12}}, {{5, 6}, {13, 6}, {5, 14}, {13, 14}},
    {{6, 0}, {14, 0}, {6, 8}, {14, 8}},   {{6, 2}, {14, 2}, {6, 10}, {14, 10}}, {{6, 4}, {14, 4}, {6, 12}, {14, 12}},
    {{6, 6}, {14, 6}, {6, 14}, {14, 14}}, {{7, 0}, {15, 0}, {7, 8}, {15, 8}},   {{7, 2}, {15, 2}, {7, 10}, {15, 10}},
    {{7, 4}, {15, 4}, {7, 12}, {15, 12}}, {{7, 6}, {15, 6}, {7, 14}, {15, 14}}};
// b0, b1: (k = threadID_in_group·2 and the next, column groupID); b2, b3: k + 8.
constexpr At kB16[kWarp][2] = {
    {{0, 0}, {8, 0}},  {{2, 0}, {10, 0}}, {{4, 0}, {12, 0}}, {{6, 0}, {14, 0}}, {{0, 1}, {8, 1}},  {{2, 1}, {10, 1}},
    {{4, 1}, {12, 1}}, {{6, 1}, {14, 1}}, {{0, 2}, {8, 2}},  {{2, 2}, {10, 2}}, {{4, 2}, {12, 2}}, {{6, 2}, {14, 2}},
    {{0, 3}, {8, 3}},  {{2, 3}, {10, 3}}, {{4, 3}, {12, 3}}, {{6, 3}, {14, 3}}, {{0, 4}, {8, 4}},  {{2, 4}, {10, 4}},
    {{4, 4}, {12, 4}}, {{6, 4}, {14, 4}}, {{0, 5}, {8, 5}},  {{2, 5}, {10, 5}}, {{4, 5}, {12, 5}}, {{6, 5}, {14, 5}},
    {{0, 6}, {8, 6}},  {{2, 6}, {10, 6}}, {{4, 6}, {12, 6}}, {{6, 6}, {14, 6}}, {{0, 7}, {8, 7}},  {{2, 7}, {10, 7}},
    {{4, 7}, {12, 7}}, {{6, 7}, {14, 7}}};
// c0, c1: (groupID, threadID_in_group·2 and the next); c2, c3: (groupID + 8, the same). Of both shapes.
constexpr At kC[kWarp][4] = {
    {{0, 0}, {0, 1}, {8, 0}, {8, 1}},   {{0, 2}, {0, 3}, {8, 2}, {8, 3}},   {{0, 4}, {0, 5}, {8, 4}, {8, 5}},
    {{0, 6}, {0, 7}, {8, 6}, {8, 7}},   {{1, 0}, {1, 1}, {9, 0}, {9, 1}},   {{1, 2}, {1, 3}, {9, 2}, {9, 3}},
    {{1, 4}, {1, 5}, {9, 4}, {9, 5}},   {{1, 6}, {1, 7}, {9, 6}, {9, 7}},   {{2, 0}, {2, 1}, {10, 0}, {10, 1}},
    {{2, 2}, {2, 3}, {10, 2}, {10, 3}}, {{2, 4}, {2, 5}, {10, 4}, {10, 5}}, {{2, 6}, {2, 7}, {10, 6}, {10, 7}},
    {{3, 0}, {3, 1}, {11, 0}, {11, 1}}, {{3, 2}, {3, 3}, {11, 2}, {11, 3}}, {{3, 4}, {3, 5}, {11, 4}, {11, 5}},
    {{3, 6}, {3, 7}, {11, 6}, {11, 7}}, {{4, 0}, {4, 1}, {12, 0}, {12, 1}}, {{4, 2}, {4, 3}, {12, 2}, {12, 3}},
    {{4, 4}, {4, 5}, {12, 4}, {12, 5}}, {{4, 6}, {4, 7}, {12, 6}, {12, 7}}, {{5, 0}, {5, 1}, {13, 0}, {13, 1}},
    {{5, 2}, {5, 3}, {13, 2}, {13, 3}}, {{5, 4}, {5, 5}, {13, 4}, {13, 5}}, {{5, 6}, {5, 7}, {13, 6}, {13, 7}},
    {{6, 0}, {6, 1}, {14, 0}, {14, 1}}, {{6, 2}, {6, 3}, {14, 2}, {14, 3}}, {{6, 4}, {6, 5}, {14, 4}, {14, 5}},
    {{6, 6}, {6, 7}, {14, 6}, {14, 7}}, {{7, 0}, {7, 1}, {15, 0}, {15, 1}}, {{7, 2}, {7, 3}, {15, 2}, {15, 3}},
    {{7, 4}, {7, 5}, {15, 4}, {15, 5}}, {{7, 6}, {7, 7}, {15, 6}, {15, 7}}};
// "Matrix Fragments for mma.m16n8k8", .tf32: a0 (groupID, threadID_in_group), a1 (groupID + 8, the same), a2 (groupID,
// threadID_in_group + 4), a3 (groupID + 8, the same); b0 (k = threadID_in_group, groupID), b1 k + 4.
constexpr At kA32[kWarp][4] = {
    {{0, 0}, {8, 0}, {0, 4}, {8, 4}},   {{0, 1}, {8, 1}, {0, 5}, {8, 5}},   {{0, 2}, {8, 2}, {0, 6}, {8, 6}},
    {{0, 3}, {8, 3}, {0, 7}, {8, 7}},   {{1, 0}, {9, 0}, {1, 4}, {9, 4}},   {{1, 1}, {9, 1}, {1, 5}, {9, 5}},
    {{1, 2}, {9, 2}, {1, 6}, {9, 6}},   {{1, 3}, {9, 3}, {1, 7}, {9, 7}},   {{2, 0}, {10, 0}, {2, 4}, {10, 4}},
    {{2, 1}, {10, 1}, {2, 5}, {10, 5}}, {{2, 2}, {10, 2}, {2, 6}, {10, 6}}, {{2, 3}, {10, 3}, {2, 7}, {10, 7}},
    {{3, 0}, {11, 0}, {3, 4}, {11, 4}}, {{3, 1}, {11, 1}, {3, 5}, {11, 5}}, {{3, 2}, {11, 2}, {3, 6}, {11, 6}},
    {{3, 3}, {11, 3}, {3, 7}, {11, 7}}, {{4, 0}, {12, 0}, {4, 4}, {12, 4}}, {{4, 1}, {12, 1}, {4, 5}, {12, 5}},
    {{4, 2}, {12, 2}, {4, 6}, {12, 6}}, {{4, 3}, {12, 3}, {4, 7}, {12, 7}}, {{5, 0}, {13, 0}, {5, 4}, {13, 4}},
    {{5, 1}, {13, 1}, {5, 5}, {13, 5}}, {{5, 2}, {13, 2}, {5, 6}, {13, 6}}, {{5, 3}, {13, 3}, {5, 7}, {13, 7}},
    {{6, 0}, {14, 0}, {6, 4}, {14, 4}}, {{6, 1}, {14, 1}, {6, 5}, {14, 5}}, {{6, 2}, {14, 2}, {6, 6}, {14, 6}},
    {{6, 3}, {14, 3}, {6, 7}, {14, 7}}, {{7, 0}, {15, 0}, {7, 4}, {15, 4}}, {{7, 1}, {15, 1}, {7, 5}, {15, 5}},
    {{7, 2}, {15, 2}, {7, 6}, {15, 6}}, {{7, 3}, {15, 3}, {7, 7}, {15, 7}}};
constexpr At kB32[kWarp][2] = {{{0, 0}, {4, 0}}, {{1, 0}, {5, 0}}, {{2, 0}, {6, 0}}, {{3, 0}, {7, 0}}, {{0, 1}, {4, 1}},
                               {{1, 1}, {5, 1}}, {{2, 1}, {6, 1}}, {{3, 1}, {7, 1}}, {{0, 2}, {4, 2}}, {{1, 2}, {5, 2}},
                               {{2, 2}, {6, 2}}, {{3, 2}, {7, 2}}, {{0, 3}, {4, 3}}, {{1, 3}, {5, 3}}, {{2, 3}, {6, 3}},
                               {{3, 3}, {7, 3}}, {{0, 4}, {4, 4}}, {{1, 4}, {5, 4}}, {{2, 4}, {6, 4}}, {{3, 4}, {7, 4}},
                               {{0, 5}, {4, 5}}, {{1, 5}, {5, 5}}, {{2, 5}, {6, 5}}, {{3, 5}, {7, 5}}, {{0, 6}, {4, 6}},
                               {{1, 6}, {5, 6}}, {{2, 6}, {6, 6}}, {{3, 6}, {7, 6}}, {{0, 7}, {4, 7}}, {{1, 7}, {5, 7}},
                               {{2, 7}, {6, 7}}, {{3, 7}, {7, 7}}};

template <class T>
__global__ void one_product(const uint32_t* a, const uint32_t* b, float* d) {
  if constexpr (kWarpProducts) {
    const int lane = int(threadIdx.x);
    const uint32_t x[4] = {a[4 * lane], a[4 * lane + 1], a[4 * lane + 2], a[4 * lane + 3]};
    float sums[4];
    for (int i = 0; i < 4; ++i) sums[i] = d[4 * lane + i];
    multiply_add<T>(sums, x, b[2 * lane], b[2 * lane + 1]);
    for (int i = 0; i < 4; ++i) d[4 * lane + i] = sums[i];
  }
}

template <class T>
constexpr bool is_tf32 = std::is_same_v<T, tf32>;
template <class T>
uint32_t bits_of(float x) {
  if constexpr (is_tf32<T>)
    return std::bit_cast<uint32_t>(x);
  else
    return T(x).bits;
}

/// D of the matrices A (16, k), B (k, 8), C (16, 8), by the tables.
template <class T>
std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c) {
  constexpr size_t k = is_tf32<T> ? 8 : 16;
  std::vector<uint32_t> x, y;
  std::vector<float> d;
  for (int lane = 0; lane < kWarp; ++lane) {
    for (At at : is_tf32<T> ? kA32[lane] : kA16[lane]) {
      const size_t i = size_t(at.row) * k + size_t(at.column);
      x.push_back(is_tf32<T> ? bits_of<T>(a[i]) : bits_of<T>(a[i]) | bits_of<T>(a[i + 1]) << 16);
    }
    for (At at : is_tf32<T> ? kB32[lane] : kB16[lane]) {
      const size_t i = size_t(at.row) * 8 + size_t(at.column);
      y.push_back(is_tf32<T> ? bits_of<T>(b[i]) : bits_of<T>(b[i]) | bits_of<T>(b[i + 8]) << 16);
    }
    for (At at : kC[lane]) d.push_back(c[size_t(at.row * 8 + at.column)]);
  }
  const DeviceArray<uint32_t> on_a(x), on_b(y);
  const DeviceArray<float> on_d(d);
  launch("mma", one_product<T>, 1, kWarp, 0, on_a.data(), on_b.data(), on_d.data());
  d = on_d.host();
  std::vector<float> out(16 * 8, NAN);
  for (size_t lane = 0; lane < kWarp; ++lane)
    for (size_t i = 0; i < 4; ++i) out[size_t(kC[lane][i].row * 8 + kC[lane][i].column)] = d[4 * lane + i];
  return out;
}

/// Small integers: every sum is exact, whatever the order.
std::vector<float> integers(size_t n, unsigned seed) {
  std::vector<float> out;
  for (int64_t x : random_integers(n, -15, 16, seed)) out.push_back(float(x));
  return out;
}

template <class T>
void try_layout() {
  constexpr size_t k = is_tf32<T> ? 8 : 16;
  for (unsigned seed = 1; seed <= 3; ++seed) {
    const auto a = integers(16 * k, seed), b = integers(k * 8, 10 + seed), c = integers(16 * 8, 20 + seed);
    std::vector<float> expected = c;
    for (size_t i = 0; i < 16; ++i)
      for (size_t j = 0; j < 8; ++j)
        for (size_t l = 0; l < k; ++l) expected[i * 8 + j] += a[i * k + l] * b[l * 8 + j];
    CHECK(product<T>(a, b, c) == expected);
  }
}

TEST(fragments) {
  try_layout<bfloat16>();
  try_layout<float16>();
  try_layout<tf32>();
}

template <class T>
void try_accuracy() {
  constexpr size_t k = is_tf32<T> ? 8 : 16;
  const auto a = random_normal<float>(16 * k, 1), b = random_normal<float>(k * 8, 2), c = random_normal<float>(128, 3);
  const auto as_read = [](float x) {
    if constexpr (is_tf32<T>)
      return double(std::bit_cast<float>(std::bit_cast<uint32_t>(x) & 0xffffe000));  // the low 13 bits aren't read
    else
      return double(float(T(x)));
  };
  const std::vector<float> d = product<T>(a, b, c);
  for (size_t i = 0; i < 16; ++i)
    for (size_t j = 0; j < 8; ++j) {
      double sum = c[i * 8 + j], magnitude = std::abs(sum);
      for (size_t l = 0; l < k; ++l) {
        sum += as_read(a[i * k + l]) * as_read(b[l * 8 + j]);
        magnitude += std::abs(as_read(a[i * k + l]) * as_read(b[l * 8 + j]));
      }
      CHECK(std::abs(d[i * 8 + j] - sum) <= double(k + 2) * 0x1p-23 * magnitude);
    }
}

TEST(sums_are_accurate) {
  try_accuracy<bfloat16>();
  try_accuracy<float16>();
  try_accuracy<tf32>();
}

TEST(special_values) {
  const auto with = [](float x, float y, float z) {
    std::vector<float> a(256, 0.0f), b(128, 0.0f), c(128, 0.0f);
    a[0] = x, b[0] = y, c[0] = z;
    return product<bfloat16>(a, b, c)[0];
  };
  CHECK(with(INFINITY, 2, 0) == INFINITY);
  CHECK(with(INFINITY, -2, 1) == -INFINITY);
  CHECK(std::isnan(with(INFINITY, 0, 0)));
  CHECK(std::isnan(with(INFINITY, 1, -INFINITY)));
  CHECK(std::isnan(with(NAN, 1, 0)));
  CHECK(with(0, 1, INFINITY) == INFINITY);
  CHECK(with(0x1p-130f, 1, 0) == 0x1p-130f);  // subnormals count
  CHECK(with(0x1p-80f, 0x1p-60f, 0) == 0x1p-140f);
  CHECK(with(0x1p100f, 0x1p100f, 0) == INFINITY);
  CHECK(with(0x1p100f, 0x1p100f, 1) == INFINITY);
  CHECK(with(0, 0, 0) == 0);
}

/// Which element of which matrix is at row l / 4 and pair l % 4: "ldmatrix fragment layout".
template <bool transposed>
__global__ void load(const uint16_t* x, const int* rows, uint32_t* out) {
  if constexpr (kWarpProducts) {
    STEEP_SHARED(uint16_t, shared, 64 * 8);
    const int lane = int(threadIdx.x);
    for (int i = lane; i < 64 * 8; i += kWarp) shared[i] = x[i];
    __syncthreads();
    uint32_t words[4];
    load_matrices<transposed>(words, shared + 8 * rows[lane]);
    for (int i = 0; i < 4; ++i) out[4 * lane + i] = words[i];
  }
}

TEST(matrices_from_shared_memory) {
  std::vector<uint16_t> x;  // 64 rows of 8
  for (int i = 0; i < 64 * 8; ++i) x.push_back(uint16_t(i * 77 + 5));
  // Thread i's address is that of row i % 8 of matrix i / 8; the rows lie anywhere.
  std::vector<int> rows;
  for (int lane = 0; lane < kWarp; ++lane) rows.push_back((lane * 37 + 11) % 64);
  const DeviceArray<uint16_t> data(x);
  const DeviceArray<int> places(rows);
  const DeviceArray<uint32_t> out(kWarp * 4);
  const auto element = [&](int matrix, int row, int column) -> uint32_t {
    return x[size_t(rows[size_t(8 * matrix + row)] * 8 + column)];
  };
  std::vector<uint32_t> straight, across;
  for (int lane = 0; lane < kWarp; ++lane)
    for (int matrix = 0; matrix < 4; ++matrix) {
      // Of 8 rows of 8 elements lanes 0 to 3 hold row 0, two elements each, and so on.
      const int row = lane >> 2, column = (lane & 3) << 1;
      straight.push_back(element(matrix, row, column) | element(matrix, row, column + 1) << 16);
      across.push_back(element(matrix, column, row) | element(matrix, column + 1, row) << 16);
    }
  launch("ldmatrix", load<false>, 1, kWarp, 0, data.data(), places.data(), out.data());
  CHECK(out.host() == straight);
  launch("ldmatrix", load<true>, 1, kWarp, 0, data.data(), places.data(), out.data());
  CHECK(out.host() == across);
}

__global__ void convert(const float* x, uint32_t* y, int n) {
  if constexpr (kWarpProducts) {
    const int i = int(threadIdx.x);
    if (2 * i + 1 >= n) return;
    y[4 * i] = to_tf32(x[2 * i]), y[4 * i + 1] = to_tf32(x[2 * i + 1]);
    y[4 * i + 2] = to_bfloat16s<true>(x[2 * i], x[2 * i + 1]);
    y[4 * i + 3] = to_bfloat16s<false>(x[2 * i], x[2 * i + 1]);
  }
}

TEST(conversions) {
  const auto bits = [](uint32_t x) { return std::bit_cast<float>(x); };
  const std::vector<float> x = {1.0f,
                                bits(0x3f800fff),
                                bits(0x3f801000),
                                bits(0xbf801000),
                                bits(0x3f807fff),
                                bits(0x3f808000),
                                bits(0x3f818000),
                                bits(0x7f7fffff),
                                INFINITY,
                                -INFINITY};
  const std::vector<uint32_t> as_tf32 = {0x3f800000, 0x3f800000, 0x3f802000, 0xbf802000, 0x3f808000,
                                         0x3f808000, 0x3f818000, 0x7f800000, 0x7f800000, 0xff800000};
  const std::vector<uint32_t> cut = {0x3f80, 0x3f80, 0x3f80, 0xbf80, 0x3f80, 0x3f80, 0x3f81, 0x7f7f, 0x7f80, 0xff80};
  const std::vector<uint32_t> nearest = {0x3f80, 0x3f80, 0x3f80, 0xbf80, 0x3f80,
                                         0x3f80, 0x3f82, 0x7f80, 0x7f80, 0xff80};  // ties to even
  const DeviceArray<float> in(x);
  const DeviceArray<uint32_t> out(2 * x.size());
  launch("convert", convert, 1, kWarp, 0, in.data(), out.data(), int(x.size()));
  const std::vector<uint32_t> y = out.host();
  for (size_t i = 0; i < x.size(); i += 2) {
    CHECK(y[2 * i] == as_tf32[i] && y[2 * i + 1] == as_tf32[i + 1]);
    CHECK(y[2 * i + 2] == (cut[i] | cut[i + 1] << 16));
    CHECK(y[2 * i + 3] == (nearest[i] | nearest[i + 1] << 16));
  }
  const DeviceArray<float> nans(std::vector<float>{bits(0x7f800001), bits(0xffc00000)});
  launch("convert", convert, 1, kWarp, 0, nans.data(), out.data(), 2);
  const std::vector<uint32_t> z = out.host();
  for (size_t i : {0, 1}) CHECK((z[i] & 0x7fffe000) > 0x7f800000);
  for (size_t i : {2, 3}) CHECK((z[i] & 0x7fff) > 0x7f80 && (z[i] >> 16 & 0x7fff) > 0x7f80);
}

#ifdef STEEP_CUDA_EMULATED
/// What the emulator is to be like, not necessarily a GPU: as the A100 was measured, and no better.
TEST(sums_are_cut_off) {
  std::vector<float> a(256, 0.0f), b(128, 0.0f), c(128, 0.0f);
  for (size_t l = 0; l < 16; ++l) b[l * 8] = 1;
  const auto sum = [&] { return product<bfloat16>(a, b, c)[0]; };
  a[0] = 1, c[0] = 0x1.8p-24f;
  CHECK(sum() == 1);  // to nearest it would be 1 + 2^-23
  a[0] = -1, c[0] = -0x1.8p-24f;
  CHECK(sum() == -1);
  a[0] = 1, c[0] = 0;
  for (size_t l = 1; l < 3; ++l) a[l] = 0x1p-24f;  // one bit more is kept: together they count
  CHECK(sum() == 1 + 0x1p-23f);
  for (size_t l = 1; l < 8; ++l) a[l] = 0x1p-25f;
  CHECK(sum() == 1);
  for (size_t l = 1; l < 8; ++l) a[l] = 0;
  for (size_t l = 8; l < 16; ++l) a[l] = 0x1p-24f;  // the second step of 8
  CHECK(sum() == 1 + 0x1p-21f);
}
#endif

}  // namespace
}  // namespace steep::cuda
