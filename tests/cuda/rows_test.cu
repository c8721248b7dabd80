// Softmax and its relatives, and cross-entropy, against plain loops in long double. The formulas are the documented
// ones, so that NaN and infinities come out as on the CPU.
#include "rows_testing.h"

using namespace steep;
using namespace steep::testing;
using namespace steep::cuda;

namespace {

/// What the softmax family computes of one row.
struct Reference {
  Wide softmax, log_softmax;
  long double max, log_sum, lse;
  long double terms = 0;  // an error bound of the sum without the maximum's term, in eps: x - max is rounded, and 6

  template <class T>
  explicit Reference(int64_t n, const T* x) : max(-INFINITY) {
    for (int64_t j = 0; j < n; ++j)
      if (x[j] > max || std::isnan(x[j])) max = x[j];
    for (int64_t j = 0; j < n; ++j)
      if (std::isnan(x[j])) max = NAN;
    long double sum = 0, rest = 0;
    bool seen = false;
    for (int64_t j = 0; j < n; ++j) {
      const long double e = std::exp(x[j] - max);
      softmax.push_back(e);
      sum += e;
      if (x[j] == max && !seen)
        seen = true;
      else
        rest += e, terms += e == 0 ? 0 : e * (std::abs(x[j] - max) / 2 + 6);
    }
    terms /= sum;
    log_sum = std::isnan(sum) ? sum : std::log1p(rest);
    lse = std::isfinite(max) ? max + log_sum : max;
    for (int64_t j = 0; j < n; ++j) {
      softmax[j] /= sum;
      log_softmax.push_back((x[j] - max) - log_sum);
    }
  }
};

/// Rows of several kinds: moderate, far apart, with large offsets.
template <class T>
std::vector<T> logits(Size size, unsigned seed) {
  std::vector<T> x = random_normal<T>(size.rows * size.n, seed);
  for (int64_t i = 0; i < size.rows; ++i)
    for (int64_t j = 0; j < size.n; ++j) {
      T& v = x[i * size.n + j];
      v = i % 3 == 0 ? v : i % 3 == 1 ? v * 20 : v + 1000;
    }
  return x;
}

template <class T>
void check_softmax(Size size, const std::vector<T>& x, size_t shift, bool in_place) {
  const auto [rows, n] = size;
  Wide y_expected, y_tolerance, log_expected, log_tolerance, lse_expected, lse_tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    const Reference r(n, &x[i * n]);
    for (int64_t j = 0; j < n; ++j) {
      const long double distance = std::abs(x[i * n + j] - r.max);
      y_expected.push_back(r.softmax[j]);
      y_tolerance.push_back((4 + distance) * (kEps<T> * r.softmax[j] + kTiny<T>));
      log_expected.push_back(r.log_softmax[j]);
      log_tolerance.push_back(kEps<T> * (3 * std::max(std::abs(r.log_softmax[j]), distance) + r.terms) + 2 * kSum);
    }
    lse_expected.push_back(r.lse);
    lse_tolerance.push_back(kEps<T> * (2 * std::max(std::abs(r.lse), std::abs(r.max)) + r.terms) + 2 * kSum);
  }
  const auto run = [&](auto kernel) {
    const Guarded<T> in(x, shift), out(x.size(), shift);
    kernel(rows, n, in.data(), in_place ? in.data() : out.data());
    return (in_place ? in : out).host(__LINE__);
  };
  const auto& k = kernels<T>();
  const auto softmax = run(k.softmax), log_softmax = run(k.log_softmax);
  COMPARE(size, softmax, y_expected, y_tolerance);
  COMPARE(size, log_softmax, log_expected, log_tolerance);
  CHECK_SAME("a second softmax", size, run(k.softmax), softmax);
  CHECK_SAME("a second log_softmax", size, run(k.log_softmax), log_softmax);

  const Guarded<T> in(x, shift), out(rows);
  k.logsumexp(rows, n, in.data(), out.data());
  const auto logsumexp = out.host(__LINE__);
  COMPARE(size, logsumexp, lse_expected, lse_tolerance);
}

template <class T>
void softmax_of_sizes() {
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1})
      check_softmax<T>(size, logits<T>(size, unsigned(size.n)), shift, shift == size_t(size.n / 4 % 2));
}

TEST(softmax_f32) { softmax_of_sizes<float>(); }
TEST(softmax_f64) { softmax_of_sizes<double>(); }

/// Rows with the special values at places that different threads, and in long rows different tiles, see.
template <class T>
std::vector<std::vector<T>> special_rows(int64_t n) {
  const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T largest = std::numeric_limits<T>::max();
  const std::vector<std::vector<T>> some = {{},
                                            {nan},
                                            {inf},
                                            {-inf},
                                            {nan, inf},
                                            {nan, -inf},
                                            {inf, inf},
                                            {-inf, inf},
                                            {largest},
                                            {-largest, largest},
                                            {T(1e4), T(-1e4)},
                                            {largest, inf},
                                            {0, T(-0.)}};
  std::vector<std::vector<T>> rows;
  for (const T rest : {T(1), -inf, T(-1e4), nan, -largest})
    for (const auto& values : some)
      for (const int64_t first : {int64_t(0), n / 2, n - 1}) {
        std::vector<T> row(n, rest);
        for (size_t i = 0; i < values.size(); ++i) row[(first + i * (n - 1)) % n] = values[i];
        rows.push_back(row);
      }
  return rows;
}

template <class T>
void softmax_of_special_values() {
  for (const int64_t n : {1, 2, 3, 17, 150, 2500, 8500}) {
    if (n > 2048 && sizeof(T) == 8 && n > 2500) continue;
    std::vector<T> x;
    int64_t rows = 0;
    for (const auto& row : special_rows<T>(n)) {
      if (n > 200 && rows++ % 7) continue;  // some of them: long rows take time
      x.insert(x.end(), row.begin(), row.end());
    }
    check_softmax<T>({int64_t(x.size()) / n, n}, x, 0, false);
  }
}

TEST(softmax_special_values_f32) { softmax_of_special_values<float>(); }
TEST(softmax_special_values_f64) { softmax_of_special_values<double>(); }

/// The maximum is in a later tile, which may come after tiles of -inf.
TEST(softmax_of_tiles_that_differ) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const Size size{4, 17000};
  std::vector<float> x = random_normal<float>(size.rows * size.n, 3);
  for (int64_t j = 0; j < size.n; ++j) {
    x[j] += float(j / 100);                                         // ever larger
    x[size.n + j] -= float(j / 100);                                // ever smaller
    x[2 * size.n + j] = j < 8192 ? -inf : x[2 * size.n + j] - 500;  // exp(0 - base) would overflow
    x[3 * size.n + j] = j == 16500 ? -3e38f : -inf;
  }
  check_softmax<float>(size, x, 0, false);
  check_softmax<float>(size, x, 1, true);
}

/// dx is an array of its own, g or y.
template <class T>
void check_softmax_backward(Size size, size_t shift, int alias) {
  const auto& k = kernels<T>();
  const auto [rows, n] = size;
  const std::vector<T> g = random_normal<T>(rows * n, 1), x = logits<T>(size, 2);
  std::vector<T> p(rows * n), log_p(rows * n);
  Wide expected, tolerance, log_expected, log_tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    const Reference r(n, &x[i * n]);
    std::copy(r.softmax.begin(), r.softmax.end(), p.begin() + i * n);
    std::copy(r.log_softmax.begin(), r.log_softmax.end(), log_p.begin() + i * n);
    long double dot = 0, dot_size = 0, sum = 0, sum_size = 0;
    for (int64_t j = i * n; j < (i + 1) * n; ++j) {
      dot += (long double)g[j] * p[j], dot_size += std::abs((long double)g[j] * p[j]);
      sum += g[j], sum_size += std::abs(g[j]);
    }
    for (int64_t j = i * n; j < (i + 1) * n; ++j) {
      const long double e = std::exp((long double)log_p[j]);
      expected.push_back(p[j] * (g[j] - dot));
      tolerance.push_back(kEps<T> * std::abs(p[j]) * (std::abs(g[j]) + 7 * dot_size) + kTiny<T>);
      log_expected.push_back(g[j] - e * sum);
      log_tolerance.push_back(kEps<T> * (std::abs(g[j]) + 7 * e * sum_size) + kTiny<T>);
    }
  }
  const auto run = [&](auto kernel, const std::vector<T>& y) {
    const Guarded<T> g_in(g, shift), y_in(y, shift), own(y.size(), shift);
    const auto& out = alias == 0 ? own : alias == 1 ? g_in : y_in;
    kernel(rows, n, g_in.data(), y_in.data(), out.data());
    return out.host(__LINE__);
  };
  const auto dx = run(k.softmax_backward, p), log_dx = run(k.log_softmax_backward, log_p);
  COMPARE(size, dx, expected, tolerance);
  COMPARE(size, log_dx, log_expected, log_tolerance);
  CHECK_SAME("a second softmax_backward", size, run(k.softmax_backward, p), dx);
  CHECK_SAME("a second log_softmax_backward", size, run(k.log_softmax_backward, log_p), log_dx);
}

template <class T>
void softmax_backward_of_sizes() {
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) check_softmax_backward<T>(size, shift, int(size.n + shift) % 3);
}

TEST(softmax_backward_f32) { softmax_backward_of_sizes<float>(); }
TEST(softmax_backward_f64) { softmax_backward_of_sizes<double>(); }

template <class T>
void check_cross_entropy(Size size, const std::vector<T>& x, const std::vector<int64_t>& label, size_t shift,
                         bool in_place) {
  const auto [rows, n] = size;
  const auto& k = kernels<T>();
  const std::vector<T> g = random_normal<T>(rows, 5);
  Wide loss_expected, loss_tolerance, lse_expected, lse_tolerance;
  for (int64_t i = 0; i < rows; ++i) {
    const Reference r(n, &x[i * n]);
    const long double distance = x[i * n + label[i]] - r.max;
    loss_expected.push_back(r.log_sum - distance);
    loss_tolerance.push_back(kEps<T> * (3 * std::max(std::abs(r.log_sum), std::abs(distance)) + r.terms) + 2 * kSum);
    lse_expected.push_back(r.lse);
    lse_tolerance.push_back(kEps<T> * (2 * std::max(std::abs(r.lse), std::abs(r.max)) + r.terms) + 2 * kSum);
  }
  const Guarded<T> x_in(x, shift), loss_out(rows, 1), lse_out(rows), own(x.size(), shift);
  const DeviceArray<int64_t> label_in(label);
  const DeviceArray<T> g_in(g);
  k.cross_entropy(rows, n, x_in.data(), label_in.data(), loss_out.data(), lse_out.data());
  const auto loss = loss_out.host(__LINE__), lse = lse_out.host(__LINE__);
  COMPARE(size, loss, loss_expected, loss_tolerance);
  COMPARE(size, lse, lse_expected, lse_tolerance);

  Wide expected, tolerance;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const T d = x[i * n + j] - lse[i];
      const long double p = std::isinf(lse[i]) ? NAN : std::exp((long double)d);  // where there is no softmax
      expected.push_back(g[i] * (j == label[i] ? p - 1 : p));
      tolerance.push_back(2 * kEps<T> * std::abs(g[i]) * std::max(p, 0.5L * (j == label[i])) + kTiny<T>);
    }
  const Guarded<T>& out = in_place ? x_in : own;
  k.cross_entropy_backward(rows, n, g_in.data(), x_in.data(), label_in.data(), lse_out.data(), out.data());
  const auto dx = out.host(__LINE__);
  COMPARE(size, dx, expected, tolerance);
}

template <class T>
void cross_entropy_of_sizes() {
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1}) {
      std::vector<int64_t> label = random_integers(size.rows, 0, size.n, 7);
      if (size.rows > 2) label[0] = 0, label[1] = size.n - 1;
      check_cross_entropy<T>(size, logits<T>(size, 6), label, shift, shift == size_t(size.n / 4 % 2));
    }
  for (const int64_t n : {1, 3, 150}) {
    std::vector<T> x;
    for (const auto& row : special_rows<T>(n)) x.insert(x.end(), row.begin(), row.end());
    const int64_t rows = int64_t(x.size()) / n;
    for (const int64_t label : {int64_t(0), n / 2})
      check_cross_entropy<T>({rows, n}, x, std::vector<int64_t>(rows, label), 0, false);
  }
}

TEST(cross_entropy_f32) { cross_entropy_of_sizes<float>(); }
TEST(cross_entropy_f64) { cross_entropy_of_sizes<double>(); }

/// Losses of confident predictions keep their relative accuracy.
TEST(cross_entropy_close_to_zero) {
  for (const int64_t n : {2, 10, 1000, 9000}) {
    std::vector<float> x(n * 3, -15.0f);
    for (int64_t i = 0; i < 3; ++i) x[i * n + (n - 1) * i / 2] = 0;
    check_cross_entropy<float>({3, n}, x, {0, (n - 1) / 2, n - 1}, 0, false);
  }
}

/// Rows that clusters take, and longer ones.
template <class T>
void softmax_of_long_rows() {
  const int64_t block = sizeof(T) == 4 ? 32768 : 16384;
  for (const int64_t n : {block, block + 1, 2 * block + 4, 8 * block, 8 * block + 4}) {
    const Size size{1, n};
    std::vector<T> x = logits<T>(size, unsigned(n));
    check_softmax<T>(size, x, 0, false);
    x[size_t(n - 1)] = 50;  // the maximum in the last block's slice
    check_softmax<T>(size, x, n % 4 ? 1 : 0, true);
  }
}
template <class T>
void softmax_backward_of_long_rows() {
  const int64_t block = sizeof(T) == 4 ? 16384 : 8192;
  for (const int64_t n : {block, block + 1, 4 * block + 4, 8 * block + 4, 16 * block, 16 * block + 4})
    check_softmax_backward<T>({1, n}, size_t(n % 4), int(n % 3));
}
TEST(softmax_backward_of_long_rows_f32) { softmax_backward_of_long_rows<float>(); }
TEST(softmax_backward_of_long_rows_f64) { softmax_backward_of_long_rows<double>(); }

TEST(softmax_of_long_rows_f32) { softmax_of_long_rows<float>(); }
TEST(softmax_of_long_rows_f64) { softmax_of_long_rows<double>(); }

/// NaN, infinities, and rows of -inf alone, in one block's slice or in all.
TEST(softmax_special_values_in_clusters) {
  constexpr int64_t n = 70000;
  std::vector<float> x;
  int64_t rows = 0;
  for (const auto& row : special_rows<float>(n))
    if (rows++ % 19 == 0) x.insert(x.end(), row.begin(), row.end());
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (const float last : {-inf, 1.0f, -3e38f, inf, std::numeric_limits<float>::quiet_NaN()}) {
    x.insert(x.end(), n, -inf);
    x.back() = last;
  }
  check_softmax<float>({int64_t(x.size()) / n, n}, x, 0, false);
}

}  // namespace
