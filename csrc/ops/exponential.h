// exp, log and their kin. See math.h.
#pragma once
#include <cstdint>
#include <type_traits>

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
struct Format;
template <>
struct Format<float> {
  using Integer = int32_t;
  static constexpr int fraction_bits = 23;
  static constexpr float one_step = 0x1p23f;  // from here on floats are integers, and the low bits count ones
  static constexpr float bias = 127, smallest_normal = 0x1p-126f;
  static constexpr float shifter = 0x1.8p23f;                            // x + shifter has round(x) in its low bits
  static constexpr float ln2 = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;  // k·ln2 is exact for all exponents k
  static constexpr int32_t high_half = ~0xfff;                           // the leading bits, whose square is exact
  static constexpr float exp_lowest = -104, exp_highest = 89;            // e^x is 0 or ∞ beyond
  static constexpr float exp2_lowest = -151, exp2_highest = 129;         // and 2^x
};
template <>
struct Format<double> {
  using Integer = int64_t;
  static constexpr int fraction_bits = 52;
  static constexpr double one_step = 0x1p52;
  static constexpr double bias = 1023, smallest_normal = 0x1p-1022;
  static constexpr double shifter = 0x1.8p52;
  static constexpr double ln2 = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr int64_t high_half = ~0x7ffffff;
  static constexpr double exp_lowest = -746, exp_highest = 710;
  static constexpr double exp2_lowest = -1076, exp2_highest = 1025;
};

template <class T>
constexpr bool is_float = std::is_same_v<T, float>;
constexpr double kInfinity = __builtin_inf(), kNaN = __builtin_nan("");

/// Horner's scheme, the highest coefficient first.
template <class V, class... C>
STEEP_INLINE V polynomial(V x, V highest, C... rest) {
  ((highest = fma(highest, x, V(rest))), ...);
  return highest;
}

/// x to the nearest integer, |x| < 2^(fraction_bits - 1), without the detour through integer registers.
template <class T>
STEEP_INLINE Vec<T> nearest(Vec<T> x) {
  return (x + Format<T>::shifter) - Format<T>::shifter;
}
/// The low bits of an integral x as an integer.
template <class T>
STEEP_INLINE Vec<typename Format<T>::Integer> integer_bits(Vec<T> x) {
  return as<typename Format<T>::Integer>(x + Format<T>::shifter);
}
/// 2^k for the exponents k of normal numbers.
template <class T>
STEEP_INLINE Vec<T> power_of_two(Vec<T> k) {
  return as<T>(integer_bits(k + Format<T>::bias) << Format<T>::fraction_bits);
}
/// p·2^k for an integral k, rounded once where it overflows or becomes subnormal: in two steps, or by an instruction.
template <class T>
STEEP_INLINE Vec<T> scale(Vec<T> p, Vec<T> k) {
#ifdef STEEP_SCALEF
  return scalef(p, k);
#else
  const Vec<T> half = nearest(0.5 * k);
  return p * power_of_two(half) * power_of_two(k - half);
#endif
}

// ---- exp and its kin ----

/// (e^r - 1 - r) / r² for |r| ≤ ln2/2; the fits are 2^-28 / 2^-61 of e^r.
template <class T>
STEEP_INLINE Vec<T> exp_polynomial(Vec<T> r) {
  if constexpr (is_float<T>)
    return polynomial<Vec<T>>(r, 1.38209993e-03f, 8.36867094e-03f, 4.16682623e-02f, 1.66665211e-01f, 0.49999994f);
  else
    return polynomial<Vec<T>>(r, 2.0922331733760316e-09, 2.510916678661791e-08, 2.755725029689181e-07,
                              2.755724381494516e-06, 2.4801587350525494e-05, 0.00019841269886547826,
                              0.001388888888887292, 0.008333333333321447, 0.041666666666666685, 0.16666666666666677,
                              0.5);
}
/// k and r with x = k·ln2 + r.
template <class T>
STEEP_INLINE Vec<T> exponent(Vec<T> x) {
  return nearest(x * 1.4426950408889634);
}
template <class T>
STEEP_INLINE Vec<T> remainder(Vec<T> x, Vec<T> k) {
  return (x - k * Format<T>::ln2) - k * Format<T>::ln2_low;
}

/// e^x = 2^k·e^r. Error 1.0 / 1.0 ulp.
template <class T>
STEEP_INLINE Vec<T> exp(Vec<T> x) {
  using V = Vec<T>;
  x = min(V(Format<T>::exp_highest), max(V(Format<T>::exp_lowest), x));
  const V k = exponent(x), r = remainder(x, k);
  return scale(1 + (r + r * r * exp_polynomial(r)), k);
}

/// 2^k·e^(r·ln2) with k + r = x; whole powers are exact. Error 1.0 / 1.0 ulp.
template <class T>
STEEP_INLINE Vec<T> exp2(Vec<T> x) {
  using V = Vec<T>;
  x = min(V(Format<T>::exp2_highest), max(V(Format<T>::exp2_lowest), x));
  const V k = nearest(x), r = 0.69314718055994531 * (x - k);
  return scale(1 + (r + r * r * exp_polynomial(r)), k);
}

/// 2^k·(e^r - 1) + (2^k - 1), at half the scale so that 2^k doesn't overflow. Error 1.5 / 1.9 ulp.
template <class T>
STEEP_INLINE Vec<T> expm1(Vec<T> x) {
  using V = Vec<T>;
  const V bounded = min(V(Format<T>::exp_highest), max(V(-40), x));
  const V k = exponent(bounded), r = remainder(bounded, k);
  const V p = r + r * r * exp_polynomial(r), half = power_of_two(k - 1);
  return select(abs(x) < Format<T>::smallest_normal, x, 2 * (half * p + (half - 0.5)));  // keeps -0 and subnormals
}

/// 1 / (1 + e^-x) for x ≥ 0, e^x / (1 + e^x) below: e doesn't overflow and the tail keeps its relative accuracy.
/// Error 2.3 / 2.4 ulp.
template <class T>
STEEP_INLINE Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> e = exp(-abs(x));
  return select(x >= 0, 1, e) / (1 + e);
}

// ---- log and its kin ----

/// x = m·2^k with √½ ≤ m < √2, for normal x > 0.
template <class T>
STEEP_INLINE void split(Vec<T> x, Vec<T>& m, Vec<T>& k) {
  using F = Format<T>;
  using I = typename F::Integer;
  const Vec<I> root_half = as<I>(Vec<T>(0.70710678118654752));
  const Vec<I> shifted = as<I>(x) + (as<I>(Vec<T>(1)) - root_half);
  k = as<T>(shift_right_logical(shifted, F::fraction_bits) | as<I>(Vec<T>(F::one_step))) - (F::one_step + F::bias);
  m = as<T>((shifted & ((I(1) << F::fraction_bits) - 1)) + root_half);
}

/// The same for any x > 0.
template <class T>
STEEP_INLINE void split_positive(Vec<T> x, Vec<T>& m, Vec<T>& k) {
  const auto subnormal = x < Format<T>::smallest_normal;
  split(select(subnormal, Format<T>::one_step * x, x), m, k);
  k = select(subnormal, k - Format<T>::fraction_bits, k);
}

/// The part of log(1 + f), √½ - 1 ≤ f ≤ √2 - 1, beyond f - f²/2: log(1 + f) = 2·artanh(s), s = f / (2 + f), arranged as
/// in FDLIBM so that f enters unrounded. The fits are 2^-35 / 2^-59 of the logarithm.
template <class T>
STEEP_INLINE Vec<T> log_rest(Vec<T> f, Vec<T> half_square) {
  using V = Vec<T>;
  const V s = f / (2 + f), z = s * s;
  V p;
  if constexpr (is_float<T>)
    p = polynomial<V>(z, 2.402908e-01f, 2.8510144e-01f, 4.000085e-01f, 6.666666e-01f);
  else
    p = polynomial<V>(z, 0.14797853412478537, 0.15313867904280276, 0.18183571152374872, 0.22222198448186148,
                      0.28571428743541016, 0.39999999999409774, 0.6666666666666735);
  return s * (half_square + z * p);
}

/// k·ln2 + log(1 + f)
template <class T>
STEEP_INLINE Vec<T> log_sum(Vec<T> k, Vec<T> f) {
  const Vec<T> half_square = 0.5 * f * f;
  return k * Format<T>::ln2 - ((half_square - (log_rest(f, half_square) + k * Format<T>::ln2_low)) - f);
}

/// y, the logarithm of x > 0, or what else it has.
template <class T>
STEEP_INLINE Vec<T> logarithm_of(Vec<T> x, Vec<T> y) {
  return select(x > 0, select(x == kInfinity, x, y), select(x == 0, -kInfinity, kNaN));
}

/// Error 0.8 / 0.8 ulp.
template <class T>
STEEP_INLINE Vec<T> log(Vec<T> x) {
  Vec<T> m, k;
  split_positive(x, m, k);
  return logarithm_of(x, log_sum(k, m - 1));
}

/// 1/ln b and log_b 2, each in two parts, of which the first has so few bits that its products below are exact.
template <class T>
struct LogBase {
  T one, one_low, two, two_low;
};

/// k·log_b 2 + log(1 + f) / ln b, the products in two parts, so that the logarithm of a power of b is whole.
template <class T>
STEEP_INLINE Vec<T> log_to_base(Vec<T> x, const LogBase<T>& base) {
  using V = Vec<T>;
  V m, k;
  split_positive(x, m, k);
  const V f = m - 1, half_square = 0.5 * f * f;
  const V high = (f - half_square) & as<T>(Vec<typename Format<T>::Integer>(Format<T>::high_half));
  const V low = ((f - high) - half_square) + log_rest(f, half_square);
  const V head = high * base.one, tail = (low + high) * base.one_low + low * base.one;
  const V twos = k * base.two, sum = twos + head;
  return logarithm_of(x, sum + (((twos - sum) + head) + (tail + k * base.two_low)));
}

/// Error 0.6 / 0.6 ulp.
STEEP_INLINE Vec<float> log2(Vec<float> x) {
  return log_to_base(x, LogBase<float>{0x1.716p0f, -0x1.7135a8p-13f, 1, 0});
}
STEEP_INLINE Vec<double> log2(Vec<double> x) {
  return log_to_base(x, LogBase<double>{0x1.7154768p0, -0x1.6a3e80f444178p-27, 1, 0});
}
/// Error 0.6 / 0.6 ulp.
STEEP_INLINE Vec<float> log10(Vec<float> x) {
  return log_to_base(x, LogBase<float>{0x1.bccp-2f, -0x1.09d5b2p-15f, 0x1.3442p-2f, -0x1.95ec1p-19f});
}
STEEP_INLINE Vec<double> log10(Vec<double> x) {
  return log_to_base(
      x, LogBase<double>{0x1.bcb7b18p-2, -0x1.6c8d78e6acaa4p-29, 0x1.34413509f78p-2, 0x1.fef311f12b358p-46});
}

/// With 1 + x ≈ m·2^k, f = x·2^-k + (2^-k - 1) has one rounding, and none for k = 0: nothing is lost near 0.
/// Error 1.4 / 1.4 ulp.
template <class T>
STEEP_INLINE Vec<T> log1p(Vec<T> x) {
  using V = Vec<T>;
  V m, k;
  split(1 + x, m, k);
  const V shrink = power_of_two(-k);
  const auto large = x > 4 * Format<T>::one_step;  // the 1 doesn't count, and 2^-k may be subnormal
  const V y = log_sum(k, select(large, m - 1, x * shrink + (shrink - 1)));
  const V above = select(x == kInfinity, x, select(abs(x) < Format<T>::smallest_normal, x, y));
  return select(x > -1, above, select(x == -1, -kInfinity, kNaN));
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
