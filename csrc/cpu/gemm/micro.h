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

/// sum = alpha·sum + beta·C [+ bias] [+ residual] [then relu].
template <class T>
struct Epilogue {
  T alpha, beta;
  const T* bias;      // from this tile's first column on, or null
  const T* residual;  // from its first element on, or null
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
  int tail;  // columns in the last vector of tile_kernel
  Epilogue<T> epilogue;
};

template <class T>
using Kernel = void (*)(const TileCall<T>&);

/// R rows of NV vectors, the last of which is a `Last`: AllLanes, Tail or HalfTail.
template <class T, int R, int NV, class Last>
void tile_kernel(const TileCall<T>& t) {
  using V = Vec<T>;
  using L = typename Last::Register;
  constexpr int W = NV - 1;
  const AllLanes<T> whole(V::n);
  const Last last(t.tail);

  V sum[R][W > 0 ? W : 1] = {};
  L last_sum[R] = {};
  const T *a = t.a, *b = t.b;
  // B is called into L1 `ahead` rows before its use but never beyond its last row, and C as long before the end:
  // useless or early prefetches hold up the loads, or are pushed out again.
  const int64_t final = min(t.k, Tile<T>::row.ahead);
  for (int part = 0; part < 2; ++part) {
    const int64_t ahead = part == 0 ? final * t.b_row : 0;
    for (int i = 0; part == 1 && i < R; ++i) {
      __builtin_prefetch(t.c + i * t.c_row, 1);
      __builtin_prefetch(t.c + i * t.c_row + NV * V::n - 1, 1);
    }
    for (int64_t k = part == 0 ? t.k - final : final; k > 0; --k) {
      V row[W > 0 ? W : 1];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) {
        if (j < W) row[j] = whole.load(b + j * V::n);
        if (j * STEEP_VECTOR_BYTES % 64 == 0) __builtin_prefetch(b + ahead + j * V::n);
      }
      const L row_end = last.load(b + W * V::n);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i) {
        const V x = a[i * t.a_row];
#pragma GCC unroll 8
        for (int j = 0; j < W; ++j) sum[i][j] += x * row[j];
        last_sum[i] += L(a[i * t.a_row]) * row_end;
      }
      a += t.a_col;
      b += t.b_row;
    }
  }

  // One loop for each step of the epilogue: a step that isn't wanted costs one branch for the whole tile.
  const auto each = [&](auto&& step) {
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < W; ++j) step(sum[i][j], i, j * V::n, whole);
      step(last_sum[i], i, W * V::n, last);
    }
  };
  const Epilogue<T>& e = t.epilogue;
  const auto all = [](T x, const auto& s) { return std::remove_cvref_t<decltype(s)>(x); };
  if (e.alpha != 1) each([&](auto& s, auto...) { s = rounded((all(e.alpha, s) * s).v); });
  if (e.beta != 0)
    each([&](auto& s, int i, int j, auto& lanes) { s += all(e.beta, s) * lanes.load(t.c + i * t.c_row + j); });
  if (e.bias) each([&](auto& s, int, int j, auto& lanes) { s += lanes.load(e.bias + j); });
  if (e.residual) each([&](auto& s, int i, int j, auto& lanes) { s += lanes.load(e.residual + i * t.c_row + j); });
  if (e.relu) each([&](auto& s, auto...) { s = max(all(0, s), s); });
  each([&](auto& s, int i, int j, auto& lanes) { lanes.store(t.c + i * t.c_row + j, s); });
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
      if (e.residual) y += e.residual[i * t.c_row + j];
      c = e.relu && y < 0 ? 0 : y;
    }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
