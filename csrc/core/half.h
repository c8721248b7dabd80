// The two 16-bit floating-point types, as storage: arithmetic is done in float32. Conversions round to the nearest,
// ties to even, once.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "host_device.h"

namespace steep {

template <class To, class From>
STEEP_HD To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

/// x toward zero, with the last bit set where that left something out. Rounded again to fewer bits it is what x itself
/// would be, by S. Boldo, G. Melquiond, Emulation of a FMA and correctly rounded sums (2008).
STEEP_HD float round_to_odd(double x) {
  const float nearest = float(x);
  const bool beyond = __builtin_fabs(double(nearest)) > __builtin_fabs(x);  // not where it is 0
  return same_bits<float>((same_bits<uint32_t>(nearest) - beyond) | (double(nearest) != x));
}

/// The same of an integer, whose lowest bits a double may not hold.
template <class I>
STEEP_HD double round_to_odd(I x)
  requires std::is_integral_v<I>
{
  if constexpr (sizeof(I) == 8)
    if (x >= I(1) << 53 || (std::is_signed_v<I> && x <= -(I(1) << 53)))
      return double(x >> 11 | I((x & 2047) != 0)) * 2048;
  return double(x);
}

/// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
struct float16 {
  uint16_t bits;

  float16() = default;
  STEEP_HD explicit float16(float x) : bits(round(x)) {}
  STEEP_HD explicit float16(double x) : float16(round_to_odd(x)) {}
  template <class I>
    requires std::is_integral_v<I>
  STEEP_HD explicit float16(I x) : float16(double(x)) {}

  STEEP_HD operator float() const {
    const uint32_t magnitude = uint32_t(bits & 0x7fff) << 13, sign = uint32_t(bits & 0x8000) << 16;
    // 2^112 makes up for the exponents' biases, of normal and subnormal numbers; only infinity and NaN stay apart.
    const float value = same_bits<float>(magnitude) * 0x1p112f;
    const uint32_t special = magnitude | 0x7f800000;
    return same_bits<float>((magnitude < 0x7c00u << 13 ? same_bits<uint32_t>(value) : special) | sign);
  }

 private:
  static STEEP_HD uint16_t round(float x) {
    const uint32_t all = same_bits<uint32_t>(x), magnitude = all & 0x7fffffff;
    // In the sum with 1/2 a multiple of 2^-24, the step of subnormal numbers, is what is left of the fraction.
    const uint32_t subnormal = same_bits<uint32_t>(same_bits<float>(magnitude) + 0.5f) - 0x3f000000;
    const uint32_t normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
    const uint32_t finite = magnitude < 113u << 23 ? subnormal : normal;
    const uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;  // NaN; too large
    return uint16_t((magnitude >= 143u << 23 ? special : finite) | (all >> 16 & 0x8000));
  }
};

/// The upper half of a float32: 8 bits of exponent, 7 of fraction.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  STEEP_HD explicit bfloat16(float x) : bits(round(x)) {}
  STEEP_HD explicit bfloat16(double x) : bfloat16(round_to_odd(x)) {}
  template <class I>
    requires std::is_integral_v<I>
  STEEP_HD explicit bfloat16(I x) : bfloat16(round_to_odd(x)) {}

  STEEP_HD operator float() const { return same_bits<float>(uint32_t(bits) << 16); }

 private:
  static STEEP_HD uint16_t round(float x) {
    const uint32_t all = same_bits<uint32_t>(x);
    const uint32_t nan = all >> 16 | 0x40, rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;
    return uint16_t((all & 0x7fffffff) > 0x7f800000 ? nan : rounded);
  }
};

}  // namespace steep
