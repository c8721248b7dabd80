// pow. See math.h.
#pragma once
#include "exponential.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// libm, lane by lane: the exponent's rounding is multiplied by y·log(x), up to 745, so the logarithm needs ten bits
/// more than a double has.
STEEP_NOINLINE void pow_lanes(const Vec<double>& x, const Vec<double>& y, Vec<double>& z) {
  for (int i = 0; i < Vec<double>::n; ++i) z.set(i, STEEP_LIBM(pow)(x[i], y[i]));
}
STEEP_INLINE Vec<double> pow(Vec<double> x, Vec<double> y) {
  Vec<double> z;
  pow_lanes(x, y, z);
  return z;
}

/// float32 by e^(y·log|x|) in double precision, which has those bits. Error 0.5 ulp.
STEEP_INLINE Vec<double> pow_of_floats(Vec<double> x, Vec<double> y) {
  using V = Vec<double>;
  const V size = abs(x), magnitude = exp(y * log(size));
  const V half = 0.5 * y;
  const auto odd = (floor(half) != half) & (floor(y) == y), negative = copysign(V(1), x) < 0;
  const V z = select(odd & negative, -magnitude, magnitude);
  const auto complex = (x < 0) & (x > -kInfinity) & (floor(y) != y);
  // 1 to any power and anything to 0 are 1, NaN too, and so is -1 to ±∞.
  const auto one = (x == 1) | (y == 0) | ((x == -1) & (abs(y) == kInfinity));
  return select(one, 1, select(complex, kNaN, z));
}
template <class T>
  requires is_float<T>
STEEP_INLINE Vec<T> pow(Vec<T> x, Vec<T> y) {
  Vec<double> x_low, x_high, y_low, y_high;
  widen(x, x_low, x_high);
  widen(y, y_low, y_high);
  return narrow(pow_of_floats(x_low, y_low), pow_of_floats(x_high, y_high));
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
