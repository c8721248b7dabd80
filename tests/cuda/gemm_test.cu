// Matrix products by the CUDA cores: csrc/cuda/gemm.cpp, gemm_simt.cuh, gemv.cuh, gemm_tile.h.
#include "gemm_testing.h"
//
#include "cuda/gemm_simt.cuh"

namespace steep::cuda {
namespace {

using namespace steep::testing;

void multiply(const Gemm<float>& g, const GemmBatch& batch, Activation activation) {
  gemms().gemm_f32(g, batch, activation, Precision::highest);
}
void multiply(const Gemm<double>& g, const GemmBatch& batch, Activation activation) {
  gemms().gemm_f64(g, batch, activation);
}
void multiply(const Gemm<int32_t>& g, const GemmBatch& batch, Activation) { gemms().gemm_i32(g, batch); }
void multiply(const Gemm<int64_t>& g, const GemmBatch& batch, Activation) { gemms().gemm_i64(g, batch); }

template <class T>
std::vector<T> random_elements(int64_t n, unsigned seed) {
  if constexpr (std::is_floating_point_v<T>) {
    return random_normal<T>(size_t(n), seed);
  } else {
    std::vector<T> out;
    for (int64_t x : random_integers(size_t(n), std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), seed))
      out.push_back(T(x));
    return out;
  }
}

template <class T>
Inputs<T> random_inputs(const Try& t, unsigned seed = 1) {
  const int64_t count = matrices(t);
  Inputs<T> in;
  in.a = random_elements<T>(strides(t.a, t.m, t.k).size * (t.batch_a ? count : 1), seed);
  in.b = random_elements<T>(strides(t.b, t.k, t.n).size * (t.batch_b ? count : 1), seed + 1);
  in.bias = random_elements<T>(t.n, seed + 2);
  in.c = random_elements<T>(count * t.m * (t.n + t.c_gap), seed + 3);
  return in;
}

/// What C becomes, with the gaps between its rows.
template <class T>
std::vector<T> run_once(const Try& t, const Inputs<T>& in) {
  const DeviceArray<T> a(in.a, t.shift), b(in.b, t.shift), bias(in.bias, t.shift), c(in.c, t.shift);
  multiply(gemm_of<T>(t, a.data(), b.data(), bias.data(), c.data()), batch_of(t), t.activation);
  return c.host();
}

/// Checks all of C's memory. Long double is the reference's precision; the bound is that of a chain of k multiply-adds.
template <class T>
void check(const Try& t, const Inputs<T>& in, const char* file, int line) {
  const std::vector<T> got = run_once(t, in);
  std::vector<T> expected = in.c;
  const std::string name = "m=" + std::to_string(t.m) + " n=" + std::to_string(t.n) + " k=" + std::to_string(t.k) +
                           " a=" + std::to_string(int(t.a)) + " b=" + std::to_string(int(t.b)) +
                           " size=" + std::to_string(sizeof(T));
  const double eps = std::is_floating_point_v<T> ? double(std::numeric_limits<T>::epsilon()) : 0;
  std::vector<T> c = in.c;
  const Gemm<T> g = gemm_of<T>(t, in.a.data(), in.b.data(), in.bias.data(), c.data());
  const GemmBatch batch = batch_of(t);
  for (int64_t matrix = 0; matrix < matrices(t); ++matrix) {
    const Offsets at = offsets(batch, matrix);
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        T& out = expected[size_t(at.c + i * g.c_row + j)];
        const T result = got[size_t(at.c + i * g.c_row + j)];
        const auto x = [&](int64_t k) { return g.a[at.a + i * g.a_row + k * g.a_col]; };
        const auto y = [&](int64_t k) { return g.b[at.b + k * g.b_row + j * g.b_col]; };
        if constexpr (std::is_integral_v<T>) {
          uint64_t sum = 0;
          for (int64_t k = 0; k < g.k; ++k) sum += uint64_t(x(k)) * uint64_t(y(k));
          sum = uint64_t(g.alpha) * sum + (g.beta != 0 ? uint64_t(g.beta) * uint64_t(out) : 0);
          out = T(sum + uint64_t(g.bias ? g.bias[j] : 0));
        } else {
          using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;
          Wide sum = 0, magnitude = 0;
          for (int64_t k = 0; k < g.k; ++k) sum += Wide(x(k)) * y(k), magnitude += std::abs(Wide(x(k)) * y(k));
          sum *= g.alpha, magnitude = std::abs(magnitude * g.alpha);
          if (g.beta != 0) sum += Wide(g.beta) * out, magnitude += std::abs(Wide(g.beta) * out);
          if (g.bias) sum += g.bias[j], magnitude += std::abs(Wide(g.bias[j]));
          Wide bound = Wide(double(g.k) / 2 + 4) * eps * magnitude;
          if (t.activation == Activation::relu) sum = sum < 0 ? 0 : sum;  // keeps NaN
          if (t.activation == Activation::sigmoid) sum = 1 / (1 + std::exp(-sum));
          if (t.activation == Activation::tanh) sum = std::tanh(sum);
          if (t.activation > Activation::relu) bound += 4 * Wide(eps);
          if (std::isnan(sum) ? std::isnan(result) : sum == result || std::abs(sum - result) <= bound)
            out = result;
          else
            out = T(sum);
        }
      }
  }
  for (size_t i = 0; i < got.size(); ++i)
    if (std::memcmp(&got[i], &expected[i], sizeof(T))) {
      char text[200];
      std::snprintf(text, sizeof text, "%s: C[%zu] is %.17g, expected %.17g", name.c_str(), i, double(got[i]),
                    double(expected[i]));
      return fail(file, line, text);
    }
}
#define CHECK_PRODUCT(T, ...)                                         \
  {                                                                   \
    const Try attempt{__VA_ARGS__};                                   \
    check<T>(attempt, random_inputs<T>(attempt), __FILE__, __LINE__); \
  }

template <class T>
void try_layouts(int64_t m, int64_t n, int64_t k) {
  for (Layout a : kLayouts)
    for (Layout b : kLayouts) CHECK_PRODUCT(T, m, n, k, a, b);
}

TEST(layouts) {
  try_layouts<float>(20, 24, 36);
  try_layouts<float>(18, 22, 8);
  try_layouts<double>(20, 24, 19);
}

TEST(layouts_of_vectors) {
  try_layouts<float>(1, 40, 36);
  try_layouts<float>(40, 1, 36);
  try_layouts<double>(1, 33, 19);
  try_layouts<double>(33, 1, 70);
}

TEST(layouts_of_integers) {
  for (Layout a : {Layout::rows, Layout::columns, Layout::spread})
    for (Layout b : {Layout::rows, Layout::columns, Layout::reversed}) {
      CHECK_PRODUCT(int32_t, 20, 24, 36, a, b, 3, -2, true);
      CHECK_PRODUCT(int64_t, 20, 24, 19, a, b, 3, -2, true);
      CHECK_PRODUCT(int64_t, 1, 24, 19, a, b);
    }
}

TEST(edges_of_small_tiles) {
  for (int64_t m : {1, 2, 31, 32, 33})
    for (int64_t n : {1, 3, 32, 35})
      for (int64_t k : {0, 1, 7, 8, 9, 15, 16, 17, 32, 33, 64, 65}) {
        CHECK_PRODUCT(float, m, n, k);
        CHECK_PRODUCT(double, m, n, k, Layout::columns, Layout::columns);
        if (k < 20) CHECK_PRODUCT(int32_t, m, n, k, Layout::columns);
      }
}

/// A tile by its own kernel, whatever the choice for the product would be, and with copies by way of registers too.
template <class T, int m, int n, int k, int thread_m, int thread_n>
__global__ void __launch_bounds__(Tile{m, n, k, thread_m, thread_n}.threads()) register_kernel(const Product<T> g) {
  multiply_tile<T, Tile{m, n, k, thread_m, thread_n}, false>(g);
}
template <class T, Tile tile>
constexpr auto gemm_by_registers = register_kernel<T, tile.m, tile.n, tile.k, tile.thread_m, tile.thread_n>;
template <class T, Tile tile>
std::vector<T> run_tile(const Try& t, const Inputs<T>& in, bool registers, Access access_a, Access access_b,
                        const Split& split) {
  const DeviceArray<T> a(in.a, t.shift), b(in.b, t.shift), bias(in.bias, t.shift), c(in.c, t.shift);
  const Gemm<T> g = gemm_of<T>(t, a.data(), b.data(), bias.data(), c.data());
  Product<T> p{};
  p.a = {g.a, g.m, g.a_row, g.a_col, access_a}, p.b = {g.b, g.n, g.b_col, g.b_row, access_b};
  p.k = g.k, p.c = g.c, p.c_row = g.c_row, p.batch.matrices = 1, p.split = split;
  p.epilogue = {g.alpha, g.beta, g.bias, 0, t.activation};
  p.row_tiles = unsigned(ceil_div<int64_t>(g.m, tile.m)), p.column_tiles = unsigned(ceil_div<int64_t>(g.n, tile.n));
  launch("gemm", registers ? gemm_by_registers<T, tile> : gemm_tiles<T, tile>, p.row_tiles * p.column_tiles,
         tile.threads(), 0, p);
  return c.host();
}

template <class T, Tile tile>
void try_tile() {
  for (int64_t k : {1, tile.k - 1, tile.k, tile.k + 1, 4 * tile.k + 3}) {
    for (const auto& [m, n] :
         {std::pair<int64_t, int64_t>{tile.m, tile.n}, {tile.m + 4, tile.n - 8}, {tile.m - 1, tile.n + 3}})
      for (Layout layout : {Layout::rows, Layout::columns}) {
        const Try t{m, n, k, layout, layout, 0.5, 2, true, Activation::sigmoid};
        const Inputs<T> in = random_inputs<T>(t);
        // Every access and every way must give the bits that the product has by its own choice of access.
        const bool rows = layout == Layout::rows;
        const bool vectors_a = !rows && m % Vector<T>::n == 0, vectors_b = rows && n % Vector<T>::n == 0;
        const std::vector<T> first = run_tile<T, tile>(t, in, false, Access::along_k, Access::along_k, {1, k});
        for (bool registers : {false, true}) {
          CHECK(same_bits(first, run_tile<T, tile>(t, in, registers, Access::along_mn, Access::along_mn, {1, k})));
          CHECK(same_bits(first, run_tile<T, tile>(t, in, registers, Access::along_k, Access::along_k, {1, k})));
          CHECK(same_bits(first, run_tile<T, tile>(t, in, registers, vectors_a ? Access::vectors : Access::along_k,
                                                   vectors_b ? Access::vectors : Access::along_mn, {1, k})));
        }
        std::vector<T> expected = in.c;
        const Gemm<T> g = gemm_of<T>(t, in.a.data(), in.b.data(), in.bias.data(), expected.data());
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double sum = 0;
            for (int64_t l = 0; l < k; ++l)
              sum += double(g.a[i * g.a_row + l * g.a_col]) * double(g.b[l * g.b_row + j * g.b_col]);
            T& out = expected[size_t(i * n + j)];
            out = T(1 / (1 + std::exp(-(0.5 * sum + 2 * double(out) + double(in.bias[size_t(j)])))));
          }
        CHECK_CLOSE(first, expected, 0, 100 * std::numeric_limits<T>::epsilon());
      }
  }
}

TEST(every_tile) {
  try_tile<float, kLarge>();
  try_tile<float, kMedium>();
  try_tile<float, kSmall>();
  try_tile<double, kMedium64>();
  try_tile<double, kSmall64>();
}

TEST(large_products) {  // several blocks of each tile that is chosen, ragged
  CHECK_PRODUCT(float, 700, 610, 20, Layout::rows, Layout::columns);
  CHECK_PRODUCT(double, 300, 270, 20, Layout::columns, Layout::rows);
  // Blocks take 8 tiles of rows at a time: here some are left over, and there are several of columns, whatever the
  // tile.
  CHECK_PRODUCT(float, 1100, 140, 3, Layout::rows, Layout::rows);
  CHECK_PRODUCT(double, 600, 70, 3, Layout::rows, Layout::rows);
}

TEST(epilogues) {
  for (int64_t n : {1, 36, 39})
    for (int64_t m : {1, 33}) {
      for (Activation activation : {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
        CHECK_PRODUCT(float, m, n, 20, Layout::rows, Layout::rows, 1, 0, true, activation);
        CHECK_PRODUCT(double, m, n, 20, Layout::rows, Layout::rows, 1, 0, true, activation);
        CHECK_PRODUCT(float, m, n, 0, Layout::rows, Layout::rows, 1, 2, true, activation);
      }
      CHECK_PRODUCT(float, m, n, 20, Layout::rows, Layout::rows, -0.5, 0.25, false);
      CHECK_PRODUCT(double, m, n, 20, Layout::rows, Layout::rows, 3, 1, true);
      CHECK_PRODUCT(float, m, n, 0, Layout::rows, Layout::rows, 1, 0, false);
      CHECK_PRODUCT(float, m, n, 20, Layout::rows, Layout::rows, 2, -1, true, Activation::relu, {}, 1, 1, 0, 5);
      CHECK_PRODUCT(double, m, n, 20, Layout::rows, Layout::rows, 2, -1, true, Activation::tanh, {}, 1, 1, 0, 4);
    }
}

/// The bits are those of 1·C with the residual in its place.
template <class T>
void check_residual(Try t) {
  t.beta = 1;
  const Inputs<T> in = random_inputs<T>(t);
  const DeviceArray<T> a(in.a), b(in.b), bias(in.bias), d(in.c), c(std::vector<T>(in.c.size(), T(-77)));
  Gemm<T> g = gemm_of<T>(t, a.data(), b.data(), bias.data(), c.data());
  g.beta = 0, g.residual = d.data();
  multiply(g, batch_of(t), t.activation);
  CHECK(same_bits(c.host(), run_once(t, in)));
  CHECK(same_bits(d.host(), in.c));
}

TEST(residuals) {
  for (const auto& [m, n, k] :
       {std::array<int64_t, 3>{36, 40, 20}, {150, 131, 9}, {33, 1, 70}, {1, 39, 20}, {5, 7, 2000}}) {
    check_residual<float>({m, n, k, Layout::rows, Layout::columns, 0.5, 2, true, Activation::tanh});
    check_residual<double>({m, n, k, Layout::rows, Layout::rows, 1, 1, true, Activation::relu, {2}});
    check_residual<int32_t>({m, n, k, Layout::rows, Layout::rows, 3, -2, true});
  }
}

TEST(pointers_that_are_not_aligned) {
  for (size_t shift : {1, 2, 3}) {
    CHECK_PRODUCT(float, 36, 40, 32, Layout::columns, Layout::rows, 1, 1, true, Activation::relu, {}, 1, 1, shift);
    CHECK_PRODUCT(double, 36, 40, 32, Layout::columns, Layout::rows, 1, 1, true, Activation::relu, {}, 1, 1, shift);
    CHECK_PRODUCT(float, 36, 1, 64, Layout::rows, Layout::rows, 1, 1, true, Activation::relu, {}, 1, 1, shift);
    CHECK_PRODUCT(float, 1, 36, 64, Layout::rows, Layout::columns, 1, 1, true, Activation::relu, {}, 1, 1, shift);
    CHECK_PRODUCT(int64_t, 36, 40, 32, Layout::columns, Layout::rows, 1, 1, true, Activation::none, {}, 1, 1, shift);
  }
}

TEST(batches) {
  for (int a : {0, 1})
    for (int b : {0, 1}) {
      for (int64_t n : {1, 7, 8}) {
        CHECK_PRODUCT(float, 5, n, 12, Layout::rows, Layout::rows, 1, 0, true, Activation::none, {3, 2}, a, b);
        CHECK_PRODUCT(double, 1, n, 12, Layout::rows, Layout::columns, 1, 1, false, Activation::none, {2, 1, 3}, a, b);
      }
      CHECK_PRODUCT(int32_t, 5, 7, 9, Layout::rows, Layout::rows, 1, 0, true, Activation::none, {7}, a, b);
    }
  CHECK_PRODUCT(float, 2, 2, 3, Layout::rows, Layout::rows, 1, 0, false, Activation::none, {70000});
  CHECK_PRODUCT(float, 4, 4, 4, Layout::columns, Layout::rows, 1, 0, false, Activation::none, {2, 3}, 1, 1, 0, 3);
}

/// Products of a batch of three axes with any steps; the first matrices lie `a_first` and `b_first` elements from the
/// beginning.
void try_steps(const Gemm<float>& sizes, const GemmBatch& batch, int64_t a_first = 0, int64_t b_first = 0) {
  const auto a = random_normal<float>(2000, 1), b = random_normal<float>(2000, 2);
  const DeviceArray<float> x(a), y(b), c(std::vector<float>(2000, 7.0f));
  Gemm<float> g = sizes;
  g.a = x.data() + a_first, g.b = y.data() + b_first, g.c = c.data();
  multiply(g, batch, Activation::none);
  std::vector<double> expected(2000, 7.0);
  for (int64_t p = 0; p < batch.shape[0]; ++p)
    for (int64_t q = 0; q < batch.shape[1]; ++q)
      for (int64_t r = 0; r < batch.shape[2]; ++r)
        for (int64_t i = 0; i < g.m; ++i)
          for (int64_t j = 0; j < g.n; ++j) {
            const auto at = [&](const Dims& steps) { return p * steps[0] + q * steps[1] + r * steps[2]; };
            double sum = 0;
            for (int64_t k = 0; k < g.k; ++k)
              sum += double(a[size_t(a_first + at(batch.a) + i * g.a_row + k * g.a_col)]) *
                     double(b[size_t(b_first + at(batch.b) + k * g.b_row + j * g.b_col)]);
            expected[size_t(at(batch.c) + i * g.c_row + j)] = sum;
          }
  CHECK_CLOSE(c.host(), expected, 0, 1e-5);
}

TEST(batches_of_any_steps) {
  const auto product = [](int64_t m, int64_t n, int64_t k) {
    Gemm<float> g{};
    g.m = m, g.n = n, g.k = k, g.a_row = 1, g.a_col = m, g.b_row = n, g.b_col = 1, g.c_row = n;
    return g;
  };
  for (const auto& [m, n] : {std::pair<int64_t, int64_t>{4, 8}, {3, 5}, {1, 8}, {8, 1}}) {
    const int64_t k = 4, a = m * k, b = n * k, c = m * n;
    const Dims in_order{6 * c, 2 * c, c};
    // Each operand broadcast along axes of its own, and C's matrices in another order.
    try_steps(product(m, n, k), {{2, 3, 2}, {0, a, 0}, {2 * b, 0, b}, in_order});
    try_steps(product(m, n, k), {{2, 3, 2}, {6 * a, 2 * a, a}, {0, 2 * b, b}, in_order});
    try_steps(product(m, n, k), {{2, 3, 2}, {0, 2 * a, a}, {6 * b, 2 * b, b}, in_order});
    try_steps(product(m, n, k), {{2, 3, 2}, {6 * a, 2 * a, a}, {6 * b, 2 * b, b}, {c, 4 * c, 2 * c}});
    // Backwards, and by steps that vectors aren't aligned at.
    try_steps(product(m, n, k), {{2, 3, 2}, {6 * a, 2 * a, -a}, {6 * b, -2 * b, b}, in_order}, a, 4 * b);
    try_steps(product(m, n, k),
              {{2, 3, 2}, {6 * a + 1, 2 * a + 3, a + 2}, {6 * b, 2 * b + 1, b}, {6 * c + 5, 2 * c + 1, c}});
  }
}

TEST(nothing_to_do) {
  Gemm<float> g{};
  multiply(g, {}, Activation::none);
  g.m = 3;
  multiply(g, {}, Activation::none);
  g.n = 3;
  multiply(g, {{2, 0}, {0, 0}, {0, 0}, {0, 0}}, Activation::none);
}

TEST(sums_in_parts) {
  const int multiprocessors = device_limits().multiprocessors;
  CHECK(choose_tile(kTiles<float>, 20, 20, 4100, 1, multiprocessors).split.count > 1);
  CHECK(choose_tile(kTiles<double>, 20, 20, 4100, 1, multiprocessors).split.count > 1);
  for (Layout layout : {Layout::rows, Layout::columns, Layout::spread}) {
    CHECK_PRODUCT(float, 20, 21, 4100, layout, layout, 0.5, 2, true, Activation::tanh, {}, 1, 1, 0, 2);
    CHECK_PRODUCT(double, 18, 20, 4100, layout, layout, 0.5, 2, true, Activation::tanh);
    CHECK_PRODUCT(float, 5, 8, 3001, layout, layout, 1, 1, true, Activation::relu, {2, 3});
    CHECK_PRODUCT(float, 1, 8, 9001, layout, layout, 1, 1, true, Activation::relu, {2, 3});
    CHECK_PRODUCT(float, 9, 1, 9001, layout, layout, 1, 1, true, Activation::sigmoid, {2, 3}, 0, 1, 0, 2);
    CHECK_PRODUCT(double, 1, 1, 20000, layout, layout, 1, 1, true);
    CHECK_PRODUCT(int32_t, 5, 4, 3001, layout, layout, 3, 1, true);
    CHECK_PRODUCT(int64_t, 1, 1, 3001, layout, layout, 3, 1, true, Activation::none, {2});
  }
}

TEST(c_is_not_read_without_beta) {
  for (Try t : {Try{33, 36, 10}, Try{33, 37, 10}, Try{1, 36, 40}, Try{36, 1, 40}, Try{5, 5, 4000}, Try{1, 1, 20000}}) {
    Inputs<float> in = random_inputs<float>(t);
    in.c.assign(in.c.size(), NAN);
    check<float>(t, in, __FILE__, __LINE__);
    for (float x : run_once(t, in)) CHECK(std::isfinite(x));
  }
}

TEST(nan_and_infinities_stay_in_their_rows_and_columns) {
  const float specials[] = {NAN, INFINITY, -INFINITY, 3e38f};
  for (Layout layout : {Layout::rows, Layout::columns})
    for (const Try& t :
         {Try{35, 37, 21, layout, layout}, Try{36, 40, 19, layout, layout}, Try{1, 37, 45, layout, layout},
          Try{35, 1, 45, layout, layout}, Try{8, 9, 4001, layout, layout}}) {
      for (int where = 0; where < 4; ++where) {
        Inputs<float> in = random_inputs<float>(t);
        const Strides x = strides(t.a, t.m, t.k), y = strides(t.b, t.k, t.n);
        // The last row and the last k of A, the first column and the last k of B: next to what fills the tiles.
        if (where != 1) in.a[size_t((t.m - 1) * x.row + (t.k - 1) * x.column)] = specials[where];
        if (where != 2) in.b[size_t((t.k - 1) * y.row)] = specials[where];
        std::vector<float> got = run_once(t, in);
        for (int64_t i = 0; i < t.m; ++i)
          for (int64_t j = 0; j < t.n; ++j) {
            const bool touched = (where != 1 && i == t.m - 1) || (where != 2 && j == 0);
            const float value = got[size_t(i * t.n + j)];
            if (!touched) CHECK(std::abs(value) < 1e4f);
            if (touched && where == 0) CHECK(std::isnan(value));
          }
        if (where < 3) check<float>(t, in, __FILE__, __LINE__);
        for (Activation activation : {Activation::relu, Activation::sigmoid, Activation::tanh}) {
          Try activated = t;
          activated.activation = activation;
          if (where == 0) check<float>(activated, in, __FILE__, __LINE__);
        }
      }
    }
}

TEST(large_and_small_values) {
  for (double scale : {1e-42, 1e-20, 1e15}) {
    const Try t{33, 34, 35};
    Inputs<float> in = random_inputs<float>(t);
    for (float& x : in.a) x = float(x * scale);
    const std::vector<float> got = run_once(t, in);
    std::vector<double> expected;
    for (int64_t i = 0; i < t.m; ++i)
      for (int64_t j = 0; j < t.n; ++j) {
        double sum = 0;
        for (int64_t k = 0; k < t.k; ++k) sum += double(in.a[size_t(i * t.k + k)]) * double(in.b[size_t(k * t.n + j)]);
        expected.push_back(sum);
      }
    CHECK_CLOSE(got, expected, 0, 1e-4 * scale + 100 * 1.4e-45);  // subnormals are not flushed
  }
}

TEST(the_same_bits_in_every_run) {
  for (Try t : {Try{130, 70, 40}, Try{20, 21, 4100}, Try{1, 40, 5000}, Try{40, 1, 5000}, Try{1, 1, 30000}}) {
    const Inputs<float> in = random_inputs<float>(t);
    CHECK(same_bits(run_once(t, in), run_once(t, in)));
    // Nor do they depend on where the operands lie.
    Try shifted = t;
    shifted.shift = 1;
    CHECK(same_bits(run_once(t, in), run_once(shifted, in)));
    const Inputs<double> wide = random_inputs<double>(t);
    CHECK(same_bits(run_once(t, wide), run_once(shifted, wide)));
  }
}

TEST(cuts_of_k) {
  for (int64_t k : {0, 1, 5, 127, 128, 129, 1000, 4096, 100001})
    for (int64_t most : {0, 1, 2, 7, 64})
      for (int64_t least : {1, 128, 2048})
        for (int64_t unit : {8, 16, 128}) {
          const Split cut = cut_k(k, most, least, unit);
          CHECK(cut.count >= 1 && cut.count <= std::max<int64_t>(most, 1) && cut.depth % unit == 0);
          CHECK(cut.count * cut.depth >= k);
          CHECK(k == 0 || (cut.count - 1) * cut.depth < k);
          CHECK(cut.count == 1 || cut.depth >= least);
        }
}

TEST(choice_of_tiles) {
  const auto tile = [](int64_t m, int64_t n, int64_t k, int64_t batch = 1, int multiprocessors = 132) {
    return kTiles<float>[choose_tile(kTiles<float>, m, n, k, batch, multiprocessors).tile].tile;
  };
  const auto parts = [](int64_t m, int64_t n, int64_t k, int64_t batch = 1, int multiprocessors = 132) {
    return choose_tile(kTiles<float>, m, n, k, batch, multiprocessors).split.count;
  };
  CHECK(tile(4096, 4096, 4096) == kLarge && parts(4096, 4096, 4096) == 1);
  CHECK(tile(16, 16, 64) == kSmall && parts(16, 16, 64) == 1);
  CHECK(tile(8, 8, 8, 100000) == kSmall && parts(8, 8, 8, 100000) == 1);
  CHECK(tile(512, 512, 64, 64) == kLarge);
  CHECK(parts(64, 64, 100000) > 8);
  CHECK(parts(64, 64, 100000, 10000) == 1);
  CHECK(parts(128, 128, 1024, 1, 1) == 1);  // one multiprocessor gains nothing
  for (int64_t m : {1, 30, 100, 1000, 100000})
    for (int64_t n : {1, 10, 128, 5000})
      for (int64_t k : {0, 1, 100, 5000, 1000000})
        for (int multiprocessors : {1, 16, 132}) {
          const GemmPlan plan = choose_tile(kTiles<double>, m, n, k, 1, multiprocessors);
          CHECK(plan.tile >= 0 && plan.tile < 2 && plan.split.count >= 1 && plan.split.count <= kMaxSplits);
          CHECK(plan.split.count * plan.split.depth >= k);
          CHECK(k == 0 || (plan.split.count - 1) * plan.split.depth < k);
        }
}

}  // namespace
}  // namespace steep::cuda
