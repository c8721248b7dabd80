// Scans: every element of the result is made of those up to its place along an axis.
#pragma once
#include <utility>

#include "array.h"

namespace steep {

enum class Scan { sum, prod, logsumexp };

/// Of sums and products of integers and booleans the dtype is that of `sum`. Throws TypeError for the logsumexp of
/// integers.
Array scan(Scan kind, const Array& a, int axis);
/// y[k] = b[k] + a[k] · y[k - 1] along an axis, and y[0] = b[0]; floats of one dtype and shape.
Array linear_scan(const Array& a, const Array& b, int axis);
/// The largest (or smallest) elements so far and their int64 places, the last ones of equal elements.
std::pair<Array, Array> extreme_scan(bool largest, const Array& a, int axis);

}  // namespace steep
