// The gradient before an activation and its column sums, against loops in double precision.
#include "testing.h"

namespace steep::cuda {
void fill_bias_gradient(Table& table);
}  // namespace steep::cuda

using namespace steep;
using namespace steep::testing;
using cuda::Activation;

namespace {

const cuda::Table& filled() {
  static const cuda::Table table = [] {
    cuda::Table t{};
    cuda::fill_bias_gradient(t);
    return t;
  }();
  return table;
}

template <class T>
double wide(T x) {
  if constexpr (sizeof(T) == 2)
    return double(float(x));
  else
    return double(x);
}

double slope(Activation activation, double y) {
  if (activation == Activation::relu) return y <= 0 ? 0 : 1;
  return activation == Activation::sigmoid ? y * (1 - y) : 1 - y * y;
}

// Rounding to T, in relation and, for subnormals, absolute; and what the numbers are computed in, of 2^-24 or 2^-53.
template <class T>
constexpr double kEps = std::is_same_v<T, bfloat16>  ? 0x1p-8
                        : std::is_same_v<T, float16> ? 0x1p-11
                                                     : 0;
template <class T>
constexpr double kComputed = std::is_same_v<T, double> ? 0x1p-53 : 0x1p-24;

template <class T>
void check(Activation activation, int64_t rows, int64_t n, int line) {
  const auto numbers = [&](unsigned seed) {
    std::vector<T> out;
    for (float x : random_normal<float>(size_t(rows * n), seed)) out.push_back(T(x));
    return out;
  };
  const std::vector<T> g = numbers(1), y = numbers(2);
  const DeviceArray<T> g_in(g), y_in(y), dz(std::vector<T>(g.size() + 1, T(-77.f))),
      sums(std::vector<T>(size_t(n) + 1, T(-77.f)));
  filled().bias_gradient(dtype_of<T>(), activation, rows, n, g_in.data(), y_in.data(), dz.data(), sums.data());
  const std::vector<T> got = dz.host(), got_sums = sums.host();
  const auto close = [&](T result, double expected, double bound) {
    return std::isnan(expected) ? std::isnan(wide(result)) : std::abs(wide(result) - expected) <= bound;
  };
  for (int64_t j = 0; j < n; ++j) {
    double sum = 0, magnitude = 0;
    for (int64_t i = 0; i < rows; ++i) {
      const size_t at = size_t(i * n + j);
      const double exact = wide(g[at]) * slope(activation, wide(y[at]));
      const double computed = 4 * kComputed<T> * std::abs(wide(g[at])) * (1 + wide(y[at]) * wide(y[at]));
      if (!close(got[at], exact, kEps<T> * std::abs(exact) + computed + (kEps<T> > 0 ? 0x1p-25 : 0)))
        return fail(__FILE__, line, "dz is wrong");
      sum += wide(got[at]), magnitude += std::abs(wide(got[at]));
    }
    const double computed = (double(rows) * 0x1p-52) * magnitude + kComputed<T> * std::abs(sum);
    if (!close(got_sums[size_t(j)], sum, kEps<T> * std::abs(sum) + computed + (kEps<T> > 0 ? 0x1p-25 : 0)))
      return fail(__FILE__, line, "a column's sum is wrong");
  }
  if (wide(got[g.size()]) != -77 || wide(got_sums[size_t(n)]) != -77)
    fail(__FILE__, line, "memory behind an output has been written");
}

template <class T>
void check_sizes() {
  constexpr std::pair<int64_t, int64_t> sizes[] = {{1, 1},  {3, 31},   {8, 32},   {9, 33},   {63, 5},
                                                   {64, 7}, {129, 65}, {700, 40}, {5000, 3}, {0, 4}};
  for (const auto& [rows, n] : sizes)
    for (const Activation activation : {Activation::relu, Activation::sigmoid, Activation::tanh})
      check<T>(activation, rows, n, __LINE__);
}

TEST(bias_gradient_f32) { check_sizes<float>(); }
TEST(bias_gradient_f64) { check_sizes<double>(); }
TEST(bias_gradient_halves) {
  check_sizes<bfloat16>();
  check_sizes<float16>();
}

TEST(nan_stays_in_its_column) {
  std::vector<float> g(200 * 33, 1), y(g.size(), 0.5f);
  g[100 * 33 + 7] = std::numeric_limits<float>::quiet_NaN();
  const DeviceArray<float> g_in(g), y_in(y), dz(g), sums(std::vector<float>(33));
  filled().bias_gradient(DType::float32, Activation::relu, 200, 33, g_in.data(), y_in.data(), dz.data(), sums.data());
  const std::vector<float> got = sums.host();
  for (size_t j = 0; j < 33; ++j) CHECK(j == 7 ? std::isnan(got[j]) : got[j] == 200);
}

}  // namespace
