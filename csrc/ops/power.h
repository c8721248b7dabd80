// pow. See math.h.
#pragma once
#include "exponential.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// log(x) = head + tail for finite x > 0. A power multiplies the rounding of its exponent by y·log(x), up to 745, so
/// the logarithm needs ten bits more than a double has: 2·artanh(s) = s·(2 + s²·(⅔ + …)), s = f / (2 + f), where each
/// factor has a low part. It needs an fma that rounds once. The fit is 2^-66 of the logarithm.
STEEP_INLINE void log_in_parts(Vec<double> x, Vec<double>& head, Vec<double>& tail) {
  using V = Vec<double>;
  using F = Format<double>;
  V m, k;
  split_positive(x, m, k);
  const V f = m - 1, d = 2 + f, inverse = 1 / d, s = f * inverse;
  const V s_low = inverse * fma(-s, (2 - d) + f, fma(-s, d, f));
  const V z = s * s, z_low = fma(s + s, s_low, fma(s, s, -z));
  const V rest = polynomial<V>(z, 0.13196192554197278, 0.1325682515407033, 0.1538675723696581, 0.1818178436692516,
                               0.22222222519923177, 0.2857142857009959, 0.40000000000002256);
  const V two_thirds = 0x1.5555555555555p-1;
  const V q = fma(z, rest, two_thirds),
          q_low = fma(z, rest, two_thirds - q) + fma(z_low, rest, V(0x1.5555555555555p-55));
  const V w = z * q, w_low = fma(z_low, q, fma(z, q_low, fma(z, q, -w)));
  const V u = 2 + w, u_low = ((2 - u) + w) + w_low;
  const V p = s * u, p_low = fma(s_low, u, fma(s, u_low, fma(s, u, -p))), twos = k * F::ln2;
  head = twos + p;
  tail = ((twos - head) + p) + fma(k, V(F::ln2_low), p_low);
}

/// x^y for finite x > 0 as e^(y·log(x)).
STEEP_INLINE Vec<double> power_of_positive(Vec<double> x, Vec<double> y) {
  using V = Vec<double>;
  using F = Format<double>;
  V log_high, log_low;
  log_in_parts(x, log_high, log_low);
  y = min(V(0x1p64), max(V(-0x1p64), y));  // the logarithm is 0 or larger than 2^-54
  const V head = y * log_high, tail = fma(y, log_low, fma(y, log_high, -head));
  const V k = exponent(head), rest = fma(k, V(-F::ln2), head), rest_low = fma(k, V(-F::ln2_low), tail);
  const V r = rest + rest_low, r_low = (rest - r) + rest_low;
  const V e = 1 + r, e_low = ((1 - e) + r) + fma(e, r_low, r * r * exp_polynomial(r));
  return select(head > F::exp_highest, kInfinity, select(head < F::exp_lowest, 0, scale(e + e_low, k)));
}

/// The same for numbers of float32 as 2^(y·log2(x)): the exponent has more bits than it needs. The fits are 2^-38 of
/// the logarithm and 2^-34 of the power.
STEEP_INLINE Vec<double> power_of_float(Vec<double> x, Vec<double> y) {
  using V = Vec<double>;
  V m, k;
  split(x, m, k);
  const V f = m - 1, s = f / (2 + f), z = s * s;
  const V p = polynomial<V>(z, 0.3407301820055135, 0.41167271511321596, 0.5770835850263955, 0.9617966733414971,
                            2.8853900817900864);
  const V exponent = min(V(200), max(V(-200), y * fma(s, p, k)));  // 0 and ∞ in float32
  const V whole = nearest(exponent), r = exponent - whole;
  return polynomial<V>(r, 1.5213562679771917e-05, 0.00015465382865033692, 0.0013333820247134027, 0.00961804330391164,
                       0.05550410600674186, 0.24022651021058583, 0.69314718055994531, 1) *
         power_of_two(whole);
}
STEEP_INLINE Vec<float> power_of_positive(Vec<float> x, Vec<float> y) {
  Vec<double> x_low, x_high, y_low, y_high;
  widen(x, x_low, x_high);
  widen(y, y_low, y_high);
  return narrow(power_of_float(x_low, y_low), power_of_float(x_high, y_high));
}

/// What x^y is, given that of |x| where that is above 0 and finite.
template <class T>
STEEP_NOINLINE void finish_power(const Vec<T>& x, const Vec<T>& y, Vec<T>& z) {
  using V = Vec<T>;
  const V size = abs(x), half = 0.5 * y;
  const auto whole = floor(y) == y, odd = whole & (floor(half) != half), zero = size == 0, infinite = size == kInfinity;
  z = select(zero | infinite, select(zero ^ (y < 0), V(0), V(kInfinity)), z);
  z = select(odd & (copysign(V(1), x) < 0), -z, z);
  z = select(((x < 0) & !(whole | infinite)) | isnan(x) | isnan(y), kNaN, z);
  // 1 to any power and anything to 0 are 1, NaN too, and so is -1 to ±∞.
  z = select((x == 1) | (y == 0) | ((x == -1) & (abs(y) == kInfinity)), 1, z);
}

STEEP_NOINLINE void pow_lanes(const Vec<double>& x, const Vec<double>& y, Vec<double>& z) {
  for (int i = 0; i < Vec<double>::n; ++i) z.set(i, STEEP_LIBM(pow)(x[i], y[i]));
}

/// Error 0.5 / 0.8 ulp. For float64 in less than four lanes libm, which looks logarithms up in a table, is faster.
template <class T>
  requires std::is_floating_point_v<T>
STEEP_INLINE Vec<T> pow(Vec<T> x, Vec<T> y) {
  Vec<T> z;
  if constexpr (!is_float<T> && Vec<T>::n < 4) {
    pow_lanes(x, y, z);
  } else {
    z = power_of_positive(abs(x), y);
    if (!((x > 0) & (x < kInfinity) & (abs(y) < kInfinity)).all()) finish_power(x, y, z);
  }
  return z;
}

/// Integers by squaring, wrapping; exponents are not negative.
template <class T>
  requires std::is_integral_v<T>
STEEP_INLINE Vec<T> pow(Vec<T> x, Vec<T> y) {
  Vec<T> z = 1;
  for (; (y > 0).any(); y = shift_right_logical(y, 1)) {
    z = select((y & 1) != 0, z * x, z);
    x *= x;
  }
  return z;
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
