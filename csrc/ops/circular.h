// Circular functions and their inverses. See math.h.
#pragma once
#include "exponential.h"

namespace steep::STEEP_ISA_NS {
namespace {

constexpr double kReducible = 0x1p20;  // beyond it n·(π/2) below isn't exact any more

/// x = n·π/2 + r + low, |r| ≤ π/4: Cody and Waite, with π/2 in parts of 33 bits, whose products with n are exact.
STEEP_INLINE void reduce_quadrant(Vec<double> x, Vec<double>& n, Vec<double>& r, Vec<double>& low) {
  n = nearest(x * 0.63661977236758134);
  const Vec<double> a = x - n * 0x1.921fb544p0, b = n * 0x1.0b4611a6p-34, c = n * 0x1.3198a2e037073p-69;
  const Vec<double> s = a - b, t = s - a, lost = (a - (s - t)) - (b + t);  // Knuth's two-sum
  r = s + (lost - c);
  low = (lost - c) - (r - s);
}
/// float32 in double precision, where one part is enough.
STEEP_INLINE void reduce_quadrant(Vec<float> x, Vec<float>& n, Vec<float>& r, Vec<float>& low) {
  Vec<double> wide[2], count[2], rounded[2];
  widen(x, wide[0], wide[1]);
  for (int i = 0; i < 2; ++i) {
    count[i] = nearest(wide[i] * 0.63661977236758134);
    wide[i] = (wide[i] - count[i] * 0x1.921fb544p0) - count[i] * 0x1.0b4611a626331p-34;
  }
  n = narrow(count[0], count[1]);
  r = narrow(wide[0], wide[1]);
  widen(r, rounded[0], rounded[1]);
  low = narrow(wide[0] - rounded[0], wide[1] - rounded[1]);
}

/// sin(x + turns·π/2) for |x| ≤ kReducible; a float does without `low`. The fits are 2^-32 / 2^-58 (sine), 2^-36 /
/// 2^-64 (cosine).
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

/// tan(r), or tan(r + π/2) = -1 / tan(r). The fits are 2^-29 / 2^-60. Error 1.7 / 1.6 ulp.
template <class T>
STEEP_INLINE Vec<T> tan(Vec<T> x) {
  using V = Vec<T>;
  using I = typename Format<T>::Integer;
  const V size = abs(x);
  V n, r, low, p;
  reduce_quadrant(x, n, r, low);
  const V z = r * r;
  if constexpr (is_float<T>)
    p = polynomial<V>(z, 4.3764827e-03f, 9.114764e-05f, 1.0832509e-02f, 2.1284508e-02f, 5.4059178e-02f, 1.3332674e-01f,
                      3.333335e-01f);
  else
    p = polynomial<V>(z, 9.800324876935996e-06, -2.4278210994622406e-05, 4.86416314052501e-05, -2.5637124477737944e-05,
                      6.722184366831734e-05, 8.356037165212622e-05, 0.0002437500163805479, 0.0005888649709719493,
                      0.0014560454689983649, 0.003592100890225108, 0.008863237921764213, 0.021869488399339703,
                      0.0539682539729028, 0.13333333333325342, 0.3333333333333338);
  const V t = r + (r * z * p + (low + low * z));
  const auto odd = as<T>((integer_bits(n) & I(1)) != 0);
  V y = select(size < 0x1p-30, x, select(odd, -1, t) / select(odd, t, 1));  // keeps -0
  if (!(size <= kReducible).all())
    replace_far(x, y, [](T a) { return is_float<T> ? STEEP_LIBM(tanf)(a) : STEEP_LIBM(tan)(a); });
  return y;
}

// ---- the inverses ----

template <class T>
struct QuarterPi;
template <>
struct QuarterPi<float> {
  static constexpr float high = 0x1.921fbp-1f, low = 0x1.51110cp-23f;  // 4·high is exact, and 3·high
};
template <>
struct QuarterPi<double> {
  static constexpr double high = 0x1.921fb54442d18p-1, low = 0x1.1a62633145c07p-55;
};

/// turns·π/4 + arctan(t), |t| ≤ √2 - 1. The fits are 2^-30 / 2^-60.
template <class T>
STEEP_INLINE Vec<T> arctan_sum(Vec<T> turns, Vec<T> t) {
  using V = Vec<T>;
  const V z = t * t;
  V p;
  if constexpr (is_float<T>)
    p = polynomial<V>(z, -6.091661e-02f, 1.0599796e-01f, -1.4244469e-01f, 1.9998531e-01f, -3.3333316e-01f);
  else
    p = polynomial<V>(z, -0.01791283426166422, 0.03806987241652591, -0.050395203527076105, 0.058479384983372816,
                      -0.06663110963728704, 0.07692060832886409, -0.09090897792737307, 0.11111110784675096,
                      -0.1428571428022053, 0.19999999999953819, -0.333333333333332);
  return turns * QuarterPi<T>::high + (t + (t * z * p + turns * QuarterPi<T>::low));
}

constexpr double kEighth = 0.41421356237309505;  // √2 - 1, the tangent of π/8

/// arctan(|x|) = turns·π/4 + arctan(t) with t = |x|, (|x| - 1) / (|x| + 1) or -1 / |x|. Error 1.9 / 1.9 ulp.
template <class T>
STEEP_INLINE Vec<T> atan(Vec<T> x) {
  using V = Vec<T>;
  const V size = abs(x);
  const auto first = size < kEighth, second = size < 1 / kEighth;
  const V above = select(first, size, select(second, size - 1, -1)),
          below = select(first, 1, select(second, size + 1, size));
  return copysign(arctan_sum(select(first, 0, select(second, V(1), V(2))), above / below), x);
}

/// The angle of (x, y) from that of the first octant, where b ≥ a ≥ 0. Two infinities are there as two ones, and
/// zeros as 0 and 1. Error 2.0 / 1.8 ulp.
template <class T>
STEEP_INLINE Vec<T> atan2(Vec<T> y, Vec<T> x) {
  using V = Vec<T>;
  const V height = abs(y), width = abs(x);
  const auto upper = height > width, left = copysign(V(1), x) < 0;
  V a = select(upper, width, height), b = select(upper, height, width);
  const auto infinite = (a == kInfinity) & (b == kInfinity);
  a = select(infinite, 1, a);
  b = select(infinite | (b == 0), 1, b);
  const auto steep = a > kEighth * b;
  const V shrink = select(b > 1, V(0.5), V(1)), p = shrink * a, q = shrink * b;  // a + b may overflow
  const V t = select(steep, p - q, a) / select(steep, p + q, b);
  V turns = select(steep, V(1), V(0));
  turns = select(upper, 2 - turns, turns);
  turns = select(left, 4 - turns, turns);
  return copysign(arctan_sum(turns, select(upper ^ left, -t, t)), y);
}

/// √(x² + y²) of scaled numbers, whose squares neither overflow nor lose digits. Error 1.2 / 1.2 ulp.
template <class T>
STEEP_INLINE Vec<T> hypot(Vec<T> x, Vec<T> y) {
  using V = Vec<T>;
  constexpr T far = is_float<T> ? 0x1p60 : 0x1p500, factor = is_float<T> ? 0x1p100 : 0x1p700;
  const V width = abs(x), height = abs(y);
  const auto upper = height > width;
  const V a = select(upper, height, width), b = select(upper, width, height);  // so that x and y may change places
  const auto large = a > far, small = a < 1 / far;
  const V scale = select(large, V(1 / factor), select(small, V(factor), V(1)));
  const V back = select(large, V(factor), select(small, V(1 / factor), V(1)));
  const V p = scale * a, q = scale * b, root = sqrt(p * p + q * q) * back;
  return select((width == kInfinity) | (height == kInfinity), kInfinity, root);  // beside a NaN too
}

/// turns·π/2 + factor·arcsin(s), z = s² ≤ ¼. The fits are 2^-28 / 2^-60.
template <class T>
STEEP_INLINE Vec<T> arcsin_sum(Vec<T> turns, Vec<T> factor, Vec<T> s, Vec<T> z) {
  using V = Vec<T>;
  V p;
  if constexpr (is_float<T>)
    p = polynomial<V>(z, 4.2211756e-02f, 2.415212e-02f, 4.5476038e-02f, 7.495252e-02f, 1.6666754e-01f);
  else
    p = polynomial<V>(z, 0.03269793165293663, -0.02111009885518133, 0.021786074570263842, 0.003674019175183575,
                      0.010788848111091012, 0.011397375102527274, 0.013981008806904774, 0.017351596285634423,
                      0.022372215863656432, 0.030381942676726014, 0.044642857175257025, 0.07499999999970128,
                      0.16666666666666763);
  return (turns * (2 * QuarterPi<T>::high) + factor * s) + (turns * (2 * QuarterPi<T>::low) + factor * s * z * p);
}

/// arcsin(|x|) up to ½, and π/2 - 2·arcsin(√((1 - |x|) / 2)) above. Error 2.0 / 2.0 ulp.
template <class T>
STEEP_INLINE Vec<T> asin(Vec<T> x) {
  using V = Vec<T>;
  const V size = abs(x);
  const auto near = size < 0.5;
  const V z = select(near, x * x, 0.5 - 0.5 * size), s = select(near, size, sqrt(z));
  return copysign(arcsin_sum(select(near, V(0), V(1)), select(near, V(1), V(-2)), s, z), x);
}

/// π/2 - arcsin(x), near ±1 twice that of √((1 - |x|) / 2), or π less that. Error 1.2 / 1.2 ulp.
template <class T>
STEEP_INLINE Vec<T> acos(Vec<T> x) {
  using V = Vec<T>;
  const V size = abs(x);
  const auto near = size < 0.5;
  const V z = select(near, x * x, 0.5 - 0.5 * size), s = select(near, x, sqrt(z));
  const V far_turns = select(x < 0, V(2), V(0)), far_factor = select(x < 0, V(-2), V(2));
  return arcsin_sum(select(near, 1, far_turns), select(near, -1, far_factor), s, z);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
