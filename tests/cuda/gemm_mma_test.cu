// Matrix products by tensor cores: csrc/cuda/gemm.cpp, gemm_mma.cuh, gemm_tile.h.
#include "gemm_testing.h"

namespace steep::cuda {
namespace {

using namespace steep::testing;

/// What is multiplied, and how.
template <class Element, MmaOperands kOperands>
struct Kind {
  using T = Element;
  static constexpr MmaOperands operands = kOperands;
};
using Bf16 = Kind<bfloat16, MmaOperands::halves>;
using F16 = Kind<float16, MmaOperands::halves>;
using Tf32 = Kind<float, MmaOperands::tf32>;
using Pieces = Kind<float, MmaOperands::pieces>;

template <class... K, class F>
void for_kinds(const F& f) {
  (f(K()), ...);
}
template <class F>
void for_each_kind(const F& f) {
  for_kinds<Bf16, F16, Tf32, Pieces>(f);
}

/// Small integers: all sums are exact in float32, and results those rounded once.
template <class T>
Inputs<T> integers(const Try& t, unsigned seed = 1) {
  const auto draw = [&](int64_t n, int64_t limit) {
    std::vector<T> out;
    for (int64_t x : random_integers(size_t(n), -limit, limit + 1, seed++)) out.push_back(T(float(x)));
    return out;
  };
  const int64_t count = matrices(t);
  Inputs<T> in;
  in.a = draw(strides(t.a, t.m, t.k).size * (t.batch_a ? count : 1), 8);
  in.b = draw(strides(t.b, t.k, t.n).size * (t.batch_b ? count : 1), 8);
  in.bias = draw(t.n, 64);
  in.c = draw(count * t.m * (t.n + t.c_gap), 64);
  return in;
}

/// Calls f(sum of products in float64, sum of their magnitudes, place in C, column) for all of C.
template <class T, class F>
void each_sum(const Try& t, const Inputs<T>& in, const F& f) {
  const Gemm<T> g = gemm_of<T>(t, in.a.data(), in.b.data(), nullptr, nullptr);
  const GemmBatch batch = batch_of(t);
  std::vector<double> row(static_cast<size_t>(g.n)), magnitudes(row.size());
  for (int64_t matrix = 0; matrix < matrices(t); ++matrix) {
    const Offsets at = offsets(batch, matrix);
    for (int64_t i = 0; i < g.m; ++i) {
      std::fill(row.begin(), row.end(), 0.0), std::fill(magnitudes.begin(), magnitudes.end(), 0.0);
      for (int64_t k = 0; k < g.k; ++k) {
        const double x = double(float(g.a[at.a + i * g.a_row + k * g.a_col]));
        for (int64_t j = 0; j < g.n; ++j) {
          const double p = x * double(float(g.b[at.b + k * g.b_row + j * g.b_col]));
          row[size_t(j)] += p, magnitudes[size_t(j)] += std::abs(p);
        }
      }
      for (int64_t j = 0; j < g.n; ++j) f(row[size_t(j)], magnitudes[size_t(j)], at.c + i * g.c_row + j, j);
    }
  }
}

template <class K>
std::vector<typename K::T> run(const Try& t, const Inputs<typename K::T>& in) {
  using T = typename K::T;
  const DeviceArray<T> a(in.a, t.shift), b(in.b, t.shift), bias(in.bias, t.shift), c(in.c, t.shift);
  multiply_by_mma(gemm_of<T>(t, a.data(), b.data(), bias.data(), c.data()), batch_of(t), t.activation, K::operands);
  return c.host();
}

/// Checks all of C's memory, gaps included, bit by bit, but for sigmoid and tanh.
template <class T>
void compare(const Try& t, const Inputs<T>& in, const std::vector<T>& got, const char* file, int line) {
  std::vector<T> expected = in.c;
  each_sum(t, in, [&](double sum, double, int64_t place, int64_t column) {
    T& out = expected[size_t(place)];
    sum *= double(float(T(t.alpha)));
    if (t.beta != 0) sum += double(float(T(t.beta))) * double(float(out));
    if (t.bias) sum += double(float(in.bias[size_t(column)]));
    if (t.activation == Activation::relu) sum = sum < 0 ? 0 : sum;
    if (t.activation == Activation::sigmoid) sum = 1 / (1 + std::exp(-sum));
    if (t.activation == Activation::tanh) sum = std::tanh(sum);
    out = T(float(sum));
    const float result = float(got[size_t(place)]), eps = std::is_same_v<T, float> ? 0x1p-21f : 0x1p-8f;
    if (t.activation > Activation::relu && std::abs(result - float(out)) <= eps * std::abs(result))
      out = got[size_t(place)];
  });
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &expected[i], sizeof(T))) {
      char text[200];
      std::snprintf(text, sizeof text, "m=%d n=%d k=%d a=%d b=%d size=%d: C[%zu] is %.9g, expected %.9g", int(t.m),
                    int(t.n), int(t.k), int(t.a), int(t.b), int(sizeof(T)), i, double(float(got[i])),
                    double(float(expected[i])));
      return fail(file, line, text);
    }
}
template <class K>
void check(const Try& t, const char* file, int line) {
  const auto in = integers<typename K::T>(t);
  compare(t, in, run<K>(t, in), file, line);
}
#define CHECK_PRODUCT(K, ...) check<K>(Try{__VA_ARGS__}, __FILE__, __LINE__)

TEST(layouts) {
  for_each_kind([]<class K>(K) {
    for (Layout a : kLayouts)
      for (Layout b : kLayouts) {
        CHECK_PRODUCT(K, 24, 40, 48, a, b);  // rows of whole chunks, whatever is contiguous
        CHECK_PRODUCT(K, 19, 22, 21, a, b);
      }
  });
}

TEST(edges) {
  for_each_kind([]<class K>(K) {
    for (int64_t m : {1, 15, 64, 65})
      for (int64_t n : {1, 8, 63, 72})
        for (int64_t k : {0, 1, 15, 16, 17, 64, 130}) {
          const Layout layout = k > 0 ? Layout::padded : Layout::rows;
          CHECK_PRODUCT(K, m, n, k, layout, layout);
          if (m > 1) CHECK_PRODUCT(K, m, n, k, Layout::columns, Layout::columns);
        }
  });
}

/// A tile by its own kernel, whatever the choice for the product would be, in parts of k too.
template <class K>
void try_tile(int tile) {
  using T = typename K::T;
  const MmaTile size = mma_tiles(K::operands)[size_t(tile)].tile;
  constexpr int64_t vector = 16 / sizeof(T);
  for (Layout a : {Layout::rows, Layout::columns})
    for (Layout b : {Layout::rows, Layout::columns})
      for (int64_t k : {8, 24, 32, 200})
        for (int64_t parts : {1, 2}) {
          if (parts > 1 && k < 200) continue;
          Try t{size.m + vector, size.n - vector, k, a, b, 0.5, 2, true, Activation::relu};
          t.c_gap = 3;
          const Inputs<T> in = integers<T>(t);
          const DeviceArray<T> da(in.a), db(in.b), bias(in.bias), c(in.c);
          const Gemm<T> g = gemm_of<T>(t, da.data(), db.data(), bias.data(), c.data());
          Product<T> p{};
          const auto access = [](int64_t k_step) { return k_step == 1 ? Access::vectors_along_k : Access::vectors; };
          p.a = {g.a, g.m, g.a_row, g.a_col, access(g.a_col)}, p.b = {g.b, g.n, g.b_col, g.b_row, access(g.b_row)};
          p.k = k, p.c = g.c, p.c_row = g.c_row, p.batch.matrices = 1, p.split = cut_k(k, parts, 1, 32);
          p.epilogue = {SumOf<T>(g.alpha), SumOf<T>(g.beta), g.bias, 0, t.activation};
          launch_mma(p, K::operands, tile);
          compare(t, in, c.host(), __FILE__, __LINE__);
        }
}

TEST(every_tile) {
  for_each_kind([]<class K>(K) {
    for (size_t i = 0; i < mma_tiles(K::operands).size(); ++i) try_tile<K>(int(i));
  });
}

TEST(epilogues) {
  for_each_kind([]<class K>(K) {
    for (int64_t n : {8, 39})
      for (Activation activation : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
        CHECK_PRODUCT(K, 17, n, 20, Layout::padded, Layout::padded, 1, 0, true, activation);
        CHECK_PRODUCT(K, 17, n, 20, Layout::columns, Layout::columns, 0.03125, -0.5, true, activation, {2}, 1, 0, 0, 5);
        CHECK_PRODUCT(K, 17, n, 0, Layout::rows, Layout::rows, 1, 2, true, activation);
      }
    CHECK_PRODUCT(K, 17, 39, 20, Layout::rows, Layout::rows, -2, 0.25, false);
  });
}

TEST(residuals) {
  for_each_kind([]<class K>(K) {
    using T = typename K::T;
    for (const auto& [n, k] : {std::pair<int64_t, int64_t>{40, 48}, {39, 20}, {9, 3000}})
      for (Activation activation : {Activation::none, Activation::relu, Activation::tanh}) {
        const Try t{17, n, k, Layout::rows, Layout::columns, 1, 1, true, activation, {2}};
        const Inputs<T> in = integers<T>(t);
        const DeviceArray<T> a(in.a), b(in.b), bias(in.bias), d(in.c), c(std::vector<T>(in.c.size(), T(-77.f)));
        Gemm<T> g = gemm_of<T>(t, a.data(), b.data(), bias.data(), c.data());
        g.beta = T(0.f), g.residual = d.data();
        multiply_by_mma(g, batch_of(t), activation, K::operands);
        CHECK(same_bits(c.host(), run<K>(t, in)));
        CHECK(same_bits(d.host(), in.c));
      }
  });
}

TEST(pointers_that_are_not_aligned) {
  for_each_kind([]<class K>(K) {
    for (size_t shift : {1, 2, 4})
      CHECK_PRODUCT(K, 36, 40, 32, Layout::columns, Layout::rows, 1, 1, true, Activation::relu, {}, 1, 1, shift);
  });
}

TEST(batches) {
  for_each_kind([]<class K>(K) {
    for (int a : {0, 1})
      for (int b : {0, 1})
        for (int64_t k : {16, 17}) {
          CHECK_PRODUCT(K, 16, 24, k, Layout::rows, Layout::columns, 1, 0, true, Activation::none, {3, 2}, a, b);
          CHECK_PRODUCT(K, 8, 16, k, Layout::columns, Layout::rows, 1, 1, true, Activation::none, {2, 1, 3}, a, b);
        }
  });
}

TEST(batches_broadcast_along_one_axis) {  // which is copied as if it weren't
  const Try t{5, 7, 9, Layout::odd, Layout::odd, 1, 0, false, Activation::none, {2, 3}};
  Inputs<float> in = integers<float>(t);
  const int64_t one = strides(Layout::odd, t.m, t.k).size;
  std::copy_n(in.a.begin(), 3 * one, in.a.begin() + 3 * one);  // so that the second half may be read as the first
  const DeviceArray<float> a(in.a), b(in.b), c(in.c);
  GemmBatch batch = batch_of(t);
  batch.a[0] = 0;
  multiply_by_mma(gemm_of<float>(t, a.data(), b.data(), nullptr, c.data()), batch, Activation::none, Tf32::operands);
  compare(t, in, c.host(), __FILE__, __LINE__);
}

TEST(nothing_to_do) {
  Gemm<bfloat16> g{};
  multiply_by_mma(g, {}, Activation::none, MmaOperands::halves);
  g.m = 3;
  multiply_by_mma(g, {}, Activation::none, MmaOperands::halves);
  g.n = 3;
  multiply_by_mma(g, {{2, 0}, {0, 0}, {0, 0}, {0, 0}}, Activation::none, MmaOperands::halves);
}

TEST(sums_in_parts) {
  const DeviceLimits& limits = device_limits();
  for_each_kind([&]<class K>(K) {
    const GemmPlan plan = choose_mma_tile(K::operands, {20, 24, 2050, 1}, limits.multiprocessors, limits.architecture);
    CHECK(plan.split.count > 1 || limits.multiprocessors == 1);
    for (Layout layout : {Layout::padded, Layout::columns}) {
      CHECK_PRODUCT(K, 20, 24, 2050, layout, layout, 0.5, 2, true, Activation::relu, {}, 1, 1, 0, 2);
      CHECK_PRODUCT(K, 5, 9, 1001, layout, layout, 0.015625, 1, true, Activation::tanh, {2});
    }
  });
}

TEST(c_is_not_read_without_beta) {
  for_each_kind([]<class K>(K) {
    using T = typename K::T;
    for (Try t : {Try{33, 40, 16}, Try{33, 37, 10}, Try{5, 5, 4000}, Try{16, 16, 0}}) {
      Inputs<T> in = integers<T>(t);
      in.c.assign(in.c.size(), T(NAN));
      compare(t, in, run<K>(t, in), __FILE__, __LINE__);
    }
  });
}

TEST(nan_and_infinities_are_those_of_float32) {
  const float specials[] = {NAN, INFINITY, -INFINITY};
  for_each_kind([&]<class K>(K) {
    using T = typename K::T;
    for (Layout layout : {Layout::padded, Layout::columns})
      for (Try t : {Try{33, 37, 21, layout, layout}, Try{8, 9, 2001, layout, layout}})
        for (float special : specials) {
          Inputs<T> in = integers<T>(t);
          const Strides x = strides(t.a, t.m, t.k), y = strides(t.b, t.k, t.n);
          // The last row and the last k of A, the first column and the last k of B: next to what fills the tiles.
          in.a[size_t((t.m - 1) * x.row + (t.k - 1) * x.column)] = T(special);
          in.b[size_t((t.k - 2) * y.row)] = T(-special);
          const std::vector<T> got = run<K>(t, in);
          each_sum(t, in, [&](double sum, double, int64_t place, int64_t) {
            const float result = float(got[size_t(place)]);
            CHECK(std::isnan(sum) ? std::isnan(result) : float(T(float(sum))) == result);
          });
        }
  });
}

TEST(largest_and_smallest_values) {
  // One product each: what isn't far from either end of the range comes out as float32 has it.
  const std::pair<float, float> factors[] = {{0x1.fffffep127f, 0x1p-10f},
                                             {0x1.ff7p127f, 0.5f},
                                             {0x1.8p100f, 0x1p40f},
                                             {-0x1.8p100f, 0x1p40f},
                                             {0x1.234566p-60f, 0x1p-40f}};
  for (const auto& [x, y] : factors) {
    const Try t{1, 1, 1};
    const Inputs<float> in{{x}, {y}, {0}, {0}};
    CHECK(run<Pieces>(t, in)[0] == x * y);
  }
  const Try t{1, 1, 1};
  const Inputs<float> small{{0x1p-140f}, {1}, {0}, {0}};
  CHECK(std::abs(run<Pieces>(t, small)[0] - 0x1p-140f) <= 0x1p-133f);
}

template <class T>
Inputs<T> random_inputs(const Try& t, bool uniform) {
  std::mt19937 generator(7);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> positive;
  const auto draw = [&](int64_t n) {
    std::vector<T> out;
    for (int64_t i = 0; i < n; ++i) out.push_back(T(float(uniform ? positive(generator) : normal(generator))));
    return out;
  };
  return {draw(t.m * t.k), draw(t.k * t.n), draw(t.n), std::vector<T>(size_t(t.m * t.n), T(0.0f))};
}

/// Each element's error is within what cutting sums off, and rounding tf32, may make of it.
TEST(bounds_of_errors) {
  for_each_kind([]<class K>(K) {
    using T = typename K::T;
    for (bool uniform : {false, true})
      for (int64_t k : {16, 100, 1000, 5000}) {
        const Try t{16, 24, k};
        const Inputs<T> in = random_inputs<T>(t, uniform);
        const std::vector<T> got = run<K>(t, in);
        const double of_operands = K::operands == MmaOperands::tf32 ? 0x1p-10 : 0;
        const double of_result = std::is_same_v<T, bfloat16> ? 0x1p-8 : std::is_same_v<T, float16> ? 0x1p-11 : 0x1p-24;
        each_sum(t, in, [&](double sum, double magnitude, int64_t place, int64_t) {
          const double bound = (double(k) * 0x1p-23 + of_operands) * magnitude + of_result * std::abs(sum);
          CHECK(std::abs(double(float(got[size_t(place)])) - sum) <= bound);
        });
      }
  });
}

double error(const Try& t, const Inputs<float>& in, const std::vector<float>& got) {
  double squares = 0, errors = 0;
  each_sum(t, in, [&](double sum, double, int64_t place, int64_t) {
    squares += sum * sum, errors += std::pow(double(got[size_t(place)]) - sum, 2);
  });
  return std::sqrt(errors / squares);
}

/// The relative error in the L2 norm is at most twice that of float32 arithmetic, without parts of k and with them.
TEST(float32_in_pieces_is_as_accurate_as_float32) {
  for (bool uniform : {false, true})
    for (int64_t k : {16, 64, 256, 1024, 4096, 16384}) {
      const Try t{16, 32, k};
      const Inputs<float> in = random_inputs<float>(t, uniform);
      const DeviceArray<float> a(in.a), b(in.b), c(in.c);
      Product<float> p{};
      p.a = {a.data(), t.m, k, 1, Access::along_k}, p.b = {b.data(), t.n, 1, t.n, Access::vectors};
      p.k = k, p.c = c.data(), p.c_row = t.n, p.batch.matrices = 1;
      for (int64_t parts : {1, 8}) {
        p.split = cut_k(k, parts, 1, 16);
        launch_simt(p, 2);
        const double exact = error(t, in, c.host());
        p.a.access = Access::vectors_along_k;
        launch_mma(p, MmaOperands::pieces, 0);
        const double pieces = error(t, in, c.host());
        p.a.access = Access::along_k;
        std::printf("  %s k = %d in %d parts: float32 %.2e, pieces %.2e\n", uniform ? "uniform" : "normal", int(k),
                    p.split.count, exact, pieces);
        CHECK(pieces <= 2 * exact);
      }
    }
}

TEST(the_same_bits_in_every_run) {
  for_each_kind([]<class K>(K) {
    using T = typename K::T;
    for (Try t : {Try{130, 72, 40}, Try{20, 21, 2100}}) {
      const Inputs<T> in = random_inputs<T>(t, false);
      CHECK(same_bits(run<K>(t, in), run<K>(t, in)));
      // Nor do they depend on where the operands lie.
      Try shifted = t;
      shifted.shift = 1;
      CHECK(same_bits(run<K>(t, in), run<K>(shifted, in)));
    }
  });
}

TEST(choice_of_cores) {
  const auto cores = [](MmaOperands operands, int64_t size, int architecture, double copied = 0) {
    return choose_cores(operands, {size, size, size, 1}, {copied, 0}, 132, architecture);
  };
  CHECK(cores(MmaOperands::pieces, 4096, 90) == Cores::mma && cores(MmaOperands::tf32, 4096, 90) == Cores::mma);
  CHECK(cores(MmaOperands::pieces, 4096, 80) == Cores::mma && cores(MmaOperands::tf32, 4096, 86) == Cores::mma);
  CHECK(cores(MmaOperands::pieces, 4096, 86) == Cores::simt);  // whose CUDA cores have twice the rate
  CHECK(cores(MmaOperands::tf32, 4096, 75) == Cores::simt);
  CHECK(cores(MmaOperands::pieces, 16, 90) == Cores::simt);
  CHECK(cores(MmaOperands::tf32, 256, 90, 1e9) == Cores::simt);  // if copies would take longer
}

TEST(the_table_goes_by_precision) {
  const Try t{256, 256, 64};
  const Inputs<float> in = random_inputs<float>(t, false);
  const auto by = [&](Precision precision) {
    const DeviceArray<float> a(in.a), b(in.b), c(in.c);
    gemms().gemm_f32(gemm_of<float>(t, a.data(), b.data(), nullptr, c.data()), {}, Activation::none, precision);
    return error(t, in, c.host());
  };
  const double highest = by(Precision::highest), high = by(Precision::high), medium = by(Precision::medium);
  CHECK(highest < 1e-6 && high <= 2 * highest && high != highest);
  CHECK(medium > 1e-5 && medium < 1e-3);
  const Inputs<float> row = random_inputs<float>({1, 64, 64}, false);
  const DeviceArray<float> a(row.a), b(row.b), c(row.c);
  gemms().gemm_f32(gemm_of<float>({1, 64, 64}, a.data(), b.data(), nullptr, c.data()), {}, Activation::none,
                   Precision::medium);
  CHECK(error({1, 64, 64}, row, c.host()) < 1e-6);  // as fast as memory in any precision
}

TEST(architectures) {
  CHECK(architecture_for(device_limits().capability) == device_limits().architecture);
#ifdef STEEP_CUDA_EMULATED  // for every target
  CHECK(architecture_for(75) == 75 && architecture_for(80) == 80 && architecture_for(87) == 86);
  CHECK(architecture_for(90) == 90 && architecture_for(103) == 100 && architecture_for(121) == 120);
  CHECK(architecture_for(110) == 80);  // by PTX
  CHECK(architecture_for(70) == 0);
#endif
}

}  // namespace
}  // namespace steep::cuda
