// Normalisation by the root of the mean square, against plain loops in long double.
#include "rows_testing.h"

using namespace steep;
using namespace steep::testing;

namespace {

template <class T>
void check_rms_norm(Size size, const std::vector<T>& x, double eps, bool with_weight, size_t shift, bool in_place) {
  const auto [rows, n] = size;
  const std::vector<T> w = random_normal<T>(n, 8);
  const auto run = [&](std::vector<T>& rstd) {
    const Guarded<T> in(x, shift), own(x.size(), shift), rstd_out(rows, 1);
    const DeviceArray<T> w_in(w, shift);
    const auto& out = in_place ? in : own;
    kernels<T>().rms_norm(rows, n, in.data(), with_weight ? w_in.data() : nullptr, eps, out.data(), rstd_out.data());
    rstd = rstd_out.host(__LINE__);
    return out.host(__LINE__);
  };
  std::vector<T> rstd, rstd2;
  const auto y = run(rstd), y2 = run(rstd2);
  CHECK_SAME("a second rms_norm", size, y2, y);
  CHECK_SAME("its rstd", size, rstd2, rstd);
  Wide expected, tolerance, rstd_expected, rstd_tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    long double square = 0;
    for (int64_t j = 0; j < n; ++j) square += (long double)x[i * n + j] * x[i * n + j] / n;
    const long double r = 1 / std::sqrt(square + eps);
    rstd_expected.push_back(r);
    rstd_tolerance.push_back(6 * kEps<T> * r);
    for (int64_t j = 0; j < n; ++j) {
      expected.push_back(x[i * n + j] * r * (with_weight ? w[j] : T(1)));
      tolerance.push_back(8 * kEps<T> * std::abs(expected.back()) + kTiny<T>);
    }
  }
  COMPARE(size, y, expected, tolerance);
  COMPARE(size, rstd, rstd_expected, rstd_tolerance);
}

template <class T>
void rms_norm_of_sizes() {
  int number = 0;
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      ++number;
      check_rms_norm<T>(size, random_normal<T>(size.rows * size.n, unsigned(size.n), number % 3 ? 1 : 1000), 1e-5,
                        number & 1, shift, number & 4);
    }
  std::vector<T> x = random_normal<T>(4 * 40, 3);
  std::fill_n(x.begin(), 40, T(0));
  x[90] = std::numeric_limits<T>::infinity();
  x[130] = std::numeric_limits<T>::quiet_NaN();
  for (const double eps : {1e-5, 0.}) check_rms_norm<T>({4, 40}, x, eps, true, 0, false);
}

TEST(rms_norm_f32) { rms_norm_of_sizes<float>(); }
TEST(rms_norm_f64) { rms_norm_of_sizes<double>(); }

template <class T>
void rms_norm_of_scales() {
  for (const Size size : kSizesOfScales)
    for (const double eps : {0., 1e-5})
      check_rms_norm<T>(size, rows_of_scales<T>(size, 5), eps, size.n % 2, 0, eps == 0);
}
TEST(rms_norm_of_scales_f32) { rms_norm_of_scales<float>(); }
TEST(rms_norm_of_scales_f64) { rms_norm_of_scales<double>(); }

TEST(rms_norm_of_long_rows) {
  check_rms_norm<float>({2, 262'144}, random_normal<float>(524'288, 3), 0, true, 0, false);
}

template <class T>
void check_rms_norm_backward(Size size, bool with_weight, bool with_dweight, size_t shift, int alias) {
  const auto [rows, n] = size;
  const std::vector<T> g = random_normal<T>(rows * n, 1), x = random_normal<T>(rows * n, 2, 3),
                       w = random_normal<T>(n, 3);
  std::vector<T> rstd = random_normal<T>(rows, 5);
  for (T& r : rstd) r = std::abs(r) + T(0.1);
  const std::vector<double> start = random_normal<double>(n, 6);

  Wide dx_expected, dx_tolerance, dw_expected(start.begin(), start.end()), dw_tolerance(n, 1e-15);
  for (int64_t i = 0; i < rows; ++i) {
    const auto h = [&](int64_t j) { return (long double)g[i * n + j] * (with_weight ? w[j] : T(1)); };
    const auto normal = [&](int64_t j) { return (long double)x[i * n + j] * rstd[i]; };
    long double projection = 0, projection_size = 0;
    for (int64_t j = 0; j < n; ++j) {
      projection += h(j) * normal(j) / n, projection_size += std::abs(h(j) * normal(j)) / n;
      const long double term = g[i * n + j] * normal(j);
      dw_expected[j] += term, dw_tolerance[j] += 9 * kEps<T> * std::abs(term);
    }
    for (int64_t j = 0; j < n; ++j) {
      dx_expected.push_back(rstd[i] * (h(j) - normal(j) * projection));
      dx_tolerance.push_back(kEps<T> * rstd[i] * (2 * std::abs(h(j)) + 9 * std::abs(normal(j)) * projection_size));
    }
  }
  const auto run = [&](std::vector<T>& dx, std::vector<double>& dw) {
    const Guarded<T> g_in(g, shift), x_in(x, shift), own(x.size(), shift);
    const DeviceArray<T> w_in(w, shift), rstd_in(rstd);
    const Guarded<double> dw_out(start, 1);
    const auto& out = alias == 0 ? own : alias == 1 ? g_in : x_in;
    kernels<T>().rms_norm_backward(rows, n, g_in.data(), x_in.data(), with_weight ? w_in.data() : nullptr,
                                   rstd_in.data(), out.data(), with_dweight ? dw_out.data() : nullptr);
    dx = out.host(__LINE__), dw = dw_out.host(__LINE__);
  };
  std::vector<T> dx, dx2;
  std::vector<double> dweight, dweight2;
  run(dx, dweight), run(dx2, dweight2);
  COMPARE(size, dx, dx_expected, dx_tolerance);
  if (with_dweight)
    COMPARE(size, dweight, dw_expected, dw_tolerance);
  else
    CHECK_SAME("dweight", size, dweight, start);
  CHECK_SAME("a second dx", size, dx2, dx);
  CHECK_SAME("a second dweight", size, dweight2, dweight);
}

template <class T>
void rms_norm_backward_of_sizes() {
  int number = 0;
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      ++number;
      check_rms_norm_backward<T>(size, number % 3, number % 4, shift, number % 3);
    }
}

TEST(rms_norm_backward_f32) { rms_norm_backward_of_sizes<float>(); }
TEST(rms_norm_backward_f64) { rms_norm_backward_of_sizes<double>(); }

/// Teams of many rows, in registers and in memory.
TEST(rms_norm_backward_of_many_rows) {
  const int64_t busy = cuda::device_limits().multiprocessors * 512;
  check_rms_norm_backward<float>({busy * 17 + 5, 3}, true, true, 0, 0);
  check_rms_norm_backward<float>({busy / 32 * 5 + 3, 140}, true, true, 1, 1);
  check_rms_norm_backward<float>({busy / 512 * 5 + 1, 4500}, true, true, 0, 2);
  check_rms_norm_backward<double>({busy / 512 * 3 + 1, 2500}, true, true, 1, 0);
  check_rms_norm_backward<float>({1, 262'144}, true, true, 0, 0);
}

}  // namespace
