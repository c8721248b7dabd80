// Working memory for kernels, so that none of them allocates on every call.
#pragma once
#include <cstddef>

namespace steep {

/// At least `bytes` bytes that belong to this thread until its next call: contents undefined, 64-byte aligned, kept
/// (and grown when needed) until the thread ends. Throws std::bad_alloc.
void* scratch(size_t bytes);

}  // namespace steep
