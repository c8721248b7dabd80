// Layer normalisation of the rows of a matrix: Ba, Kiros, Hinton, "Layer normalization", 2016.
#include "../core/kernels.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
void layer_norm(int64_t rows, int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                T* rstd) {
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
    each_vector<T>(n, [&](int64_t j, auto span) {
      Vec<T> v = fma(span.load(x + j) - m, Vec<T>(scale), Vec<T>(shift));
      if (weight) v = v * span.load(weight + j);
      if (bias) v = v + span.load(bias + j);
      span.store(y + j, v);
    });
  }
}

/// dx = rstd · (h - mean(h) - x̂ · mean(h·x̂)), where h = g · weight and x̂ = (x - mean) · rstd.
template <class T>
void backward_row(int64_t n, const T* g, const T* x, const T* weight, T mean, T rstd, T* dx) {
  const auto h = [&](int64_t j, auto span) {
    const Vec<T> v = span.load(g + j);
    return weight ? v * span.load(weight + j) : v;
  };
  const auto normal = [&](int64_t j, auto span) { return (span.load(x + j, mean) - mean) * rstd; };
  const T h_mean = T(sum_of<T>(n, h) / double(n));
  const T projection = T(sum_of<T>(n, [&](int64_t j, auto span) { return h(j, span) * normal(j, span); }) / double(n));
  each_vector<T>(n, [&](int64_t j, auto span) {
    span.store(dx + j, rstd * ((h(j, span) - h_mean) - normal(j, span) * projection));
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
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t block = rows - i < kBlock ? rows - i : kBlock;
    if (dweight || dbias) backward_columns(block, n, g + i * n, x + i * n, mean + i, rstd + i, dweight, dbias);
    for (int64_t r = i; r < i + block && dx; ++r)  // after the sums, because dx may be g or x
      backward_row(n, g + r * n, x + r * n, weight, mean[r], rstd[r], dx + r * n);
  }
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
