// The conversion of one element to another dtype.
#pragma once
#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// From floats to integers: truncated, saturating, and NaN is 0, on every device. To booleans: x ≠ 0, so NaN is true.
/// From wide to narrow integers: the low bits. To floats: the nearest.
template <class To, class From>
STEEP_FORMULA To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (!std::is_arithmetic_v<From>) {
    return convert<To>(float(x));
  } else if constexpr (std::is_same_v<To, bool>) {
    return x != 0;
  } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<From>) {
    using Limits = std::numeric_limits<To>;
    constexpr From limit = 2 * From(To(1) << (Limits::digits - 1));  // the first that is too large
    constexpr From lowest = Limits::is_signed ? -limit : From(0);
    const bool fits = x >= lowest && x < limit;
    return fits ? To(x) : x >= limit ? Limits::max() : x < 0 ? Limits::min() : To(0);
  } else {
    return To(x);
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
