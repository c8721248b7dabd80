#include "tensor_map.h"

#include "../core/errors.h"
#include "runtime.h"

namespace steep::cuda {
namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found without linking to the driver; null where it has none.
Encode encode() {
  static const Encode found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    check("tensor map",
          cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
    return result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  return found;
}

CUtensorMapDataType type_of(const char* op, DType dtype, bool round_to_tf32) {
  if (round_to_tf32) return CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  switch (dtype) {
    case DType::boolean:
    case DType::uint8:
    case DType::int8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case DType::uint16:
    case DType::int16:
      return CU_TENSOR_MAP_DATA_TYPE_UINT16;
    case DType::uint32:
      return CU_TENSOR_MAP_DATA_TYPE_UINT32;
    case DType::int32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case DType::uint64:
      return CU_TENSOR_MAP_DATA_TYPE_UINT64;
    case DType::int64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
    case DType::float16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DType::bfloat16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DType::float32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DType::float64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
  }
  throw CudaError(message(op, ": there is no tensor map of ", name(dtype)));
}

}  // namespace

CUtensorMap make_tensor_map(const char* op, const Boxes& b) {
  if (!encode()) throw CudaError(message(op, ": the driver knows no tensor maps; it must support CUDA 12.0"));
  const size_t rank = b.shape.size();
  if (rank < 1 || rank > 5 || b.strides.size() != rank - 1 || b.box.size() != rank)
    throw CudaError(message(op, ": a tensor map of ", rank,
                            " dimensions wants 1 to 5, as many sizes of a box and one "
                            "stride less, not ",
                            b.box.size(), " and ", b.strides.size()));
  cuuint64_t shape[5], strides[5] = {};
  cuuint32_t box[5], steps[5];
  for (size_t i = 0; i < rank; ++i) {
    shape[i] = cuuint64_t(b.shape[i]), box[i] = cuuint32_t(b.box[i]), steps[i] = 1;
    if (i > 0) strides[i - 1] = cuuint64_t(b.strides[i - 1]);
  }
  CUtensorMap map[1];  // not the caller's, which GCC 12 doesn't always align
  const CUresult status =
      encode()(map, type_of(op, b.dtype, b.round_to_tf32), cuuint32_t(rank), const_cast<void*>(b.data), shape, strides,
               box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CUtensorMapSwizzle(b.swizzle),
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw CudaError(message(op, ": the driver makes no tensor map of boxes of ", box[0], " ", name(b.dtype),
                            " elements in a row, at an address of 16·", reinterpret_cast<uintptr_t>(b.data) / 16, " + ",
                            reinterpret_cast<uintptr_t>(b.data) % 16, " (error ", int(status),
                            "): address and strides must be multiples of 16 bytes, and rows of a box too, and at most "
                            "as long as its swizzle"));
  return map[0];
}

}  // namespace steep::cuda
