// Random numbers as a function of (seed, counter), with no state: any element can be computed by any thread.
//
// The generator is Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11.
// The distributions below use only integer arithmetic and + - * / sqrt, which IEEE 754 rounds in one way only, so that
// every machine draws the same bits. This breaks if a compiler fuses a*b+c: compile with -ffp-contract=off (nvcc:
// -fmad=false, and its defaults -prec-div=true -prec-sqrt=true).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "host_device.h"

namespace steep::philox {

struct Words {
  uint32_t v[4];
};

struct Key {
  uint32_t v[2];
};

STEEP_HD Words round(Words c, Key k) {
  const uint64_t p = uint64_t(0xD2511F53) * c.v[0], q = uint64_t(0xCD9E8D57) * c.v[2];
  return {{uint32_t(q >> 32) ^ c.v[1] ^ k.v[0], uint32_t(q), uint32_t(p >> 32) ^ c.v[3] ^ k.v[1], uint32_t(p)}};
}

STEEP_HD Key next(Key k) { return {{k.v[0] + 0x9E3779B9, k.v[1] + 0xBB67AE85}}; }

STEEP_HD Words generate(Words counter, Key key) {
  for (int i = 0; i < 10; ++i, key = next(key)) counter = round(counter, key);
  return counter;
}

/// Block `index` of the stream of `seed`: four random words.
STEEP_HD Words block(uint64_t seed, uint64_t index) {
  return generate({{uint32_t(index), uint32_t(index >> 32), 0, 0}}, {{uint32_t(seed), uint32_t(seed >> 32)}});
}

STEEP_HD uint64_t join(uint32_t low, uint32_t high) { return uint64_t(high) << 32 | low; }

/// Uniform on [0, 1): all multiples of 2^-24, or of 2^-53 (27 bits of one word, 26 of the other).
template <class T>
STEEP_HD T unit(uint32_t w, uint32_t w2) {
  if constexpr (sizeof(T) == 4) return T(int32_t(w >> 8)) * T(0x1p-24);
  return T(int32_t(w >> 5)) * T(0x1p-27) + T(int32_t(w2 >> 6)) * T(0x1p-53);
}

/// lo + u·(hi - lo) for u in [0, 1), never hi: `under` is the largest number below hi. hi - lo must be finite.
template <class T>
STEEP_HD T between(T u, T lo, T hi, T under) {
  const T x = lo + u * (hi - lo);
  return x < hi ? x : under;
}

/// Uniform on {0, …, range - 1}, each with a probability that is off by less than 2^-64: Lemire, "Fast random integer
/// generation in an interval", 2019, without its rejection, so that every element takes the same number of words.
STEEP_HD uint64_t below(uint64_t range, uint64_t w) {
  return uint64_t((__extension__(unsigned __int128) w) * range >> 64);
}

template <class To, class From>
STEEP_HD To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

/// log(x) for positive normal x. With x = m·2^e and m in [√½, √2), log m = 2 artanh s where s = (m - 1) / (m + 1): a
/// Taylor series in s² ≤ 0.0295, cut where the rest is below 0.1 ulp.
template <class T>
STEEP_HD T log(T x) {
  constexpr bool f32 = sizeof(T) == 4;
  using U = std::conditional_t<f32, uint32_t, uint64_t>;
  constexpr int mantissa = f32 ? 23 : 52, bias = f32 ? 127 : 1023, terms = f32 ? 4 : 10;
  // e·ln 2 in two parts, the first of which is exact for |e| < 64.
  constexpr T ln2_high = f32 ? T(0x1.62e4p-1) : T(0x1.62e42fefa38p-1);
  constexpr T ln2_low = f32 ? T(0x1.7f7d1cp-20) : T(0x1.ef35793c7673p-45);
  const U sqrt_half = bits<U>(T(0.70710678118654752));
  const U shifted = bits<U>(x) + (bits<U>(T(1)) - sqrt_half);  // its exponent field is e's
  const T e = T(int32_t(shifted >> mantissa) - bias);
  const T m = bits<T>(U((shifted & ((U(1) << mantissa) - 1)) + sqrt_half));
  const T s = (m - 1) / (m + 1), z = s * s;
  T series = T(1) / (2 * terms + 1);
  for (int k = terms - 1; k > 0; --k) series = series * z + T(1) / (2 * k + 1);
  return e * ln2_high + (2 * s + (2 * s * z * series + e * ln2_low));
}

/// sin and cos of the angle (w + fraction)·2π/2³²: Taylor series on [-π/4, π/4] and the quadrant.
template <class T>
STEEP_HD void sin_cos(uint32_t w, T fraction, T& sine, T& cosine) {
  constexpr int terms = sizeof(T) == 4 ? 5 : 9;
  const uint32_t quadrant = (w + (1u << 29)) >> 30;
  const T x = (T(int32_t(w - (quadrant << 30))) + fraction) * T(1.5707963267948966 * 0x1p-30), z = x * x;
  T s = 1, c = 1;  // sin x = x·(1 - z/(2·3)·(1 - z/(4·5)·(…))), cos x = 1 - z/(1·2)·(1 - z/(3·4)·(…))
  for (int k = terms - 1; k > 0; --k) s = 1 - s * (z * (T(1) / (2 * k * (2 * k + 1))));
  for (int k = terms; k > 0; --k) c = 1 - c * (z * (T(1) / ((2 * k - 1) * 2 * k)));
  s *= x;
  const bool swap = quadrant & 1;
  sine = (swap ? c : s) * (1 - T(int32_t(quadrant & 2)));
  cosine = (swap ? s : c) * (1 - T(int32_t((quadrant + 1) & 2)));
}

/// Two independent standard normals: Box, Muller, "A note on the generation of random normal deviates", 1958. The
/// radius is below 6.7 for float, 8.7 for double. A float takes two words and ignores the others.
template <class T>
STEEP_HD void normal_pair(uint32_t radius, uint32_t angle, uint32_t radius2, uint32_t angle2, T& a, T& b) {
  constexpr bool f32 = sizeof(T) == 4;
  const T u = f32 ? (T(int32_t(radius >> 1)) + T(0.5)) * T(0x1p-31) : unit<T>(radius, radius2) + T(0x1p-54);
  T s, c;
  sin_cos(angle, f32 ? T(0) : T(int32_t(angle2 >> 1)) * T(0x1p-31), s, c);
  const T r = std::sqrt(-2 * log(u));
  a = r * c;
  b = r * s;
}

}  // namespace steep::philox
