// Runs elementwise loops over operands of any strides, in pieces, on all threads.
#pragma once
#include <span>

#include "array.h"
#include "kernels.h"

namespace steep {

/// out = loop(inputs…), inputs broadcast to out's shape (the caller has checked that they do). `out` may be any view
/// and may be one of the inputs, but must not overlap one in another layout. `scalars_ok`: the loop takes operands of a
/// single element as they are.
void elementwise(Loop loop, std::span<const Array* const> inputs, const Array& out, const double* params = nullptr,
                 bool scalars_ok = false);

}  // namespace steep
