// What tests of matrix products share: products to try, with operands of any layout.
#pragma once
#include "cuda/gemm.h"
#include "testing.h"

namespace steep::cuda {

void fill_gemm(Table& table);
inline const Table& gemms() {
  static const Table all = [] {
    Table t{};
    fill_gemm(t);
    return t;
  }();
  return all;
}

namespace {

/// How an operand of rows × columns lies in memory.
enum class Layout { rows, columns, reversed, spread, one_row, one_column, padded, odd };

struct Strides {
  int64_t row, column, first, size;  // steps, the place of element (0, 0), and what the operand takes in all
};
Strides strides(Layout layout, int64_t rows, int64_t columns) {
  switch (layout) {
    case Layout::rows:
      return {columns, 1, 0, rows * columns};
    case Layout::columns:
      return {1, rows, 0, rows * columns};
    case Layout::reversed:
      return {-columns, -1, rows * columns - 1, rows * columns};
    case Layout::spread:
      return {3 * columns, 3, 1, 3 * rows * columns};
    case Layout::one_row:
      return {0, 1, 0, columns};
    case Layout::one_column:
      return {1, 0, 0, rows};
    case Layout::padded:
      return {(columns + 7) / 4 * 4, 1, 0, (rows - 1) * ((columns + 7) / 4 * 4) + columns};
    case Layout::odd:
      return {columns + 1, 1, 0, rows * (columns + 1)};
  }
  return {};
}

/// One product to try.
struct Try {
  int64_t m, n, k;
  Layout a = Layout::rows, b = Layout::rows;
  double alpha = 1, beta = 0;
  bool bias = false;
  Activation activation = Activation::none;
  std::vector<int64_t> batch = {};
  int batch_a = 1, batch_b = 1;  // 0: one matrix for the whole batch
  size_t shift = 0;              // of all the pointers, in elements
  int64_t c_gap = 0;             // elements between rows of C
};

inline constexpr Layout kLayouts[] = {Layout::rows,    Layout::columns,    Layout::reversed, Layout::spread,
                                      Layout::one_row, Layout::one_column, Layout::padded,   Layout::odd};

template <class T>
struct Inputs {
  std::vector<T> a, b, bias, c;
};

template <class T>
Gemm<T> gemm_of(const Try& t, const T* a, const T* b, const T* bias, T* c) {
  const Strides x = strides(t.a, t.m, t.k), y = strides(t.b, t.k, t.n);
  Gemm<T> g{};
  g.m = t.m, g.n = t.n, g.k = t.k;
  g.a = a + x.first, g.a_row = x.row, g.a_col = x.column;
  g.b = b + y.first, g.b_row = y.row, g.b_col = y.column;
  g.c = c, g.c_row = t.n + t.c_gap;
  g.alpha = T(t.alpha), g.beta = T(t.beta), g.bias = t.bias ? bias : nullptr;
  return g;
}

GemmBatch batch_of(const Try& t) {
  GemmBatch batch;
  const auto steps = [&](int64_t size) {
    Dims d;
    d.n = int(t.batch.size());
    for (int i = d.n - 1; i >= 0; --i) d[i] = size, size *= t.batch[size_t(i)];
    return d;
  };
  batch.shape = steps(0);
  for (size_t i = 0; i < t.batch.size(); ++i) batch.shape[int(i)] = t.batch[i];
  batch.a = steps(t.batch_a * strides(t.a, t.m, t.k).size);
  batch.b = steps(t.batch_b * strides(t.b, t.k, t.n).size);
  batch.c = steps(t.m * (t.n + t.c_gap));
  return batch;
}

/// Where matrix number `matrix` of the batch begins in each operand, in elements.
struct Offsets {
  int64_t a = 0, b = 0, c = 0;
};
Offsets offsets(const GemmBatch& batch, int64_t matrix) {
  Offsets at;
  for (int d = batch.shape.n - 1; d >= 0; matrix /= batch.shape[d--]) {
    const int64_t i = matrix % batch.shape[d];
    at.a += i * batch.a[d], at.b += i * batch.b[d], at.c += i * batch.c[d];
  }
  return at;
}

int64_t matrices(const Try& t) {
  int64_t n = 1;
  for (int64_t size : t.batch) n *= size;
  return n;
}

}  // namespace
}  // namespace steep::cuda
