// How the kernels of gemm_mma.cuh are launched, and copies of operands that these can't read.
#include "gemm_mma.cuh"

namespace steep::cuda {
namespace {

template <class T, MmaOperands operands, MmaTile tile, bool a_along_k, bool b_along_k>
void run(const Product<T>& g) {
  const auto kernel = mma_tiles_kernel<T, operands, tile, a_along_k, b_along_k>;
  static_assert(tile.shared_bytes() <= 48 << 10);
  const auto launch_with = [&](float* parts) {
    launch_blocks<T, float*>(kernel, tile.threads(), size_t(tile.shared_bytes()), g, tile.m, tile.n, parts);
  };
  if (g.split.count == 1) return launch_with(nullptr);
  const Workspace parts(size_t(g.split.count * elements_of(g)) * sizeof(float));
  launch_with(parts.as<float>());
  launch_sum_of_parts(g, parts.as<float>());
}

template <class T, MmaOperands operands, MmaTile tile>
void run_layout(const Product<T>& g) {
  const bool a = g.a.access == Access::vectors_along_k, b = g.b.access == Access::vectors_along_k;
  if (a) return b ? run<T, operands, tile, true, true>(g) : run<T, operands, tile, true, false>(g);
  return b ? run<T, operands, tile, false, true>(g) : run<T, operands, tile, false, false>(g);
}

constexpr int kPackThreads = 256;

/// Blocks take lines in turns along x, and matrices along y.
template <class T>
__global__ void __launch_bounds__(kPackThreads) pack(const __grid_constant__ Batch batch, const T* from, int64_t lines,
                                                     int64_t line_step, int64_t n, int64_t step, T* to, int64_t pitch) {
  for (int64_t matrix = blockIdx.y; matrix < batch.matrices; matrix += gridDim.y) {
    const T* const x = from + batch[matrix].a;
    T* const y = to + matrix * lines * pitch;
    for (int64_t i = int64_t(blockIdx.x) * kPackThreads + threadIdx.x; i < lines * n;
         i += int64_t(gridDim.x) * kPackThreads) {
      const int64_t line = i / n, place = i - line * n;
      y[line * pitch + place] = x[line * line_step + place * step];
    }
  }
}

}  // namespace

template <class T>
void launch_mma(const Product<T>& g, MmaOperands operands, int tile) {
  if constexpr (std::is_same_v<T, float>) {
    if (operands == MmaOperands::pieces) return run_layout<T, MmaOperands::pieces, kMmaPieces>(g);
    return tile == 0 ? run_layout<T, MmaOperands::tf32, kMmaLarge>(g) : run_layout<T, MmaOperands::tf32, kMmaSmall>(g);
  } else {
    return tile == 0 ? run_layout<T, MmaOperands::halves, kMmaLarge>(g)
                     : run_layout<T, MmaOperands::halves, kMmaSmall>(g);
  }
}

template <class T>
void launch_pack(const T* from, const Batch& batch, int64_t lines, int64_t line_step, int64_t n, int64_t step, T* to,
                 int64_t pitch) {
  if (lines * n == 0) return;
  const dim3 grid(grid_for(lines * n, kPackThreads), unsigned(std::min<int64_t>(batch.matrices, 65535)));
  launch("matmul", pack<T>, grid, kPackThreads, 0, batch, from, lines, line_step, n, step, to, pitch);
}

template void launch_mma(const Product<float>&, MmaOperands, int);
template void launch_mma(const Product<bfloat16>&, MmaOperands, int);
template void launch_mma(const Product<float16>&, MmaOperands, int);
template void launch_pack(const float*, const Batch&, int64_t, int64_t, int64_t, int64_t, float*, int64_t);
template void launch_pack(const bfloat16*, const Batch&, int64_t, int64_t, int64_t, int64_t, bfloat16*, int64_t);
template void launch_pack(const float16*, const Batch&, int64_t, int64_t, int64_t, int64_t, float16*, int64_t);

}  // namespace steep::cuda
