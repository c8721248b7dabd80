// The norm of many arrays, clipping and unscaling, against plain loops in long double.
#include <memory>

#include "core/norm.h"
#include "testing.h"

namespace steep::cuda {
void fill_gradients(Table& table);
}

using namespace steep;
using namespace steep::testing;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
const double kOrds[] = {2, 1, 0, 3, 0.5, -2, inf, -inf};

const cuda::Table& table() {
  static const cuda::Table filled = [] {
    cuda::Table t{};
    cuda::fill_gradients(t);
    return t;
  }();
  return filled;
}

/// Gradients of any dtype on the device, with others' elements around them.
class Gradients {
 public:
  template <class T>
  void add(const std::vector<double>& values, size_t shift) {
    std::vector<T> x(values.size() + 2 * kGuard, T(-77.f));
    for (size_t i = 0; i < values.size(); ++i) x[kGuard + i] = T(values[i]);
    const auto array = std::make_shared<DeviceArray<T>>(x, shift);
    elements_.push_back({dtype_of<T>(), array->data() + kGuard, int64_t(values.size())});
    before.emplace_back();
    for (size_t i = 0; i < values.size(); ++i) before.back().push_back(double(x[kGuard + i]));
    read_.push_back([array] {
      const std::vector<T> all = array->host();
      return std::vector<double>(all.begin(), all.end());
    });
  }
  std::span<const Elements> elements() const { return elements_; }
  double eps(size_t i) const {
    const DType t = elements_[i].dtype;
    return t == DType::float64 ? 0x1p-52 : t == DType::float32 ? 0x1p-23 : t == DType::float16 ? 0x1p-10 : 0x1p-7;
  }
  std::vector<double> after(size_t i) const {
    const std::vector<double> all = read_[i]();
    for (size_t k = 0; k < kGuard; ++k)
      if (all[k] != -77 || all[all.size() - 1 - k] != -77) fail(__FILE__, __LINE__, "memory around has been written");
    return {all.begin() + kGuard, all.end() - kGuard};
  }
  std::vector<std::vector<double>> before;

 private:
  static constexpr size_t kGuard = 8;
  std::vector<Elements> elements_;
  std::vector<std::function<std::vector<double>()>> read_;
};

// Around an access, a block's threads, a chunk.
const int64_t kSizes[] = {1, 2, 5, 0, 31, 255, 256, 257, 1025, 4095, 4096, 4097, 8192, 10001, 200'000};

Gradients gradients(int kind) {
  Gradients out;
  unsigned seed = 0;
  for (const size_t shift : {0, 1, 3})
    for (const int64_t n : kSizes) {
      if (n > 10'001 && shift) continue;
      std::vector<double> x = random_normal<double>(size_t(n), ++seed);
      for (double& v : x) v += v < 0 ? -0.01 : 0.01;
      const unsigned which = kind < 4 ? unsigned(kind) : seed % 4;
      if (which == 0) out.add<float>(x, shift);
      if (which == 1) out.add<double>(x, shift);
      if (which == 2) out.add<float16>(x, shift);
      if (which == 3) out.add<bfloat16>(x, shift);
    }
  return out;
}

long double norm_of(const std::vector<std::vector<double>>& all, double ord) {
  long double total = ord == -inf ? inf : 0;
  for (const auto& x : all)
    for (const double v : x) {
      const long double size = std::abs(v);
      if (ord == inf)
        total = std::max(total, size);
      else if (ord == -inf)
        total = std::min(total, size);
      else
        total += ord == 0 ? size != 0 : std::pow(size, (long double)ord);
    }
  return ord == 0 || std::isinf(ord) ? total : std::pow(total, 1 / (long double)ord);
}

double norm(std::span<const Elements> all, double ord, DType dtype) {
  const bool wide = dtype == DType::float64;
  const DeviceArray<float> narrow(std::vector<float>(1, -1));
  const DeviceArray<double> out(std::vector<double>(1, -1));
  table().total_norm(all, NormPlan::of(ord, wide), dtype, wide ? static_cast<void*>(out.data()) : narrow.data());
  return wide ? out.host()[0] : double(narrow.host()[0]);
}

TEST(norms) {
  for (int kind = 0; kind < 5; ++kind) {
    const Gradients g = gradients(kind);
    const DType dtype = kind == 1 || kind == 4 ? DType::float64 : DType::float32;
    for (const double ord : kOrds) {
      const double exact = double(norm_of(g.before, ord)), got = norm(g.elements(), ord, dtype);
      CHECK(std::abs(got - exact) <= exact * (dtype == DType::float64 ? 1e-13 : 0x1p-23));
      CHECK(norm(g.elements(), ord, dtype) == got);
    }
  }
}

TEST(norms_of_extreme_numbers) {
  Gradients g;
  g.add<double>({3e300, 0, -4e300}, 0);
  CHECK(std::abs(norm(g.elements(), 2, DType::float64) / 5e300 - 1) < 1e-15);
  Gradients f;
  f.add<float>({3e38f, 0, 1}, 0), f.add<float>({3e-38f}, 1);
  CHECK(norm(f.elements(), 2, DType::float32) == double(3e38f));
  CHECK(norm(f.elements(), 40, DType::float32) == double(3e38f));
  CHECK(norm(f.elements(), -inf, DType::float32) == 0);
  CHECK(norm(f.elements(), -3, DType::float32) == 0);
  for (const double ord : {2., 1., 3., inf, -inf, -1.}) {
    Gradients bad;
    bad.add<float>({1, inf}, 0), bad.add<bfloat16>({nan, 2}, 0);
    CHECK(std::isnan(norm(bad.elements(), ord, DType::float32)));
  }
  CHECK(norm({}, 2, DType::float32) == 0);
}

/// A launch describes 192 arrays.
TEST(as_many_as_a_launch_describes_and_more) {
  for (const int count : {191, 192, 193, 500}) {
    Gradients g;
    for (int i = 0; i < count; ++i) g.add<float>(random_normal<double>(size_t(1 + i % 7), unsigned(i)), i % 2);
    const double exact = double(norm_of(g.before, 2));
    CHECK(std::abs(norm(g.elements(), 2, DType::float32) - exact) <= exact * 0x1p-23);
    table().clip_values(g.elements(), 0.5);
    for (size_t i = 0; i < g.before.size(); ++i) {
      std::vector<double> expected = g.before[i];
      for (double& v : expected) v = std::clamp(v, -0.5, 0.5);
      CHECK(g.after(i) == expected);
    }
  }
}

TEST(clipping_by_norm) {
  for (int kind = 0; kind < 5; ++kind)
    for (const double max_norm : {0.7, 1e9}) {
      const Gradients g = gradients(kind);
      const bool wide = kind == 1;
      const double size = double(norm_of(g.before, 2));
      const DeviceArray<float> narrow(std::vector<float>(1, float(size)));
      const DeviceArray<double> exact(std::vector<double>(1, size));
      table().clip_norm(g.elements(), wide ? DType::float64 : DType::float32,
                        wide ? static_cast<const void*>(exact.data()) : narrow.data(), max_norm);
      const double factor = std::min(1., max_norm / (size + 1e-6));
      for (size_t i = 0; i < g.before.size(); ++i) {
        std::vector<double> expected = g.before[i];
        for (double& v : expected) v *= factor;
        CHECK_CLOSE(g.after(i), expected, factor == 1 ? 0 : g.eps(i) + 0x1p-22 * !wide, 0x1p-24);
      }
    }
  Gradients g;
  g.add<float>({1, inf, nan, -2}, 0);
  const DeviceArray<float> bad(std::vector<float>{float(inf), float(nan)});
  table().clip_norm(g.elements(), DType::float32, bad.data(), 1);
  CHECK_CLOSE(g.after(0), (std::vector<double>{0, nan, nan, 0}), 0, 0);
  table().clip_norm(g.elements(), DType::float32, bad.data() + 1, 1);
  CHECK_CLOSE(g.after(0), std::vector<double>(4, nan), 0, 0);
}

TEST(clipping_by_value) {
  for (int kind = 0; kind < 5; ++kind) {
    const Gradients g = gradients(kind);
    table().clip_values(g.elements(), 0.75);
    for (size_t i = 0; i < g.before.size(); ++i) {
      std::vector<double> expected = g.before[i];
      for (double& v : expected) v = std::clamp(v, -0.75, 0.75);
      CHECK(g.after(i) == expected);
    }
  }
  Gradients g;
  g.add<float>({nan, inf, -inf, 0.5}, 0);
  table().clip_values(g.elements(), 1);
  CHECK_CLOSE(g.after(0), (std::vector<double>{nan, 1, -1, 0.5}), 0, 0);
}

TEST(unscaling) {
  const auto run = [](const Gradients& g, double factor) {
    const DeviceArray<int32_t> found(std::vector<int32_t>(1, 0));
    table().unscale(g.elements(), factor, found.data());
    return found.host()[0];
  };
  for (int kind = 0; kind < 5; ++kind) {
    const Gradients g = gradients(kind);
    CHECK(run(g, 0.3) == 0);
    for (size_t i = 0; i < g.before.size(); ++i) {
      std::vector<double> expected = g.before[i];
      for (double& v : expected) v *= g.eps(i) == 0x1p-52 ? 0.3 : double(0.3f);
      CHECK_CLOSE(g.after(i), expected, g.eps(i), 0x1p-24);
    }
  }
  for (const double bad : {nan, inf, -inf})
    for (const size_t place : {0, 4096, 9999}) {
      std::vector<double> x(10'000, 1);
      x[place] = bad;
      Gradients g;
      g.add<double>({1, 2, 3}, 0), g.add<bfloat16>(x, 1), g.add<float>({4}, 0);
      CHECK(run(g, 0.5) == 1);
      for (double& v : x) v *= 0.5;
      CHECK_CLOSE(g.after(1), x, 0, 0);
    }
  Gradients g;
  g.add<float>({3e38}, 0);
  CHECK(run(g, 2) == 1);  // it was finite before
}

}  // namespace
