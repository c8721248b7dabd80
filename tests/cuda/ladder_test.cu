// The rungs of benchmarks/ladder, each against sums in double precision.
#include "testing.h"
//
#include "../../benchmarks/ladder/rungs.h"

namespace steep::cuda::ladder {
namespace {

using namespace steep::testing;

constexpr double kEps = std::numeric_limits<float>::epsilon();

/// Sizes on both sides of every tile's, with rows that take 16-byte accesses and rows that don't.
struct Size {
  int m, n, k;
};
constexpr Size kSizes[] = {{1, 1, 1},     {3, 5, 2},     {33, 31, 17}, {64, 128, 8},
                           {65, 132, 20}, {130, 67, 33}, {128, 260, 4}};

struct Product {
  std::vector<double> value, magnitude;  // Σ a·b and Σ |a·b|
};
Product product(const std::vector<float>& a, const std::vector<float>& b, Size s) {
  Product c{std::vector<double>(size_t(s.m) * s.n), std::vector<double>(size_t(s.m) * s.n)};
  for (int i = 0; i < s.m; ++i)
    for (int k = 0; k < s.k; ++k)
      for (int j = 0; j < s.n; ++j) {
        const double term = double(a[size_t(i) * s.k + k]) * b[size_t(k) * s.n + j];
        c.value[size_t(i) * s.n + j] += term, c.magnitude[size_t(i) * s.n + j] += std::abs(term);
      }
  return c;
}

void check_product(const Rung<Matmul>& rung, Size s, size_t shift) {
  const std::vector<float> a = random_normal<float>(size_t(s.m) * s.k, 1),
                           b = random_normal<float>(size_t(s.k) * s.n, 2);
  const DeviceArray<float> x(a, shift), y(b, shift), z(size_t(s.m) * s.n, shift);
  rung.run({x.data(), y.data(), z.data(), s.m, s.n, s.k});
  const std::vector<float> got = z.host();
  const Product expected = product(a, b, s);
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::abs(got[i] - expected.value[i]) <= (s.k / 2. + 2) * kEps * expected.magnitude[i]) continue;
    char text[200];
    std::snprintf(text, sizeof text, "%s of %d×%d×%d: C[%zu] is %.9g, expected %.9g", rung.name, s.m, s.n, s.k, i,
                  double(got[i]), expected.value[i]);
    return fail(__FILE__, __LINE__, text);
  }
}

TEST(simt) {
  for (const Rung<Matmul>& rung : kSimt)
    for (const Size s : kSizes)
      for (const size_t shift : {0, 1}) check_product(rung, s, shift);
}

TEST(simt_of_no_terms) {
  for (const Rung<Matmul>& rung : kSimt) {
    const DeviceArray<float> c(6);
    rung.run({nullptr, nullptr, c.data(), 2, 3, 0});
    CHECK(c.host() == std::vector<float>(6, 0));
  }
}

TEST(relu) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  for (const Rung<Relu>& rung : kRelu)
    for (const size_t n : {0, 1, 4, 7, 255, 1024, 2048, 5003})
      for (const size_t shift : {0, 1}) {
        std::vector<float> x = random_normal<float>(n, 3), expected = x;
        if (n > 6) x[1] = expected[1] = nan, x[2] = expected[2] = inf, x[6] = -inf;
        for (size_t i = 0; i < n; ++i)
          if (x[i] < 0) expected[i] = 0;
        const DeviceArray<float> in(x, shift), out(n, shift);
        rung.run({in.data(), out.data(), int64_t(n)});
        CHECK_CLOSE(out.host(), expected, 0, 0);
      }
}

TEST(sum) {
  for (const Rung<Sum>& rung : kSum)
    for (const size_t n : {0, 1, 3, 4, 255, 1000, 4096, 4099, 300007})
      for (const size_t shift : {0, 1}) {
        const std::vector<float> x = random_normal<float>(n, 4);
        double sum = 0, magnitude = 0;
        for (const float v : x) sum += v, magnitude += std::abs(double(v));
        const DeviceArray<float> in(x, shift), out(1), partial(kMostPartials);
        rung.run({in.data(), out.data(), partial.data(), int64_t(n)});
        // A term takes part in at most n/2^18 + 1 additions of its thread, and in some 30 of trees.
        CHECK_CLOSE(out.host(), std::vector<double>{sum}, 0, 16 * kEps * magnitude);
      }
}

void check_softmax(const Rung<Softmax>& rung, int rows, int n, const std::vector<float>& x, size_t shift) {
  std::vector<double> expected(x.size());
  for (int r = 0; r < rows; ++r) {
    const float* row = &x[size_t(r) * n];
    double most = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int i = 0; i < n; ++i) most = row[i] > most || std::isnan(row[i]) ? row[i] : most;
    for (int i = 0; i < n; ++i) sum += std::exp(row[i] - most);
    for (int i = 0; i < n; ++i) expected[size_t(r) * n + i] = std::exp(row[i] - most) / sum;
  }
  const DeviceArray<float> in(x, shift), out(x.size(), shift);
  rung.run({in.data(), out.data(), rows, n});
  // exp's own rounding, that of x - m (by up to 12 here), and n/256 additions of a thread.
  CHECK_CLOSE(out.host(), expected, (16 + n / 256.) * kEps, 1e-37);
}

TEST(softmax) {
  for (const Rung<Softmax>& rung : kSoftmax)
    for (const int n : {1, 3, 4, 31, 256, 1000, 1025, 4096, 5001}) {
      if (rung.longest && n > rung.longest()) continue;
      for (const size_t shift : {0, 1}) check_softmax(rung, 3, n, random_normal<float>(size_t(3) * n, 5, 3), shift);
    }
}

TEST(softmax_of_special_rows) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  constexpr int n = 301;
  std::vector<float> x = random_normal<float>(size_t(6) * n, 6);
  x[100] = nan;
  x[n + 300] = inf;
  for (int i = 0; i < n; ++i) x[2 * n + i] = -inf;              // no softmax: NaN
  for (int i = 0; i < n - 1; ++i) x[3 * n + i] = -inf;          // one element is all there is
  for (int i = 0; i < n; ++i) x[4 * n + i] = 1e30f * float(i);  // overflows without the maximum
  x[5 * n] = -inf;
  for (const Rung<Softmax>& rung : kSoftmax) check_softmax(rung, 6, n, x, 0);
}

}  // namespace
}  // namespace steep::cuda::ladder
