// A·Bᵀ with few rows of A, both contiguous along K, as a linear layer's forward product on a batch: Cᵀ = B·Aᵀ, so that
// the small A is transposed instead of the large B. Tiles of Cᵀ are turned over on their way to C.
#pragma once
#include "../../core/kernels.h"
#include "../../core/scratch.h"
#include "pack.h"
#include "path.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// rows × columns elements of C from a tile of Cᵀ, whose rows are nr apart. Beyond its edges whatever is there is
/// turned over too, and not stored.
template <class T>
void turn_over(const Gemm<T>& g, const T* tile, int64_t i0, int64_t j0, int64_t rows, int64_t columns) {
  using V = Vec<T>;
  constexpr int64_t NR = Tile<T>::nr;
  for (int64_t j = 0; j < columns; j += V::n) {
    const int64_t width = min(V::n, columns - j);
    const auto finish = [&](const auto& lanes) {
      const V bias = g.bias ? lanes.load(g.bias + j0 + j) : V(0);
      for (int64_t i = 0; i < rows; i += V::n) {
        V x[V::n];
#pragma GCC unroll 16
        for (int r = 0; r < V::n; ++r) x[r] = V::load(tile + (j + r) * NR + i);
        transpose<T>(x, std::make_integer_sequence<int, V::n>{});
        T* c = g.c + (i0 + i) * g.c_row + j0 + j;
        const T* residual = g.residual ? g.residual + (c - g.c) : nullptr;
        for (int r = 0; r < V::n && i + r < rows; ++r, c += g.c_row) {
          V s = x[r];
          if (g.beta != 0) s += V(g.beta) * lanes.load(c);
          if (g.bias) s += bias;
          if (residual) s += lanes.load(residual + r * g.c_row);
          if (g.relu) s = max(V(0), s);
          lanes.store(c, s);
        }
      }
    };
    width == V::n ? finish(AllLanes<T>(V::n)) : finish(Tail<T>(int(width)));
  }
}

/// The rectangle `r` of C.
template <class T>
void swapped(const Gemm<T>& g, const GemmRange& r, const Path<T>& path) {
  using Size = Tile<T>;
  constexpr int64_t NR = Size::nr, tile_size = round_up(Size::mr, Size::lanes) * NR;
  const int64_t m = r.m1 - r.m0, panels_size = round_up(m, NR) * g.k;
  const PackedA<T> packed(g.b_col, g.k);  // rows of B, which take the part of A
  const int64_t rows_size = path.pack_a ? packed.tile_size : 0;
  T* const tile = static_cast<T*>(scratch(size_t(tile_size + panels_size + rows_size) * sizeof(T)));
  T *const panels = tile + tile_size, *const rows_copy = panels + panels_size;
  for (int64_t i = 0; i < m; i += NR)
    pack_transposed_panel(panels + i * g.k, g.a + (r.m0 + i) * g.a_row, g.a_row, g.k, min(NR, m - i));

  TileCall<T> call{};
  call.a_row = path.pack_a ? packed.row_step : g.b_col, call.a_col = 1;
  call.b_row = NR, call.b_col = 1;
  call.c = tile, call.c_row = NR;
  call.epilogue.alpha = g.alpha;
  for (int64_t j = r.n0; j < r.n1; j += Size::mr) {
    const int64_t columns = min(Size::mr, r.n1 - j);
    const T* const from = g.b + j * g.b_col;
    if (path.pack_a) packed.pack(rows_copy, from, g.b_col, 1, columns, g.k);
    for (int64_t i = 0; i < m; i += NR) {
      const int64_t rows = min(NR, m - i);
      for (int64_t k = 0; k < g.k; k += path.depth) {
        call.k = min(path.depth, g.k - k);
        call.a = (path.pack_a ? rows_copy : from) + k;
        call.b = panels + i * g.k + k * NR;
        call.epilogue.beta = k == 0 ? T{0} : T{1};
        run_tile(path, call, columns, rows);
      }
      turn_over(g, tile, r.m0 + i, j, rows, columns);
    }
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
