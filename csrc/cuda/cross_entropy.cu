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

/// Both in one read of the row, as a softmax.
template <class T, bool smooths>
struct CrossEntropyGradient {
  static constexpr int kPasses = 2;
  const T* x;
  const int64_t* label;
  const T *weight, *total;
  double divisor, smoothing;
  T *loss, *dx;
  int64_t n;

  template <class Row>
  __device__ void operator()(Row& row, int64_t index) const {
    const bool exists = row.exists(index), writes = row.writes(index);
    const int64_t label_here = exists ? label[index] : 0;
    const double at_label = writes ? double(x[index * n + label_here]) : 0;
    const T own = exists && weight ? weight[index] : T(1);
    const double cold = smooths ? smoothing / double(n) : 0, hot = smooths ? 1 - smoothing + cold : 1;  // of the target
    SumExp<T> s;
    RowSum<T, 1> all{};
    T scale = 0, below = 0, above = 0;
    row.sweep(kPasses, index, {x}, {s.kLowest}, [&](auto at) {
      if constexpr (smooths)
        if (at.pass == 0) all.add(row, at, [&](int k, T(&term)[1]) { term[0] = row.contains(k) ? row.v[0][k] : T(0); });
      if (at.pass == 0) s.rebase(row);
      if (at.is_new) row.each([&](int k) { row.v[0][k] = exp(Vec<T>(row.v[0][k] - s.base)).v; });
      if (at.pass == 0) {
        s.add_terms_apart(row, at);
        if (!at.is_last) return;
        const double factor = own == 0 ? 0 : double(own) / divisor / (total ? double(*total) : 1);
        scale = T(factor / s.sum), below = T(factor * cold), above = T(factor * hot);
        return;
      }
      const int hot_offset = row.offset_of_column(label_here);
      row.each([&](int k) { row.v[0][k] = row.v[0][k] * scale - (row.offset(k) == hot_offset ? above : below); });
      row.store_matrix(dx, row.v[0]);
    });
    if (!writes) return;
    double likelihood = at_label - double(s.base);
    if constexpr (smooths) likelihood = (1 - smoothing) * likelihood + cold * (all.sum[0] - double(n) * double(s.base));
    loss[index] = own == 0 ? T(0) : T(double(own) * (::log(s.sum) - likelihood));
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
  k.cross_entropy_gradient = [](int64_t rows, int64_t n, const T* x, const int64_t* label, const T* weight,
                                const T* total, double divisor, double smoothing, T* loss, T* dx) {
    const auto run = [&]<bool smooths>(std::bool_constant<smooths>) {
      launch_rows<T, 1>("cross_entropy", rows, n, {x, dx},
                        CrossEntropyGradient<T, smooths>{x, label, weight, total, divisor, smoothing, loss, dx, n});
    };
    smoothing > 0 ? run(std::true_type()) : run(std::false_type());
  };
}

}  // namespace

void fill_cross_entropy(Table& table) {
  fill(table.rows_f32);
  fill(table.rows_f64);
}

}  // namespace steep::cuda
