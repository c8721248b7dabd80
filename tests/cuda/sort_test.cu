// Sorts of rows and searches in them against the C++ library's. Every sort is stable, so places must be equal.
#include <algorithm>
#include <numeric>

#include "testing.h"

namespace steep::cuda {
void fill_sort(Table& table);
}

namespace steep::testing {
namespace {

const cuda::Table& table() {
  static const cuda::Table all = [] {
    cuda::Table t{};
    cuda::fill_sort(t);
    return t;
  }();
  return all;
}

/// a before b; NaN behind everything else.
template <class T>
bool before(T a, T b) {
  if (a != a || b != b) return b != b && a == a;
  return a < b;
}

/// Many equal elements, and special ones.
template <class T>
std::vector<T> numbers(int64_t n, unsigned seed) {
  std::vector<T> x(static_cast<size_t>(n));
  std::mt19937_64 generator(seed);
  for (T& e : x) {
    const uint64_t bits = generator();
    if constexpr (std::is_same_v<T, uint8_t>) {
      e = bits % 2;
    } else if constexpr (std::is_integral_v<T>) {
      e = bits % 3 ? T(bits >> 8) : T(int(bits >> 8 & 7) - 3);
    } else {
      const T special[] = {T(0), T(-0.0), T(1), T(-1), T(INFINITY), T(-INFINITY), T(NAN), T(-NAN)};
      e = bits % 3 ? T(int64_t(bits)) / T(1e17) : special[bits >> 8 & 7];
    }
  }
  return x;
}

template <class T>
void sorts() {
  // Rows that share a block, tiles, and merges of two and of several runs.
  struct Size {
    int64_t rows, n;
  };
  constexpr Size kCases[] = {{1, 1},   {5, 1},   {300, 2}, {100, 7},  {9, 127},  {9, 128},  {7, 129}, {3, 255},
                             {3, 256}, {3, 257}, {2, 511}, {1, 1000}, {2, 1025}, {4, 2048}, {1, 5000}};
  unsigned seed = 0;
  for (const auto [rows, n] : kCases)
    for (const bool descending : {false, true}) {
      const std::vector<T> x = numbers<T>(rows * n, ++seed);
      std::vector<int64_t> places(x.size());
      for (int64_t r = 0; r < rows; ++r) {
        const auto begin = places.begin() + r * n;
        std::iota(begin, begin + n, 0);
        std::stable_sort(begin, begin + n, [&](int64_t i, int64_t j) {
          const T a = x[size_t(r * n + i)], b = x[size_t(r * n + j)];
          return descending ? before(b, a) : before(a, b);
        });
      }
      const DeviceArray<T> from(x, 1);
      const DeviceArray<int64_t> index(x.size());
      table().argsort(testing::dtype<T>, descending, rows, n, from.data(), index.data());
      CHECK(index.host() == places);
    }
}
TEST(sort_bool) { sorts<uint8_t>(); }
TEST(sort_int32) { sorts<int32_t>(); }
TEST(sort_int64) { sorts<int64_t>(); }
TEST(sort_float32) { sorts<float>(); }
TEST(sort_float64) { sorts<double>(); }

template <class T>
void searches() {
  struct Size {
    int64_t rows, n, count;
  };
  constexpr Size kCases[] = {{1, 1, 1}, {1, 0, 5}, {1, 10, 300}, {3, 17, 4}, {2, 1000, 257}, {40, 3, 3}};
  for (const auto [rows, n, count] : kCases)
    for (const bool right : {false, true}) {
      std::vector<T> x = numbers<T>(rows * n, 1);
      const std::vector<T> values = numbers<T>(rows * count, 2);
      std::vector<int64_t> expected(values.size());
      for (int64_t r = 0; r < rows; ++r) {
        const auto begin = x.begin() + r * n, end = begin + n;
        std::sort(begin, end, before<T>);
        for (int64_t i = r * count; i < (r + 1) * count; ++i) {
          const T v = values[size_t(i)];
          expected[size_t(i)] =
              (right ? std::upper_bound(begin, end, v, before<T>) : std::lower_bound(begin, end, v, before<T>)) - begin;
        }
      }
      const DeviceArray<T> sorted(x), wanted(values, 1);
      const DeviceArray<int64_t> out(values.size());
      table().searchsorted(testing::dtype<T>, right, rows, n, count, sorted.data(), wanted.data(), out.data());
      CHECK(out.host() == expected);
    }
}
TEST(search_bool) { searches<uint8_t>(); }
TEST(search_int32) { searches<int32_t>(); }
TEST(search_int64) { searches<int64_t>(); }
TEST(search_float32) { searches<float>(); }
TEST(search_float64) { searches<double>(); }

}  // namespace
}  // namespace steep::testing
