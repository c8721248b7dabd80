// Softmax cross-entropy of logits (rows, n) against one label a row.
#include "../core/kernels.h"
#include "sum_exp.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// The class of a row, read once: 0 in the place of one out of range. Labels have been checked, but another thread, or
/// the owner of memory that is shared, may have changed them since.
inline int64_t class_of(const int64_t& label, int64_t n) {
  const int64_t found = __atomic_load_n(&label, __ATOMIC_RELAXED);
  return uint64_t(found) < uint64_t(n) ? found : 0;
}

/// The loss is log Σ exp(x - max) - (x[label] - max): the same as lse - x[label], but exact where both are large.
template <class T>
void cross_entropy(int64_t rows, int64_t n, const T* x, const int64_t* label, T* loss, T* lse) {
  each_block(rows, n, [&](int64_t first, int64_t count) {
    T max[kBlock];
    double at_label[kBlock], log_sum[kBlock];
    for (int i = 0; i < count; ++i) {
      const T* row = x + (first + i) * n;
      max[i] = extreme<Max>(n, row);
      at_label[i] = double(row[class_of(label[first + i], n)]) - max[i];
      log_sum[i] = sum_exp<T>(n, row, max[i], nullptr);
    }
    logarithms(count, log_sum);
    for (int i = 0; i < count; ++i) {
      loss[first + i] = T(log_sum[i] - at_label[i]);
      lse[first + i] = log_sum_exp(max[i], log_sum[i]);
    }
  });
}

template <class T>
void cross_entropy_backward(int64_t rows, int64_t n, const T* g, const T* x, const int64_t* label, const T* lse,
                            T* dx) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, ++g, x += n, ++label, ++lse, dx += n) {
    const int64_t at = class_of(*label, n);
    const T at_label = x[at];                // dx may be x
    const T log_sum = *lse + (*lse - *lse);  // NaN where there is no softmax
    out.each(dx, [&](int64_t j, auto span) { span.store(dx + j, exp(span.load(x + j) - log_sum) * *g); });
    dx[at] = *g * (exp(Vec<T>(at_label - log_sum))[0] - 1);
  }
  out.end();
}

/// Both at once, while the row is in a cache.
template <class T>
void cross_entropy_gradient(int64_t rows, int64_t n, const T* x, const int64_t* label, const T* weight, const T* total,
                            double divisor, double smoothing, T* loss, T* dx) {
  const OutputRows<T> out(rows, n);
  Terms<T> waiting(out, n);
  const double cold = smoothing / double(n), hot = 1 - smoothing + cold;  // of the target
  each_block(rows, n, [&](int64_t first, int64_t count) {
    double likelihood[kBlock], log_sum[kBlock];
    for (int64_t k = 0; k < count; ++k, x += n, dx += n) {
      const int64_t at = class_of(label[first + k], n);
      const T max = extreme<Max>(n, x), own = weight ? weight[first + k] : T(1);
      T* const e = waiting.row(dx);
      const double sum = log_sum[k] = sum_exp(n, x, max, e);
      likelihood[k] = (1 - smoothing) * (double(x[at]) - max);
      if (smoothing > 0)
        likelihood[k] += cold * sum_of<T>(n, [&](int64_t j, auto span) { return span.load(x + j, max) - max; });
      const double factor = own == 0 ? 0 : own / divisor / (total ? double(*total) : 1);
      const T at_label = e[at], scale = T(factor / sum), below = T(factor * cold);
      out.each(dx, [&](int64_t j, auto span) { span.store(dx + j, span.load(e + j) * scale - below); });
      dx[at] = T(factor * (double(at_label) / sum - hot));
    }
    logarithms(count, log_sum);
    for (int64_t k = 0; k < count; ++k) {
      const T own = weight ? weight[first + k] : T(1);
      loss[first + k] = own == 0 ? T(0) : T(own * (log_sum[k] - likelihood[k]));
    }
  });
  out.end();
}

template <class T>
void fill(RowKernels<T>& k) {
  k.cross_entropy = cross_entropy<T>;
  k.cross_entropy_backward = cross_entropy_backward<T>;
  k.cross_entropy_gradient = cross_entropy_gradient<T>;
}

}  // namespace

void fill_cross_entropy(Kernels& k) {
  fill(k.rows_f32);
  fill(k.rows_f64);
}

}  // namespace steep::STEEP_ISA_NS
