// Runs elementwise kernels over operands of any strides: on the CPU in pieces, on all threads.
#pragma once
#include <span>
#include <string_view>

#include "array.h"
#include "kernels.h"

namespace steep {

/// kTakesScalars: the loop takes operands of a single element as they are. kAsStored: it takes every dtype as it is.
enum Manner : unsigned { kTakesScalars = 1, kAsStored = 2 };

/// out = loop(inputs…), inputs broadcast to out's shape (the caller has checked that they do). `out` may be any view
/// and may be one of the inputs, but must not overlap one in another layout. Operands of a dtype that kernels don't
/// compute in are converted to the one they do, and back. On CUDA an input may also be a 0-d array of the CPU's: it
/// travels with the launch.
void elementwise(const char* op, const ElementwiseKernel& kernel, std::span<const Array* const> inputs,
                 const Array& out, const double* params = nullptr, unsigned manner = 0);

/// The row of that name.
const UnaryKernel& unary_operation(std::string_view name);
const BinaryKernel& binary_operation(std::string_view name);

/// What an operation that has no kernel for an array's device throws.
[[noreturn]] void throw_no_kernel(const char* op, const Array& a);

}  // namespace steep
