// Elementary functions over Vec<float> and Vec<double>: every lane alike, no branches, and no need of FMA. They follow
// NumPy on NaN, infinities, signed zeros, overflow and gradual underflow. The polynomials are minimax fits (Remez) with
// rounded coefficients. Each function's error is the largest measured, float32 / float64, in ulp, over the whole domain
// with subnormal results, and with and without FMA. The reductions and rearrangements are those of W. Cody, W. Waite,
// Software Manual for the Elementary Functions; J.-M. Muller, Elementary Functions; FDLIBM (SunPro). Include the Vec of
// the CPU (cpu/simd.h) or of CUDA (cuda/vec.cuh) first.
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

/// e / (e + 1) with e = (e^(2|x|) - 1) / 2: no cancellation and no second range. Error 2.6 / 2.6 ulp.
template <class T>
STEEP_INLINE Vec<T> tanh(Vec<T> x) {
  using V = Vec<T>;
  const V y = 2 * min(V(20), abs(x));  // tanh(20) rounds to 1
  const V k = exponent(y), r = remainder(y, k), half = power_of_two(k - 1);
  const V e = half * (r + r * r * exp_polynomial(r)) + (half - 0.5);
  return copysign(e / (e + 1), x);
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
  return log_to_base(x, LogBase<float>{0x1.716p0f, -0x1.7135a9p-13f, 1, 0});
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

// ---- sin and cos ----

constexpr double kReducible = 0x1p20;  // beyond it n·(π/2) below isn't exact any more

/// x = n·π/2 + r + low, |r| ≤ π/4: Cody and Waite, with π/2 in parts of 33 bits, whose products with n are exact.
STEEP_INLINE void reduce_quadrant(Vec<double> x, Vec<double>& n, Vec<double>& r, Vec<double>& low) {
  n = nearest(x * 0.63661977236758134);
  const Vec<double> a = x - n * 0x1.921fb544p0, b = n * 0x1.0b4611a6p-34, c = n * 0x1.3198a2e037073p-69;
  const Vec<double> s = a - b, t = s - a, lost = (a - (s - t)) - (b + t);  // Knuth's two-sum
  r = s + (lost - c);
  low = (lost - c) - (r - s);
}
/// float32 in double precision: one part is enough, and the rounding of r to float is the only one.
STEEP_INLINE void reduce_quadrant(Vec<float> x, Vec<float>& n, Vec<float>& r, Vec<float>& low) {
  Vec<double> wide[2], count[2];
  widen(x, wide[0], wide[1]);
  for (int i = 0; i < 2; ++i) {
    count[i] = nearest(wide[i] * 0.63661977236758134);
    wide[i] = (wide[i] - count[i] * 0x1.921fb544p0) - count[i] * 0x1.0b4611a626331p-34;
  }
  n = narrow(count[0], count[1]);
  r = narrow(wide[0], wide[1]);
  low = 0;
}

/// sin(x + turns·π/2) for |x| ≤ kReducible. The fits are 2^-32 / 2^-58 (sine), 2^-36 / 2^-64 (cosine).
template <class T>
STEEP_INLINE Vec<T> sin_quadrant(Vec<T> x, int turns) {
  using V = Vec<T>;
  using I = typename Format<T>::Integer;
  V n, r, low, sine, cosine;
  reduce_quadrant(x, n, r, low);
  const V z = r * r, half = 0.5 * z, w = 1 - half;
  if constexpr (is_float<T>) {
    sine = polynomial<V>(z, 2.8044437e-06f, -1.98503e-04f, 8.333373e-03f, -1.6666667e-01f);
    cosine = polynomial<V>(z, -2.8661788e-07f, 2.4819738e-05f, -1.3888974e-03f, 4.1666668e-02f);
    sine = r + r * z * sine;
    cosine = w + (((1 - w) - half) + z * z * cosine);
  } else {
    sine = polynomial<V>(z, 1.5896797961426828e-10, -2.5050758528776582e-08, 2.755731369768225e-06,
                         -0.00019841269829836956, 0.008333333333322474, -0.16666666666666632);
    cosine = polynomial<V>(z, -1.1359896014585441e-11, 2.087572869518981e-09, -2.755731439790315e-07,
                           2.4801587289664903e-05, -0.001388888888887447, 0.0416666666666666);
    sine = r + (r * z * sine + (low - half * low));
    cosine = w + (((1 - w) - half) + (z * z * cosine - r * low));
  }
  const Vec<I> quadrant = integer_bits(n) + turns;
  const V y = select(as<T>((quadrant & 1) != 0), cosine, sine);
  return y ^ as<T>((quadrant & 2) << (8 * int(sizeof(T)) - 2));
}

/// The lanes whose argument needs hundreds of bits of π, or isn't finite. Rare, and libm has them right.
template <class T, class F>
STEEP_NOINLINE void replace_far(const Vec<T>& x, Vec<T>& y, F f) {
  for (int i = 0; i < Vec<T>::n; ++i)
    if (!(x[i] >= -kReducible && x[i] <= kReducible)) y.set(i, f(x[i]));
}

// Error 1.5 / 0.8 ulp.
template <class T>
STEEP_INLINE Vec<T> sin(Vec<T> x) {
  const Vec<T> size = abs(x);
  Vec<T> y = select(size < 0x1p-30, x, sin_quadrant(x, 0));  // keeps -0
  if (!(size <= kReducible).all())
    replace_far(x, y, [](T a) { return is_float<T> ? STEEP_LIBM(sinf)(a) : STEEP_LIBM(sin)(a); });
  return y;
}
template <class T>
STEEP_INLINE Vec<T> cos(Vec<T> x) {
  Vec<T> y = sin_quadrant(x, 1);
  if (!(abs(x) <= kReducible).all())
    replace_far(x, y, [](T a) { return is_float<T> ? STEEP_LIBM(cosf)(a) : STEEP_LIBM(cos)(a); });
  return y;
}

// ---- erf, erfc and the normal distribution ----

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

// ---- pow ----

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
