// A reduction as a CUDA device sees it.
#pragma once
#include "array.h"

namespace steep {

/// y[k] = finish(combine over r of x[kept offset of k + reduced offset of r]), y contiguous in C order of the kept
/// axes. In both nests neighbours that are crossed in even steps are one axis, and axes of one element are gone; a nest
/// may have no axis (one element) or, the reduced one, no elements (y is finish(init)). Strides in elements.
struct ReducePlan {
  const void* x;
  void* y;
  Dims kept_shape, kept_strides;
  Dims reduced_shape, reduced_strides;
};

}  // namespace steep
