// The random fills: the CPU's bits.
#include "core/random_kernels.h"
#include "testing.h"

namespace steep::cuda {
void fill_random(Table& table);
}

namespace steep::testing {
namespace {

const cuda::Table& table() {
  static const cuda::Table all = [] {
    cuda::Table t{};
    cuda::fill_random(t);
    return t;
  }();
  return all;
}

constexpr int64_t kSizes[] = {0, 1, 2, 3, 4, 5, 255, 1023, 1024, 1025, 4099, 300'001};
constexpr uint64_t kSeeds[] = {0, 1, 0x9E3779B97F4A7C15, ~uint64_t(0)};
constexpr uint64_t kOffsets[] = {0, 77, (uint64_t(1) << 32) - 3, ~uint64_t(0) - 5};  // the last two carry and wrap

/// cuda(out, n, seed, offset) and cpu(out, n, seed, offset) write the same bits, and only their n elements.
template <class T, class Cuda, class Cpu>
void compare(const Cuda& cuda, const Cpu& cpu) {
  unsigned trial = 0;
  for (const int64_t n : kSizes)
    for (size_t shift = 0; shift < 4; ++shift, ++trial) {
      const uint64_t seed = kSeeds[trial % 4], offset = kOffsets[trial / 2 % 4];
      std::vector<T> expected(size_t(n) + 1, T(1));
      const DeviceArray<T> out(expected, shift);
      cuda(out.data(), n, seed, offset);
      cpu(expected.data(), n, seed, offset);
      CHECK(same_bits(out.host(), expected));
    }
}

template <class T>
void uniform(double lo, double hi) {
  compare<T>([=](T* out, int64_t n, uint64_t seed,
                 uint64_t offset) { table().uniform(dtype_of<T>(), out, n, lo, hi, seed, offset); },
             [=](T* out, int64_t n, uint64_t seed, uint64_t offset) {
               random::uniform(out, 0, n, T(lo), T(hi), seed, offset);
             });
}
TEST(uniform_float32) { uniform<float>(0, 1), uniform<float>(-3, 1e30), uniform<float>(1, 1 + 0x1p-23); }
TEST(uniform_float64) { uniform<double>(0, 1), uniform<double>(-3, 1e300), uniform<double>(2, 2); }

template <class T>
void normal(double mean, double std) {
  compare<T>([=](T* out, int64_t n, uint64_t seed,
                 uint64_t offset) { table().normal(dtype_of<T>(), out, n, mean, std, seed, offset); },
             [=](T* out, int64_t n, uint64_t seed, uint64_t offset) {
               random::normal(out, 0, n, T(mean), T(std), seed, offset);
             });
}
TEST(normal_float32) { normal<float>(0, 1), normal<float>(-0.1, 3), normal<float>(0, 1e-40); }
TEST(normal_float64) { normal<double>(0, 1), normal<double>(-0.1, 3), normal<double>(1e300, 1e-320); }

template <class T>
void randint(int64_t lo, int64_t hi) {
  compare<T>(
      [=](T* out, int64_t n, uint64_t seed, uint64_t offset) {
        table().randint(dtype_of<T>(), out, n, lo, hi, seed, offset);
      },
      [=](T* out, int64_t n, uint64_t seed, uint64_t offset) { random::randint(out, 0, n, lo, hi, seed, offset); });
}
TEST(randint_int32) {
  randint<int32_t>(0, 10), randint<int32_t>(-5, -4);
  randint<int32_t>(std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max());
}
TEST(randint_int64) {
  randint<int64_t>(0, 10), randint<int64_t>(-5, int64_t(1) << 40);
  randint<int64_t>(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
}

TEST(bernoulli) {
  for (const double p : {0., 1., 0.3, 0x1p-32})
    compare<uint8_t>(
        [=](uint8_t* out, int64_t n, uint64_t seed, uint64_t offset) { table().bernoulli(out, n, p, seed, offset); },
        [=](uint8_t* out, int64_t n, uint64_t seed, uint64_t offset) {
          random::bernoulli(out, 0, n, p, seed, offset);
        });
}

}  // namespace
}  // namespace steep::testing
