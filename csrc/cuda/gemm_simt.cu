// How the kernels of gemm_simt.cuh and gemv.cuh are launched.
#include "gemv.cuh"

namespace steep::cuda {
namespace {

/// Launches a kernel, and adds the parts where there are several.
template <class T>
void run(void (*kernel)(Product<T>), int threads, const Product<T>& g, int rows, int columns) {
  if (g.split.count == 1) return launch_blocks(kernel, threads, 0, g, rows, columns);
  const int64_t elements = elements_of(g);
  const Workspace workspace(size_t(g.split.count * elements) * sizeof(T));
  Product<T> parts = g;
  parts.epilogue = {};
  parts.c = workspace.as<T>(), parts.c_row = g.b.length, parts.c_part = elements;
  int64_t step = g.a.length * g.b.length;
  for (int i = g.batch.axes - 1; i >= 0; step *= g.batch.shape[i--]) parts.batch.c[i] = step;
  launch_blocks(kernel, threads, 0, parts, rows, columns);
  launch_sum_of_parts(g, parts.c);
}

}  // namespace

template <class T>
void launch_simt(const Product<T>& g, int tile) {
  constexpr auto& tiles = kTiles<T>;
  [&]<size_t... i>(std::index_sequence<i...>) {
    const auto run_if = [&]<Tile one>(bool chosen) {
      if (chosen) run(gemm_tiles<T, one>, one.threads(), g, one.m, one.n);
    };
    (run_if.template operator()<tiles[i].tile>(tile == int(i)), ...);
  }(std::make_index_sequence<std::size(kTiles<T>)>());
}

template <class T>
void launch_vector(const Product<T>& g, bool along_k) {
  static_assert(rows_of_vector(true) == kWarps && rows_of_vector(false) == 32);
  run(along_k ? gemv_along_k<T> : gemv_along_rows<T>, kVectorThreads, g, rows_of_vector(along_k), 1);
}

template void launch_simt(const Product<float>&, int);
template void launch_simt(const Product<double>&, int);
template void launch_simt(const Product<uint32_t>&, int);
template void launch_simt(const Product<uint64_t>&, int);
template void launch_vector(const Product<float>&, bool);
template void launch_vector(const Product<double>&, bool);

}  // namespace steep::cuda
