// Matrix products for the table: how the kernels of gemm_simt.cuh and gemv.cuh are launched.
#include <cstdlib>
#include <type_traits>

#include "gemv.cuh"

namespace steep::cuda {
void fill_gemm(Table& table);

namespace {

constexpr int64_t kMaxBlocks = INT32_MAX;

/// Axes of one matrix are left out, and axes that step alike through all operands are merged, the last ones first.
Batch merged(const GemmBatch& from) {
  Batch to{};
  to.matrices = 1;
  for (int i = 0; i < from.shape.n; ++i) {
    const int64_t n = from.shape[i];
    to.matrices *= n;
    if (n == 1) continue;
    const int last = to.axes - 1;
    const bool joins =
        last >= 0 && to.a[last] == n * from.a[i] && to.b[last] == n * from.b[i] && to.c[last] == n * from.c[i];
    const int at = joins ? last : to.axes++;
    to.shape[at] = joins ? to.shape[at] * n : n;
    to.a[at] = from.a[i], to.b[at] = from.b[i], to.c[at] = from.c[i];
  }
  return to;
}

/// Are vectors of T aligned at the start of an operand and at steps of `stride`, for all the matrices?
template <class T>
bool is_aligned(const T* data, int64_t stride, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  constexpr int64_t n = 16 / sizeof(T);
  bool aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % n == 0;
  for (int i = 0; i < batch.axes; ++i) aligned &= steps[i] % n == 0;
  return aligned;
}

template <class T>
Access access(const Operand<T>& x, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  if (x.stride == 1 && x.length % (16 / int64_t(sizeof(T))) == 0 && is_aligned(x.data, x.k_stride, batch, steps))
    return Access::vectors;
  return std::abs(x.k_stride) < std::abs(x.stride) ? Access::along_k : Access::along_mn;
}

/// Launches a kernel for blocks of `rows` × `columns` elements of C.
template <class T>
void launch_blocks(void (*kernel)(Product<T>), int threads, Product<T> g, int rows, int columns) {
  const int64_t row_tiles = ceil_div<int64_t>(g.a.length, rows), column_tiles = ceil_div<int64_t>(g.b.length, columns);
  const int64_t blocks = row_tiles * column_tiles * g.split.count;  // fewer than 2^31 for any C that memory holds
  g.row_tiles = uint32_t(row_tiles), g.column_tiles = uint32_t(column_tiles);
  const int64_t matrices = std::max<int64_t>(kMaxBlocks / blocks, 1);
  for (g.first = 0; g.first < g.batch.matrices; g.first += matrices) {
    const int64_t count = std::min(matrices, g.batch.matrices - g.first);
    launch("matmul", kernel, unsigned(count * blocks), threads, 0, g);
  }
}

/// The same, and adds the parts where there are several.
template <class T>
void run(void (*kernel)(Product<T>), int threads, const Product<T>& g, int rows, int columns) {
  if (g.split.count == 1) return launch_blocks(kernel, threads, g, rows, columns);
  const int64_t elements = g.batch.matrices * g.a.length * g.b.length;
  const Workspace workspace(size_t(g.split.count * elements) * sizeof(T));
  Product<T> parts = g;
  parts.epilogue = {};
  parts.c = workspace.as<T>(), parts.c_row = g.b.length, parts.c_part = elements;
  int64_t step = g.a.length * g.b.length;
  for (int i = g.batch.axes - 1; i >= 0; step *= g.batch.shape[i--]) parts.batch.c[i] = step;
  launch_blocks(kernel, threads, parts, rows, columns);
  launch("matmul", add_parts<T>, unsigned(ceil_div<int64_t>(elements, kReduceThreads)), kReduceThreads, 0, g, parts.c,
         uint32_t(elements));
}

/// The product of a matrix and a vector, for C of one column.
template <class T>
void multiply_vector(Product<T> g, int multiprocessors) {
  constexpr int64_t kVector = Vector<T>::n;
  constexpr int64_t kFewSteps = 16;  // of which lanes along k would be idle
  const bool along_k = g.k >= kFewSteps && (g.a.length == 1 || std::abs(g.a.k_stride) < std::abs(g.a.stride));
  const int rows = along_k ? kWarps : 32;
  const int64_t blocks = ceil_div<int64_t>(g.a.length, rows) * g.batch.matrices;
  const int64_t most = std::min(kMaxSplits, kMaxPartials / (g.a.length * g.batch.matrices));
  // About 8 blocks of 256 threads keep a multiprocessor's memory busy.
  g.split = cut_k(g.k, std::min(most, 8 * multiprocessors / blocks), along_k ? 2048 : 256, 128);
  if (along_k) {
    const bool contiguous = g.a.k_stride == 1 && g.b.k_stride == 1;
    const bool aligned = is_aligned(g.a.data, g.a.length > 1 ? g.a.stride : kVector, g.batch, g.batch.a) &&
                         is_aligned(g.b.data, kVector, g.batch, g.batch.b);
    g.a.access = contiguous && aligned ? Access::vectors : Access::along_k;
  }
  run(along_k ? gemv_along_k<T> : gemv_along_rows<T>, kVectorThreads, g, rows, 1);
}

/// A product of one row is the transpose of one of one column.
template <class T>
Product<T> transposed(Product<T> g) {
  std::swap(g.a, g.b);
  std::swap(g.batch.a, g.batch.b);
  g.c_row = g.epilogue.bias_row = 1;
  return g;
}

template <class T>
void multiply(const Gemm<T>& g, const GemmBatch& matrices, Activation activation) {
  // Unsigned integers wrap.
  using U = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  Product<U> p{};
  p.batch = merged(matrices);
  if (g.m == 0 || g.n == 0 || p.batch.matrices == 0) return;
  const auto data = [](const T* x) { return reinterpret_cast<const U*>(x); };
  p.a = {data(g.a), g.m, g.a_row, g.a_col, {}};
  p.b = {data(g.b), g.n, g.b_col, g.b_row, {}};
  p.k = g.k;
  p.c = reinterpret_cast<U*>(g.c), p.c_row = g.c_row;
  p.epilogue = {U(g.alpha), U(g.beta), data(g.bias), 0, activation};

  const int multiprocessors = device_limits().multiprocessors;
  if constexpr (std::is_floating_point_v<T>) {
    if (g.n == 1) return multiply_vector(p, multiprocessors);
    if (g.m == 1) return multiply_vector(transposed(p), multiprocessors);
  }
  p.a.access = access(p.a, p.batch, p.batch.a);
  p.b.access = access(p.b, p.batch, p.batch.b);
  constexpr auto& tiles = kTiles<T>;
  const GemmPlan plan = choose_tile(tiles, g.m, g.n, g.k, p.batch.matrices, multiprocessors);
  p.split = plan.split;
  [&]<size_t... i>(std::index_sequence<i...>) {
    const auto run_if = [&]<Tile tile>(bool chosen) {
      if (chosen) run(gemm_tiles<U, tile>, tile.threads(), p, tile.m, tile.n);
    };
    (run_if.template operator()<tiles[i].tile>(plan.tile == int(i)), ...);
  }(std::make_index_sequence<std::size(kTiles<T>)>());
}

template <class T>
void multiply_integers(const Gemm<T>& g, const GemmBatch& matrices) {
  multiply(g, matrices, Activation::none);
}

}  // namespace

void fill_gemm(Table& table) {
  table.gemm_f32 = multiply<float>;
  table.gemm_f64 = multiply<double>;
  table.gemm_i32 = multiply_integers<int32_t>;
  table.gemm_i64 = multiply_integers<int64_t>;
}

}  // namespace steep::cuda
