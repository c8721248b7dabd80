// Softmax and its relatives, and cross-entropy, against plain loops in long double. The formulas are the documented
// ones, so that NaN and infinities come out as on the CPU.
#include "cuda/rows.cuh"

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

/// Overwrites its input in the first sweep, and stores in the second what it still has of it.
template <class T>
struct Remember {
  static constexpr int kPasses = 2;
  T *x, *y;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    row.sweep(kPasses, index, {x}, {T(0)}, [&](auto at) {
      const T zeros[Row::kCount] = {};
      if (at.pass == 0)
        row.store_matrix(x, zeros);
      else
        row.store_matrix(y, row.v[0]);
    });
  }
};
/// The same by clusters, whose blocks wait for each other once.
template <class T>
struct RememberInClusters : Remember<T> {
  static constexpr bool kClusters = true;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    row.all_max(T(0));
    Remember<T>::operator()(row, index);
  }
};

/// Rows longer than a tile are read from memory once as far as shared memory holds them.
template <class T>
void rows_are_kept() {
  const int64_t tile = kMostThreads * kPer<T, 1>, rows = 3;
  for (const int64_t n : {tile, 2 * tile, 2 * tile + 1, 3 * tile, 9 * tile - 4}) {
    const std::vector<T> x = random_normal<T>(rows * n, 5);
    const Guarded<T> in(x), out(x.size());
    const RowPlan plan = plan_rows<T, 1>(rows, n, 2, {in.data(), out.data()});
    CHECK(plan.kept < plan.tiles && plan.tiles == ceil_div(n, tile));
    if (device_limits().shared_bytes_per_block > 100'000) CHECK(plan.kept >= std::min<int64_t>(2, plan.tiles - 1));
    launch_rows<T, 1>("remember", rows, n, {in.data(), out.data()}, Remember<T>{in.data(), out.data()});
    std::vector<T> expected = x;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = plan.kept * tile; j < (plan.tiles - 1) * tile; ++j) expected[i * n + j] = 0;
    CHECK_SAME("what has been kept", (Size{rows, n}), out.host(__LINE__), expected);
  }
}

/// With clusters all of them are, up to a length.
template <class T>
void clusters_keep_rows() {
  if (device_limits().capability < 90) return;
  const int64_t tile = kMostThreads * kPer<T, 1>, rows = 2;
  for (const int64_t n : {9 * tile - 4, 9 * tile + 1, 20 * tile + 12}) {
    const std::vector<T> x = random_normal<T>(rows * n, 5);
    const Guarded<T> in(x), out(x.size());
    CHECK((plan_rows<T, 1>(rows, n, 2, {in.data(), out.data()}, true).blocks > 1));
    launch_rows<T, 1>("remember", rows, n, {in.data(), out.data()}, RememberInClusters<T>{{in.data(), out.data()}});
    CHECK_SAME("what has been kept", (Size{rows, n}), out.host(__LINE__), x);
  }
}

TEST(rows_are_kept_f32) { rows_are_kept<float>(); }
TEST(rows_are_kept_f64) { rows_are_kept<double>(); }
TEST(clusters_keep_rows_f32) { clusters_keep_rows<float>(); }
TEST(clusters_keep_rows_f64) { clusters_keep_rows<double>(); }

/// Rows around every switch of the plan, on an H200 and on devices that have less.
TEST(plans_of_rows) {
  constexpr DeviceLimits h200{132, 227 << 10, 228 << 10, 90}, a100{108, 163 << 10, 164 << 10, 80},
      turing{40, 64 << 10, 64 << 10, 75};
  const RowFootprint forward{4, 1, 16, 2, 1024, true}, backward{4, 2, 8, 2, 1024, true},
      doubles{8, 1, 4, 2, 1024, true};
  struct Expected {
    int threads;
    int64_t tiles;
    int kept, blocks;
  };
  const auto is = [](const RowPlan& plan, Expected e) {
    return plan.threads == e.threads && plan.tiles == e.tiles && plan.kept == e.kept && plan.blocks == e.blocks;
  };
  const auto on = [&](const DeviceLimits& limits, const RowFootprint& of, int64_t n) {
    return plan_row(7, n, true, of, limits);
  };
  CHECK(is(on(h200, forward, 1), {1, 1, 0, 1}));
  CHECK(is(on(h200, forward, 5), {2, 1, 0, 1}));
  CHECK(is(on(h200, forward, 128), {32, 1, 0, 1}));
  CHECK(is(on(h200, forward, 132), {32, 1, 0, 1}));
  CHECK(is(on(h200, forward, 516), {64, 1, 0, 1}));
  CHECK(is(on(h200, forward, 8192), {512, 1, 0, 1}));
  CHECK(is(on(h200, forward, 8196), {512, 2, 1, 1}));
  CHECK(is(on(h200, forward, 32768), {512, 4, 3, 1}));
  CHECK(is(on(h200, forward, 32772), {512, 3, 2, 2}));
  CHECK(is(on(h200, forward, 65536), {512, 4, 3, 2}));
  CHECK(is(on(h200, forward, 65540), {512, 3, 2, 4}));
  CHECK(is(on(h200, forward, 131076), {512, 3, 2, 8}));
  CHECK(is(on(h200, forward, 262144), {512, 4, 3, 8}));
  CHECK(is(on(h200, forward, 262148), {512, 5, 4, 8}));
  CHECK(is(on(h200, forward, 524288), {512, 8, 7, 8}));
  CHECK(is(on(h200, forward, 524292), {512, 65, 3, 1}));  // too long: read again
  CHECK(is(on(h200, backward, 16384), {512, 4, 3, 1}));
  CHECK(is(on(h200, backward, 16388), {512, 3, 2, 2}));
  CHECK(is(on(h200, backward, 262144), {512, 8, 7, 8}));
  CHECK(is(on(h200, backward, 262148), {512, 65, 3, 1}));
  CHECK(is(on(h200, doubles, 16384), {512, 8, 7, 1}));
  CHECK(is(on(h200, doubles, 16386), {512, 5, 4, 2}));
  CHECK(is(on(h200, {4, 1, 16, 1, 1024, true}, 262144), {512, 32, 0, 1}));  // one sweep
  CHECK(is(on(h200, {4, 1, 16, 3, 1024, true}, 24576), {512, 3, 3, 1}));    // three: the last tile is kept, too
  CHECK(is(on(h200, {4, 1, 16, 3, 1024, true}, 24580), {512, 2, 2, 2}));
  CHECK(is(on(h200, {4, 1, 16, 2, 1024, false}, 262144), {512, 32, 3, 1}));  // not made for clusters
  CHECK(is(on(a100, forward, 262144), {512, 32, 2, 1}));
  CHECK(is(on(turing, forward, 262144), {512, 32, 0, 1}));
  for (int64_t n = 129; n < 600'000; n += 4093)
    for (const RowFootprint& of : {forward, backward, doubles}) {
      const RowPlan plan = on(h200, of, n);
      const int64_t tile = int64_t(plan.threads) * of.per;
      CHECK(plan.slice * plan.blocks >= n && plan.tiles == ceil_div(plan.slice, tile));
      CHECK(plan.blocks == 1 || plan.slice % (16 / of.item_bytes) == 0);
      CHECK(plan.kept * tile * of.inputs * of.item_bytes + of.scratch_bytes <= h200.shared_bytes_per_block);
      CHECK(plan.vectors == (n % (16 / of.item_bytes) == 0));
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
