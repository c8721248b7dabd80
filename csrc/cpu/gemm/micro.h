// The two microkernels. Each computes one register tile of C over a block of K and applies the epilogue while the
// tile is in registers.
//   tile_kernel   C's columns along the vectors: rows of B are loaded, elements of A are broadcast, so that A may have
//                 any steps. Needs B's columns next to each other.
//   dot_kernel    K along the vectors: for A·Bᵀ, where both operands are contiguous along K, without packing.
// Every element of C is one chain of multiply-adds in the order of k, whatever the size of the tile around it: that is
// why results don't depend on how C is cut.
#pragma once
#include "tail.h"
#include "tile.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// sum = alpha·sum + beta·C [+ bias] [then relu].
template <class T>
struct Epilogue {
  T alpha, beta;
  const T* bias;  // from this tile's first column on, or null
  bool relu;
};

template <class T>
struct TileCall {
  int64_t k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row;
  int tail;  // columns in the last, partial vector of tile_kernel
  Epilogue<T> epilogue;
};

template <class T>
using Kernel = void (*)(const TileCall<T>&);

/// R rows of NV vectors; with kTail the last vector is partial.
template <class T, int R, int NV, bool kTail>
void tile_kernel(const TileCall<T>& t) {
  using V = Vec<T>;
  const Tail<T> tail(t.tail);
  const auto load_vector = [&](const T* row, int j) {
    return kTail && j == NV - 1 ? tail.load(row + j * V::n) : V::load(row + j * V::n);
  };

  V sum[R][NV] = {};
  const T *a = t.a, *b = t.b;
  // B is called into L1 `ahead` rows before its use but never beyond its last row, and C as long before the end:
  // useless or early prefetches hold up the loads, or are pushed out again.
  const int64_t last = min(t.k, Tile<T>::row.ahead);
  for (int part = 0; part < 2; ++part) {
    const int64_t ahead = part == 0 ? last * t.b_row : 0;
    for (int i = 0; part == 1 && i < R; ++i) {
      __builtin_prefetch(t.c + i * t.c_row, 1);
      __builtin_prefetch(t.c + i * t.c_row + NV * V::n - 1, 1);
    }
    for (int64_t k = part == 0 ? t.k - last : last; k > 0; --k) {
      V row[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) {
        row[j] = load_vector(b, j);
        if (j * STEEP_VECTOR_BYTES % 64 == 0) __builtin_prefetch(b + ahead + j * V::n);
      }
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const V x = a[i * t.a_row];
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) sum[i][j] += x * row[j];
      }
      a += t.a_col;
      b += t.b_row;
    }
  }

  // One loop for each step of the epilogue: a step that isn't wanted costs one branch for the whole tile.
  const auto each = [&](auto&& step) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) step(sum[i][j], i, j);
  };
  const Epilogue<T>& e = t.epilogue;
  const V alpha = e.alpha, beta = e.beta;
  if (e.alpha != 1) each([&](V& s, int, int) { s = rounded((alpha * s).v); });
  if (e.beta != 0) each([&](V& s, int i, int j) { s += beta * load_vector(t.c + i * t.c_row, j); });
  if (e.bias) each([&](V& s, int, int j) { s += load_vector(e.bias, j); });
  if (e.relu) each([&](V& s, int, int) { s = max(V(0), s); });
  each([&](V& s, int i, int j) {
    T* c = t.c + i * t.c_row + j * V::n;
    kTail&& j == NV - 1 ? tail.store(c, s) : s.store(c);
  });
}

/// R × C dot products.
template <class T, int R, int C>
void dot_kernel(const TileCall<T>& t) {
  using V = Vec<T>;
  V sums[R][C] = {};
  const auto step = [&](auto&& load_at) {
    V column[C];
#pragma GCC unroll 8
    for (int j = 0; j < C; ++j) column[j] = load_at(t.b + j * t.b_col);
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      const V x = load_at(t.a + i * t.a_row);
#pragma GCC unroll 8
      for (int j = 0; j < C; ++j) sums[i][j] += x * column[j];
    }
  };
  int64_t k = 0;
  for (; k + V::n <= t.k; k += V::n) step([&](const T* p) { return V::load(p + k); });
  if (k < t.k) {
    const Tail<T> tail(int(t.k - k));
    step([&](const T* p) { return tail.load(p + k); });
  }

  T results[R][C];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < C; ++j) results[i][j] = reduce_add(sums[i][j]);
  const Epilogue<T>& e = t.epilogue;
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < C; ++j) {
      T& c = t.c[i * t.c_row + j];
      T y = results[i][j];
      if (e.alpha != 1) y = rounded(e.alpha * y);
      if (e.beta != 0) y += e.beta * c;
      if (e.bias) y += e.bias[j];
      c = e.relu && y < 0 ? 0 : y;
    }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
