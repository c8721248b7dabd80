// The conversion of one element to another dtype.
#pragma once
#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// From floats to integers: truncated, saturating, and NaN is 0, on every device. To booleans: x ≠ 0, so NaN is true.
/// From wide to narrow integers: the low bits.
template <class To, class From>
STEEP_FORMULA To convert(From x) {
  if constexpr (std::is_same_v<To, uint8_t>) {
    return x != 0;
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    constexpr From limit = From(1ull << (8 * sizeof(To) - 1));  // the first that is too large; -limit fits
    const bool fits = x >= -limit && x < limit;
    constexpr To largest = To((1ull << (8 * sizeof(To) - 1)) - 1);
    return fits ? To(x) : x >= limit ? largest : x < 0 ? To(-largest - 1) : To(0);
  } else {
    return To(x);
  }
}

template <class... T>
struct Types {};
using EveryType = Types<uint8_t, int32_t, int64_t, float, double>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
