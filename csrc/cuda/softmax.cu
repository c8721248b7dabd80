// Softmax and its relatives over the rows of a matrix. The row's maximum is subtracted first, so that nothing
// overflows. A row with a NaN or +inf, or of -inf alone, has no softmax: it becomes NaN, as the formula says.
#include "sum_exp.cuh"
#include "table.h"

namespace steep::cuda {
void fill_softmax(Table& table);

namespace {

template <class T>
struct Softmax {
  const T* x;
  T* y;
  int64_t n;

  __device__ void operator()(Row<T, 1>& row, int64_t index, bool exists) const {
    start(row, exists, x + index * n);
    const SumExp<T> s = sum_exp<true>(row);
    const T scale = T(1 / s.sum);
    row.sweep([&](bool is_held) {
      if (!is_held) row.each([&](int k) { row.v[0][k] = exp(Vec<T>(row.v[0][k] - s.base)).v; });
      row.each([&](int k) { row.v[0][k] *= scale; });
      row.store(y + index * n, row.v[0]);
    });
  }
};

/// dx = y · (g - Σ g·y)
template <class T>
struct SoftmaxBackward {
  const T *g, *y;
  T* dx;
  int64_t n;

  __device__ void operator()(Row<T, 2>& row, int64_t index, bool exists) const {
    row.start(exists, {g + index * n, y + index * n}, {T(0), T(0)});
    double sum[1];
    row.sum(sum, [&](int k, T(&term)[1]) { term[0] = row.v[0][k] * row.v[1][k]; });
    const T dot = T(sum[0]);
    row.sweep([&](bool) {
      row.each([&](int k) { row.v[0][k] = row.v[1][k] * (row.v[0][k] - dot); });
      row.store(dx + index * n, row.v[0]);
    });
  }
};

template <class T>
struct LogSoftmax {
  const T* x;
  T* y;
  int64_t n;

  __device__ void operator()(Row<T, 1>& row, int64_t index, bool exists) const {
    start(row, exists, x + index * n);
    const SumExp<T> s = sum_exp<false>(row);
    const T log_sum = s.log_sum_if_finite();
    row.sweep([&](bool) {
      row.each([&](int k) { row.v[0][k] = (row.v[0][k] - s.base) - log_sum; });
      row.store(y + index * n, row.v[0]);
    });
  }
};

/// dx = g - exp(y) · Σ g
template <class T>
struct LogSoftmaxBackward {
  const T *g, *y;
  T* dx;
  int64_t n;

  __device__ void operator()(Row<T, 2>& row, int64_t index, bool exists) const {
    row.start(exists, {g + index * n, y + index * n}, {T(0), T(0)});
    double sum[1];
    row.sum(sum, [&](int k, T(&term)[1]) { term[0] = row.v[0][k]; });
    const T total = T(sum[0]);
    row.sweep([&](bool) {
      row.each([&](int k) { row.v[0][k] -= exp(Vec<T>(row.v[1][k])).v * total; });
      row.store(dx + index * n, row.v[0]);
    });
  }
};

template <class T>
struct LogSumExp {
  const T* x;
  T* y;
  int64_t n;

  __device__ void operator()(Row<T, 1>& row, int64_t index, bool exists) const {
    start(row, exists, x + index * n);
    const SumExp<T> s = sum_exp<false>(row);
    if (row.is_first()) y[index] = s.base + s.log_sum();
  }
};

template <class T>
void fill(RowKernels<T>& k) {
  k.softmax = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("softmax", rows, n, {x, y}, Softmax<T>{x, y, n});
  };
  k.softmax_backward = [](int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
    launch_rows<T, 2>("softmax_backward", rows, n, {g, y, dx}, SoftmaxBackward<T>{g, y, dx, n});
  };
  k.log_softmax = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("log_softmax", rows, n, {x, y}, LogSoftmax<T>{x, y, n});
  };
  k.log_softmax_backward = [](int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
    launch_rows<T, 2>("log_softmax_backward", rows, n, {g, y, dx}, LogSoftmaxBackward<T>{g, y, dx, n});
  };
  k.logsumexp = [](int64_t rows, int64_t n, const T* x, T* y) {
    launch_rows<T, 1>("logsumexp", rows, n, {x}, LogSumExp<T>{x, y, n});
  };
}

}  // namespace

void fill_softmax(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
