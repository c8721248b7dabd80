// The kernels over rows against plain loops in long double. Their formulas are the documented ones, so that NaN and
// infinities come out as on the CPU.
#include <algorithm>
#include <numeric>

#include "testing.h"

namespace steep::cuda {
void fill_softmax(Table& table);
void fill_cross_entropy(Table& table);
void fill_layer_norm(Table& table);
}  // namespace steep::cuda

using namespace steep;
using namespace steep::testing;

namespace {

using Wide = std::vector<long double>;

const cuda::Table& table() {
  static const cuda::Table filled = [] {
    cuda::Table t{};
    cuda::fill_softmax(t), cuda::fill_cross_entropy(t), cuda::fill_layer_norm(t);
    return t;
  }();
  return filled;
}
template <class T>
const RowKernels<T>& kernels() {
  if constexpr (sizeof(T) == 4)
    return table().rows_f32;
  else
    return table().rows_f64;
}

template <class T>
constexpr long double kEps = std::numeric_limits<T>::epsilon();
constexpr long double kSum = std::numeric_limits<double>::epsilon();  // of sums of at least 1, which are doubles
template <class T>
constexpr long double kTiny = std::numeric_limits<T>::denorm_min();

struct Size {
  int64_t rows, n;
};
// Around 1, 2, … lanes, a warp, the elements of a warp, of a block, and of a tile of either type, with one or two inputs.
const Size kSizes[] = {{0, 5},   {1, 1},   {5, 1},    {300, 2},  {7, 3},    {129, 4},  {33, 5},  {70, 10},
                       {9, 31},  {5, 32},  {9, 33},   {6, 63},   {3, 64},   {5, 65},   {3, 127}, {5, 128},
                       {3, 129}, {4, 132}, {3, 255},  {3, 256},  {2, 257},  {3, 511},  {2, 512}, {3, 513},
                       {2, 516}, {3, 768}, {3, 1000}, {2, 2047}, {2, 2048}, {2, 2052}, {1, 4097}, {2, 8192},
                       {1, 8196}, {1, 16385}, {1, 20000}};

/// An output: `n` elements behind `shift`, with others around them that must not be touched.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t n, size_t shift = 0) : n_(n), all_(std::vector<T>(n + 2 * kGuard + shift, T(-77))), shift_(shift) {}
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
void compare(int line, const char* what, Size size, const std::vector<T>& got, const Wide& expected,
             const Wide& tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    const long double e = expected[i], g = got[i];
    if (std::isnan(e) ? std::isnan(g) : T(e) == got[i] || std::abs(g - e) <= tolerance[i]) continue;
    char text[240];
    std::snprintf(text, sizeof text, "%s %zu bytes (%ld, %ld): [%zu] is %.17Lg, expected %.17Lg ± %.3Lg", what, sizeof(T),
                  long(size.rows), long(size.n), i, g, e, tolerance[i]);
    return fail(__FILE__, line, text);
  }
}
#define COMPARE(size, got, expected, tolerance) compare(__LINE__, #got, size, got, expected, tolerance)

template <class T>
bool check_same(int line, const char* what, Size size, const std::vector<T>& a, const std::vector<T>& b) {
  if (same_bits(a, b)) return true;
  fail(__FILE__, line, std::string(what) + " differs: (" + std::to_string(size.rows) + ", " + std::to_string(size.n) + ")");
  return false;
}
#define CHECK_SAME(what, size, a, b) check_same(__LINE__, what, size, a, b)

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
  const std::vector<std::vector<T>> some = {{},         {nan},       {inf},        {-inf},      {nan, inf}, {nan, -inf},
                                            {inf, inf}, {-inf, inf}, {largest},    {-largest, largest},
                                            {T(1e4), T(-1e4)},       {largest, inf}, {0, T(-0.)}};
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
    x[j] += float(j / 100);                                        // ever larger
    x[size.n + j] -= float(j / 100);                               // ever smaller
    x[2 * size.n + j] = j < 8192 ? -inf : x[2 * size.n + j] - 500;  // exp(0 - base) would overflow
    x[3 * size.n + j] = j == 16500 ? -3e38f : -inf;
  }
  check_softmax<float>(size, x, 0, false);
  check_softmax<float>(size, x, 1, true);
}

template <class T>
void softmax_backward_of_sizes() {
  const auto& k = kernels<T>();
  for (const Size size : kSizes)
    for (const size_t shift : {0, 1})
      for (const int alias : {0, 1, 2}) {  // dx is an array of its own, g or y
        if (alias != int(size.n + shift) % 3) continue;
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
      const long double p = std::exp((long double)d);
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
    for (const int64_t label : {int64_t(0), n / 2}) check_cross_entropy<T>({rows, n}, x, std::vector<int64_t>(rows, label), 0, false);
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
      tolerance.push_back(4 * kEps<T> * (std::abs(normal * weight) + std::abs(bias) + std::abs(weight) * (1 + spread * r)));
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
  for (const double eps : {1e-5, 1.0}) check_layer_norm<T>({2, 40}, {x.begin(), x.begin() + 80}, eps, false, false, 0, false);
  x[90] = std::numeric_limits<T>::infinity();
  x[130] = std::numeric_limits<T>::quiet_NaN();
  check_layer_norm<T>({4, 40}, x, 1e-5, true, true, 0, false);
}

TEST(layer_norm_f32) { layer_norm_of_sizes<float>(); }
TEST(layer_norm_f64) { layer_norm_of_sizes<double>(); }

/// Sums of squares beyond the range of float32 don't overflow.
TEST(layer_norm_of_large_numbers) {
  std::vector<float> x = random_normal<float>(3 * 9000, 12, 5e17);
  check_layer_norm<float>({3, 9000}, x, 1e-5, false, false, 0, false);
}

struct Wanted {
  bool dx, dweight, dbias;
};

template <class T>
void check_layer_norm_backward(Size size, bool with_weight, Wanted wanted, size_t shift, int alias) {
  const auto [rows, n] = size;
  const std::vector<T> g = random_normal<T>(rows * n, 1), x = random_normal<T>(rows * n, 2, 3), w = random_normal<T>(n, 3);
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
  if (wanted.dweight) COMPARE(size, dweight, dw_expected, dw_tolerance);
  else CHECK_SAME("dweight", size, dweight, start);
  if (wanted.dbias) COMPARE(size, dbias, db_expected, db_tolerance);
  else CHECK_SAME("dbias", size, dbias, start);
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
      const Wanted all[] = {{true, true, true}, {true, false, true}, {true, true, false}, {false, true, true}, {true, false, false}};
      check_layer_norm_backward<T>(size, number % 3, all[number % 4 == 3 ? number / 4 % 5 : 0], shift, number % 3);
    }
}

TEST(layer_norm_backward_f32) { layer_norm_backward_of_sizes<float>(); }
TEST(layer_norm_backward_f64) { layer_norm_backward_of_sizes<double>(); }

/// Teams of many rows, in registers and in memory.
TEST(layer_norm_backward_of_many_rows) {
  const int64_t busy = cuda::device_limits().multiprocessors * 512;
  check_layer_norm_backward<float>({busy * 3 + 5, 3}, true, {true, true, true}, 0, 0);
  check_layer_norm_backward<float>({busy / 32 * 5 + 3, 140}, true, {true, true, true}, 1, 1);
  check_layer_norm_backward<float>({busy / 512 * 5 + 1, 4500}, true, {true, true, true}, 0, 2);
  check_layer_norm_backward<double>({busy / 512 * 3 + 1, 2500}, true, {true, true, true}, 1, 0);
}

}  // namespace
