// Layer normalisation of the rows of a matrix: Ba, Kiros, Hinton, "Layer normalization", 2016.
#include "../core/kernels.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
void layer_norm(int64_t rows, int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                T* rstd) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, x += n, y += n, ++mean, ++rstd) {
    const T origin = x[0];  // near the mean, so that the sum loses nothing to a large one
    const auto distance = [&](int64_t j, auto span) { return span.load(x + j, origin) - origin; };
    const double offset = sum_of<T>(n, distance) / double(n);
    const T m = T(origin + offset);
    const double squares = sum_of<T>(n, [&](int64_t j, auto span) {
      const Vec<T> d = span.load(x + j, m) - m;
      return d * d;
    });
    // x - m is exact near the mean; what rounding the mean to T has cost comes back in the variance and in `shift`.
    const double slip = offset - (double(m) - origin);
    const double exact_rstd = 1 / __builtin_sqrt(squares / double(n) - slip * slip + eps);
    const T scale = T(exact_rstd), shift = T(-slip * exact_rstd);
    *mean = m;
    *rstd = scale;
    out.each(y, [&](int64_t j, auto span) {
      Vec<T> v = fma(span.load(x + j) - m, Vec<T>(scale), Vec<T>(shift));
      const Vec<T> factor = weight ? span.load(weight + j) : Vec<T>(1);
      v = bias ? fma(v, factor, span.load(bias + j)) : v * factor;
      span.store(y + j, v);
    });
  }
  out.end();
}

/// The means of h = g · weight and of h·x̂ over a row, where x̂ = (x - mean) · rstd.
template <class T>
struct RowMeans {
  T h, projection;
};

template <class T>
RowMeans<T> row_means(int64_t n, const T* g, const T* x, const T* weight, T mean, T rstd) {
  using V = Vec<T>;
  constexpr int64_t L = V::n, kStep = 2 * L;
  Total<T> h_total, total;
  const auto add = [&](int64_t j, auto span, V& h_sum, V& sum) {
    const V h = weight ? span.load(g + j) * span.load(weight + j) : span.load(g + j);
    h_sum = h_sum + h;
    sum = fma(h, span.load(x + j, mean) - mean, sum);
  };
  int64_t j = 0;
  while (j + kStep <= n) {
    V h_sums[2] = {}, sums[2] = {};
    const int64_t whole = (n - j) / kStep;
    for (int64_t steps = whole < kChain ? whole : kChain; steps > 0; --steps, j += kStep)
      for (int k = 0; k < 2; ++k) add(j + k * L, Whole{}, h_sums[k], sums[k]);
    h_total.add(h_sums[0] + h_sums[1]), total.add(sums[0] + sums[1]);
  }
  V h_rest = {}, rest = {};
  if (j + L <= n) add(j, Whole{}, h_rest, rest), j += L;
  if (j < n) add(j, Part{int(n - j)}, h_rest, rest);
  h_total.add(h_rest), total.add(rest);
  return {T(h_total.value() / double(n)), T(total.value() * rstd / double(n))};
}

/// dx = rstd · (h - mean(h) - x̂ · mean(h·x̂))
template <class T>
void backward_row(const T* g, const T* x, const T* weight, T mean, T rstd, const RowMeans<T>& means, T* dx,
                  const OutputRows<T>& out) {
  out.each(dx, [&](int64_t j, auto span) {
    const Vec<T> h_mean = means.h, v = span.load(g + j), normal = (span.load(x + j, mean) - mean) * rstd;
    const Vec<T> h = weight ? fma(v, span.load(weight + j), -h_mean) : v - h_mean;
    span.store(dx + j, rstd * fma(normal, Vec<T>(-means.projection), h));
  });
}

/// dweight[j] += Σ_i g·x̂ and dbias[j] += Σ_i g over a few rows, summed in T.
template <class T>
void backward_columns(int64_t rows, int64_t n, const T* g, const T* x, const T* mean, const T* rstd, double* dweight,
                      double* dbias) {
  each_strip<T, 2>(n, [&](int64_t j0, auto span, auto count) {
    Vec<T> weight_sum[count] = {}, bias_sum[count] = {};
    for (int64_t i = 0; i < rows; ++i)
      for (int q = 0; q < count; ++q) {
        const int64_t at = i * n + j0 + q * Vec<T>::n;
        const Vec<T> v = span.load(g + at);
        weight_sum[q] = fma(v, (span.load(x + at) - mean[i]) * rstd[i], weight_sum[q]);
        bias_sum[q] = bias_sum[q] + v;
      }
    for (int q = 0; q < count; ++q) {
      if (dweight) accumulate(dweight + j0 + q * Vec<T>::n, weight_sum[q], span);
      if (dbias) accumulate(dbias + j0 + q * Vec<T>::n, bias_sum[q], span);
    }
  });
}

template <class T>
void layer_norm_backward(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* mean, const T* rstd,
                         T* dx, double* dweight, double* dbias) {
  constexpr int64_t kBlock = kRows / 2;  // of two matrices, g and x
  const OutputRows<T> out(rows, n);
  RowMeans<T> means[kBlock];
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t end = rows - i < kBlock ? rows : i + kBlock;
    for (int64_t r = i; r < end && dx; ++r)  // first, because it calls the rows into the caches one after another
      means[r - i] = row_means(n, g + r * n, x + r * n, weight, mean[r], rstd[r]);
    if (dweight || dbias) backward_columns(end - i, n, g + i * n, x + i * n, mean + i, rstd + i, dweight, dbias);
    for (int64_t r = i; r < end && dx; ++r)  // last, because dx may be g or x
      backward_row(g + r * n, x + r * n, weight, mean[r], rstd[r], means[r - i], dx + r * n, out);
  }
  if (dx) out.end();
}

template <class T>
void fill(RowKernels<T>& k) {
  k.layer_norm = layer_norm<T>;
  k.layer_norm_backward = layer_norm_backward<T>;
}

}  // namespace

void fill_layer_norm(Kernels& k) {
  fill(k.rows_f32);
  fill(k.rows_f64);
}

}  // namespace steep::STEEP_ISA_NS
