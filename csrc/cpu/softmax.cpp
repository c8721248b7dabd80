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
  for (; rows > 0; --rows, x += n, y += n) {
    const T max = extreme<Max>(n, x);
    const T log_sum = T(__builtin_log(sum_exp<T>(n, x, max, nullptr)));
    out.each(y, [&](int64_t j, auto span) { span.store(y + j, (span.load(x + j) - max) - log_sum); });
  }
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
  for (; rows > 0; --rows, x += n, ++y) {
    const T max = extreme<Max>(n, x);
    *y = log_sum_exp(max, __builtin_log(sum_exp<T>(n, x, max, nullptr)));
  }
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
