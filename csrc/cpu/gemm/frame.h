// The five loops of matmul around a microkernel. Read on in path.h (the way that a product takes), pack.h (the copies)
// and micro.h (the arithmetic); tile.h holds the sizes and their sources.
#pragma once
#include "../../core/kernels.h"
#include "../../core/scratch.h"
#include "pack.h"
#include "path.h"
#include "row.h"
#include "swapped.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Computes the rectangle `r` of C.
template <class T>
void block(const Gemm<T>& g, const GemmRange& r) {
  using Size = Tile<T>;
  const int64_t m = r.m1 - r.m0, n = r.n1 - r.n0;
  if (m <= 0 || n <= 0) return;
  const Path<T> path(g);
  if (!path.dots && g.m == 1 && g.b_col == 1) return row_times_matrix(g, r.n0, r.n1);
  if (!path.dots && g.n == 1 && g.a_row == 1 && g.c_row == 1 && !g.bias) {  // A·x = xᵀ·Aᵀ
    const Gemm<T> t{1, g.m, g.k, g.b,     0,      g.b_row, g.a,    g.a_col,
                    1, g.c, g.m, g.alpha, g.beta, nullptr, g.relu, g.residual};
    return row_times_matrix(t, r.m0, r.m1);
  }
  if (path.swaps) return swapped(g, r, path);
  const int64_t kc = path.depth;
  const int64_t mc = even_part(m, Size::mc, path.rows), nc = even_part(n, Size::nc, path.columns);
  // Even tiles: 64 rows as 13 + 13 + 13 + 13 + 12, not 4·14 + 8, for short tiles are bound by loads of B.
  const int64_t tile_rows = even_part(mc, path.rows, 1);

  const PackedA<T> packed_a(g.a_row, kc);
  constexpr int64_t strip = 256 / int64_t(sizeof(T));  // columns of B packed at once
  static_assert(strip % Size::nr == 0);
  const bool b_is_used_once = mc >= m;  // by a single block of A: one strip at a time will do
  const int64_t a_size = path.pack_a ? ceil_div(mc, tile_rows) * packed_a.tile_size : 0;
  const int64_t b_size = path.pack_b ? kc * (b_is_used_once ? strip : round_up(nc, strip)) : 0;
  T* const b_copy = a_size + b_size > 0 ? static_cast<T*>(scratch(size_t(a_size + b_size) * sizeof(T))) : nullptr;
  T* const a_copy = b_copy + b_size;

  TileCall<T> call;
  call.a_row = !path.pack_a ? g.a_row : packed_a.by_rows ? packed_a.row_step : 1;
  call.a_col = !path.pack_a ? g.a_col : packed_a.by_rows ? 1 : packed_a.col_step;
  call.b_row = !path.pack_b ? g.b_row : Size::nr;
  call.b_col = !path.pack_b ? g.b_col : 1;
  call.c_row = g.c_row;
  call.epilogue.alpha = g.alpha;

  for (int64_t j0 = r.n0; j0 < r.n1; j0 += nc) {
    const int64_t columns = min(nc, r.n1 - j0);
    for (int64_t k0 = 0; k0 < g.k || k0 == 0; k0 += kc) {
      call.k = min(kc, g.k - k0);
      const bool last = k0 + kc >= g.k;
      call.epilogue.beta = k0 == 0 ? g.beta : T{1};
      call.epilogue.relu = last && g.relu;

      for (int64_t i0 = r.m0; i0 < r.m1; i0 += mc) {
        const int64_t rows = min(mc, r.m1 - i0);
        const auto tile = [&](int64_t i, int64_t j) {
          const int64_t tile_m = min(tile_rows, rows - i), tile_n = min(path.columns, columns - j);
          const T* a = g.a + (i0 + i) * g.a_row + k0 * g.a_col;
          const T* b = g.b + k0 * g.b_row + (j0 + j) * g.b_col;
          if (path.pack_a) {
            T* copy = a_copy + i / tile_rows * packed_a.tile_size;
            if (j == 0) packed_a.pack(copy, a, g.a_row, g.a_col, tile_m, call.k);
            a = copy;
          }
          if (path.pack_b) {
            T* copy = b_copy + (b_is_used_once ? j % strip : j) * call.k;
            if (i0 == r.m0 && i == 0 && j % strip == 0)
              pack_b(copy, b, g.b_row, g.b_col, call.k, min(strip, columns - j));
            b = copy;
          }
          const int64_t at = (i0 + i) * g.c_row + j0 + j;
          call.a = a, call.b = b, call.c = g.c + at;
          call.epilogue.bias = last && g.bias ? g.bias + j0 + j : nullptr;
          call.epilogue.residual = last && g.residual ? g.residual + at : nullptr;
          run_tile(path, call, tile_m, tile_n);
        };
        if (call.k > 64 || b_is_used_once) {  // keep the panel of B in L1 and walk down A
          for (int64_t j = 0; j < columns; j += path.columns)
            for (int64_t i = 0; i < rows; i += tile_rows) tile(i, j);
        } else {  // little work for each element of C: go along its rows, which are then written as streams
          for (int64_t i = 0; i < rows; i += tile_rows)
            for (int64_t j = 0; j < columns; j += path.columns) tile(i, j);
        }
      }
    }
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
