// Layer normalisation of the rows of a matrix: Ba, Kiros, Hinton, "Layer normalization", 2016.
#include "../core/kernels.h"
#include "../core/norm.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// One row, whose numbers are multiplied by `unit` first. Returns the unit that it needs, and stores nothing if that is
/// another one, unless `unit` is no guess.
template <class T, class Unit>
STEEP_INLINE T layer_norm_row(const OutputRows<T>& out, int64_t n, const T* x, const T* weight, const T* bias,
                              double eps, Unit unit, T* y, T* mean, T* rstd) {
  const auto load = [&](int64_t j, auto span) { return span.load(x + j) * unit; };
  const T origin = x[0] * unit;  // near the mean, so that the sum loses nothing to a large one
  const auto distance = [&](int64_t j, auto span) { return load(j, span) - origin; };
  const double offset = sum_of<T>(n, distance) / double(n);
  const T m = T(origin + offset);
  const double squares = sum_of<T>(n, [&](int64_t j, auto span) {
    const Vec<T> d = load(j, span) - m;
    return d * d;
  });
  // x - m is exact near the mean; what rounding the mean to T has cost comes back in the variance and in `shift`.
  const double slip = offset - (double(m) - origin);
  const double variance = squares / double(n) - slip * slip + eps * unit * unit;
  if constexpr (std::is_same_v<Unit, One>)
    if (const T needed = unit_for_squares<T>(variance); needed != 1) return needed;
  const double exact_rstd = 1 / __builtin_sqrt(variance);
  const T scale = T(exact_rstd), shift = T(-slip * exact_rstd);
  *mean = m / unit;
  *rstd = T(exact_rstd * unit);
  out.each(y, [&](int64_t j, auto span) {
    Vec<T> v = fma(load(j, span) - m, Vec<T>(scale), Vec<T>(shift));
    const Vec<T> factor = weight ? span.load(weight + j) : Vec<T>(1);
    v = bias ? fma(v, factor, span.load(bias + j)) : v * factor;
    span.store(y + j, v);
  });
  return 1;
}

template <class T>
STEEP_NOINLINE void layer_norm_scaled_row(const OutputRows<T>& out, int64_t n, const T* x, const T* weight,
                                          const T* bias, double eps, T unit, T* y, T* mean, T* rstd) {
  layer_norm_row(out, n, x, weight, bias, eps, unit, y, mean, rstd);
}

template <class T>
void layer_norm(int64_t rows, int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                T* rstd) {
  const OutputRows<T> out(rows, n);
  for (; rows > 0; --rows, x += n, y += n, ++mean, ++rstd) {
    const T unit = layer_norm_row(out, n, x, weight, bias, eps, One(), y, mean, rstd);
    if (unit != 1) layer_norm_scaled_row(out, n, x, weight, bias, eps, unit, y, mean, rstd);
  }
  out.end();
}

/// x̂ = (x - mean) · rstd = distance(x) · scale. Distances are in units of a power of two near the deviation, in which
/// those of large numbers don't overflow.
template <class T>
struct Normal {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

  T unit, mean, rstd, scale;

  Normal() = default;
  Normal(T mean, T rstd) : unit(power_of_two(rstd)), mean(mean * unit), rstd(rstd), scale(rstd / unit) {}
  STEEP_INLINE Vec<T> distance(Vec<T> x) const { return fma(x, Vec<T>(unit), Vec<T>(-mean)); }
  STEEP_INLINE Vec<T> operator()(Vec<T> x) const { return distance(x) * scale; }

 private:
  /// The one below x > 0, but none that is subnormal.
  static T power_of_two(T x) {
    constexpr T least = std::numeric_limits<T>::min(), infinity = std::numeric_limits<T>::infinity();
    const T power = __builtin_bit_cast(T, __builtin_bit_cast(Bits, x) & __builtin_bit_cast(Bits, infinity));
    return power < least ? least : power;
  }
};

/// The means of h = g · weight and of h·x̂ over a row.
template <class T>
struct RowMeans {
  T h, projection;
};

template <class T>
RowMeans<T> row_means(int64_t n, const T* g, const T* x, const T* weight, const Normal<T>& normal) {
  using V = Vec<T>;
  constexpr int64_t L = V::n, kStep = 2 * L;
  Total<T> h_total, total;
  const auto add = [&](int64_t j, auto span, V& h_sum, V& sum) {
    const V h = weight ? span.load(g + j) * span.load(weight + j) : span.load(g + j);
    h_sum = h_sum + h;
    sum = fma(h, normal.distance(span.load(x + j)), sum);
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
  return {T(h_total.value() / double(n)), T(total.value() * normal.scale / double(n))};
}

/// dx = rstd · (h - mean(h) - x̂ · mean(h·x̂))
template <class T>
void backward_row(const T* g, const T* x, const T* weight, const Normal<T>& normal, const RowMeans<T>& means, T* dx,
                  const OutputRows<T>& out) {
  out.each(dx, [&](int64_t j, auto span) {
    const Vec<T> h_mean = means.h, v = span.load(g + j);
    const Vec<T> h = weight ? fma(v, span.load(weight + j), -h_mean) : v - h_mean;
    span.store(dx + j,
               normal.rstd * fma(normal.distance(span.load(x + j)), Vec<T>(-means.projection * normal.scale), h));
  });
}

/// dweight[j] += Σ_i g·x̂ and dbias[j] += Σ_i g over a few rows, summed in T.
template <class T>
void backward_columns(int64_t rows, int64_t n, const T* g, const T* x, const Normal<T>* normals, double* dweight,
                      double* dbias) {
  each_strip<T, 2>(n, [&](int64_t j0, auto span, auto count) {
    Vec<T> weight_sum[count] = {}, bias_sum[count] = {};
    for (int64_t i = 0; i < rows; ++i)
      for (int q = 0; q < count; ++q) {
        const int64_t at = i * n + j0 + q * Vec<T>::n;
        const Vec<T> v = span.load(g + at);
        weight_sum[q] = fma(v, normals[i](span.load(x + at)), weight_sum[q]);
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
  Normal<T> normals[kBlock];
  for (int64_t i = 0; i < rows; i += kBlock) {
    const int64_t end = rows - i < kBlock ? rows : i + kBlock;
    for (int64_t r = i; r < end; ++r) normals[r - i] = {mean[r], rstd[r]};
    for (int64_t r = i; r < end && dx; ++r)  // first, because it calls the rows into the caches one after another
      means[r - i] = row_means(n, g + r * n, x + r * n, weight, normals[r - i]);
    if (dweight || dbias) backward_columns(end - i, n, g + i * n, x + i * n, normals, dweight, dbias);
    for (int64_t r = i; r < end && dx; ++r)  // last, because dx may be g or x
      backward_row(g + r * n, x + r * n, weight, normals[r - i], means[r - i], dx + r * n, out);
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
