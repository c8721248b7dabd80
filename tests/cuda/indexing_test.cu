// Gathers, scatters, one-hot rows and the search for true elements against plain loops. Sums are compared bit for bit:
// their order is that of the indices.
#include <algorithm>

#include "testing.h"

namespace steep::cuda {
void fill_indexing(Table& table);
void fill_nonzero(Table& table);
}  // namespace steep::cuda

namespace steep::testing {
namespace {

using cuda::IndexSizes;

const cuda::Table& table() {
  static const cuda::Table all = [] {
    cuda::Table t{};
    cuda::fill_indexing(t), cuda::fill_nonzero(t);
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
      if (std::is_same_v<T, uint8_t>) continue;  // truth values are not added

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
/// Of several values for an element the last one stays.
template <class T>
void put(Kind kind) {
  unsigned trial = 0;
  for (const IndexSizes& s : kCases)
    for (const int64_t used : {s.extent, int64_t(1)}) {
      const size_t shift = ++trial % 3;
      const std::vector<int64_t> index = random_integers(size_t(indices(kind, s)), s.extent - used, s.extent, trial);
      const std::vector<T> full = numbers<T>(s.outer * s.extent * s.inner, trial);
      const std::vector<T> part = numbers<T>(s.outer * s.count * s.inner, trial + 1);
      const DeviceArray<int64_t> at(index);
      const DeviceArray<T> x(part, shift), y(full, 2 - shift);
      if (kind == kTake)
        table().put(sizeof(T), s, false, x.data(), at.data(), y.data());
      else
        table().put_along_axis(sizeof(T), s, x.data(), at.data(), y.data());
      std::vector<T> expected = full;
      each(kind, s, index, [&](size_t to, size_t from) { expected[to] = part[from]; });
      CHECK(same_bits(y.host(), expected));
    }
}
TEST(put_bool) { put<uint8_t>(kTake); }
TEST(put_int32) { put<int32_t>(kTake); }
TEST(put_float64) { put<double>(kTake); }
TEST(put_16_bits) { put<uint16_t>(kTake); }
TEST(put_along_axis_bool) { put<uint8_t>(kAlongAxis); }
TEST(put_along_axis_float32) { put<float>(kAlongAxis); }
TEST(put_along_axis_int64) { put<int64_t>(kAlongAxis); }

TEST(put_at_distinct_indices) {
  for (const IndexSizes& s : {IndexSizes{1, 5000, 3000, 1}, IndexSizes{3, 40, 25, 7}, IndexSizes{2, 1, 1, 300}}) {
    std::vector<int64_t> index(size_t(s.extent));
    for (int64_t i = 0; i < s.extent; ++i) index[size_t(i)] = i;
    std::shuffle(index.begin(), index.end(), std::mt19937(7));
    index.resize(size_t(s.count));
    std::vector<float> full = numbers<float>(s.outer * s.extent * s.inner, 1);
    const std::vector<float> part = numbers<float>(s.outer * s.count * s.inner, 2);
    const DeviceArray<int64_t> at(index);
    const DeviceArray<float> x(part, 1), y(full, 2);
    table().put(sizeof(float), s, true, x.data(), at.data(), y.data());
    each(kTake, s, index, [&](size_t to, size_t from) { full[to] = part[from]; });
    CHECK(same_bits(y.host(), full));
  }
}

TEST(nonzero) {
  for (const int64_t n : {1, 15, 16, 17, 4095, 4096, 4097, 70'000, 1'100'000})
    for (const int64_t of : {1, 2, 300}) {  // one of so many is true, or none of one
      if (n > 100'000 && of == 2) continue;
      std::vector<uint8_t> mask(static_cast<size_t>(n));
      const std::vector<int64_t> drawn = random_integers(mask.size(), 0, of, unsigned(n));
      for (size_t i = 0; i < mask.size(); ++i) mask[i] = of > 1 && drawn[i] == 0;
      const DeviceArray<uint8_t> x(mask, size_t(n % 5));
      const int64_t blocks = table().nonzero_blocks(n);
      const DeviceArray<int64_t> starts{size_t(blocks) + 1};
      table().count_true(n, x.data(), starts.data());
      std::vector<Dims> shapes = {{n}};
      for (const int64_t extent : {5, 7})
        if (n % (extent * 10) == 0) shapes.push_back({extent, n / extent / 10, 10});
      for (const Dims& shape : shapes) {
        std::vector<std::vector<int64_t>> places(static_cast<size_t>(shape.n));
        for (int64_t i = 0; i < n; ++i) {
          if (!mask[size_t(i)]) continue;
          int64_t rest = i;
          for (int d = shape.n - 1; d >= 0; --d) {
            places[size_t(d)].push_back(rest % shape[d]);
            rest /= shape[d];
          }
        }
        const size_t count = places[0].size();
        CHECK(starts.host().back() == int64_t(count));
        const DeviceArray<int64_t> out(count * size_t(shape.n));
        table().nonzero(n, x.data(), shape, starts.data(), out.data());
        const std::vector<int64_t> got = out.host();
        for (int d = 0; d < shape.n; ++d)
          CHECK(std::equal(places[size_t(d)].begin(), places[size_t(d)].end(), got.begin() + int64_t(count) * d));
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
