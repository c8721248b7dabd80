// Gathers, scatters and one-hot rows against plain loops. Sums are compared bit for bit: their order is that of the
// indices.
#include "testing.h"

namespace steep::cuda {
void fill_indexing(Table& table);
}

namespace steep::testing {
namespace {

using cuda::IndexSizes;

const cuda::Table& table() {
  static const cuda::Table all = [] {
    cuda::Table t{};
    cuda::fill_indexing(t);
    return t;
  }();
  return all;
}

template <class T>
std::vector<T> numbers(int64_t n, unsigned seed) {
  std::vector<T> x(static_cast<size_t>(n));
  std::mt19937_64 generator(seed);
  for (T& e : x) {
    const uint64_t bits = generator();
    if constexpr (std::is_floating_point_v<T>)
      e = T(int64_t(bits)) / T(1e17);
    else
      e = T(bits);
  }
  return x;
}

// Axes of every kind: short rows and long ones, one row and many, with and without repeated indices.
constexpr IndexSizes kCases[] = {
    {1, 1, 1, 1},      {1, 7, 3, 1},      {3, 5, 9, 4},      {2, 300, 17, 33}, {1, 50, 200, 8},   {5, 3, 1, 300},
    {1, 1, 255, 2},    {1, 1000, 256, 1}, {1, 1000, 257, 3}, {2, 90, 600, 5},  {1, 40, 1025, 16}, {1, 9, 3000, 257},
    {1, 100, 5000, 1}, {300, 4, 18, 5},   {1, 6, 20, 1100},  {40, 10, 1, 1},   {3, 17, 700, 2},   {64, 3, 40, 20},
    {0, 3, 2, 2},      {2, 3, 0, 2},      {2, 3, 2, 0},
};

enum Kind { kTake, kAlongAxis };

/// f(offset in the full array, offset in the indexed one), in the order of the indices.
template <class F>
void each(Kind kind, const IndexSizes& s, const std::vector<int64_t>& index, const F& f) {
  for (int64_t o = 0; o < s.outer; ++o)
    for (int64_t k = 0; k < s.count; ++k)
      for (int64_t i = 0; i < s.inner; ++i) {
        const int64_t here = (o * s.count + k) * s.inner + i;
        const int64_t at = index[size_t(kind == kTake ? k : here)];
        f(size_t((o * s.extent + at) * s.inner + i), size_t(here));
      }
}

int64_t indices(Kind kind, const IndexSizes& s) { return kind == kTake ? s.count : s.outer * s.count * s.inner; }

template <class T>
void gather_and_scatter(Kind kind) {
  unsigned trial = 0;
  for (const IndexSizes& s : kCases)
    for (const int64_t used : {s.extent, int64_t(1)}) {                  // all elements of the axis, or the last only
      constexpr size_t shifts[4][2] = {{0, 0}, {0, 1}, {3, 0}, {2, 2}};  // of the whole array and of the taken one
      const auto [shift, part_shift] = shifts[(trial / 2 + trial % 2) % 4];
      ++trial;
      const std::vector<int64_t> index = random_integers(size_t(indices(kind, s)), s.extent - used, s.extent, trial);
      const std::vector<T> full = numbers<T>(s.outer * s.extent * s.inner, trial);
      const std::vector<T> part = numbers<T>(s.outer * s.count * s.inner, trial + 1);
      const DeviceArray<int64_t> at(index);

      const DeviceArray<T> x(full, shift), y(part, part_shift);
      (kind == kTake ? table().take : table().take_along_axis)(sizeof(T), s, x.data(), at.data(), y.data());
      std::vector<T> taken(part.size());
      each(kind, s, index, [&](size_t from, size_t to) { taken[to] = full[from]; });
      CHECK(same_bits(y.host(), taken));

      std::vector<T> sums = full;
      each(kind, s, index, [&](size_t to, size_t from) {
        if constexpr (std::is_floating_point_v<T>)
          sums[to] += part[from];
        else
          sums[to] = T(uint64_t(sums[to]) + uint64_t(part[from]));
      });
      const DeviceArray<T> g(part, part_shift), added(full, shift);
      const auto backward = kind == kTake ? table().take_backward : table().take_along_axis_backward;
      backward(testing::dtype<T>, s, g.data(), at.data(), added.data());
      if (!same_bits(added.host(), sums)) {
        char text[120];
        std::snprintf(text, sizeof text, "scatter of (%lld, %lld, %lld, %lld)", (long long)s.outer, (long long)s.extent,
                      (long long)s.count, (long long)s.inner);
        fail(__FILE__, __LINE__, text);
      }
    }
}
TEST(take_bool) { gather_and_scatter<uint8_t>(kTake); }
TEST(take_int32) { gather_and_scatter<int32_t>(kTake); }
TEST(take_int64) { gather_and_scatter<int64_t>(kTake); }
TEST(take_float32) { gather_and_scatter<float>(kTake); }
TEST(take_float64) { gather_and_scatter<double>(kTake); }
TEST(take_along_axis_bool) { gather_and_scatter<uint8_t>(kAlongAxis); }
TEST(take_along_axis_int32) { gather_and_scatter<int32_t>(kAlongAxis); }
TEST(take_along_axis_int64) { gather_and_scatter<int64_t>(kAlongAxis); }
TEST(take_along_axis_float32) { gather_and_scatter<float>(kAlongAxis); }
TEST(take_along_axis_float64) { gather_and_scatter<double>(kAlongAxis); }

TEST(special_numbers_are_added) {
  const float inf = std::numeric_limits<float>::infinity();
  for (const int64_t count : {12, 300}) {  // lines, and sorted
    std::vector<int64_t> index(size_t(count), 0);
    std::vector<float> g(size_t(count), 1.f), expected = {float(count) - 1 + inf, NAN, 0};
    g[3] = inf;
    for (int64_t i = count / 2; i < count; ++i) index[size_t(i)] = 1, g[size_t(i)] = i % 2 ? inf : -inf;
    const DeviceArray<int64_t> at(index);
    const DeviceArray<float> from(g), y(std::vector<float>(3, 0.f));
    table().take_backward(DType::float32, {1, 3, count, 1}, from.data(), at.data(), y.data());
    CHECK_CLOSE(y.host(), expected, 0, 0);
  }
}

TEST(wrap_indices) {
  for (const int64_t n : {0, 1, 255, 256, 257, 5000}) {
    std::vector<int64_t> index = random_integers(size_t(n), -9, 9, 1);
    const DeviceArray<int64_t> a(index, 1);
    table().wrap_indices(n, 9, a.data());
    for (int64_t& i : index) i += i < 0 ? 9 : 0;
    CHECK(a.host() == index);
  }
}

template <class T>
void one_hot() {
  for (const int64_t n : {0, 1, 255, 257, 3000})
    for (const int64_t classes : {1, 3, 10}) {
      const std::vector<int64_t> label = random_integers(size_t(n), 0, classes, unsigned(n));
      std::vector<T> expected(size_t(n * classes), T(0));
      const DeviceArray<int64_t> labels(label);
      const DeviceArray<T> y(expected, 1);
      table().one_hot(testing::dtype<T>, n, classes, labels.data(), y.data());
      for (int64_t i = 0; i < n; ++i) expected[size_t(i * classes + label[size_t(i)])] = T(1);
      CHECK(same_bits(y.host(), expected));
    }
}
TEST(one_hot_bool) { one_hot<uint8_t>(); }
TEST(one_hot_int32) { one_hot<int32_t>(); }
TEST(one_hot_int64) { one_hot<int64_t>(); }
TEST(one_hot_float32) { one_hot<float>(); }
TEST(one_hot_float64) { one_hot<double>(); }

}  // namespace
}  // namespace steep::testing
