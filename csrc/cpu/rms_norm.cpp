// Normalisation of the rows of a matrix by the root of their mean square: Zhang, Sennrich, "Root mean square layer
// normalization", 2019.
#include "../core/kernels.h"
#include "../core/norm.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// One row, whose numbers are multiplied by `unit` first. Returns the unit that it needs, and stores nothing if that is
/// another one, unless `unit` is no guess.
template <class T, class Unit>
STEEP_INLINE T rms_norm_row(const OutputRows<T>& out, int64_t n, const T* x, const T* weight, double eps, Unit unit,
                            T* y, T* rstd) {
  const auto load = [&](int64_t j, auto span) { return span.load(x + j) * unit; };
  const double squares = sum_of<T>(n, [&](int64_t j, auto span) {
    const Vec<T> v = load(j, span);
    return v * v;
  });
  const double mean = squares / double(n) + eps * unit * unit;
  if constexpr (std::is_same_v<Unit, One>)
    if (const T needed = unit_for_squares<T>(mean); needed != 1) return needed;
  const double exact_rstd = 1 / __builtin_sqrt(mean);
  const T scale = T(exact_rstd);
  *rstd = T(exact_rstd * unit);
  out.each(y, [&](int64_t j, auto span) {
    const Vec<T> v = load(j, span) * scale;
    span.store(y + j, weight ? v * span.load(weight + j) : v);
  });
  return 1;
}

template <class T>
STEEP_NOINLINE void rms_norm_scaled_row(const OutputRows<T>& out, int64_t n, const T* x, const T* weight, double eps,
                                        T unit, T* y, T* rstd) {
  rms_norm_row(out, n, x, weight, eps, unit, y, rstd);
}

template <class T>
void rms_norm(int64_t rows, int64_t n, const T* x, const T* weight, double eps, T* y, T* rstd) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, x += n, y += n, ++rstd) {
    const T unit = rms_norm_row(out, n, x, weight, eps, One(), y, rstd);
    if (unit != 1) rms_norm_scaled_row(out, n, x, weight, eps, unit, y, rstd);
  }
  out.end();
}

/// dx = rstd · (h - x̂ · mean(h·x̂)), where h = g · weight and x̂ = x · rstd.
template <class T>
void backward_row(const OutputRows<T>& out, int64_t n, const T* g, const T* x, const T* weight, T rstd, T* dx) {
  const auto h = [&](int64_t j, auto span) {
    const Vec<T> v = span.load(g + j);
    return weight ? v * span.load(weight + j) : v;
  };
  const auto normal = [&](int64_t j, auto span) { return span.load(x + j) * rstd; };
  const T projection = T(sum_of<T>(n, [&](int64_t j, auto span) { return h(j, span) * normal(j, span); }) / double(n));
  out.each(dx, [&](int64_t j, auto span) { span.store(dx + j, rstd * (h(j, span) - normal(j, span) * projection)); });
}

/// dweight[j] += Σ_i g·x̂ over a few rows, summed in T.
template <class T>
void backward_columns(int64_t rows, int64_t n, const T* g, const T* x, const T* rstd, double* dweight) {
  each_strip<T, 2>(n, [&](int64_t j0, auto span, auto count) {
    Vec<T> sum[count] = {};
    for (int64_t i = 0; i < rows; ++i)
      for (int q = 0; q < count; ++q) {
        const int64_t at = i * n + j0 + q * Vec<T>::n;
        sum[q] = fma(span.load(g + at), span.load(x + at) * rstd[i], sum[q]);
      }
    for (int q = 0; q < count; ++q) accumulate(dweight + j0 + q * Vec<T>::n, sum[q], span);
  });
}

template <class T>
void rms_norm_backward(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* rstd, T* dx,
                       double* dweight) {
  constexpr int64_t kBlock = kRows / 2;  // of two matrices, g and x
  const OutputRows<T> out(rows, n);
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t block = rows - i < kBlock ? rows - i : kBlock;
    if (dweight) backward_columns(block, n, g + i * n, x + i * n, rstd + i, dweight);
    for (int64_t r = i; r < i + block; ++r)  // after the sums, because dx may be g or x
      backward_row(out, n, g + r * n, x + r * n, weight, rstd[r], dx + r * n);
  }
  out.end();
}

template <class T>
void fill(RowKernels<T>& k) {
  k.rms_norm = rms_norm<T>;
  k.rms_norm_backward = rms_norm_backward<T>;
}

}  // namespace

void fill_rms_norm(Kernels& k) {
  fill(k.rows_f32);
  fill(k.rows_f64);
}

}  // namespace steep::STEEP_ISA_NS
