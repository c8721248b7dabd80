// The norm of many numbers as one vector, from one pass over them, or two where one could overflow.
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

/// What gradients of a norm are multiplied by, so that it becomes at most max_norm; as PyTorch's.
STEEP_HD double clip_factor(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? 1 : factor;
}

}  // namespace steep
