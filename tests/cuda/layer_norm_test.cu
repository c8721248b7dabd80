// Layer normalisation against plain loops in long double.
#include "rows_testing.h"

using namespace steep;
using namespace steep::testing;

namespace {

template <class T>
void check_layer_norm(Size size, const std::vector<T>& x, double eps, bool with_weight, bool with_bias, size_t shift,
                      bool in_place) {
  const auto [rows, n] = size;
  const std::vector<T> w = random_normal<T>(n, 8), b = random_normal<T>(n, 9);
  const auto run = [&](std::vector<T>& mean, std::vector<T>& rstd) {
    const Guarded<T> in(x, shift), own(x.size(), shift), mean_out(rows, 1), rstd_out(rows);
    const DeviceArray<T> w_in(w, shift), b_in(b, shift);
    const auto& out = in_place ? in : own;
    kernels<T>().layer_norm(rows, n, in.data(), with_weight ? w_in.data() : nullptr, with_bias ? b_in.data() : nullptr,
                            eps, out.data(), mean_out.data(), rstd_out.data());
    mean = mean_out.host(__LINE__), rstd = rstd_out.host(__LINE__);
    return out.host(__LINE__);
  };
  std::vector<T> mean, rstd, mean2, rstd2;
  const auto y = run(mean, rstd), y2 = run(mean2, rstd2);
  CHECK_SAME("a second layer_norm", size, y2, y);
  CHECK_SAME("its mean", size, mean2, mean);
  CHECK_SAME("its rstd", size, rstd2, rstd);
  Wide expected, tolerance, mean_expected, mean_tolerance, rstd_expected, rstd_tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    long double m = 0, variance = 0, spread = 0;
    for (int64_t j = 0; j < n; ++j) m += (x[i * n + j] - (long double)x[i * n]) / n;
    m += x[i * n];
    for (int64_t j = 0; j < n; ++j) {
      const long double d = x[i * n + j] - m;
      variance += d * d / n;
      spread += std::abs(x[i * n + j] - (long double)x[i * n]) / n;
    }
    const long double r = 1 / std::sqrt(variance + eps);
    mean_expected.push_back(m);
    mean_tolerance.push_back(kEps<T> * std::abs(m) + 7 * kEps<T> * spread);
    rstd_expected.push_back(r);
    rstd_tolerance.push_back(8 * kEps<T> * r);
    for (int64_t j = 0; j < n; ++j) {
      const long double normal = (x[i * n + j] - m) * r, weight = with_weight ? w[j] : 1, bias = with_bias ? b[j] : 0;
      expected.push_back(normal * weight + bias);
      tolerance.push_back(4 * kEps<T> *
                          (std::abs(normal * weight) + std::abs(bias) + std::abs(weight) * (1 + spread * r)));
    }
  }
  COMPARE(size, y, expected, tolerance);
  COMPARE(size, mean, mean_expected, mean_tolerance);
  COMPARE(size, rstd, rstd_expected, rstd_tolerance);
}

template <class T>
void layer_norm_of_sizes() {
  int number = 0;
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      std::vector<T> x = random_normal<T>(size.rows * size.n, unsigned(size.n));
      for (int64_t i = 0; i < size.rows * size.n; ++i) x[i] += i / size.n % 2 ? T(1000) : T(0);
      ++number;
      check_layer_norm<T>(size, x, 1e-5, number & 1, number & 2, shift, number & 4);
    }
  // Equal elements have no variance; a far first one, infinities and NaN.
  std::vector<T> x(4 * 40, T(7));
  x[40] = T(1e6);
  for (const double eps : {1e-5, 1.0})
    check_layer_norm<T>({2, 40}, {x.begin(), x.begin() + 80}, eps, false, false, 0, false);
  x[90] = std::numeric_limits<T>::infinity();
  x[130] = std::numeric_limits<T>::quiet_NaN();
  check_layer_norm<T>({4, 40}, x, 1e-5, true, true, 0, false);
}

TEST(layer_norm_f32) { layer_norm_of_sizes<float>(); }
TEST(layer_norm_f64) { layer_norm_of_sizes<double>(); }

/// Sums of squares beyond the range of float32 don't overflow, and other squares are computed in other units.
TEST(layer_norm_of_large_numbers) {
  std::vector<float> x = random_normal<float>(3 * 9000, 12, 5e17);
  check_layer_norm<float>({3, 9000}, x, 1e-5, false, false, 0, false);
}
template <class T>
void layer_norm_of_scales() {
  for (const Size size : kSizesOfScales)
    for (const double eps : {0., 1e-5})
      check_layer_norm<T>(size, rows_of_scales<T>(size, 5), eps, size.n % 2, size.n % 2, 0, eps == 0);
}
TEST(layer_norm_of_scales_f32) { layer_norm_of_scales<float>(); }
TEST(layer_norm_of_scales_f64) { layer_norm_of_scales<double>(); }

struct Wanted {
  bool dx, dweight, dbias;
};

template <class T>
void check_layer_norm_backward(Size size, bool with_weight, Wanted wanted, size_t shift, int alias) {
  const auto [rows, n] = size;
  const std::vector<T> g = random_normal<T>(rows * n, 1), x = random_normal<T>(rows * n, 2, 3),
                       w = random_normal<T>(n, 3);
  const std::vector<T> mean = random_normal<T>(rows, 4);
  std::vector<T> rstd = random_normal<T>(rows, 5);
  for (T& r : rstd) r = std::abs(r) + T(0.1);
  const std::vector<double> start = random_normal<double>(n, 6);

  Wide dx_expected, dx_tolerance, dw_expected(start.begin(), start.end()), db_expected = dw_expected;
  Wide dw_tolerance(n, 1e-15), db_tolerance(n, 1e-15);
  for (int64_t i = 0; i < rows; ++i) {
    const auto h = [&](int64_t j) { return (long double)g[i * n + j] * (with_weight ? w[j] : T(1)); };
    const auto normal = [&](int64_t j) { return ((long double)x[i * n + j] - mean[i]) * rstd[i]; };
    long double h_mean = 0, h_size = 0, projection = 0, projection_size = 0;
    for (int64_t j = 0; j < n; ++j) {
      h_mean += h(j) / n, h_size += std::abs(h(j)) / n;
      projection += h(j) * normal(j) / n, projection_size += std::abs(h(j) * normal(j)) / n;
      const long double term = g[i * n + j] * normal(j);
      dw_expected[j] += term, dw_tolerance[j] += 9 * kEps<T> * std::abs(term);
      db_expected[j] += g[i * n + j], db_tolerance[j] += 9 * kEps<T> * std::abs(g[i * n + j]);
    }
    for (int64_t j = 0; j < n; ++j) {
      dx_expected.push_back(rstd[i] * (h(j) - h_mean - normal(j) * projection));
      dx_tolerance.push_back(kEps<T> * rstd[i] *
                             (2 * std::abs(h(j)) + 8 * h_size + 9 * std::abs(normal(j)) * projection_size));
    }
  }
  const auto run = [&](std::vector<T>& dx, std::vector<double>& dw, std::vector<double>& db) {
    const Guarded<T> g_in(g, shift), x_in(x, shift), own(x.size(), shift);
    const DeviceArray<T> w_in(w, shift), mean_in(mean), rstd_in(rstd);
    const Guarded<double> dw_out(start, 1), db_out(start);
    const auto& out = alias == 0 ? own : alias == 1 ? g_in : x_in;
    kernels<T>().layer_norm_backward(rows, n, g_in.data(), x_in.data(), with_weight ? w_in.data() : nullptr,
                                     mean_in.data(), rstd_in.data(), wanted.dx ? out.data() : nullptr,
                                     wanted.dweight ? dw_out.data() : nullptr, wanted.dbias ? db_out.data() : nullptr);
    dx = out.host(__LINE__), dw = dw_out.host(__LINE__), db = db_out.host(__LINE__);
  };
  std::vector<T> dx, dx2;
  std::vector<double> dweight, dbias, dweight2, dbias2;
  run(dx, dweight, dbias), run(dx2, dweight2, dbias2);
  if (wanted.dx) COMPARE(size, dx, dx_expected, dx_tolerance);
  if (wanted.dweight)
    COMPARE(size, dweight, dw_expected, dw_tolerance);
  else
    CHECK_SAME("dweight", size, dweight, start);
  if (wanted.dbias)
    COMPARE(size, dbias, db_expected, db_tolerance);
  else
    CHECK_SAME("dbias", size, dbias, start);
  CHECK_SAME("a second dx", size, dx2, dx);
  CHECK_SAME("a second dweight", size, dweight2, dweight);
  CHECK_SAME("a second dbias", size, dbias2, dbias);
}

template <class T>
void layer_norm_backward_of_sizes() {
  int number = 0;
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      ++number;
      const Wanted all[] = {
          {true, true, true}, {true, false, true}, {true, true, false}, {false, true, true}, {true, false, false}};
      check_layer_norm_backward<T>(size, number % 3, all[number % 4 == 3 ? number / 4 % 5 : 0], shift, number % 3);
    }
}

TEST(layer_norm_backward_f32) { layer_norm_backward_of_sizes<float>(); }
TEST(layer_norm_backward_f64) { layer_norm_backward_of_sizes<double>(); }

/// Teams of many rows, in registers and in memory.
TEST(layer_norm_backward_of_many_rows) {
  const int64_t busy = cuda::device_limits().multiprocessors * 512;
  check_layer_norm_backward<float>({busy * 17 + 5, 3}, true, {true, true, true}, 0, 0);
  check_layer_norm_backward<float>({busy / 32 * 5 + 3, 140}, true, {true, true, true}, 1, 1);
  check_layer_norm_backward<float>({busy / 512 * 5 + 1, 4500}, true, {true, true, true}, 0, 2);
  check_layer_norm_backward<double>({busy / 512 * 3 + 1, 2500}, true, {true, true, true}, 1, 0);
}

}  // namespace
