// The norm of many numbers as one vector, from one pass over them, or two where one could overflow; and units for sums
// of squares.
#pragma once
#include <cmath>
#include <limits>

#include "host_device.h"

namespace steep {

/// What the elements x are combined to, in double precision: sums of x² (of float32 numbers, whose squares a double
/// holds), |x|, (|x| / unit)^ord, or 1 where x ≠ 0; or the largest or smallest |x|, NaN if there is one.
enum class Norm : int { squares, sizes, powers, nonzeros, largest, smallest };

struct NormPlan {
  Norm norm;
  double ord;

  /// `wide`: some of the numbers are doubles.
  static NormPlan of(double ord, bool wide) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    if (ord == 2 && !wide) return {Norm::squares, ord};
    return {ord == 1      ? Norm::sizes
            : ord == 0    ? Norm::nonzeros
            : ord == inf  ? Norm::largest
            : ord == -inf ? Norm::smallest
                          : Norm::powers,
            ord};
  }
  STEEP_HD bool needs_unit() const { return norm == Norm::powers; }
  /// What gives the unit, so that one of the powers is 1 and none larger: they neither overflow nor vanish together.
  NormPlan unit() const { return {ord > 0 ? Norm::largest : Norm::smallest, ord}; }

  STEEP_HD double identity() const { return norm == Norm::smallest ? std::numeric_limits<double>::infinity() : 0; }
  STEEP_HD double combine(double a, double x) const {
    if (norm == Norm::largest) return x > a || x != x ? x : a;
    if (norm == Norm::smallest) return x < a || x != x ? x : a;
    return a + x;
  }
  /// The norm, of what all elements are combined to.
  STEEP_HD double finish(double total, double unit) const {
    if (norm == Norm::squares) return ::sqrt(total);
    if (norm != Norm::powers) return total;
    const bool divides = unit > 0 && unit < std::numeric_limits<double>::infinity();
    return divides ? unit * ::pow(total, 1 / ord) : unit;
  }
};

/// Sums of squares of T that are smaller may lack some that have vanished.
template <class T>
inline constexpr double kLeastSquares = sizeof(T) == 8 ? 0x1p-900 : 0x1p-100;

/// What numbers must be multiplied by, a power of two, for their squares to be in the range of T, if the mean of those,
/// and eps, is `mean_square`: 1 where none has overflowed, and those that have vanished don't count.
template <class T>
STEEP_HD T unit_for_squares(double mean_square) {
  constexpr bool wide = sizeof(T) == 8;
  if (!(mean_square < std::numeric_limits<double>::infinity())) return T(wide ? 0x1p-600 : 0x1p-80);
  return mean_square < kLeastSquares<T> ? T(wide ? 0x1p700 : 0x1p90) : T(1);
}

/// What gradients of a norm are multiplied by, so that it becomes at most max_norm; as PyTorch's.
STEEP_HD double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? 1 : factor;
}

}  // namespace steep
