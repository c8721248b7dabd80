// What the tests of kernels over rows share: the kernels, sizes, guarded outputs, comparisons with long double.
#pragma once
#include <algorithm>

#include "testing.h"

namespace steep::cuda {
void fill_softmax(Table& table);
void fill_cross_entropy(Table& table);
void fill_layer_norm(Table& table);
void fill_rms_norm(Table& table);
}  // namespace steep::cuda

namespace steep::testing {

using Wide = std::vector<long double>;

inline const cuda::Table& rows_table() {
  static const cuda::Table filled = [] {
    cuda::Table t{};
    cuda::fill_softmax(t), cuda::fill_cross_entropy(t), cuda::fill_layer_norm(t), cuda::fill_rms_norm(t);
    return t;
  }();
  return filled;
}
template <class T>
const RowKernels<T>& kernels() {
  if constexpr (sizeof(T) == 4)
    return rows_table().rows_f32;
  else
    return rows_table().rows_f64;
}

template <class T>
constexpr long double kEps = std::numeric_limits<T>::epsilon();
inline constexpr long double kSum = std::numeric_limits<double>::epsilon();  // of sums of at least 1, which are doubles
template <class T>
constexpr long double kTiny = std::numeric_limits<T>::denorm_min();

struct Size {
  int64_t rows, n;
};
// Around 1, 2, … lanes, a warp, the elements of a warp, of a block, and of a tile of either type, with one or two
// inputs.
inline const Size kSizes[] = {{0, 5},    {1, 1},     {5, 1},     {300, 2},  {7, 3},    {129, 4},  {33, 5},   {70, 10},
                              {9, 31},   {5, 32},    {9, 33},    {6, 63},   {3, 64},   {5, 65},   {3, 127},  {5, 128},
                              {3, 129},  {4, 132},   {3, 255},   {3, 256},  {2, 257},  {3, 511},  {2, 512},  {3, 513},
                              {2, 516},  {3, 768},   {3, 1000},  {2, 2047}, {2, 2048}, {2, 2052}, {1, 4097}, {2, 8192},
                              {1, 8196}, {1, 16385}, {1, 20000}, {1, 40004}};

/// Rows whose squares vanish, fit and overflow in turn, some of them in one warp.
template <class T>
std::vector<T> rows_of_scales(Size size, unsigned seed) {
  const T far = sizeof(T) == 4 ? T(1e30) : T(1e200), scales[] = {1 / far, 1, far};
  std::vector<T> x = random_normal<T>(size.rows * size.n, seed);
  for (int64_t i = 0; i < size.rows * size.n; ++i) x[i] *= scales[i / size.n % 3];
  return x;
}
inline const Size kSizesOfScales[] = {{50, 3}, {7, 40}, {4, 1000}, {3, 9000}, {3, 40004}};

/// An output: `n` elements behind `shift`, with others around them that must not be touched.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n, size_t shift = 0)
      : n_(n), all_(std::vector<T>(n + 2 * kGuard + shift, T(-77))), shift_(shift) {}
  Guarded(const std::vector<T>& x, size_t shift = 0) : n_(x.size()), all_(surrounded(x, shift)), shift_(shift) {}
  T* data() const { return all_.data() + kGuard + shift_; }
  std::vector<T> host(int line) const {
    const std::vector<T> all = all_.host();
    const auto begin = all.begin() + kGuard + shift_;
    const auto untouched = [](T x) { return x == T(-77); };
    if (!std::all_of(all.begin(), begin, untouched) || !std::all_of(begin + n_, all.end(), untouched))
      fail(__FILE__, line, "memory around an output has been written");
    return {begin, begin + n_};
  }

 private:
  static constexpr size_t kGuard = 8;
  static std::vector<T> surrounded(const std::vector<T>& x, size_t shift) {
    std::vector<T> all(x.size() + 2 * kGuard + shift, T(-77));
    std::copy(x.begin(), x.end(), all.begin() + kGuard + shift);
    return all;
  }
  size_t n_;
  DeviceArray<T> all_;
  size_t shift_;
};

/// |got - expected| ≤ tolerance; NaN and infinities in the same places.
template <class T>
void compare(const char* file, int line, const char* what, Size size, const std::vector<T>& got, const Wide& expected,
             const Wide& tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    const long double e = expected[i], g = got[i];
    const bool near = std::isfinite(e) && std::isfinite(tolerance[i]) && std::abs(g - e) <= tolerance[i];
    if (std::isnan(e) ? std::isnan(g) : T(e) == got[i] || near) continue;
    char text[240];
    std::snprintf(text, sizeof text, "%s %zu bytes (%ld, %ld): [%zu] is %.17Lg, expected %.17Lg ± %.3Lg", what,
                  sizeof(T), long(size.rows), long(size.n), i, g, e, tolerance[i]);
    return fail(file, line, text);
  }
}
#define COMPARE(size, got, expected, tolerance) \
  ::steep::testing::compare(__FILE__, __LINE__, #got, size, got, expected, tolerance)

template <class T>
void check_same(const char* file, int line, const char* what, Size size, const std::vector<T>& a,
                const std::vector<T>& b) {
  if (same_bits(a, b)) return;
  fail(file, line, std::string(what) + " differs: (" + std::to_string(size.rows) + ", " + std::to_string(size.n) + ")");
}
#define CHECK_SAME(what, size, a, b) ::steep::testing::check_same(__FILE__, __LINE__, what, size, a, b)

}  // namespace steep::testing
