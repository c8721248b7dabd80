// Shapes and views: what needs no kernel.
#pragma once
#include <span>
#include <utility>

#include "array.h"

namespace steep {

/// 0 <= result < ndim for an axis that may count from the end; throws std::out_of_range naming `op`.
int normalize_axis(const char* op, int64_t axis, int ndim);
/// Bit i is set for axis i. Throws on a repeated axis.
unsigned axes_mask(const char* op, const Dims& axes, int ndim);

/// The common shape of two operands (NumPy's rules); throws std::invalid_argument naming `op` and both shapes.
Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b);

Array broadcast_to(const Array& a, const Dims& shape);
Array permute(const Array& a, const Dims& axes);
/// Axis `from` at place `to`; the others keep their order.
Array move_axis(const Array& a, int from, int to);
Array squeeze(const Array& a, const Dims& axes);
Array expand_dims(const Array& a, int64_t axis);
/// One extent may be -1. A view where the strides allow it, otherwise a copy.
Array reshape(const Array& a, Dims shape);
/// Elements start, start + step, … (`count` of them) along an axis; the caller has checked the bounds.
Array slice(const Array& a, int axis, int64_t start, int64_t step, int64_t count);
/// Element `index` along an axis, which disappears.
Array select(const Array& a, int axis, int64_t index);
/// The numbers of elements on the axes in front of an axis and on those behind it.
std::pair<int64_t, int64_t> sizes_around(const Dims& shape, int axis);
/// Elements [i, i + offset] of two different axes, as a new last axis in place of both.
Array diagonal(const Array& a, int64_t offset, int axis1, int axis2);

Array copy(const Array& a);        // always new and contiguous
Array contiguous(const Array& a);  // a itself where it already is
/// a in a dtype: itself where it has it.
Array in_dtype(const Array& a, DType dtype);
/// Contiguous, and in the dtype that kernels compute in: the array itself where it is so.
Array computable(const Array& a);
/// The same with `axis` as the last: its rows as kernels read them.
Array rows_of(const Array& a, int axis);
Array astype(const Array& a, DType dtype);
/// Throws std::invalid_argument unless a's memory may be written and no two of its elements share it.
void check_writable(const char* op, const Array& a);
/// Throws std::invalid_argument unless the bytes of a bool array, which somebody else has written, are 0 and 1.
void check_truth_values(const char* what, const Array& a);
/// to[...] = from, broadcast and cast; `to` may be any view. Counts as a change in place.
void assign(Array& to, const Array& from);

DType promote_types(DType a, DType b);

}  // namespace steep
