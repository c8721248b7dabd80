// Tensor maps: what the copy engine (TMA) must know of a tensor in global memory. For devices of sm_90 and newer.
#pragma once
#include <cuda.h>

#include <cstdint>
#include <vector>

#include "../core/dtype.h"

namespace steep::cuda {

/// How rows of a box lie in shared memory: as they are, or with their 16-byte pieces exchanged, so that a column of
/// pieces is in different banks. Rows must not be longer than the number of bytes.
enum class Swizzle { none, bytes_32, bytes_64, bytes_128 };

/// A tensor's boxes. Everything goes from the innermost dimension, whose elements lie side by side, to the outermost.
struct Boxes {
  DType dtype;
  const void* data;              // aligned to 16 bytes
  std::vector<int64_t> shape;    // 1 to 5 dimensions
  std::vector<int64_t> strides;  // in bytes, of all dimensions but the innermost; multiples of 16
  std::vector<int> box;          // at most 256 in each dimension; rows are multiples of 16 bytes
  Swizzle swizzle = Swizzle::none;
  bool round_to_tf32 = false;  // float32, as they are loaded
};

/// The map of these boxes, a kernel's parameter. Throws CudaError naming `op` where the driver has none.
CUtensorMap make_tensor_map(const char* op, const Boxes& boxes);

}  // namespace steep::cuda
