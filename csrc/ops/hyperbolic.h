// Hyperbolic functions and their inverses. See math.h.
#pragma once
#include "exponential.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// (e^|x| + sign·e^-|x|) / 4 for |x| = k·ln2 + r by the addition theorems: with up = 2^k / 4, down = sign·2^-k / 4 it
/// is (up + down)·cosh(r) + (up - down)·sinh(r). (2^k itself would overflow before sinh(x).) The polynomials are 2^-34
/// / 2^-61 of sinh(r), 2^-33 / 2^-58 of cosh(r).
template <class T>
STEEP_INLINE Vec<T> hyperbolic(Vec<T> x, T sign) {
  using V = Vec<T>;
  const V size = min(V(Format<T>::exp_highest + T(0.5)), abs(x)), k = exponent(size);  // ∞ beyond
  const V part = size - k * Format<T>::ln2, r = part - k * Format<T>::ln2_low, z = r * r;
  const V low = (part - r) - k * Format<T>::ln2_low;
  V sine, cosine;  // what these have beyond r and 1
  if constexpr (is_float<T>) {
    sine = polynomial<V>(z, 1.9974096e-04f, 8.333175e-03f, 1.6666667e-01f);
    cosine = polynomial<V>(z, 1.3935426e-03f, 4.166646e-02f, 0.5f);
  } else {
    sine = polynomial<V>(z, 2.5109321197769438e-08, 2.755724345169824e-06, 0.00019841269886815838, 0.008333333333321386,
                         0.16666666666666677);
    cosine = polynomial<V>(z, 2.7631810189526006e-07, 2.480148850626123e-05, 0.0013888888948355624, 0.04166666666651047,
                           0.5000000000000013);
  }
  const V up = power_of_two(k - 2), down = sign * power_of_two(-2 - min(V(60), k));  // 2^-60 doesn't count
  const V sum = up + down, lost = (up - sum) + down;
  return sum + (sum * (z * cosine) + ((up - down) * (r + (r * z * sine + low)) + lost));
}

/// Error 1.8 / 1.9 ulp.
template <class T>
STEEP_INLINE Vec<T> sinh(Vec<T> x) {
  return select(abs(x) < 0x1p-30, x, copysign(2 * hyperbolic(x, T(-1)), x));  // keeps subnormals
}
/// Error 1.4 / 1.3 ulp.
template <class T>
STEEP_INLINE Vec<T> cosh(Vec<T> x) {
  return 2 * hyperbolic(x, T(1));
}

/// e / (e + 1) with e = (e^(2|x|) - 1) / 2: no cancellation and no second range. Error 2.6 / 2.6 ulp.
template <class T>
STEEP_INLINE Vec<T> tanh(Vec<T> x) {
  using V = Vec<T>;
  const V y = 2 * min(V(20), abs(x));  // tanh(20) rounds to 1
  const V k = exponent(y), r = remainder(y, k), half = power_of_two(k - 1);
  const V e = half * (r + r * r * exp_polynomial(r)) + (half - 0.5);
  return copysign(e / (e + 1), x);
}

// ---- the inverses ----

/// The rest of artanh(s) / s beyond 1, over z = s² ≤ 0.1295. The fits are 2^-31 / 2^-61.
template <class T>
STEEP_INLINE Vec<T> artanh_rest(Vec<T> z) {
  using V = Vec<T>;
  if constexpr (is_float<T>)
    return z * polynomial<V>(z, 1.2773944e-01f, 1.0549299e-01f, 1.4323238e-01f, 1.9998923e-01f, 3.3333343e-01f);
  else
    return z * polynomial<V>(z, 0.09232299236229806, 0.02866483109261159, 0.0565807836001518, 0.05831576766654401,
                             0.06670914941292976, 0.07692073023934076, 0.09090917545243656, 0.11111110920135485,
                             0.14285714288216064, 0.19999999999983675, 0.3333333333333337);
}

/// a + b = (m + low)·2^k, 1 ≤ m < 2, for a ≥ b ≥ 0, a ≥ 1. The sum is halved, lest it overflow.
template <class T>
STEEP_INLINE void split_sum(Vec<T> a, Vec<T> b, Vec<T>& m, Vec<T>& low, Vec<T>& k) {
  using F = Format<T>;
  using I = typename F::Integer;
  const Vec<T> half = 0.5 * a + 0.5 * b, lost = (0.5 * a - half) + 0.5 * b;
  const Vec<I> bits = as<I>(half);
  m = as<T>((bits & ((I(1) << F::fraction_bits) - 1)) | as<I>(Vec<T>(1)));
  k = as<T>(shift_right_logical(bits, F::fraction_bits) | as<I>(Vec<T>(F::one_step))) - (F::one_step + F::bias - 1);
  low = lost * power_of_two(1 - min(Vec<T>(60), k));  // from there on it doesn't count
}

/// log(w), w = |x| + √(x² + 1), as k·ln2 + 2·artanh(u), u = ((m - 1) + low) / (m + 1), w = m·2^k. For k = 0
/// u = |x| / (√(x² + 1) + 1) and 2u = |x| - |x|·u², where |x| has no rounding. Error 2.0 / 1.9 ulp.
template <class T>
STEEP_INLINE Vec<T> asinh(Vec<T> x) {
  using V = Vec<T>;
  const V size = abs(x), root = select(size < Format<T>::one_step, sqrt(size * size + 1), size);
  V m, low, k;
  split_sum(root, size, m, low, k);
  const auto near = k == 0;
  const V u = select(near, size, (m - 1) + low) / select(near, root + 1, m + 1), z = u * u, twice = 2 * u;
  const V head = select(near, size, twice), rest = k * Format<T>::ln2_low - select(near, size * z, 0);
  const V y = k * Format<T>::ln2 + (head + (rest + twice * artanh_rest(z)));
  return copysign(select(size < kInfinity, y, size), x);
}

/// The same with w = x + √(x² - 1), and for k = 0, x < 1.25, a polynomial in p = x - 1 for acosh(x) / √(2p). The fits
/// are 2^-29 / 2^-61. Error 1.9 / 1.8 ulp.
template <class T>
STEEP_INLINE Vec<T> acosh(Vec<T> x) {
  using V = Vec<T>;
  const auto near = x < 1.25;
  const V p = x - 1, root = select(x < Format<T>::one_step, sqrt(p * select(near, 2, x + 1)), x);
  V m, low, k, q;
  split_sum(x, root, m, low, k);
  const V u = ((m - 1) + low) / (m + 1), twice = 2 * u;
  const V far = k * Format<T>::ln2 + (twice + (k * Format<T>::ln2_low + twice * artanh_rest(u * u)));
  if constexpr (is_float<T>)
    q = polynomial<V>(p, 1.5326687e-03f, -5.5075693e-03f, 1.8744161e-02f, -8.333319e-02f);
  else
    q = polynomial<V>(p, 4.632679295835504e-06, -1.719412422410372e-05, 4.4536665359235165e-05, -0.00010898334816929528,
                      0.00027112185207611174, -0.0006991287192621659, 0.0018988714632685968, -0.005580357140943616,
                      0.01874999999997186, -0.08333333333333319);
  const V y = select(near, root + root * p * q, far);
  return select(x >= 1, select(x < kInfinity, y, x), kNaN);
}

/// (1 + |x|) / (1 - |x|) = m·2^k with m within [0.94, 2.13], so ½·k·ln2 + artanh(s), s = (m - 1) / (m + 1). For k = 0
/// s is |x|. The difference of their bits is nearly that of the logarithms. Error 1.5 / 1.5 ulp.
template <class T>
STEEP_INLINE Vec<T> atanh(Vec<T> x) {
  using V = Vec<T>;
  using F = Format<T>;
  using I = typename F::Integer;
  const V size = abs(x), rest = 1 - size;
  const Vec<I> bits = shift_right_logical(as<I>(1 + size) - as<I>(rest), F::fraction_bits);
  const V k = as<T>(bits | as<I>(V(F::one_step))) - F::one_step;
  const V shrink = power_of_two(-k), shrunk = size * shrink;
  const V part = select(size < 0.5, size - (1 - shrink), shrink - rest);  // without a rounding that counts
  const V below = select(size < 0.5, (1 + shrink) + (shrunk - size), (shrink + shrunk) + rest);
  const V s = (shrunk + part) / below;
  const V y = 0.5 * k * F::ln2 + (s + (0.5 * k * F::ln2_low + s * artanh_rest(s * s)));
  return copysign(select(size < 1, y, select(size == 1, kInfinity, kNaN)), x);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
