// Sorting and searching. The order is that of sort_keys.h; every sort is stable.
#pragma once
#include <utility>

#include "array.h"

namespace steep {

Array sort(const Array& a, int axis, bool descending);
/// Sorted, and the int64 places that the elements came from.
std::pair<Array, Array> sort_with_indices(const Array& a, int axis, bool descending);
Array argsort(const Array& a, int axis, bool descending);
/// The k largest (or smallest) elements, best first, and their places. Throws std::invalid_argument unless there are k.
std::pair<Array, Array> topk(const Array& a, int64_t k, int axis, bool largest);

/// The int64 places at which `values` would go in, in front of equal elements, or behind them (`right`). `sorted` has
/// one dimension, or all but the last axis of `values` (of which there may then be any number); both have one dtype.
Array searchsorted(const Array& sorted, const Array& values, bool right);

}  // namespace steep
