// A row times a matrix: C(1×n) = alpha·x·B + beta·C. Nothing is used twice, so all that matters is to read B as
// streams.
#pragma once
#include <utility>

#include "../../core/kernels.h"
#include "tail.h"
#include "tile.h"

namespace steep::STEEP_ISA_NS {
namespace {

constexpr int kStreams = 8;  // rows of B read side by side: their factors stay in registers

/// c[j] = alpha·Σ x[i]·B[i][j] + beta·c[j] over K ≤ kStreams rows.
template <class T, int K>
void add_rows(const T* x, int64_t x_step, const T* b, int64_t b_row, int64_t n, T* c, T alpha, T beta) {
  using V = Vec<T>;
  V factor[K > 0 ? K : 1];
#pragma GCC unroll 8
  for (int i = 0; i < K; ++i) factor[i] = x[i * x_step];
  const auto one_vector = [&](auto&& load_at, int64_t j) {
    V sum = 0;
#pragma GCC unroll 8
    for (int i = 0; i < K; ++i) sum += factor[i] * load_at(b + i * b_row + j);
    if (alpha != 1) sum = rounded((alpha * sum).v);
    if (beta != 0) sum += beta * load_at(c + j);
    return sum;
  };
  int64_t j = 0;
  for (; j + V::n <= n; j += V::n) one_vector([](const T* p) { return V::load(p); }, j).store(c + j);
  if (j < n) {
    const Tail<T> tail(int(n - j));
    tail.store(c + j, one_vector([&](const T* p) { return tail.load(p); }, j));
  }
}

template <class T, int... I>
auto pick_add_rows(int64_t rows, std::integer_sequence<int, I...>) {
  static constexpr decltype(&add_rows<T, 0>) table[] = {add_rows<T, I>...};
  return table[rows];
}

/// Columns n0 … n1 of a product with m == 1 and b_col == 1.
template <class T>
void row_times_matrix(const Gemm<T>& g, int64_t n0, int64_t n1) {
  constexpr int64_t kColumns = 8192 / sizeof(T);  // of C, to stay in L1
  for (int64_t j = n0; j < n1; j += kColumns) {
    const int64_t n = min(kColumns, n1 - j);
    T* const c = g.c + j;
    for (int64_t k = 0; k < g.k || k == 0; k += kStreams) {
      const auto add = pick_add_rows<T>(min(kStreams, g.k - k), std::make_integer_sequence<int, kStreams + 1>{});
      add(g.a + k * g.a_col, g.a_col, g.b + k * g.b_row + j, g.b_row, n, c, g.alpha, k == 0 ? g.beta : T{1});
    }
    for (int64_t i = 0; g.bias && i < n; ++i) c[i] += g.bias[j + i];
    for (int64_t i = 0; g.residual && i < n; ++i) c[i] += g.residual[j + i];
    for (int64_t i = 0; g.relu && i < n; ++i) c[i] = c[i] < 0 ? 0 : c[i];
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
