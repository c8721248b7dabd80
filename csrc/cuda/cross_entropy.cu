// Softmax cross-entropy of logits (rows, n) against one label a row.
#include "sum_exp.cuh"
#include "table.h"

namespace steep::cuda {
void fill_cross_entropy(Table& table);

namespace {

/// The loss is log Σ exp(x - max) - (x[label] - max): the same as lse - x[label], but exact where both are large.
template <class T>
struct CrossEntropy {
  static constexpr int kPasses = 1;
  const T* x;
  const int64_t* label;
  T *loss, *lse;
  int64_t n;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    const bool writes = row.writes(index);
    const double at_label = writes ? double(x[index * n + label[index]]) : 0;
    SumExp<T> s;
    row.sweep(kPasses, index, {x}, {s.kLowest}, [&](auto at) { s.add(row, at); });
    if (!writes) return;
    loss[index] = T(double(s.log_of_finite()) - (at_label - double(s.base)));
    lse[index] = s.base + s.log();
  }
};

template <class T>
struct CrossEntropyBackward {
  static constexpr int kPasses = 1;
  const T *g, *x;
  const int64_t* label;
  const T* lse;
  T* dx;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    const bool exists = row.exists(index);
    const T gradient = exists ? g[index] : T(0), base = exists ? lse[index] : T(0);
    const T log_sum = base + (base - base);  // NaN where there is no softmax
    const int64_t hot = exists ? label[index] : 0;
    row.sweep(kPasses, index, {x}, {T(0)}, [&](auto) {
      const int hot_offset = row.offset_of_column(hot);
      row.each([&](int k) {
        const T p = exp(Vec<T>(row.v[0][k] - log_sum)).v;
        row.v[0][k] = gradient * (row.offset(k) == hot_offset ? p - 1 : p);
      });
      row.store_matrix(dx, row.v[0]);
    });
  }
};

template <class T>
void fill(RowKernels<T>& k) {
  k.cross_entropy = [](int64_t rows, int64_t n, const T* x, const int64_t* label, T* loss, T* lse) {
    launch_rows<T, 1>("cross_entropy", rows, n, {x}, CrossEntropy<T>{x, label, loss, lse, n});
  };
  k.cross_entropy_backward = [](int64_t rows, int64_t n, const T* g, const T* x, const int64_t* label, const T* lse,
                                T* dx) {
    launch_rows<T, 1>("cross_entropy_backward", rows, n, {x, dx}, CrossEntropyBackward<T>{g, x, label, lse, dx});
  };
}

}  // namespace

void fill_cross_entropy(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
