// How the kernels of gemm_wgmma.cuh are launched: tensor maps of the operands, copies of those that need them.
#include "gemm_wgmma.cuh"

#include <optional>

#include "gemm_pieces.cuh"

namespace steep::cuda {
namespace {

/// Matrices of `length` rows of k elements, as a tensor map describes them.
struct Layout {
  const void* data;
  Major major;
  int64_t length, k;
  int64_t line_bytes;  // from a row to the next, or for Major::mn from a step of k
  int64_t planes, plane_bytes;
  Planes steps;
};

/// The step between a batch's matrices of an operand, where they lie one behind another: 0 where there is one for all.
std::optional<int64_t> step_of(const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  int64_t step = batch.axes ? steps[batch.axes - 1] : 0, next = step;
  for (int i = batch.axes - 1; i >= 0; next *= batch.shape[i--])
    if (steps[i] != next) return std::nullopt;
  return step;
}

constexpr int64_t kMostExtent = int64_t(1) << 31, kMostBytes = int64_t(1) << 40;  // of a tensor map

/// The layout of an operand as it is, if the copy engine can read it.
template <class T>
std::optional<Layout> layout_of(const Operand<T>& x, int64_t k, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  const std::optional<int64_t> step = step_of(batch, steps);
  if (!step || reinterpret_cast<uintptr_t>(x.data) % 16) return std::nullopt;
  const auto fits = [](int64_t step, int64_t extent) {
    const int64_t bytes = step * int64_t(sizeof(T));
    return extent == 1 || (bytes > 0 && bytes % 16 == 0 && bytes < kMostBytes);
  };
  const int64_t planes = *step ? batch.matrices : 1;
  if (!fits(*step, planes)) return std::nullopt;
  const auto laid = [&](Major major, int64_t inner, int64_t outer, int64_t line) -> std::optional<Layout> {
    if (!fits(line, outer)) return std::nullopt;
    // The steps along axes of one element are not used, but looked at.
    const int64_t bytes =
        outer > 1 ? line * int64_t(sizeof(T)) : ceil_div<int64_t>(inner * int64_t(sizeof(T)), 16) * 16;
    return Layout{x.data,
                  major,
                  x.length,
                  k,
                  bytes,
                  planes,
                  planes > 1 ? *step * int64_t(sizeof(T)) : bytes * outer,
                  {*step ? 1 : 0, 0}};
  };
  if (x.k_stride == 1 || k == 1)
    if (const auto layout = laid(Major::k, k, x.length, x.stride)) return layout;
  if ((x.stride == 1 || x.length == 1) && sizeof(T) == 2) return laid(Major::mn, x.length, k, x.k_stride);
  return std::nullopt;
}

template <class In>
TensorMap map_of(const Layout& x, int rows) {
  constexpr int kItem = std::is_same_v<In, tf32> ? 4 : 2;
  constexpr DType dtype = std::is_same_v<In, tf32>      ? DType::float32
                          : std::is_same_v<In, float16> ? DType::float16
                                                        : DType::bfloat16;
  Boxes boxes{dtype,
              x.data,
              {x.k, x.length, x.planes},
              {x.line_bytes, x.plane_bytes},
              {kWidth / kItem, rows, 1},
              Swizzle::bytes_128,
              std::is_same_v<In, tf32>};
  if (x.major == Major::mn) boxes.shape = {x.length, x.k, x.planes}, boxes.box = {kWidth / kItem, kWidth / kItem, 1};
  return make_tensor_map("matmul", boxes);
}

/// An operand copied: pieces of all the matrices.
class Copied {
 public:
  Copied(const Operand<float>& x, int64_t k, const Batch& batch, const int64_t (&steps)[kMaxNdim], int pieces)
      : memory_(bytes(x, k, batch, steps, pieces)) {
    const Major major = major_of(x, pieces);
    const int64_t matrices = matrices_of(batch, steps), item = pieces > 1 ? 2 : 4;
    Lines lines{x.data, matrices, x.length, k, x.stride, x.k_stride, pitch(k), false};
    if (major == Major::mn) lines = {x.data, matrices, k, x.length, x.k_stride, x.stride, pitch(x.length), false};
    lines.along_lines = std::abs(lines.line_step) < std::abs(lines.step);
    Batch from = batch;
    std::copy_n(steps, kMaxNdim, from.a);
    const unsigned grid = grid_for(matrices * lines.lines * ceil_div<int64_t>(lines.n, kPieceRun), kPieceThreads);
    if (pieces > 1)
      launch("matmul", make_pieces<bfloat16>, grid, kPieceThreads, 0, lines, from, memory_.as<bfloat16>());
    else
      launch("matmul", make_pieces<float>, grid, kPieceThreads, 0, lines, from, memory_.as<float>());
    const int64_t line_bytes = lines.pitch * item;
    layout_ = {memory_.as<void>(),
               major,
               x.length,
               k,
               line_bytes,
               matrices * pieces,
               line_bytes * lines.lines,
               {matrices > 1 ? 1 : 0, int(matrices)}};
  }
  const Layout& layout() const { return layout_; }

 private:
  static int64_t pitch(int64_t n) { return ceil_div<int64_t>(n, kPieceRun) * kPieceRun; }
  /// tf32 operands must be contiguous along k.
  static Major major_of(const Operand<float>& x, int pieces) {
    return pieces > 1 && std::abs(x.stride) < std::abs(x.k_stride) ? Major::mn : Major::k;
  }
  static size_t bytes(const Operand<float>& x, int64_t k, const Batch& batch, const int64_t (&steps)[kMaxNdim],
                      int pieces) {
    const int64_t elements = major_of(x, pieces) == Major::mn ? k * pitch(x.length) : x.length * pitch(k);
    return size_t(elements * matrices_of(batch, steps) * (pieces > 1 ? 2 * pieces : 4));
  }

  Workspace memory_;
  Layout layout_;
};

/// C, as boxes that a warp's sums fill.
template <class T>
TensorMap map_of_c(const Layout& c) {
  return make_tensor_map("matmul", {dtype_of<T>(),
                                    c.data,
                                    {c.k, c.length, c.planes},
                                    {c.line_bytes, c.plane_bytes},
                                    {kWidth / int(sizeof(T)), 16, 1},
                                    Swizzle::bytes_128});
}

template <class In, Major a_major, Major b_major, WgmmaTile tile, class T>
void run_kernel(const Product<T>& g, const WgmmaLaunch& plan, const Layout& a, const Layout& b,
                const std::optional<Layout>& c) {
  const auto kernel = kernel_of<In, T, a_major, b_major, tile>;
  constexpr int bytes = kWgmmaShared<In, T, tile>;
  check("matmul", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  const unsigned clusters = std::min(plan.items, unsigned(device_limits().multiprocessors / tile.cluster));
  const TensorMap map = map_of<In>(a, tile.m);
  launch_clusters("matmul", kernel, clusters * tile.cluster, kWgmmaThreads, tile.cluster, size_t(bytes), g, plan, map,
                  map_of<In>(b, tile.n / tile.cluster), c ? map_of_c<T>(*c) : map);
}

/// C's layout, if it can be stored by the copy engine.
template <class T>
std::optional<Layout> layout_of_c(const Product<T>& g) {
  if (g.split.count > 1 || g.epilogue.beta != 0 || g.epilogue.activation > Activation::relu) return std::nullopt;
  const auto layout = layout_of(Operand<T>{g.c, g.a.length, g.c_row, 1, {}}, g.b.length, g.batch, g.batch.c);
  return layout && layout->major == Major::k && (layout->steps.matrix || g.batch.matrices == 1) ? layout : std::nullopt;
}

template <class In, WgmmaTile tile, class T>
void run_tile(Product<T> g, const Layout& a, const Layout& b) {
  g.row_tiles = uint32_t(ceil_div<int64_t>(g.a.length, tile.m * tile.cluster));
  g.column_tiles = uint32_t(ceil_div<int64_t>(g.b.length, tile.n));
  const int64_t items = int64_t(g.row_tiles) * g.column_tiles * g.split.count * g.batch.matrices;
  const Workspace sums(g.split.count > 1 ? size_t(g.split.count * elements_of(g)) * sizeof(float) : 0);
  const std::optional<Layout> c = tile.pieces == 1 ? layout_of_c(g) : std::nullopt;
  const WgmmaLaunch plan{a.steps, b.steps, sums.as<float>(), c.has_value(), uint32_t(items)};
  const auto run_with = [&]<Major a_major, Major b_major>() {
    if (a.major == a_major && b.major == b_major) run_kernel<In, a_major, b_major, tile>(g, plan, a, b, c);
  };
  run_with.template operator()<Major::k, Major::k>();
  if constexpr (!std::is_same_v<In, tf32>) {
    run_with.template operator()<Major::k, Major::mn>();
    run_with.template operator()<Major::mn, Major::k>();
    run_with.template operator()<Major::mn, Major::mn>();
  }
  if (g.split.count > 1) launch_sum_of_parts(g, sums.as<float>());
}

template <class In, MmaOperands operands, class T>
void run(const Product<T>& g, const Layout& a, const Layout& b, int tile) {
  constexpr auto tiles = wgmma_tiles(operands);
  [&]<size_t... i>(std::index_sequence<i...>) {
    const auto run_if = [&]<WgmmaTile one>(bool chosen) {
      if (chosen) run_tile<In, one>(g, a, b);
    };
    (run_if.template operator()<tiles[i].tile>(tile == int(i)), ...);
  }(std::make_index_sequence<tiles.size()>());
}

}  // namespace

template <class T>
bool wgmma_takes(const Product<T>& g, MmaOperands operands) {
  const int64_t most = kMostExtent - 256;
  if (g.k < 1 || std::max({g.a.length, g.b.length, g.k, 3 * g.batch.matrices}) > most) return false;
  if (operands != MmaOperands::halves) return true;
  return layout_of(g.a, g.k, g.batch, g.batch.a) && layout_of(g.b, g.k, g.batch, g.batch.b);
}

template <class T>
bool wgmma_copies(const Product<T>& g, MmaOperands operands, bool of_a) {
  if (operands == MmaOperands::pieces) return true;
  return !(of_a ? layout_of(g.a, g.k, g.batch, g.batch.a) : layout_of(g.b, g.k, g.batch, g.batch.b));
}

template <class T>
void launch_wgmma(const Product<T>& g, MmaOperands operands, int tile) {
  if constexpr (std::is_same_v<T, float>) {
    const int pieces = operands == MmaOperands::pieces ? 3 : 1;
    std::optional<Copied> copied_a, copied_b;
    const auto prepared = [&](const Operand<float>& x, const int64_t(&steps)[kMaxNdim], std::optional<Copied>& copied) {
      if (pieces == 1)
        if (const auto layout = layout_of(x, g.k, g.batch, steps)) return *layout;
      return copied.emplace(x, g.k, g.batch, steps, pieces).layout();
    };
    const Layout a = prepared(g.a, g.batch.a, copied_a), b = prepared(g.b, g.batch.b, copied_b);
    if (pieces > 1)
      run<bfloat16, MmaOperands::pieces>(g, a, b, tile);
    else
      run<tf32, MmaOperands::tf32>(g, a, b, tile);
  } else {
    run<T, MmaOperands::halves>(g, *layout_of(g.a, g.k, g.batch, g.batch.a), *layout_of(g.b, g.k, g.batch, g.batch.b),
                                tile);
  }
}

template bool wgmma_takes(const Product<float>&, MmaOperands);
template bool wgmma_takes(const Product<bfloat16>&, MmaOperands);
template bool wgmma_takes(const Product<float16>&, MmaOperands);
template bool wgmma_copies(const Product<float>&, MmaOperands, bool);
template bool wgmma_copies(const Product<bfloat16>&, MmaOperands, bool);
template bool wgmma_copies(const Product<float16>&, MmaOperands, bool);
template void launch_wgmma(const Product<float>&, MmaOperands, int);
template void launch_wgmma(const Product<bfloat16>&, MmaOperands, int);
template void launch_wgmma(const Product<float16>&, MmaOperands, int);

}  // namespace steep::cuda
