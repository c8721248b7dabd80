// The elementwise loop, casts, copies and choices: any sizes, strides, alignments and dtypes.
#include "cuda/elementwise.cuh"

#include "testing.h"

namespace steep::cuda {
void fill_cast(Kernels& kernels);
}

namespace steep::cuda {
namespace {

struct MultiplyAdd {
  STEEP_INLINE float operator()(float a, float b, Unread) const { return a * b + 1; }
};

template <class T>
struct Negate {
  STEEP_INLINE T operator()(T x) const { return T(-x); }
};

ElementwisePlan plan_of(const Dims& shape, std::initializer_list<int64_t> items, std::initializer_list<char*> data,
                        std::initializer_list<Dims> strides) {
  ElementwisePlan plan;
  plan.operands = int(items.size());
  plan.shape = shape;
  std::copy(items.begin(), items.end(), plan.item);
  std::copy(data.begin(), data.end(), plan.data);
  std::copy(strides.begin(), strides.end(), plan.strides);
  return plan;
}

template <class T>
char* bytes(const testing::DeviceArray<T>& a) {
  return reinterpret_cast<char*>(a.data());
}

const Kernels& kernels_on_cuda() {
  static const Kernels all = [] {
    Kernels k{};
    fill_cast(k);
    return k;
  }();
  return all;
}

constexpr int64_t kSizes[] = {1, 2, 3, 31, 255, 256, 257, 2047, 2048, 2049, 5000, 10001};

template <class T>
void negate_of_any_size_and_alignment() {
  for (const int64_t n : kSizes)
    for (const size_t shift : {0, 1, 3}) {
      std::vector<T> x(n);
      for (int64_t i = 0; i < n; ++i) x[i] = T(i * 7 + 1);
      const testing::DeviceArray<T> a(x, shift), y(n, 3 - shift);
      launch_elementwise<T, T>("negate", plan_of({n}, {sizeof(T), sizeof(T)}, {bytes(a), bytes(y)}, {{1}, {1}}),
                               Negate<T>());
      for (T& v : x) v = T(-v);
      CHECK(testing::same_bits(y.host(), x));
    }
}

TEST(every_size_and_alignment) {
  negate_of_any_size_and_alignment<uint8_t>();
  negate_of_any_size_and_alignment<int32_t>();
  negate_of_any_size_and_alignment<int64_t>();
  negate_of_any_size_and_alignment<float>();
  negate_of_any_size_and_alignment<double>();
}

TEST(in_place_and_nothing_beyond_the_end) {
  for (const int64_t n : kSizes) {
    std::vector<float> x = testing::random_normal<float>(n + 8, 1);
    const testing::DeviceArray<float> a(x);
    launch_elementwise<float, float>("negate", plan_of({n}, {4, 4}, {bytes(a), bytes(a)}, {{1}, {1}}), Negate<float>());
    for (int64_t i = 0; i < n; ++i) x[i] = -x[i];
    CHECK(testing::same_bits(a.host(), x));
  }
}

/// a·b + 1 over a shape, where the operands have the given strides.
void multiply_add(const Dims& shape, const Dims& a_strides, const Dims& b_strides, const Dims& y_strides,
                  bool a_immediate = false) {
  const auto reach = [&](const Dims& strides, int sign) {
    int64_t total = 0;
    for (int d = 0; d < shape.n; ++d) total += std::max<int64_t>(0, sign * strides[d]) * (shape[d] - 1);
    return total;
  };
  const auto make = [&](const Dims& strides, unsigned seed) {
    return testing::random_normal<float>(reach(strides, 1) + reach(strides, -1) + 1, seed);
  };
  const std::vector<float> a = make(a_strides, 1), b = make(b_strides, 2);
  std::vector<float> y = make(y_strides, 3);
  const testing::DeviceArray<float> da(a), db(b), dy(y);
  const auto first = [&](const auto& array, const Dims& strides) { return bytes(array) + 4 * reach(strides, -1); };
  ElementwisePlan plan =
      plan_of(shape, {4, 4, 4, 4}, {first(da, a_strides), first(db, b_strides), nullptr, first(dy, y_strides)},
              {a_strides, b_strides, y_strides, y_strides});
  if (a_immediate) {
    plan.immediates = 1;
    plan.data[0] = nullptr;
    std::memcpy(&plan.value[0], a.data(), 4);
  }
  launch_elementwise<float, float, float, Unread>("multiply_add", plan, MultiplyAdd());
  std::vector<int64_t> index(shape.n, 0);
  for (int64_t i = 0; i < product(shape); ++i) {
    int64_t rest = i, at_a = reach(a_strides, -1), at_b = reach(b_strides, -1), at_y = reach(y_strides, -1);
    for (int d = shape.n - 1; d >= 0; --d) {
      const int64_t k = rest % shape[d];
      rest /= shape[d];
      at_a += k * a_strides[d], at_b += k * b_strides[d], at_y += k * y_strides[d];
    }
    y[at_y] = a[a_immediate ? 0 : at_a] * b[at_b] + 1;
  }
  CHECK_CLOSE(dy.host(), y, 1e-6, 1e-6);
}

TEST(strides_and_broadcasting) {
  multiply_add({70, 33}, {33, 1}, {0, 1}, {33, 1});   // a row for all
  multiply_add({70, 33}, {33, 1}, {1, 0}, {33, 1});   // a column for all
  multiply_add({70, 33}, {1, 70}, {33, 1}, {33, 1});  // a transposed operand
  multiply_add({70, 33}, {33, 1}, {33, 1}, {40, 1});  // into a part of a wider array
  multiply_add({3000}, {-1}, {2}, {3});
  multiply_add({3000}, {0}, {1}, {1});
  multiply_add({3000}, {0}, {0}, {1});
  multiply_add({1}, {0}, {0}, {0});
  multiply_add({5, 7, 11, 3}, {300, 0, 3, 1}, {0, 33, 0, 1}, {231, 33, 3, 1});
  multiply_add({3, 2, 2, 3, 2, 2, 3, 5}, {0, 1, 0, 2, 0, 6, 0, 12}, {720, 360, 180, 60, 30, 15, 5, 1},
               {720, 360, 180, 60, 30, 15, 5, 1});
}

TEST(immediates) {
  multiply_add({3000}, {0}, {1}, {1}, true);
  multiply_add({70, 33}, {0, 0}, {33, 1}, {40, 1}, true);
}

TEST(divider_is_exact) {
  for (const uint32_t d : {1u, 2u, 3u, 7u, 10u, 255u, 256u, 641u, 65537u, (1u << 30) - 1, 1u << 30})
    for (const uint32_t n : {0u, 1u, d - 1, d, d + 1, 2 * d - 1, 2 * d, 123456789u, (1u << 30), (1u << 31) - 1}) {
      if (n >= 1u << 31) continue;
      const Divider divider(d);
      const uint32_t high = uint32_t((uint64_t(n) * divider.multiplier) >> 32);
      CHECK((high + n) >> divider.shift == n / d);
    }
}

TEST(large_plans_are_cut) {
  // Without memory behind it: what is looked at is the cutting.
  const auto pieces = [](const Dims& shape, const Dims& x, const Dims& y) {
    int64_t count = 0, elements = 0;
    in_pieces(plan_of(shape, {1, 1}, {nullptr, nullptr}, {x, y}), [&](const ElementwisePlan& piece) {
      ++count;
      elements += piece.size();
      CHECK(axis_to_cut(piece) < 0);
    });
    CHECK(elements == product(shape));
    return count;
  };
  CHECK(pieces({1000}, {1}, {1}) == 1);
  CHECK(pieces({int64_t(1) << 30}, {1}, {1}) == 1);
  CHECK(pieces({(int64_t(1) << 30) + 1}, {1}, {1}) == 2);
  CHECK(pieces({(int64_t(1) << 32) + 1}, {1}, {1}) >= 5);
  CHECK(pieces({3, int64_t(1) << 31}, {0, 1}, {int64_t(1) << 31, 1}) >= 6);
  CHECK(pieces({4, 4}, {int64_t(1) << 40, 1}, {4, 1}) == 4);
}

template <class From, class To>
void cast(const std::vector<From>& x, const std::vector<To>& expected) {
  const int64_t n = int64_t(x.size());
  const testing::DeviceArray<From> a(x);
  const testing::DeviceArray<To> y(n);
  kernels_on_cuda().cast[int(testing::dtype<From>)][int(testing::dtype<To>)].launch(
      plan_of({n}, {sizeof(From), sizeof(To)}, {bytes(a), bytes(y)}, {{1}, {1}}), nullptr);
  CHECK(testing::same_bits(y.host(), expected));
}

TEST(casts) {
  const float inf = INFINITY, nan = NAN;
  const int64_t most = std::numeric_limits<int64_t>::max(), least = std::numeric_limits<int64_t>::min();
  cast<float, int32_t>({1.9f, -1.9f, 3e9f, -3e9f, inf, -inf, nan, 0.f},
                       {1, -1, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 0, 0});
  cast<double, int64_t>({1.9, -1.9, 1e19, -1e19, inf, -inf, nan}, {1, -1, most, least, most, least, 0});
  cast<float, uint8_t>({0.f, -0.f, 0.1f, nan, inf}, {0, 0, 1, 1, 1});
  cast<int64_t, int32_t>({(int64_t(1) << 32) + 5, -1}, {5, -1});
  cast<uint8_t, double>({0, 1}, {0, 1});
  cast<double, float>({1 + 1e-9, 1e300, nan}, {1.f, inf, nan});
  cast<int64_t, float>({(int64_t(1) << 24) + 1}, {float(1 << 24)});
}

template <class T>
void transposed_copies() {
  const auto check = [](const Dims& shape, const Dims& from) {
    Dims to;
    to.n = shape.n;
    int64_t size = 1;
    for (int d = shape.n - 1; d >= 0; --d) to[d] = size, size *= shape[d];
    std::vector<T> x(size), expected(size);
    for (int64_t i = 0; i < size; ++i) x[i] = T(i * 31 + 7);
    for (int64_t i = 0; i < size; ++i) {
      int64_t rest = i, at = 0;
      for (int d = shape.n - 1; d >= 0; --d) at += rest % shape[d] * from[d], rest /= shape[d];
      expected[i] = x[at];
    }
    const testing::DeviceArray<T> a(x), y(size);
    const auto t = int(testing::dtype<T>);
    kernels_on_cuda().cast[t][t].launch(plan_of(shape, {sizeof(T), sizeof(T)}, {bytes(a), bytes(y)}, {from, to}),
                                        nullptr);
    CHECK(testing::same_bits(y.host(), expected));
  };
  check({40, 50}, {1, 40});
  check({32, 64}, {1, 32});
  check({16, 17}, {1, 16});
  check({3, 33, 65}, {33 * 65, 1, 33});
  check({33, 3, 65}, {1, 33 * 65, 33});
  check({2, 40, 3, 20}, {1, 6, 2, 240});  // short axes: the general loop
}

TEST(transposed_copies) {
  transposed_copies<uint8_t>();
  transposed_copies<int32_t>();
  transposed_copies<double>();
}

TEST(where) {
  const int64_t n = 3001;
  std::vector<uint8_t> condition(n);
  for (int64_t i = 0; i < n; ++i) condition[i] = i % 3 == 0;
  const std::vector<double> a = testing::random_normal<double>(n, 1);
  std::vector<double> expected(n, 2.5);
  for (int64_t i = 0; i < n; ++i)
    if (condition[i]) expected[i] = a[i];
  const testing::DeviceArray<uint8_t> dc(condition);
  const testing::DeviceArray<double> da(a), dy(n);
  ElementwisePlan plan = plan_of({n}, {1, 8, 8, 8}, {bytes(dc), bytes(da), nullptr, bytes(dy)}, {{1}, {1}, {0}, {1}});
  plan.immediates = 4;
  const double value = 2.5;
  std::memcpy(&plan.value[2], &value, 8);
  kernels_on_cuda().where[DType::float64].launch(plan, nullptr);
  CHECK(testing::same_bits(dy.host(), expected));
}

}  // namespace
}  // namespace steep::cuda
