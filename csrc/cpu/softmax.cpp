// Softmax and its relatives over the rows of a matrix. The row's maximum is subtracted first, so that nothing
// overflows. A row with a NaN or +inf, or of -inf alone, has no softmax: it becomes NaN, as the formula says.
#include "../core/kernels.h"
#include "sum_exp.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
void softmax(int64_t rows, int64_t n, const T* x, T* y) {
  const OutputRows<T> out(rows, n);
  Terms<T> waiting(out, n);
  for (; rows > 0; --rows, x += n, y += n) {
    T* const terms = waiting.row(y);
    const T scale = T(1 / sum_exp(n, x, extreme<Max>(n, x), terms));
    out.each(y, [&](int64_t j, auto span) { span.store(y + j, span.load(terms + j) * scale); });
  }
  out.end();
}

/// dx = y · (g - Σ g·y)
template <class T>
void softmax_backward(int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, g += n, y += n, dx += n) {
    const T dot = T(sum_of<T>(n, [&](int64_t j, auto span) { return span.load(g + j) * span.load(y + j); }));
    out.each(dx, [&](int64_t j, auto span) { span.store(dx + j, span.load(y + j) * (span.load(g + j) - dot)); });
  }
  out.end();
}

template <class T>
void log_softmax(int64_t rows, int64_t n, const T* x, T* y) {
  const OutputRows<T> out(rows, n);
  each_block(rows, n, [&](int64_t first, int64_t count) {
    T max[kBlock];
    double log_sum[kBlock];
    for (int i = 0; i < count; ++i) {
      const T* row = x + (first + i) * n;
      max[i] = extreme<Max>(n, row);
      log_sum[i] = sum_exp<T>(n, row, max[i], nullptr);
    }
    logarithms(count, log_sum);
    for (int i = 0; i < count; ++i) {
      const T *row = x + (first + i) * n, less = T(log_sum[i]);
      T* to = y + (first + i) * n;
      out.each(to, [&](int64_t j, auto span) { span.store(to + j, (span.load(row + j) - max[i]) - less); });
    }
  });
  out.end();
}

/// dx = g - exp(y) · Σ g
template <class T>
void log_softmax_backward(int64_t rows, int64_t n, const T* g, const T* y, T* dx) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, g += n, y += n, dx += n) {
    const T sum = T(sum_of<T>(n, [&](int64_t j, auto span) { return span.load(g + j); }));
    out.each(dx, [&](int64_t j, auto span) { span.store(dx + j, fma(exp(span.load(y + j)), -sum, span.load(g + j))); });
  }
  out.end();
}

template <class T>
void logsumexp(int64_t rows, int64_t n, const T* x, T* y) {
  each_block(rows, n, [&](int64_t first, int64_t count) {
    T* const max = y + first;  // until they become the results
    double log_sum[kBlock];
    for (int i = 0; i < count; ++i) {
      max[i] = extreme<Max>(n, x + (first + i) * n);
      log_sum[i] = sum_exp<T>(n, x + (first + i) * n, max[i], nullptr);
    }
    logarithms(count, log_sum);
    for (int i = 0; i < count; ++i) max[i] = log_sum_exp(max[i], log_sum[i]);
  });
}

template <class T>
void fill(RowKernels<T>& k) {
  k.softmax = softmax<T>;
  k.softmax_backward = softmax_backward<T>;
  k.log_softmax = log_softmax<T>;
  k.log_softmax_backward = log_softmax_backward<T>;
  k.logsumexp = logsumexp<T>;
}

}  // namespace

void fill_softmax(Kernels& k) {
  fill(k.rows_f32);
  fill(k.rows_f64);
}

}  // namespace steep::STEEP_ISA_NS
