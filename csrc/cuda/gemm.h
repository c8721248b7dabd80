// A matrix product as its kernels see it, and what launches them: the border between the choice of a kernel (gemm.cpp)
// and the kernels (gemm_simt.cu, gemm_mma.cu, gemm_wgmma.cu).
#pragma once
#include <cuda_runtime.h>

#include <type_traits>

#include "gemm_tile.h"
#include "table.h"

namespace steep::cuda {

/// What sums of products of T's are added up in.
template <class T>
using SumOf = std::conditional_t<std::is_same_v<T, bfloat16> || std::is_same_v<T, float16>, float, T>;

/// How threads that follow each other read an operand.
enum class Access : int {
  vectors,          // 16 bytes each, of elements that are contiguous along m (or n)
  vectors_along_k,  // the same along k
  along_mn,         // single elements, along m (or n)
  along_k,
};

/// A, or the transpose of B: `length` rows of k elements.
template <class T>
struct Operand {
  const T* data;
  int64_t length, stride, k_stride;
  Access access;
};

/// The steps to the operands of the matrices of a batch.
struct Batch {
  int axes;
  int64_t matrices;
  int64_t shape[kMaxNdim], a[kMaxNdim], b[kMaxNdim], c[kMaxNdim];

  struct Offsets {
    int64_t a, b, c;
  };
  __device__ Offsets operator[](int64_t matrix) const;
};

/// The matrices of an operand, each once if it is one for the whole batch.
inline int64_t matrices_of(const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  for (int i = 0; i < batch.axes; ++i)
    if (steps[i]) return batch.matrices;
  return 1;
}

/// What becomes of a sum.
template <class T>
struct Epilogue {
  using Sum = SumOf<T>;
  Sum alpha = 1, beta = 0;
  const T* bias = nullptr;
  int64_t bias_row = 0;  // the step to the next row's, if it isn't one for all
  Activation activation = Activation::none;
  ptrdiff_t to_addend = 0;  // the step from an element of C to what beta multiplies, a multiple of 16 bytes

  __device__ Sum bias_of(int64_t row, int64_t column) const {
    return bias ? Sum(bias[row * bias_row + column]) : Sum(0);
  }
  /// With beta = 0, nothing is read.
  __device__ Sum before(const T* c) const { return beta != Sum(0) ? Sum(c[to_addend]) : Sum(0); }
  /// All but what takes many instructions, which is gemm_parts.cuh's `finish`.
  __device__ Sum begin(Sum sum, Sum before, Sum bias) const {
    Sum value = alpha * sum + (beta * before + bias);
    if constexpr (std::is_floating_point_v<Sum>)
      if (activation == Activation::relu && value < 0) value = 0;  // keeps NaN
    return value;
  }
  __device__ bool is_finished() const { return activation <= Activation::relu; }
};

/// One launch. Its blocks are those of the first matrix's tiles, once per part of k, then the next matrix's.
template <class T>
struct Product {
  Operand<T> a, b;
  int64_t k;
  T* c;
  int64_t c_row;
  int64_t c_part;  // the step from a part's sums to the next's, where there are several
  Epilogue<T> epilogue;
  Batch batch;
  Split split;
  uint32_t row_tiles, column_tiles;
  int64_t first;  // matrix
};

// Kernels for T: float, double, uint32_t, uint64_t.

/// By the CUDA cores, with kTiles<T>[tile].
template <class T>
void launch_simt(const Product<T>& g, int tile);
/// C of one column: a warp per row with its lanes along k, or a lane per row. That many rows are a block's.
constexpr int rows_of_vector(bool along_k) { return along_k ? 8 : 32; }
template <class T>
void launch_vector(const Product<T>& g, bool along_k);

// For T: float, bfloat16, float16; sm_80 and later.

/// By the tensor cores, with mma_tiles(operands)[tile]. Operands are read by Access::vectors or vectors_along_k, whose
/// rows (or columns) begin at multiples of 16 bytes.
template <class T>
void launch_mma(const Product<T>& g, MmaOperands operands, int tile);
/// Copies an operand for that: `lines` lines of n elements, `step` apart, to lines that begin every `pitch` elements;
/// `batch.a` are the steps to its matrices.
template <class T>
void launch_pack(const T* from, const Batch& batch, int64_t lines, int64_t line_step, int64_t n, int64_t step, T* to,
                 int64_t pitch);

// By warpgroups: sm_90a.

/// Can they take the product's operands? Those of 16 bits must be where the copy engine can read them: rows, columns
/// and matrices at positive multiples of 16 bytes.
template <class T>
bool wgmma_takes(const Product<T>& g, MmaOperands operands);
/// Does an operand have to be copied for it?
template <class T>
bool wgmma_copies(const Product<T>& g, MmaOperands operands, bool of_a);
/// With wgmma_tiles(operands)[tile].
template <class T>
void launch_wgmma(const Product<T>& g, MmaOperands operands, int tile);

/// gemm.cpp: by tensor cores in any case; float32 where `operands` isn't halves.
template <class T>
void multiply_by_mma(const Gemm<T>& g, const GemmBatch& matrices, Activation activation, MmaOperands operands);

}  // namespace steep::cuda
