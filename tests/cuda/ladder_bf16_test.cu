// The bfloat16 rungs of benchmarks/ladder, each against sums in double precision.
#include "testing.h"
//
#include "../../benchmarks/ladder/rungs.h"

namespace steep::cuda::ladder {
namespace {

using namespace steep::testing;

/// Sizes on both sides of every tile's; rows of C of an odd length, of pairs, of 16 bytes; a part of a step of k.
struct Size {
  int m, n, k;
};
constexpr Size kSizes[] = {{1, 1, 8}, {17, 9, 24}, {129, 130, 72}, {64, 264, 200}};
constexpr Size kManySteps = {100, 48, 712};  // several rounds of every ring
/// More tiles than the emulated device has multiprocessors, or pairs of them.
constexpr Size kManyTiles = {260, 530, 40}, kManyPairs = {300, 800, 64};

std::vector<bfloat16> random_bf16(size_t n, unsigned seed) {
  std::vector<bfloat16> out;
  for (const float x : random_normal<float>(n, seed)) out.push_back(bfloat16(x));
  return out;
}

void check_product(const Rung<MatmulBf16>& rung, Size s) {
  const std::vector<bfloat16> a = random_bf16(size_t(s.m) * s.k, 1), b = random_bf16(size_t(s.n) * s.k, 2);
  const std::vector<bfloat16> nothing(size_t(s.m) * s.n, bfloat16(std::numeric_limits<float>::quiet_NaN()));
  const DeviceArray<bfloat16> x(a), y(b), z(nothing);
  rung.run({x.data(), y.data(), z.data(), s.m, s.n, s.k});
  const std::vector<bfloat16> got = z.host();
  const std::vector<float> wide_a(a.begin(), a.end()), wide_b(b.begin(), b.end());
  for (int i = 0; i < s.m; ++i)
    for (int j = 0; j < s.n; ++j) {
      double sum = 0, magnitude = 0;
      for (int k = 0; k < s.k; ++k) {
        const double term = double(wide_a[size_t(i) * s.k + k]) * wide_b[size_t(j) * s.k + k];
        sum += term, magnitude += std::abs(term);
      }
      // A tensor core cuts off at 2^-23 of the largest term at each of k/8 additions; rounding to bfloat16 is the rest.
      const double bound = (s.k / 8. + 8) * 0x1p-23 * magnitude, found = float(got[size_t(i) * s.n + j]);
      if (std::abs(found - sum) <= bound + 0x1p-8 * (std::abs(sum) + bound)) continue;
      char text[200];
      std::snprintf(text, sizeof text, "%s of %d×%d×%d: C[%d, %d] is %.9g, expected %.9g", rung.name, s.m, s.n, s.k, i,
                    j, found, sum);
      return fail(__FILE__, __LINE__, text);
    }
}

template <size_t n>
void check_no_terms(const Rung<MatmulBf16> (&rungs)[n]) {
  for (const Rung<MatmulBf16>& rung : rungs) {
    const DeviceArray<bfloat16> c(std::vector<bfloat16>(6, bfloat16(1.f)));
    rung.run({nullptr, nullptr, c.data(), 2, 3, 0});
    for (const bfloat16 x : c.host()) CHECK(x.bits == 0);
    rung.run({nullptr, nullptr, nullptr, 0, 3, 8});
  }
}

template <size_t n>
void check_refusals(const Rung<MatmulBf16> (&rungs)[n]) {
  const DeviceArray<bfloat16> a(64), b(64), c(64);
  const auto is_refused = [](const Rung<MatmulBf16>& rung, const MatmulBf16& p) {
    try {
      rung.run(p);
      return false;
    } catch (const std::invalid_argument&) {
      return true;
    }
  };
  for (const Rung<MatmulBf16>& rung : rungs) {
    CHECK(is_refused(rung, {a.data(), b.data(), c.data(), 2, 2, 12}));
    CHECK(is_refused(rung, {a.data() + 1, b.data(), c.data(), 2, 2, 8}));
  }
}

/// Are products of infinities and NaN what they are for everybody, and do they stay in their rows and columns?
template <size_t n>
void check_special_values(const Rung<MatmulBf16> (&rungs)[n]) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  constexpr int m = 3, columns = 5, k = 16;
  std::vector<bfloat16> a(m * k, bfloat16(1.f)), b(columns * k, bfloat16(1.f));
  a[k + 3] = bfloat16(inf), b[2 * k + 9] = bfloat16(nan), b[4 * k + 3] = bfloat16(0.f);
  for (const Rung<MatmulBf16>& rung : rungs) {
    const DeviceArray<bfloat16> x(a), y(b), z(size_t(m) * columns);
    rung.run({x.data(), y.data(), z.data(), m, columns, k});
    CHECK_CLOSE(z.host(), (std::vector<float>{16, 16, nan, 16, 15, inf, inf, nan, inf, nan, 16, 16, nan, 16, 15}), 0,
                0);
  }
}

template <size_t n>
void check_products(const Rung<MatmulBf16> (&rungs)[n]) {
  for (const Rung<MatmulBf16>& rung : rungs)
    for (const Size s : kSizes) check_product(rung, s);
}

/// Does this device, or the build for it, have what the rungs want? It says so if not.
bool has(bool present, const char* what) {
  if (!present) std::printf("skipped: this needs %s\n", what);
  return present;
}
bool has_mma() { return has(device_limits().architecture >= 80, "compute capability 8.0"); }
bool has_wgmma() { return has(device_limits().has_wgmma, "compute capability 9.0 and the target 90a"); }

TEST(mma) {
  if (has_mma()) check_products(kBf16Mma);
}
TEST(mma_many) {
  if (!has_mma()) return;
  for (const Size s : {kManySteps, kManyTiles}) check_product(kBf16Mma[3], s);
}
TEST(mma_edges) {
  if (!has_mma()) return;
  check_no_terms(kBf16Mma);
  check_refusals(kBf16Mma);
  check_special_values(kBf16Mma);
}
TEST(wgmma) {
  if (has_wgmma()) check_products(kBf16Wgmma);
}
TEST(wgmma_many) {
  if (!has_wgmma()) return;
  for (const Rung<MatmulBf16>& rung : kBf16Wgmma) check_product(rung, kManySteps);
  check_product(kBf16Wgmma[5], kManyTiles);
  for (const int rung : {6, 7}) check_product(kBf16Wgmma[rung], kManyPairs);
}
TEST(wgmma_edges) {
  if (!has_wgmma()) return;
  check_no_terms(kBf16Wgmma);
  check_refusals(kBf16Wgmma);
  check_special_values(kBf16Wgmma);
}

}  // namespace
}  // namespace steep::cuda::ladder
