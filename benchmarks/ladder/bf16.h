// What the rungs of the bfloat16 ladders share: the problem, what must be true of it, and stores of sums.
#pragma once
#include "../../csrc/core/errors.h"
#include "../../csrc/cuda/ptx_mma.cuh"
#include "ladder.h"

namespace steep::cuda::ladder {

/// C = A·Bᵀ: A is m×k, B n×k, C m×n, each row after row, so that A and B are both contiguous along k. Sums are float32.
/// k is a multiple of 8, and all three begin at multiples of 16 bytes: then all rows of A and B do.
struct MatmulBf16 {
  const bfloat16 *a, *b;
  bfloat16* c;
  int m, n, k;
};

/// 16 bytes of a row.
struct alignas(16) Chunk {
  uint32_t words[4];
};

/// Is there anything to multiply? C of no terms is zeros, which are made here. Throws CudaError where the device or the
/// build has not what the rung needs, std::invalid_argument for rows that don't begin at multiples of 16 bytes.
inline bool has_work(const char* op, const MatmulBf16& p, bool by_warpgroups) {
  const DeviceLimits& limits = device_limits();
  if (by_warpgroups && !limits.has_wgmma)
    throw CudaError(message(op, ": wants compute capability 9.0, and a build for the target 90a"));
  if (!by_warpgroups && limits.architecture < 80)
    throw CudaError(message(op, ": wants compute capability 8.0 or later, and a build for it"));
  const auto addresses =
      reinterpret_cast<uintptr_t>(p.a) | reinterpret_cast<uintptr_t>(p.b) | reinterpret_cast<uintptr_t>(p.c);
  if (p.k % 8 != 0 || addresses % 16 != 0)
    throw std::invalid_argument(
        message(op, ": k must be a multiple of 8, and is ", p.k, "; matrices must begin at multiples of 16 bytes"));
  if (p.m == 0 || p.n == 0) return false;
  if (p.k > 0) return true;
  check(op, cudaMemsetAsync(p.c, 0, size_t(p.m) * p.n * sizeof(bfloat16), current_stream()));
  return false;
}

/// Stores the sums of (row, column) and (row, column + 1), as far as these exist; the column is even.
__device__ __forceinline__ void store_pair(const MatmulBf16& p, int row, int column, float x, float y) {
  if (row >= p.m || column >= p.n) return;
  bfloat16* const to = p.c + int64_t(row) * p.n + column;
  if (p.n % 2 == 0) {
    *reinterpret_cast<uint32_t*>(to) = to_bfloat16s<false>(x, y);
  } else {
    to[0] = bfloat16(x);
    if (column + 1 < p.n) to[1] = bfloat16(y);
  }
}

/// Where tile `i` of `rows` × `columns` tiles is. Blocks that run at the same time take eight rows of tiles, column by
/// column: 64 of them read 8 rows of A's tiles and 8 of B's, which L2 keeps, and not 2 and 32.
struct TilePlace {
  int row, column;
};
__device__ inline TilePlace tile_place(int i, int rows, int columns) {
  const int group = i / (8 * columns), inside = i % (8 * columns), height = min(8, rows - 8 * group);
  return {8 * group + inside % height, inside / height};
}

}  // namespace steep::cuda::ladder
