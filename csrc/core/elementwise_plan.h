// Elementwise work as a device sees it: the operands over one set of extents.
#pragma once
#include <cstring>

#include "array.h"

namespace steep {

inline constexpr int kMaxOperands = 5;

/// Inputs, then the output. Neighbouring axes that every operand crosses in even steps are one, axes of one element are
/// gone, and there is at least one axis and one element.
struct ElementwisePlan {
  int operands = 0;
  Dims shape;
  char* data[kMaxOperands];
  int64_t item[kMaxOperands];  // bytes
  DType dtype[kMaxOperands];
  Dims strides[kMaxOperands];  // in elements; 0 where broadcast
  unsigned immediates = 0;     // bit i: operand i is one element, whose bytes are value[i]; data[i] is not read
  uint64_t value[kMaxOperands];

  int64_t size() const { return product(shape); }
  int output() const { return operands - 1; }
};

}  // namespace steep
