// Packing: copies of A and B in the order in which the tile kernel reads them, so that its loads walk one compact run
// instead of many rows that may share cache sets and TLB entries. A piece is packed just before its first use and is
// then still in L1; meanwhile the piece after it is called in from memory.
#pragma once
#include "tail.h"
#include "tile.h"
#include "transpose.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Copies `count` elements by vectors; writes, but doesn't read, up to the next multiple of the vector.
template <class T>
STEEP_INLINE void copy_vectors(T* to, const T* from, int64_t count) {
  using V = Vec<T>;
  int64_t i = 0;
  for (; i + V::n <= count; i += V::n) V::load(from + i).store(to + i);
  if (i < count) Tail<T>(int(count - i)).load(from + i).store(to + i);
}

/// A panel of a transposed B, whose columns are contiguous: blocks of n × n are transposed in registers. Columns beyond
/// the last repeat it; they are computed and never stored.
template <class T>
void pack_transposed_panel(T* to, const T* b, int64_t b_col, int64_t k, int64_t columns) {
  using V = Vec<T>;
  constexpr int64_t NR = Tile<T>::nr;
  int64_t i = 0;
  for (; i + V::n <= k; i += V::n)
    for (int64_t j = 0; j < columns; j += V::n) {
      V x[V::n];
#pragma GCC unroll 16
      for (int r = 0; r < V::n; ++r) {
        const T* from = b + i + min(j + r, columns - 1) * b_col;
        x[r] = V::load(from);
        __builtin_prefetch(from + 2 * V::n);
      }
      transpose<T>(x, std::make_integer_sequence<int, V::n>{});
#pragma GCC unroll 16
      for (int r = 0; r < V::n; ++r) x[r].store(to + (i + r) * NR + j);
    }
  for (; i < k; ++i)
    for (int64_t j = 0; j < columns; ++j) to[i * NR + j] = b[i + j * b_col];
}

/// Panels of B: `k` rows of nr columns each, of which `columns` exist in all; what the others hold doesn't matter.
/// Several panels are packed at once, for a row of one is but a cache line or two, too short a run for the prefetcher.
template <class T>
void pack_b(T* to, const T* b, int64_t b_row, int64_t b_col, int64_t k, int64_t columns) {
  using V = Vec<T>;
  constexpr int64_t NR = Tile<T>::nr;
  if (b_col == 1) {
    for (int64_t i = 0; i < k; ++i, to += NR, b += b_row) {
      for (int64_t j = 0; j < columns; j += 64 / sizeof(T)) __builtin_prefetch(b + 8 * b_row + j);
      int64_t j = 0;
      for (; j + NR <= columns; j += NR)
#pragma GCC unroll 8
        for (int x = 0; x < NR; x += V::n) V::load(b + j + x).store(to + j * k + x);
      copy_vectors(to + j * k, b + j, columns - j);
    }
  } else if (b_row == 1) {
    for (int64_t j = 0; j < columns; j += NR)
      pack_transposed_panel(to + j * k, b + j * b_col, b_col, k, min(NR, columns - j));
  } else {
    for (int64_t j = 0; j < columns; ++j)
      for (int64_t i = 0; i < k; ++i) to[j / NR * NR * k + i * NR + j % NR] = b[i * b_row + j * b_col];
  }
}

/// The rows of A that a tile takes. The kernel only ever broadcasts A's elements, so the copy keeps A's orientation and
/// nothing is transposed: rows `row_step` apart, or, when A's columns are the contiguous ones, columns `col_step`
/// apart.
template <class T>
struct PackedA {
  static constexpr int64_t col_step = round_up(Tile<T>::mr, Vec<T>::n);
  bool by_rows;
  int64_t row_step, tile_size;

  PackedA(int64_t a_row, int64_t kc)
      : by_rows(a_row != 1),
        row_step(kc + Vec<T>::n),  // spreads the rows over the sets of L1
        tile_size(by_rows ? Tile<T>::mr * row_step : kc * col_step) {}

  void pack(T* to, const T* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k) const {
    if (!by_rows) {
      for (int64_t i = 0; i < k; ++i) copy_vectors(to + i * col_step, a + i * a_col, rows);
    } else if (a_col == 1) {
      for (int64_t i = 0; i < rows; ++i, to += row_step, a += a_row) {
        for (int64_t x = 0; x < k; x += 64 / sizeof(T)) __builtin_prefetch(a + rows * a_row + x, 0, 2);  // next tile
        __builtin_memcpy(to, a, size_t(k) * sizeof(T));
      }
    } else {
      for (int64_t i = 0; i < rows; ++i, to += row_step, a += a_row)
        for (int64_t x = 0; x < k; ++x) to[x] = a[x * a_col];
    }
  }
};

}  // namespace
}  // namespace steep::STEEP_ISA_NS
