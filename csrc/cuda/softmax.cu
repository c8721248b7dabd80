// Softmax and its relatives over the rows of a matrix. The row's maximum is subtracted first, so that nothing
// overflows. A row with a NaN or +inf, or of -inf alone, has no softmax: it becomes NaN, as the formula says.
#include "sum_exp.cuh"
#include "table.h"

namespace steep::cuda {
void fill_softmax(Table& table);

namespace {

template <class T>
struct Softmax {
  static constexpr int kPasses = 2;
  static constexpr bool kClusters = true;
  const T* x;
  T* y;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    SumExp<T> s;
    row.sweep(kPasses, index, {x}, {s.kLowest}, [&](auto at) {
      if (at.pass == 0) s.rebase(row);
      if (at.is_new) row.each([&](int k) { row.v[0][k] = exp(Vec<T>(row.v[0][k] - s.base)).v; });
      if (at.pass == 0) return s.add_terms(row, at);
      const T scale = (at.is_new ? T(1) : s.correction) / T(s.sum);
      row.each([&](int k) { row.v[0][k] *= scale; });
      row.store_matrix(y, row.v[0]);
    });
  }
};

/// dx = y · (g - Σ g·y)
template <class T>
struct SoftmaxBackward {
  static constexpr int kPasses = 2;
  static constexpr bool kClusters = true;
  const T *g, *y;
  T* dx;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    RowSum<T, 1> dot;
    row.sweep(kPasses, index, {g, y}, {T(0), T(0)}, [&](auto at) {
      if (at.pass == 0) return dot.add(row, at, [&](int k, T(&term)[1]) { term[0] = row.v[0][k] * row.v[1][k]; });
      row.each([&](int k) { row.v[0][k] = row.v[1][k] * (row.v[0][k] - T(dot.sum[0])); });
      row.store_matrix(dx, row.v[0]);
    });
  }
};

template <class T>
struct LogSoftmax {
  static constexpr int kPasses = 2;
  static constexpr bool kClusters = true;
  const T* x;
  T* y;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    SumExp<T> s;
    row.sweep(kPasses, index, {x}, {s.kLowest}, [&](auto at) {
      if (at.pass == 0) return s.add(row, at);
      const T log_sum = s.log_of_finite();
      row.each([&](int k) { row.v[0][k] = (row.v[0][k] - s.base) - log_sum; });
      row.store_matrix(y, row.v[0]);
    });
  }
};

/// dx = g - exp(y) · Σ g
template <class T>
struct LogSoftmaxBackward {
  static constexpr int kPasses = 2;
  static constexpr bool kClusters = true;
  const T *g, *y;
  T* dx;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    RowSum<T, 1> total;
    row.sweep(kPasses, index, {g, y}, {T(0), T(0)}, [&](auto at) {
      if (at.pass == 0) return total.add(row, at, [&](int k, T(&term)[1]) { term[0] = row.v[0][k]; });
      row.each([&](int k) { row.v[0][k] -= exp(Vec<T>(row.v[1][k])).v * T(total.sum[0]); });
      row.store_matrix(dx, row.v[0]);
    });
  }
};

template <class T>
struct LogSumExp {
  static constexpr int kPasses = 1;
  const T* x;
  T* y;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    SumExp<T> s;
    row.sweep(kPasses, index, {x}, {s.kLowest}, [&](auto at) { s.add(row, at); });
    if (row.writes(index)) y[index] = s.base + s.log();
  }
};

template <class T>
void fill(RowKernels<T>& k) {
  k.softmax = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("softmax", rows, n, {x, y}, Softmax<T>{x, y});
  };
  k.softmax_backward = [](int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
    launch_rows<T, 2>("softmax_backward", rows, n, {g, y, dx}, SoftmaxBackward<T>{g, y, dx});
  };
  k.log_softmax = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("log_softmax", rows, n, {x, y}, LogSoftmax<T>{x, y});
  };
  k.log_softmax_backward = [](int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
    launch_rows<T, 2>("log_softmax_backward", rows, n, {g, y, dx}, LogSoftmaxBackward<T>{g, y, dx});
  };
  k.logsumexp = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("logsumexp", rows, n, {x}, LogSumExp<T>{x, y});
  };
}

}  // namespace

void fill_softmax(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
