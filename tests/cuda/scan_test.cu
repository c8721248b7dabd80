// Scans against the same formulas in a plain loop. Integers, maxima and minima must have the same bits; sums and
// products may differ by the order of joining.
#include "core/scan_formulas.h"
#include "testing.h"

namespace steep::cuda {
void fill_scan(Table& table);
}

namespace steep::testing {
namespace {

using cuda::ScanSizes;

const cuda::Table& table() {
  static const cuda::Table all = [] {
    cuda::Table t{};
    cuda::fill_scan(t);
    return t;
  }();
  return all;
}

// Lines of a thread each, of a block each, and in pieces; short tiles, whole ones and one element more.
constexpr ScanSizes kCases[] = {
    {1, 1, 1},    {1, 7, 1},        {3, 16, 5},   {2, 17, 3},    {1, 1023, 1},  {1, 1024, 1},
    {1, 1025, 1}, {3, 300, 2},      {1, 2050, 7}, {1, 8192, 1},  {1, 8193, 1},  {2, 9000, 1},
    {1, 9000, 2}, {1, 17, 1 << 14}, {700, 20, 1}, {1100, 33, 1}, {1, 24577, 1}, {5, 1, 300},
};

template <class T>
std::vector<T> numbers(const ScanSizes& s, unsigned seed) {
  const size_t n = size_t(s.outer * s.n * s.inner);
  std::vector<T> x(n);
  const std::vector<double> normal = random_normal<double>(n, seed);
  const std::vector<int64_t> integers = random_integers(n, -1000, 1000, seed);
  for (size_t i = 0; i < n; ++i)
    if constexpr (std::is_same_v<T, uint8_t>)
      x[i] = uint8_t(integers[i] & 1);
    else
      x[i] = std::is_integral_v<T> ? T(integers[i]) : T(normal[i]);
  return x;
}

template <class Op>
void expected(const Op& op, const ScanSizes& s) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t i = 0; i < s.inner; ++i) {
      typename Op::State state = Op::init();
      for (int64_t k = 0; k < s.n; ++k) {
        const int64_t at = (o * s.n + k) * s.inner + i;
        state = Op::join(state, op.take(at, k));
        op.store(at, state);
      }
    }
}

constexpr double kNone = 1e-300;
template <class T>
constexpr double kClose = sizeof(T) == 4 ? 1e-5 : 1e-11;

template <class T>
void sums() {
  for (const ScanSizes& s : kCases) {
    const std::vector<T> x = numbers<T>(s, 1);
    const DeviceArray<T> from(x, 1), to(x.size(), 2);
    table().scan(Scan::sum, testing::dtype<T>, s, from.data(), to.data());
    std::vector<T> right(x.size());
    expected(scans::Sum<T>{x.data(), right.data()}, s);
    if constexpr (std::is_integral_v<T>) {
      CHECK(same_bits(to.host(), right));
    } else {
      CHECK_CLOSE(to.host(), right, kClose<T>, kClose<T> * 10);
    }
  }
}
TEST(sums_int64) { sums<int64_t>(); }
TEST(sums_float32) { sums<float>(); }
TEST(sums_float64) { sums<double>(); }

template <class T>
void products() {
  for (const ScanSizes& s : kCases) {
    std::vector<T> x = numbers<T>(s, 2);
    if constexpr (!std::is_integral_v<T>)
      for (T& e : x) e = T((e < 0 ? -1 : 1) * std::exp(double(e) / 100));
    const DeviceArray<T> from(x), to(x.size(), 1);
    table().scan(Scan::prod, testing::dtype<T>, s, from.data(), to.data());
    std::vector<T> right(x.size());
    expected(scans::Prod<T>{x.data(), right.data()}, s);
    if constexpr (std::is_integral_v<T>) {
      CHECK(same_bits(to.host(), right));
    } else {
      CHECK_CLOSE(to.host(), right, kClose<T>, kNone);
    }
  }
}
TEST(products_int64) { products<int64_t>(); }
TEST(products_float32) { products<float>(); }
TEST(products_float64) { products<double>(); }

template <class T>
void logsumexps() {
  for (const ScanSizes& s : kCases) {
    std::vector<T> x = numbers<T>(s, 3);
    for (size_t i = 0; i < x.size(); i += 5) x[i] = i % 2 ? T(-INFINITY) : T(20 * x[i]);
    const DeviceArray<T> from(x), to(x.size());
    table().scan(Scan::logsumexp, testing::dtype<T>, s, from.data(), to.data());
    std::vector<T> right(x.size());
    expected(scans::LogSumExp<T>{x.data(), right.data()}, s);
    CHECK_CLOSE(to.host(), right, kClose<T>, kClose<T>);
  }
}
TEST(logsumexps_float32) { logsumexps<float>(); }
TEST(logsumexps_float64) { logsumexps<double>(); }

template <class T>
void recurrences() {
  for (const ScanSizes& s : kCases) {
    std::vector<T> a = numbers<T>(s, 4), b = numbers<T>(s, 5);
    for (T& e : a) e = std::tanh(e);
    a[0] = T(NAN);  // is not read
    const DeviceArray<T> factors(a), terms(b, 1), to(b.size());
    table().linear_scan(testing::dtype<T>, s, factors.data(), terms.data(), to.data());
    std::vector<T> right(b.size());
    expected(scans::Linear<T>{a.data(), b.data(), right.data()}, s);
    CHECK_CLOSE(to.host(), right, kClose<T>, kClose<T>);
  }
}
TEST(recurrences_float32) { recurrences<float>(); }
TEST(recurrences_float64) { recurrences<double>(); }

template <class T, bool largest>
void extremes() {
  bool special = false;
  for (const ScanSizes& s : kCases) {
    special = !special;
    std::vector<T> x = numbers<T>(s, 6);
    if constexpr (!std::is_integral_v<T>)
      for (size_t i = 0; special && i < x.size(); ++i)  // where nothing is better than what there is at first
        x[i] = i < x.size() / 2 ? T(largest ? -INFINITY : INFINITY) : i % 701 == 0 ? T(NAN) : x[i];
    const DeviceArray<T> from(x), to(x.size(), 1);
    const DeviceArray<int64_t> index(x.size());
    table().extreme_scan(largest, testing::dtype<T>, s, from.data(), to.data(), index.data());
    std::vector<T> right(x.size());
    std::vector<int64_t> places(x.size());
    expected(scans::Extreme<T, largest>{x.data(), right.data(), places.data()}, s);
    CHECK(same_bits(to.host(), right));
    CHECK(index.host() == places);
  }
}
TEST(largest_bool) { extremes<uint8_t, true>(); }
TEST(largest_int32) { extremes<int32_t, true>(); }
TEST(largest_int64) { extremes<int64_t, true>(); }
TEST(largest_float32) { extremes<float, true>(); }
TEST(largest_float64) { extremes<double, true>(); }
TEST(smallest_bool) { extremes<uint8_t, false>(); }
TEST(smallest_int32) { extremes<int32_t, false>(); }
TEST(smallest_int64) { extremes<int64_t, false>(); }
TEST(smallest_float32) { extremes<float, false>(); }
TEST(smallest_float64) { extremes<double, false>(); }

TEST(same_bits_every_time) {
  const ScanSizes s{1, 50000, 1};
  const std::vector<float> x = numbers<float>(s, 7);
  const DeviceArray<float> from(x), first(x.size()), second(x.size());
  table().scan(Scan::sum, DType::float32, s, from.data(), first.data());
  table().scan(Scan::sum, DType::float32, s, from.data(), second.data());
  CHECK(same_bits(first.host(), second.host()));
}

}  // namespace
}  // namespace steep::testing
