// Matrix products by warpgroups: csrc/cuda/gemm_wgmma.cu, gemm_wgmma.cuh, gemm_pieces.cuh, gemm_tile.h.
#include "testing.h"
//
#include "cuda/gemm.h"

namespace steep::cuda {
namespace {

using namespace steep::testing;

/// How an operand lies in memory: rows of k, or of its other axis, that begin at multiples of 16 bytes; or elements
/// three apart.
enum class Lies { along_k, along_mn, spread };

struct Try {
  int64_t m, n, k;
  Lies a = Lies::along_k, b = Lies::along_k;
  MmaOperands operands = MmaOperands::halves;
  int tile = 0;
  float alpha = 1, beta = 0;
  bool bias = false;
  Activation activation = Activation::none;
  int64_t matrices = 1;
  bool one_a = false, one_b = false;  // one matrix for the whole batch
  int64_t c_gap = 0;                  // elements between rows of C
  int parts = 1;
};

struct Steps {
  int64_t row, k, matrix;
};
Steps steps_of(Lies lies, int64_t length, int64_t k) {
  const auto padded = [](int64_t n) { return (n + 7) / 8 * 8 + 8; };
  if (lies == Lies::along_k) return {padded(k), 1, length * padded(k)};
  if (lies == Lies::along_mn) return {1, padded(length), k * padded(length)};
  return {3 * k, 3, 3 * length * k};
}

template <class T>
struct Inputs {
  std::vector<T> a, b, bias, c;
};
template <class T>
std::vector<T> random(int64_t n, unsigned seed) {
  std::vector<T> out;
  for (float x : random_normal<float>(size_t(n), seed)) out.push_back(T(x));
  return out;
}
template <class T>
Inputs<T> random_inputs(const Try& t) {
  return {random<T>(steps_of(t.a, t.m, t.k).matrix * (t.one_a ? 1 : t.matrices), 1),
          random<T>(steps_of(t.b, t.n, t.k).matrix * (t.one_b ? 1 : t.matrices), 2), random<T>(t.n, 3),
          random<T>(t.matrices * t.m * (t.n + t.c_gap), 4)};
}

template <class T>
Product<T> product_of(const Try& t, const T* a, const T* b, const T* bias, T* c) {
  const Steps x = steps_of(t.a, t.m, t.k), y = steps_of(t.b, t.n, t.k);
  Product<T> g{};
  g.a = {a, t.m, x.row, x.k, {}}, g.b = {b, t.n, y.row, y.k, {}};
  g.k = t.k, g.c = c, g.c_row = t.n + t.c_gap;
  g.epilogue = {t.alpha, t.beta, t.bias ? bias : nullptr, 0, t.activation};
  g.batch.axes = t.matrices > 1, g.batch.matrices = g.batch.shape[0] = t.matrices;
  g.batch.a[0] = t.one_a ? 0 : x.matrix, g.batch.b[0] = t.one_b ? 0 : y.matrix;
  g.batch.c[0] = t.m * (t.n + t.c_gap);
  g.split = cut_k(t.k, t.parts, 1, 64);
  return g;
}

template <class T>
std::vector<T> run_once(const Try& t, const Inputs<T>& in) {
  const DeviceArray<T> a(in.a), b(in.b), bias(in.bias), c(in.c);
  const Product<T> g = product_of<T>(t, a.data(), b.data(), bias.data(), c.data());
  CHECK(wgmma_takes(g, t.operands));
  launch_wgmma(g, t.operands, t.tile);
  return c.host();
}

/// What an operand's elements may be off by, and C's.
template <class T>
double rounding(MmaOperands operands) {
  return operands == MmaOperands::tf32 ? 0x1p-10 : operands == MmaOperands::pieces ? 0x1p-24 : 0;
}
template <class T>
constexpr double kEps = std::is_same_v<T, float>     ? 0x1p-24
                        : std::is_same_v<T, float16> ? 0x1p-11
                                                     : 0x1p-8;

template <class T>
void check_product(const Try& t, const Inputs<T>& in, const char* file, int line) {
  const std::vector<T> got = run_once(t, in);
  const Steps x = steps_of(t.a, t.m, t.k), y = steps_of(t.b, t.n, t.k);
  // A sum of s additions that cut off is off by s·2^-23 of its terms' magnitudes at most.
  const double sums = (double(t.k) / 8 + 32) * 0x1p-23 + rounding<T>(t.operands) * 2;
  const int64_t row = t.n + t.c_gap;
  for (int64_t at = 0; at < int64_t(got.size()); ++at) {
    const int64_t matrix = at / (t.m * row), i = at / row % t.m, j = at % row;
    const double result = float(got[size_t(at)]);
    double expected = float(in.c[size_t(at)]), bound = 0;
    if (j < t.n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < t.k; ++k) {
        const double product = double(float(in.a[size_t((t.one_a ? 0 : matrix * x.matrix) + i * x.row + k * x.k)])) *
                               double(float(in.b[size_t((t.one_b ? 0 : matrix * y.matrix) + j * y.row + k * y.k)]));
        sum += product, magnitude += std::abs(product);
      }
      const double before = t.beta != 0 ? t.beta * expected : 0, added = t.bias ? float(in.bias[size_t(j)]) : 0;
      expected = t.alpha * sum + before + added;
      bound = sums * std::abs(t.alpha) * magnitude + 0x1p-22 * (std::abs(before) + std::abs(added));
      if (t.activation == Activation::relu) expected = expected < 0 ? 0 : expected;  // keeps NaN
      if (t.activation == Activation::sigmoid) expected = 1 / (1 + std::exp(-expected));
      if (t.activation == Activation::tanh) expected = std::tanh(expected);
      bound += 4 * kEps<float> + kEps<T> * (std::abs(expected) + bound);
    }
    if (std::abs(expected) > std::numeric_limits<float>::max()) expected *= INFINITY;
    if (std::isnan(expected) ? std::isnan(result) : result == expected || std::abs(result - expected) <= bound)
      continue;
    char text[300];
    std::snprintf(text, sizeof text,
                  "m=%d n=%d k=%d a=%d b=%d operands=%d tile=%d: C[%d, %d, %d] is %.9g, expected %.9g", int(t.m),
                  int(t.n), int(t.k), int(t.a), int(t.b), int(t.operands), t.tile, int(matrix), int(i), int(j), result,
                  expected);
    return fail(file, line, text);
  }
}
#define CHECK_PRODUCT(T, ...)                                                 \
  {                                                                           \
    const Try attempt{__VA_ARGS__};                                           \
    check_product<T>(attempt, random_inputs<T>(attempt), __FILE__, __LINE__); \
  }

constexpr Lies kMajors[] = {Lies::along_k, Lies::along_mn};
constexpr MmaOperands kHalves = MmaOperands::halves, kTf32 = MmaOperands::tf32, kPieces = MmaOperands::pieces;

template <class T>
void try_halves() {
  for (Lies a : kMajors)
    for (Lies b : kMajors)
      for (int tile : {0, 1}) {
        CHECK_PRODUCT(T, 200, 300, 136, a, b, kHalves, tile);
        CHECK_PRODUCT(T, 64, 72, 50, a, b, kHalves, tile, 0.5, 2, true, Activation::relu);
      }
}
TEST(bfloat16_layouts) { try_halves<bfloat16>(); }
TEST(float16_layouts) { try_halves<float16>(); }

TEST(float32_layouts) {
  for (Lies a : {Lies::along_k, Lies::along_mn, Lies::spread})
    for (Lies b : {Lies::along_k, Lies::along_mn, Lies::spread}) {
      CHECK_PRODUCT(float, 140, 150, 100, a, b, kPieces);
      CHECK_PRODUCT(float, 140, 150, 100, a, b, kTf32, 0);
      CHECK_PRODUCT(float, 64, 72, 50, a, b, kTf32, 1, 0.5, 2, true, Activation::relu);
    }
}

TEST(edges) {
  for (int64_t m : {1, 65, 129})
    for (int64_t n : {1, 7, 130, 257})
      for (int64_t k : {1, 8, 63, 65, 200}) {
        CHECK_PRODUCT(bfloat16, m, n, k, Lies::along_k, Lies::along_mn, kHalves, int(n % 2));
        if (k % 2) CHECK_PRODUCT(float16, m, n, k, Lies::along_mn, Lies::along_k, kHalves, int(m % 2));
        if (m == 65) CHECK_PRODUCT(float, m, n, k, Lies::along_mn, Lies::along_k, kPieces);
        if (m == 65) CHECK_PRODUCT(float, m, n, k, Lies::along_k, Lies::along_k, kTf32, int(n % 2));
      }
}

TEST(epilogues) {
  for (Activation activation : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh})
    for (int64_t gap : {0, 3, 8}) {
      CHECK_PRODUCT(bfloat16, 70, 72, 64, Lies::along_k, Lies::along_mn, kHalves, 1, 0.5, 0.25, true, activation, 1,
                    false, false, gap);
      CHECK_PRODUCT(float16, 70, 72, 64, Lies::along_k, Lies::along_k, kHalves, 1, -0.1f, 0, true, activation, 1, false,
                    false, gap);
      CHECK_PRODUCT(float, 70, 72, 64, Lies::along_k, Lies::along_k, kPieces, 0, 0.1f, 1, false, activation, 1, false,
                    false, gap);
    }
}

template <class T>
void check_residual(const Try& t) {
  const Inputs<T> in = random_inputs<T>(t);
  const DeviceArray<T> a(in.a), b(in.b), bias(in.bias), d(in.c), c(std::vector<T>(in.c.size(), T(-77.f)));
  Product<T> g = product_of<T>(t, a.data(), b.data(), bias.data(), c.data());
  g.epilogue.to_addend = d.data() - c.data();
  launch_wgmma(g, t.operands, t.tile);
  CHECK(same_bits(c.host(), run_once(t, in)));
  CHECK(same_bits(d.host(), in.c));
}

TEST(residuals) {
  for (int parts : {1, 3})
    for (int64_t n : {72, 75}) {
      check_residual<bfloat16>({70, n, 200, Lies::along_k, Lies::along_k, kHalves, 1, 0.5, 0.25, true, Activation::tanh,
                                2, false, false, 0, parts});
      check_residual<float>({70, n, 200, Lies::along_k, Lies::along_k, kPieces, 0, 1, 1, false, Activation::relu, 2,
                             false, false, 0, parts});
    }
}

/// Rows of C begin at multiples of 16 bytes, and beta is 0.
TEST(the_copy_engine_stores) {
  for (int tile : {0, 1})
    for (int64_t gap : {0, 8}) {
      CHECK_PRODUCT(bfloat16, 200, 304, 72, Lies::along_k, Lies::along_mn, kHalves, tile, 0.5, 0, true,
                    Activation::relu, 1, false, false, gap);
      CHECK_PRODUCT(float16, 200, 304, 72, Lies::along_mn, Lies::along_k, kHalves, tile, 1, 0, false, Activation::none,
                    2, false, true, gap);
      CHECK_PRODUCT(float, 200, 300, 72, Lies::along_k, Lies::along_k, kTf32, tile, 0.5, 0, true, Activation::relu, 1,
                    false, false, gap);
    }
}

TEST(batches) {
  for (bool one_a : {false, true})
    for (bool one_b : {false, true}) {
      CHECK_PRODUCT(bfloat16, 70, 40, 72, Lies::along_k, Lies::along_mn, kHalves, 1, 1, 0, true, Activation::none, 3,
                    one_a, one_b);
      CHECK_PRODUCT(float, 70, 40, 72, Lies::along_mn, Lies::along_k, kPieces, 0, 1, 0, true, Activation::none, 3,
                    one_a, one_b);
      CHECK_PRODUCT(float, 70, 40, 72, Lies::along_mn, Lies::along_k, kTf32, 1, 1, 0, true, Activation::none, 3, one_a,
                    one_b);
    }
}

/// The emulated device has four multiprocessors, and so as many blocks.
TEST(blocks_go_on_with_other_tiles) {
  CHECK_PRODUCT(bfloat16, 640, 390, 200, Lies::along_k, Lies::along_mn, kHalves, 1);
  CHECK_PRODUCT(float, 384, 390, 72, Lies::along_k, Lies::along_mn, kPieces);
}

TEST(sums_in_parts) {
  CHECK_PRODUCT(bfloat16, 70, 80, 1000, Lies::along_k, Lies::along_mn, kHalves, 1, 0.5, 2, true, Activation::tanh, 2,
                false, true, 3, 5);
  CHECK_PRODUCT(float, 70, 81, 500, Lies::along_k, Lies::along_mn, kPieces, 0, 0.5, 2, true, Activation::sigmoid, 2,
                false, true, 3, 3);
  CHECK_PRODUCT(float, 70, 81, 500, Lies::along_k, Lies::along_k, kTf32, 1, 1, 0, true, Activation::none, 1, false,
                false, 0, 4);
}

TEST(c_is_not_read_without_beta) {
  for (int parts : {1, 2}) {
    const Try t{70,    80,    200, Lies::along_k, Lies::along_k, kHalves, 1, 1, 0, false, Activation::none, 1,
                false, false, 0,   parts};
    Inputs<bfloat16> in = random_inputs<bfloat16>(t);
    for (bfloat16& x : in.c) x = bfloat16(NAN);
    for (bfloat16 x : run_once(t, in)) CHECK(std::isfinite(float(x)));
  }
}

template <class T>
void try_specials(const Try& t) {
  for (float special : {NAN, INFINITY, -INFINITY, 3e38f}) {
    Inputs<T> in = random_inputs<T>(t);
    const Steps x = steps_of(t.a, t.m, t.k), y = steps_of(t.b, t.n, t.k);
    in.a[size_t((t.m - 1) * x.row + (t.k - 1) * x.k)] = T(special);
    if (special != 3e38f) in.b[size_t(3 * y.row)] = T(special);  // whose sums may overflow on the way
    check_product<T>(t, in, __FILE__, __LINE__);
    const std::vector<T> got = run_once(t, in);
    for (int64_t i = 0; i < t.m - 1; ++i)
      for (int64_t j = 0; j < t.n; ++j)
        if (j != 3) CHECK(std::abs(float(got[size_t(i * t.n + j)])) < 1000);
  }
}
TEST(nan_and_infinities_stay_in_their_rows_and_columns) {
  try_specials<bfloat16>({70, 40, 65, Lies::along_k, Lies::along_mn, kHalves, 1});
  try_specials<float>({70, 40, 65, Lies::along_mn, Lies::along_k, kPieces});
  try_specials<float>(
      {70, 40, 130, Lies::along_k, Lies::spread, kPieces, 0, 1, 0, false, Activation::none, 1, false, false, 0, 2});
}

/// ‖C − exact‖ / ‖exact‖ of three bfloat16 for each float32, and of float32 multiply-adds one after another.
TEST(pieces_are_as_accurate_as_float32) {
  for (int64_t k : {16, 64, 1000, 16384})
    for (double mean : {0.0, 1.0}) {
      const Try t{48, 40, k, Lies::along_k, Lies::along_k, kPieces};
      Inputs<float> in = random_inputs<float>(t);
      for (float& x : in.a) x += float(mean);
      for (float& x : in.b) x += float(mean);
      const std::vector<float> got = run_once(t, in);
      const Steps x = steps_of(t.a, t.m, k), y = steps_of(t.b, t.n, k);
      double ours = 0, theirs = 0;
      for (int64_t i = 0; i < t.m; ++i)
        for (int64_t j = 0; j < t.n; ++j) {
          double exact = 0;
          float chain = 0;
          for (int64_t s = 0; s < k; ++s) {
            const float p = in.a[size_t(i * x.row + s)], q = in.b[size_t(j * y.row + s)];
            exact += double(p) * q;
            chain = std::fma(p, q, chain);
          }
          ours += std::pow(got[size_t(i * t.n + j)] - exact, 2);
          theirs += std::pow(chain - exact, 2);
        }
      CHECK(std::sqrt(ours) <= 2 * std::sqrt(theirs));
    }
}

TEST(the_same_bits_in_every_run) {
  const Try t{200,   300, 500, Lies::along_k, Lies::along_mn, kHalves, 0, 1, 0, false, Activation::none, 1, false,
              false, 0,   3};
  const Inputs<bfloat16> in = random_inputs<bfloat16>(t);
  CHECK(same_bits(run_once(t, in), run_once(t, in)));
}

TEST(operands_that_need_a_copy) {
  Try t{64, 64, 64};
  const DeviceArray<bfloat16> x(size_t(64 * 80)), c(size_t(64 * 64));
  Product<bfloat16> g = product_of<bfloat16>(t, x.data(), x.data(), nullptr, c.data());
  CHECK(wgmma_takes(g, kHalves));
  g.a.stride = 65;
  CHECK(!wgmma_takes(g, kHalves));
  g = product_of<bfloat16>(t, x.data() + 1, x.data(), nullptr, c.data());
  CHECK(!wgmma_takes(g, kHalves));
  g = product_of<bfloat16>(t, x.data(), x.data(), nullptr, c.data());
  g.b.stride = -72;
  CHECK(!wgmma_takes(g, kHalves));
  g = product_of<bfloat16>(t, x.data(), x.data(), nullptr, c.data());
  g.b.k_stride = 2;
  CHECK(!wgmma_takes(g, kHalves));
  g = product_of<bfloat16>(t, x.data(), x.data(), nullptr, c.data());
  g.k = 0;
  CHECK(!wgmma_takes(g, kHalves));
}

TEST(choice_of_tiles) {
  const auto plan = [](int64_t m, int64_t n, int64_t k, int64_t batch = 1) {
    return choose_wgmma_tile(kHalves, {m, n, k, batch}, 132);
  };
  CHECK(plan(4096, 4096, 4096).tile == 0 && plan(4096, 4096, 4096).split.count == 1);
  CHECK(plan(128, 128, 256).tile == 1 && plan(128, 128, 256).split.count == 1);
  CHECK(plan(256, 256, 65536).split.count > 8);
  CHECK(plan(256, 256, 65536, 264).split.count == 1);
  for (int64_t k : {1, 64, 1000, 100000}) {
    const Split split = plan(256, 256, k).split;
    CHECK(split.count * split.depth >= k && (split.count - 1) * split.depth < k);
    CHECK(split.count == 1 || split.depth % 64 == 0);
  }
}

}  // namespace
}  // namespace steep::cuda
