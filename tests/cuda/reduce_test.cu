// Reductions and argmax/argmin against plain loops in long double: any sizes, nests of axes, alignments and dtypes.
#include <algorithm>
#include <numeric>

#include "core/reduce_plan.h"
#include "testing.h"

namespace steep::cuda {
void fill_reduce(std::span<ReduceKernel> reduce, std::span<ArgReduceKernel> arg_reduce);
}

namespace steep::testing {
namespace {

using cuda::fill_reduce;

enum Op { kSum, kProd, kMax, kMin, kAny, kAll };
constexpr Op kOps[] = {kSum, kProd, kMax, kMin, kAny, kAll};

struct Rows {
  ReduceKernel reduce[6] = {};
  ArgReduceKernel arg[2] = {};
  Rows() {
    const char* names[] = {"sum", "prod", "max", "min", "any", "all"};
    for (int i = 0; i < 6; ++i) reduce[i].name = names[i];
    arg[0].name = "argmax", arg[1].name = "argmin";
    fill_reduce(reduce, arg);
  }
};
const Rows& rows() {
  static const Rows all;
  return all;
}

/// What an operation gives for elements of T.
template <Op op, class T>
using Result =
    std::conditional_t<(op == kAny || op == kAll), uint8_t,
                       std::conditional_t<(op == kMax || op == kMin || std::is_floating_point_v<T>), T, int64_t>>;

/// An array of any strides: the elements, and where in memory its first one is.
struct View {
  Dims shape, strides;
  int64_t origin = 0, memory = 1;  // elements
};

View contiguous(const Dims& shape) {
  View v{shape, shape};
  for (int d = shape.n - 1; d >= 0; --d) {
    v.strides[d] = v.memory;
    v.memory *= std::max<int64_t>(1, shape[d]);
  }
  return v;
}

void push(Dims& dims, int64_t x) { dims.v[dims.n++] = x; }

int64_t elements(const Dims& shape) {
  int64_t n = 1;
  for (const int64_t extent : shape) n *= extent;
  return n;
}

int64_t offset(const Dims& shape, const Dims& strides, int64_t index) {
  int64_t at = 0;
  for (int d = shape.n - 1; d >= 0; --d) {
    at += index % shape[d] * strides[d];
    index /= shape[d];
  }
  return at;
}

std::string text_of(const View& v) {
  std::string text;
  for (int d = 0; d < v.shape.n; ++d) text += std::to_string(v.shape[d]) + " by " + std::to_string(v.strides[d]) + ", ";
  return text + "axes";
}

/// The axes in `mask` or the others; neighbours that are crossed in even steps are one, as the engine has them.
void nest(const View& v, unsigned mask, bool reduced, Dims& shape, Dims& strides) {
  for (int d = 0; d < v.shape.n; ++d) {
    if (bool(mask >> d & 1) != reduced || v.shape[d] == 1) continue;
    const int last = shape.n - 1;
    if (last >= 0 && strides[last] == v.strides[d] * v.shape[d]) {
      shape[last] *= v.shape[d];
      strides[last] = v.strides[d];
    } else {
      push(shape, v.shape[d]);
      push(strides, v.strides[d]);
    }
  }
}

/// One result, its sum of magnitudes and the number of its elements.
struct Expected {
  long double value, size;
};

template <Op op, class T>
Expected expected(const T* x, const ReducePlan& plan, int64_t kept) {
  const int64_t n = elements(plan.reduced_shape), base = offset(plan.kept_shape, plan.kept_strides, kept);
  long double value = op == kProd || op == kAll ? 1 : op == kMax || op == kMin ? NAN : 0, size = 0;
  uint64_t wrapped = op == kProd ? 1 : 0;
  bool has_nan = false;
  for (int64_t r = 0; r < n; ++r) {
    const T e = x[base + offset(plan.reduced_shape, plan.reduced_strides, r)];
    size += std::abs((long double)e);
    has_nan |= e != e;
    if (op == kSum) value += e, wrapped += uint64_t(e);
    if (op == kProd) value *= e, wrapped *= uint64_t(e);
    if (op == kMax && (r == 0 || e > value)) value = e;
    if (op == kMin && (r == 0 || e < value)) value = e;
    if (op == kAny) value = value != 0 || e != 0;
    if (op == kAll) value = value != 0 && e != 0;
  }
  if (has_nan && (op == kMax || op == kMin)) value = NAN;
  if (std::is_integral_v<T> && (op == kSum || op == kProd)) value = (long double)(int64_t(wrapped));
  return {value, size};
}

template <Op op, class T>
void check(const std::vector<T>& memory, size_t shift, const View& v, unsigned mask) {
  using R = Result<op, T>;
  ReducePlan plan{};
  nest(v, mask, false, plan.kept_shape, plan.kept_strides);
  nest(v, mask, true, plan.reduced_shape, plan.reduced_strides);
  const int64_t kept = elements(plan.kept_shape), n = elements(plan.reduced_shape);
  if (n == 0 && (op == kMax || op == kMin)) return;
  const DeviceArray<T> x(memory, shift);
  const DeviceArray<R> y(std::vector<R>(size_t(kept), R(77)), shift);
  plan.x = x.data() + v.origin, plan.y = y.data();
  const auto launch = rows().reduce[op].launch[testing::dtype<T>];
  launch(plan);
  const std::vector<R> got = y.host();
  launch(plan);
  CHECK(same_bits(y.host(), got));
  constexpr long double eps = std::is_floating_point_v<T> ? std::numeric_limits<T>::epsilon() : 0;
  for (int64_t i = 0; i < kept; ++i) {
    const Expected e = expected<op>(memory.data() + v.origin, plan, i);
    // A float32 sum is rounded in trees of 8 elements, and once at the end; a float64 sum in trees of 4 and of 256
    // threads. Products are in double precision.
    long double bound = 0;
    if (op == kSum) bound = (sizeof(T) == 4 ? 2.01l : 6) * eps * e.size;
    if (op == kProd) bound = (sizeof(T) == 4 ? 0.51l : 0.5l * n + 1) * eps * std::abs(e.value);
    const long double g = got[i];
    if (std::isnan(e.value) ? std::isnan(g) : g == e.value || std::abs(g - e.value) <= bound) continue;
    char text[300];
    std::snprintf(text, sizeof text, "%s(%s) of %s %u, shift %zu: [%lld] is %.19Lg, expected %.19Lg ± %Lg",
                  rows().reduce[op].name, name(testing::dtype<T>), text_of(v).c_str(), mask, shift, (long long)i, g,
                  e.value, bound);
    return fail(__FILE__, __LINE__, text);
  }
}

/// Numbers whose sums and products are not trivial, a few of them zeros.
template <class T>
std::vector<T> numbers(int64_t n, unsigned seed) {
  std::vector<T> x(static_cast<size_t>(n));
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  for (T& e : x) {
    const double z = normal(generator);
    if constexpr (std::is_same_v<T, uint8_t>)
      e = z < -0.5;
    else if constexpr (std::is_integral_v<T>)
      e = T(z * (sizeof(T) == 4 ? 1e9 : 4e18));
    else
      e = std::abs(z) < 0.01 ? T(0) : T(z);
  }
  return x;
}

template <class T>
void check_all(const View& v, unsigned mask, size_t shift, unsigned seed) {
  std::vector<T> x = numbers<T>(v.memory, seed);
  check<kSum>(x, shift, v, mask), check<kMax>(x, shift, v, mask), check<kMin>(x, shift, v, mask);
  for (T& e : x) {  // magnitudes around 1 for products, no zeros for `all`
    if constexpr (std::is_floating_point_v<T>)
      e = std::copysign(std::exp(e / 50), e);
    else
      e = e == 0 ? T(1) : e;
  }
  check<kProd>(x, shift, v, mask), check<kAll>(x, shift, v, mask);
  x[x.size() / 2] = 0;
  check<kAll>(x, shift, v, mask);
  std::fill(x.begin(), x.end(), T(0));
  if (std::is_floating_point_v<T>) x[0] = T(-0.);
  check<kAny>(x, shift, v, mask);
  x[x.size() - 1] = T(1);
  check<kAny>(x, shift, v, mask);
}

constexpr int64_t kLengths[] = {0, 1, 2, 3, 7, 8, 9, 31, 33, 64, 127, 128, 129, 250, 256, 257, 1000, 2049, 5000};

template <class T>
void rows_of_any_length() {
  unsigned seed = 0;
  for (const int64_t n : kLengths)
    for (const int64_t rows : {1, 3, 37}) {
      if (n * rows > 40000) continue;
      const View v = contiguous({rows, n});
      check_all<T>(v, 2, seed % 4, seed);
      ++seed;
    }
}
TEST(rows_of_bool) { rows_of_any_length<uint8_t>(); }
TEST(rows_of_int32) { rows_of_any_length<int32_t>(); }
TEST(rows_of_int64) { rows_of_any_length<int64_t>(); }
TEST(rows_of_float32) { rows_of_any_length<float>(); }
TEST(rows_of_float64) { rows_of_any_length<double>(); }

template <class T>
void columns_of_any_length() {
  unsigned seed = 100;
  for (const int64_t n : kLengths)
    for (const int64_t columns : {1, 2, 3, 31, 40, 300}) {
      if (n * columns > 20000) continue;
      check_all<T>(contiguous({n, columns}), 1, seed % 4, seed);
      ++seed;
    }
}
TEST(columns_of_bool) { columns_of_any_length<uint8_t>(); }
TEST(columns_of_int32) { columns_of_any_length<int32_t>(); }
TEST(columns_of_int64) { columns_of_any_length<int64_t>(); }
TEST(columns_of_float32) { columns_of_any_length<float>(); }
TEST(columns_of_float64) { columns_of_any_length<double>(); }

template <class T>
void several_blocks_per_result() {
  for (const size_t shift : {0, 1, 3}) {
    check_all<T>(contiguous({100'003}), 1, shift, 1);
    check_all<T>(contiguous({2, 40'001}), 2, shift, 2);
    check_all<T>(contiguous({30'001, 3}), 1, shift, 3);
    check_all<T>(contiguous({9'000, 33}), 1, shift, 4);
  }
}
TEST(several_blocks_for_bool) { several_blocks_per_result<uint8_t>(); }
TEST(several_blocks_for_int32) { several_blocks_per_result<int32_t>(); }
TEST(several_blocks_for_int64) { several_blocks_per_result<int64_t>(); }
TEST(several_blocks_for_float32) { several_blocks_per_result<float>(); }
TEST(several_blocks_for_float64) { several_blocks_per_result<double>(); }

/// Transposed, reversed, sliced and broadcast arrays of up to 6 axes, reduced over some of them.
template <class T>
void any_nest() {
  std::mt19937 generator(5);
  const auto below = [&](int n) { return int(generator() % unsigned(n)); };
  for (int trial = 0; trial < 120; ++trial) {
    View v;
    int order[kMaxNdim];
    const int ndim = 1 + below(trial % 5 ? 4 : 6);
    for (int d = 0; d < ndim; ++d) order[d] = d, push(v.shape, 1 + below(ndim < 4 ? 40 : 7)), push(v.strides, 0);
    std::shuffle(order, order + ndim, generator);
    for (int i = 0; i < ndim; ++i) {
      const int d = order[i], kind = below(8);
      if (kind == 0) continue;  // broadcast
      const int64_t step = kind == 1 ? 2 : 1;
      v.strides[d] = kind == 2 ? -v.memory : v.memory * step;
      if (kind == 2) v.origin += (v.shape[d] - 1) * v.memory;
      v.memory *= v.shape[d] * step + (kind == 3 ? 1 : 0);
    }
    check_all<T>(v, unsigned(below(1 << ndim)), size_t(below(4)), unsigned(trial));
  }
}
TEST(any_nest_of_bool) { any_nest<uint8_t>(); }
TEST(any_nest_of_int32) { any_nest<int32_t>(); }
TEST(any_nest_of_int64) { any_nest<int64_t>(); }
TEST(any_nest_of_float32) { any_nest<float>(); }
TEST(any_nest_of_float64) { any_nest<double>(); }

template <class T>
void long_axes_at_both_ends() {  // as a batch normalization has them
  check_all<T>(contiguous({40, 3, 50}), 0b101, 1, 1);
  check_all<T>(contiguous({3, 2, 7, 2, 300}), 0b10101, 0, 2);
  check_all<T>(contiguous({2, 3, 2, 3, 2, 3, 2, 3}), 0b10101010, 0, 3);
  check_all<T>(contiguous({2, 3, 2, 3, 2, 3, 2, 3}), 0b01010101, 0, 4);
  check_all<T>(contiguous({64, 2, 2100}), 0b101, 0, 5);
}
TEST(long_axes_at_both_ends_of_float32) { long_axes_at_both_ends<float>(); }
TEST(long_axes_at_both_ends_of_float64) { long_axes_at_both_ends<double>(); }

/// Sums whose magnitudes differ by eight orders, whose error a plain loop would show.
template <class T>
void sums_are_accurate() {
  std::vector<T> x = random_normal<T>(150'000, 3);
  const std::vector<T> power = random_normal<T>(x.size(), 4, 3);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::exp(power[i]);
  check<kSum>(x, 0, contiguous({150'000}), 1);
  check<kSum>(x, 1, contiguous({3, 50'000}), 2);
  check<kSum>(x, 2, contiguous({50'000, 3}), 1);
}
/// Each of the small numbers would be lost behind the large one, together they are many eps of it.
template <class T>
void small_numbers_behind_a_large_one() {
  const int64_t n = 2000, columns = 1000;
  std::vector<T> x(size_t(n * columns), std::numeric_limits<T>::epsilon() / 32);
  std::fill_n(x.begin(), columns, T(1));
  check<kSum>(x, 0, contiguous({n, columns}), 1);
}
TEST(small_float32_behind_a_large_one) { small_numbers_behind_a_large_one<float>(); }
TEST(small_float64_behind_a_large_one) { small_numbers_behind_a_large_one<double>(); }

TEST(sums_of_float32_are_accurate) { sums_are_accurate<float>(); }
TEST(sums_of_float64_are_accurate) { sums_are_accurate<double>(); }

template <class T>
void special_numbers() {
  const T inf = std::numeric_limits<T>::infinity(), nan = NAN, tiny = std::numeric_limits<T>::denorm_min();
  const std::vector<std::vector<T>> lines = {{inf, 1},     {-inf, 1}, {inf, -inf}, {nan, 1, inf}, {T(-0.), T(-0.)},
                                             {-inf, -inf}, {0, inf},  {tiny, 0},   {inf, nan},    {-inf, nan}};
  for (const auto& line : lines)
    for (const int64_t n : {2, 3, 40, 300, 3000}) {
      std::vector<T> x(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) x[size_t(i)] = line[size_t(i) % line.size()];
      const View v = contiguous({n});
      check<kSum>(x, 0, v, 1), check<kMax>(x, 0, v, 1), check<kMin>(x, 0, v, 1);
      check<kAny>(x, 0, v, 1), check<kAll>(x, 0, v, 1);
      if (line[0] != tiny) check<kProd>(x, 0, v, 1);
      std::fill(x.begin(), x.end(), T(2));  // and one anywhere
      x[size_t(n * 2 / 3)] = line[0];
      check<kSum>(x, 1, v, 1), check<kMax>(x, 1, v, 1), check<kMin>(x, 1, v, 1);
    }
}
TEST(special_float32) { special_numbers<float>(); }
TEST(special_float64) { special_numbers<double>(); }

TEST(integers_wrap_and_reach_their_bounds) {
  const auto check_bounds = []<class T>(T) {
    const T low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    for (const std::vector<T>& x : {std::vector<T>{high, 1}, {low, -1}, {high, high, high}, {low}, {high, low}}) {
      const View v = contiguous({int64_t(x.size())});
      check<kSum>(x, 0, v, 1), check<kProd>(x, 0, v, 1), check<kMax>(x, 0, v, 1), check<kMin>(x, 0, v, 1);
    }
  };
  check_bounds(int32_t());
  check_bounds(int64_t());
}

// --- argmax and argmin ----------------------------------------------------------------------------------------------

template <class T>
int64_t first_extreme(const T* x, int64_t n, bool largest) {
  int64_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] != x[i]) return i;
    if (largest ? x[i] > x[at] : x[i] < x[at]) at = i;
  }
  return at;
}

template <class T>
void check_arg(const std::vector<T>& x, int64_t rows_, int64_t n, size_t shift) {
  const DeviceArray<T> a(x, shift);
  const DeviceArray<int64_t> y(size_t(rows_), shift % 2);
  for (int which = 0; which < 2; ++which) {
    rows().arg[which].launch[testing::dtype<T>](rows_, n, a.data(), y.data());
    std::vector<int64_t> places(static_cast<size_t>(rows_));
    for (int64_t i = 0; i < rows_; ++i) places[size_t(i)] = first_extreme(x.data() + i * n, n, which == 0);
    CHECK(y.host() == places);
  }
}

template <class T>
void arg_of_any_length() {
  unsigned seed = 7;
  for (const int64_t n : kLengths)
    for (const int64_t rows_ : {0, 1, 3, 37}) {
      if (n == 0 || n * rows_ > 40000) continue;
      std::vector<T> x = numbers<T>(n * rows_, ++seed);
      check_arg(x, rows_, n, seed % 4);
      for (T& e : x) e = T(e > 0 ? 1 : 0);  // many ties
      check_arg(x, rows_, n, seed % 4);
    }
  for (const int64_t n : {100'003, 70'000}) check_arg(numbers<T>(n, 3), 1, n, 1);
  check_arg(std::vector<T>(50'000, T(1)), 1, 50'000, 0);
  check_arg(std::vector<T>(50'000, T(0)), 2, 25'000, 0);
}
TEST(arg_of_bool) { arg_of_any_length<uint8_t>(); }
TEST(arg_of_int32) { arg_of_any_length<int32_t>(); }
TEST(arg_of_int64) { arg_of_any_length<int64_t>(); }
TEST(arg_of_float32) { arg_of_any_length<float>(); }
TEST(arg_of_float64) { arg_of_any_length<double>(); }

template <class T>
void arg_of_special_numbers() {
  using Limits = std::numeric_limits<T>;
  const T inf = Limits::infinity(), nan = NAN, tiny = Limits::denorm_min();
  const std::vector<std::vector<T>> lines = {
      {T(-0.), T(0)}, {T(0), T(-0.)}, {-inf, -inf},         {inf, inf, nan},          {-inf, nan, nan},
      {-nan, inf},    {tiny, -tiny},  {Limits::max(), inf}, {Limits::lowest(), -inf}, {1, nan, 2, nan}};
  for (const auto& line : lines)
    for (const int64_t n : {1, 2, 4, 40, 300, 20'000}) {
      std::vector<T> x(static_cast<size_t>(n));
      for (int64_t i = 0; i < n; ++i) x[size_t(i)] = line[size_t(i) % line.size()];
      check_arg(x, 1, n, 1);
      x.assign(size_t(n), T(0));
      x[size_t(n) / 2] = line[0];
      check_arg(x, 1, n, 0);
    }
}
TEST(arg_of_special_float32) { arg_of_special_numbers<float>(); }
TEST(arg_of_special_float64) { arg_of_special_numbers<double>(); }

TEST(arg_of_integers_at_their_bounds) {
  for (const int64_t low : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::min() + 1})
    check_arg(std::vector<int64_t>{low, low, 0, std::numeric_limits<int64_t>::max()}, 1, 4, 0);
  check_arg(std::vector<int64_t>(300, std::numeric_limits<int64_t>::min()), 3, 100, 0);
  check_arg(std::vector<int64_t>(300, std::numeric_limits<int64_t>::max()), 3, 100, 0);
}

}  // namespace
}  // namespace steep::testing
