// Capsules of DLPack 0 and 1 over an array, which they keep alive.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "../core/array.h"

namespace steep {

/// `versioned`: of DLPack 1, which alone can say that the memory is read-only, or a copy that is the consumer's own.
nanobind::object dlpack_capsule(const Array& a, nanobind::dlpack::dtype dtype, bool versioned, bool copied);

}  // namespace steep
