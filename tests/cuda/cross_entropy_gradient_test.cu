// Cross-entropy with its gradient in one read, against plain loops in long double.
#include "rows_testing.h"

using namespace steep;
using namespace steep::testing;

namespace {

struct Options {
  bool weighted, divided;
  double smoothing;
};

template <class T>
void check_gradient(Size size, const std::vector<T>& x, const std::vector<int64_t>& label, Options options,
                    size_t shift) {
  const auto [rows, n] = size;
  const double divisor = 7;
  const T total = T(1.5);
  std::vector<T> weight = random_normal<T>(rows, 3);
  for (int64_t i = 0; i < rows; i += 3) weight[i] = 0;
  Wide loss_expected, loss_tolerance, expected, tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    const T* const row = &x[i * n];
    long double max = -INFINITY, sum = 0, mean = 0, size = 0;
    for (int64_t j = 0; j < n; ++j) max = std::isnan(row[j]) || row[j] > max ? (long double)row[j] : max;
    for (int64_t j = 0; j < n; ++j) sum += std::exp(row[j] - max), mean += row[j] - max, size += std::abs(row[j]);
    const long double s = options.smoothing, cold = s / n, w = options.weighted ? weight[i] : T(1);
    const long double likelihood = (1 - s) * (row[label[i]] - max) + (s > 0 ? cold * mean : 0);
    loss_expected.push_back(w == 0 ? 0 : w * (std::log(sum) - likelihood));
    loss_tolerance.push_back(std::abs(w) * (kEps<T> * (8 * std::abs(likelihood) + 16 * std::min(1.L, sum - 1) +
                                                       2 * std::log(sum) + 4 * s * size / n) +
                                            4 * kSum));
    const long double factor = w == 0 ? 0 : w / divisor / (options.divided ? total : T(1));
    for (int64_t j = 0; j < n; ++j) {
      const long double p = std::exp(row[j] - max) / sum, target = (j == label[i] ? 1 - s : 0) + cold;
      expected.push_back(factor * (p - target));
      const long double far = p > 0 ? std::abs(row[j] - max) : 0;
      tolerance.push_back(std::abs(factor) * kEps<T> * ((10 + far) * p + 2 * target) + kTiny<T>);
    }
  }
  const auto run = [&](std::vector<T>& loss) {
    const Guarded<T> in(x, shift), loss_out(rows, 1), out(x.size(), shift);
    const DeviceArray<T> weight_in(weight), total_in(std::vector<T>(1, total));
    const DeviceArray<int64_t> label_in(label);
    kernels<T>().cross_entropy_gradient(
        rows, n, in.data(), label_in.data(), options.weighted ? weight_in.data() : nullptr,
        options.divided ? total_in.data() : nullptr, divisor, options.smoothing, loss_out.data(), out.data());
    loss = loss_out.host(__LINE__);
    return out.host(__LINE__);
  };
  std::vector<T> loss, loss2;
  const auto dx = run(loss), dx2 = run(loss2);
  COMPARE(size, loss, loss_expected, loss_tolerance);
  COMPARE(size, dx, expected, tolerance);
  CHECK_SAME("a second loss", size, loss2, loss);
  CHECK_SAME("a second dx", size, dx2, dx);
}

template <class T>
void gradients_of_sizes() {
  int number = 0;
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      std::vector<int64_t> label = random_integers(size.rows, 0, size.n, 7);
      if (size.rows > 2) label[0] = 0, label[1] = size.n - 1;
      std::vector<T> x = random_normal<T>(size.rows * size.n, unsigned(size.n));
      for (int64_t i = 0; i < size.rows * size.n; ++i) x[i] = i / size.n % 3 == 1 ? x[i] * 20 : x[i];
      ++number;
      const bool weighted = number % 2, divided = number % 4 == 1;
      check_gradient<T>(size, x, label, {weighted, divided, number % 3 ? 0.1 * (number % 3) : 0}, shift);
    }
}

TEST(gradients_f32) { gradients_of_sizes<float>(); }
TEST(gradients_f64) { gradients_of_sizes<double>(); }

/// Rows that are longer than what a block keeps.
TEST(gradients_of_long_rows) {
  const Size size{2, 262'144};
  const std::vector<float> x = random_normal<float>(size.rows * size.n, 5, 4);
  for (const double smoothing : {0., 0.2}) check_gradient<float>(size, x, {77, 262'143}, {false, false, smoothing}, 0);
}

/// Where there is no softmax there is no gradient; a logit of -inf has none either, unless targets are smoothed.
TEST(gradients_of_special_values) {
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const int64_t n : {3, 150, 9000}) {
    std::vector<float> x(6 * n, 0.5f);
    x[0] = nan;
    x[n + n / 2] = inf;
    std::fill_n(x.begin() + 2 * n, n, -inf);
    x[3 * n] = -inf;
    x[4 * n + n - 1] = 1e4f;
    for (int64_t j = 1; j < n; ++j) x[5 * n + j] = -15;
    check_gradient<float>({6, n}, x, {1, 1, 1, 1, n - 1, 0}, {false, true, 0}, 0);
  }
}

}  // namespace
