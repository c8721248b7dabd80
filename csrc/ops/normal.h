// erf, erfc and the normal distribution. See math.h.
#pragma once
#include "exponential.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// c·e^(-factor·x²), factor 1 or ½. x² is taken as an exact high part and a small rest, since the relative error of an
/// exponent of 100 would be multiplied by 100; c is multiplied in before the scaling, so that the tail underflows once.
template <class T>
STEEP_INLINE Vec<T> times_gaussian(Vec<T> c, Vec<T> x, T factor) {
  using V = Vec<T>;
#ifdef STEEP_FMA
  const V high = x * x, low = fma(x, x, -high);
  const V k = nearest(-factor * T(1.4426950408889634) * high), r = remainder(-factor * high, k) - factor * low;
#else
  const V head = x & as<T>(Vec<typename Format<T>::Integer>(Format<T>::high_half));
  const V k = exponent(-factor * x * x);
  const V r = remainder(-factor * head * head, k) - factor * ((x - head) * (x + head));
#endif
  return scale(c + c * (r + r * r * exp_polynomial(r)), k);
}

/// e^(z²)·erfc(z), z = factor·x, 0.49 ≤ z ≤ 28, as p(t) / (¾ + 3z/2) with t = (z - c) / (z + c): M. Shepherd,
/// J. Laframboise, Math. Comp. 36 (1981). p is nearly flat, so the rounding of t hardly matters; the ¾ brings it just
/// below 1, where ulps are relatively smallest; c is such that p(0) is almost a float. The fits are 2^-27 / 2^-56.
template <class T>
STEEP_INLINE Vec<T> scaled_erfc(Vec<T> x, double factor) {
  using V = Vec<T>;
  const T c = (is_float<T> ? 2.890625 : 3.5) / factor;
  const V t = (x - c) / (x + c);
  V p;
  if constexpr (is_float<T>)
    p = polynomial<V>(t, -1.4122402e-04f, 1.4879496e-03f, -1.8888451e-04f, -1.337725e-02f, 4.638618e-02f,
                      -8.843047e-02f, 1.02380276e-01f, -4.3109164e-02f, -1.0025363e-01f, 9.4163173e-01f);
  else
    p = polynomial<V>(t, 7.611795345489754e-09, 5.074509004815932e-10, -6.922301908801195e-08, -6.197459122281834e-09,
                      4.4945631101220396e-07, -3.283203208182929e-08, -2.8603455988600514e-06, 1.745963426412278e-06,
                      1.8195522327919304e-05, -3.208654720428644e-05, -9.113427269942605e-05, 0.00042328827653298755,
                      -0.00022670091458926395, -0.0031612649242901934, 0.014324498207397484, -0.03661749437161571,
                      0.06598736536861859, -0.08631719862010455, 0.07313932136494469, -0.007916697249164746,
                      -0.10500688510321457, 0.9317619336533658);
  return p / (0.75 + 1.5 * factor * x);
}
/// erf(x), |x| ≤ 1. The fits are 2^-29 / 2^-56 of it.
template <class T>
STEEP_INLINE Vec<T> erf_center(Vec<T> x) {
  using V = Vec<T>;
  const V z = x * x;
  if constexpr (is_float<T>)
    return x + x * polynomial<V>(z, 7.846108e-05f, -8.007878e-04f, 5.188074e-03f, -2.6853692e-02f, 1.1283583e-01f,
                                 -3.7612626e-01f, 1.2837917e-01f);
  else
    return x + x * polynomial<V>(z, 6.685241650561519e-11, -1.1830824456075611e-09, 1.4786606099728387e-08,
                                 -1.6370646341695687e-07, 1.6463087793168178e-06, -1.4925738543054885e-05,
                                 0.00012055337779188891, -0.0008548327189636443, 0.005223977629096012,
                                 -0.026866170645619556, 0.11283791670958743, -0.37612638903183876, 0.1283791670955126);
}
/// erfc(z), z ≥ 0
template <class T>
STEEP_INLINE Vec<T> erfc_tail(Vec<T> z) {
  z = min(Vec<T>(is_float<T> ? 10.5 : 28), z);  // 0 beyond
  return times_gaussian(scaled_erfc(z, 1), z, T(1));
}

/// Error 1.3 / 1.2 ulp.
template <class T>
STEEP_INLINE Vec<T> erf(Vec<T> x) {
  return select(abs(x) < 1, erf_center(x), copysign(1 - erfc_tail(abs(x)), x));
}

/// Error 3.1 / 2.8 ulp, relative in the tail too.
template <class T>
STEEP_INLINE Vec<T> erfc(Vec<T> x) {
  const Vec<T> tail = erfc_tail(abs(x));
  return select(abs(x) < 0.5, 1 - erf_center(x), select(x < 0, 2 - tail, tail));
}

/// q(t) = (x + c)·Φ(-x)·e^(x²/2), 0 ≤ x ≤ 14.5, t = (x - c) / (x + c). The fit is 2^-26.
constexpr float kNormalTail = 3.375f;  // c
STEEP_INLINE Vec<float> scaled_normal_tail(Vec<float> t) {
  const Vec<float> t2 = t * t;
  const Vec<float> odd =
      polynomial<Vec<float>>(t2, 1.33776106e-04f, -8.4925175e-04f, 7.82517447e-03f, -9.83844851e-02f, -5.52992212e-01f);
  const Vec<float> even =
      polynomial<Vec<float>>(t2, 3.07583176e-04f, -2.24953481e-03f, 8.71870329e-03f, 2.95375975e-01f, 7.41080279e-01f);
  return even + t * odd;
}
/// Φ(x) = erfc(-x/√2) / 2, but with the exponent taken from x itself, as -x/√2 is rounded. Error 3.8 ulp.
STEEP_INLINE Vec<double> normal_cdf(Vec<double> x) {
  using V = Vec<double>;
  constexpr double root_half = 0.70710678118654752;
  const V size = min(V(39), abs(x));  // the tail is 0 beyond
  const V tail = times_gaussian(0.5 * scaled_erfc(size, root_half), size, 0.5);
  return select(size < 0.75, 0.5 + 0.5 * erf_center(x * root_half), select(x < 0, tail, 1 - tail));
}

/// x·Φ(x), in float32 as max(x, 0) - |x|·Φ(-|x|): one range for both signs.
STEEP_INLINE Vec<float> gelu(Vec<float> x) {
  using V = Vec<float>;
  const V size = min(V(14.5f), abs(x)), part = size / (size + kNormalTail);  // Φ is 0 beyond
  return max(V(-0.0f), x) - times_gaussian(part * scaled_normal_tail(2 * part - 1), size, 0.5f);
}
STEEP_INLINE Vec<double> gelu(Vec<double> x) {
  return max(Vec<double>(-40), x) * normal_cdf(x);  // Φ(-40) = 0
}

/// Φ(x) + x·φ(x), the slope of gelu, for a finite x; in float32 with an error of 2 ulp of 1.
STEEP_INLINE Vec<float> gelu_slope(Vec<float> x) {
  using V = Vec<float>;
  const V size = min(V(14.5f), abs(x)), bell = times_gaussian(V(1), size, 0.5f);  // 0 beyond
  const V r = 1 / (size + kNormalTail), tail = r * scaled_normal_tail(1 - 2 * kNormalTail * r) * bell;
  return select(x < 0, tail, 1 - tail) + 0.39894228040143268 * x * bell;  // 1/√(2π)
}
STEEP_INLINE Vec<double> gelu_slope(Vec<double> x) {
  return normal_cdf(x) + 0.39894228040143268 * x * times_gaussian(Vec<double>(1), min(Vec<double>(39), abs(x)), 0.5);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
