// Reductions over any axes.
#pragma once
#include <string_view>

#include "array.h"
#include "kernels.h"

namespace steep {

/// The row of that name.
const ReduceKernel& reduction(std::string_view name);
/// The dtype of a reduction's result: the elements', a boolean, or, of sums of integers, the widest of their kind.
DType result_of(const ReduceKernel& kernel, DType t);
/// Reduces the axes in `mask` (bit i: axis i). The result has the same bits at any number of threads.
Array reduce(const ReduceKernel& kernel, const Array& a, unsigned mask, bool keepdims);
/// int64 index of the first extremum along one axis.
Array arg_reduce(const ArgReduceKernel& kernel, const Array& a, int axis, bool keepdims);
/// Sums `a` down to a shape that broadcasts to a's shape: the transpose of broadcasting.
Array sum_to_shape(const Array& a, const Dims& shape);

}  // namespace steep
