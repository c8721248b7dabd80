// How one product is computed: which copies and which kernels it takes.
#pragma once
#include <utility>

#include "../../core/kernels.h"
#include "micro.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Cuts `total` ≥ 1 into equal parts of at most `most`, rounded up to `unit`: there is no short part at the end.
constexpr int64_t even_part(int64_t total, int64_t most, int64_t unit) {
  return round_up(ceil_div(total, ceil_div(total, most)), unit);
}

// A kernel for every number of rows and vectors: a ragged edge costs no wasted rows and needs no padded copy of A.
template <class T, class Last, int... I>
Kernel<T> pick_tile(int64_t rows, int vectors, std::integer_sequence<int, I...>) {
  constexpr int R = Tile<T>::mr;
  static constexpr Kernel<T> table[] = {tile_kernel<T, I % R + 1, I / R + 1, Last>...};
  return table[(vectors - 1) * R + rows - 1];
}
template <class T, int... I>
Kernel<T> pick_dot(int64_t rows, int64_t columns, std::integer_sequence<int, I...>) {
  constexpr int R = Tile<T>::row.dot_rows;
  static constexpr Kernel<T> table[] = {dot_kernel<T, I % R + 1, I / R + 1>...};
  return table[(columns - 1) * R + rows - 1];
}

/// How a product is computed. Depends on the whole product only, never on the rectangle: the bits depend on it.
template <class T>
struct Path {
  using Size = Tile<T>;
  bool dots, swaps, pack_a, pack_b;
  int64_t rows, columns, depth;  // of a register tile

  explicit Path(const Gemm<T>& g) {
    const bool along_k = g.a_col == 1 && g.b_row == 1;  // are both contiguous
    // Transposing A and C in place of B pays if they are smaller; the copy of A lies in L2.
    swaps = along_k && g.b_col != 1 && g.m >= 12 && g.k >= Size::lanes && g.m * (g.k + g.n) <= g.k * g.n &&
            round_up(g.m, Size::nr) * g.k * int64_t(sizeof(T)) <= 2 * Size::row.a_bytes;
    // Dots pay for the sums across their lanes (m·n of them), tiles for the transposition of B (k·n elements).
    dots = along_k && !swaps && (g.n == 1 || (g.b_col != 1 && (g.m == 1 || g.m <= g.k / 16)));
    // A copy pays where the operand is read often enough, and its rows lie on more cache lines than L1 holds or fall
    // into few of its sets.
    const bool wide = g.n > 4 * Size::nr;
    const auto spreads = [&](int64_t size) { return wide && size * int64_t(sizeof(T)) > kL1; };
    const auto same_sets = [](int64_t step) { return step * int64_t(sizeof(T)) % 4096 == 0; };
    pack_b = !dots && ((g.n > 1 && g.b_col != 1) ||
                       (spreads(g.k * g.n) && g.m >= (same_sets(g.b_row) ? Size::row.pack_sets : Size::row.pack_rows)));
    pack_a = swaps ? same_sets(g.b_col) : !dots && spreads(g.m * g.k) && (g.a_col != 1 || same_sets(g.a_row));
    rows = dots ? Size::row.dot_rows : Size::mr;
    columns = dots ? Size::row.dot_columns : Size::nr;
    depth = even_part(g.k > 0 ? g.k : 1, dots ? kDotDepth : Size::kc, 8);
  }

  static constexpr int64_t kL1 = 32 << 10, kDotDepth = 4096;
};

/// Computes one register tile.
template <class T>
void run_tile(const Path<T>& path, TileCall<T>& call, int64_t rows, int64_t columns) {
  using Size = Tile<T>;
  if (path.dots) {
    constexpr auto all = std::make_integer_sequence<int, Size::row.dot_rows * Size::row.dot_columns>{};
    return pick_dot<T>(rows, columns, all)(call);
  }
  constexpr auto all = std::make_integer_sequence<int, Size::mr * Size::vectors>{};
  const int vectors = int(ceil_div(columns, Size::lanes));
  call.tail = int(columns - (vectors - 1) * Size::lanes);
  if (call.tail == Size::lanes) return pick_tile<T, AllLanes<T>>(rows, vectors, all)(call);
#ifdef STEEP_HALF_TAIL
  if (call.tail <= Size::lanes / 2) return pick_tile<T, HalfTail<T>>(rows, vectors, all)(call);
#endif
  pick_tile<T, Tail<T>>(rows, vectors, all)(call);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
