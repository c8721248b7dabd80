// Rung 4: a thread computes eight elements of a column, not one.
//
// What a thread reads of B it now uses eight times, out of a register. Registers are the only memory that is as fast as
// the arithmetic, so the rest of this ladder is about using more of what they hold.
//
// The tile is 64×64, 8 steps of k at a time: 512 threads of 8×1 elements, who copy one element of A and one of B each.
//
// Multiply-adds: m·n·k. Bytes from global memory: 8/64 for each. From shared memory: 4·(8 + 1)/8 = 4.5 for each.
// Bound by: shared memory still, at 9 loads for 8 multiply-adds.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_thread_column {

constexpr int kTile = 64, kDepth = 8, kRows = 8;  // kRows: of a thread
constexpr int kThreads = kTile * kTile / kRows;

static __global__ void __launch_bounds__(kThreads) multiply(const Matmul p) {
  STEEP_SHARED(float, a, kTile* kDepth);
  STEEP_SHARED(float, b, kDepth* kTile);
  const int thread = int(threadIdx.x), x = thread % kTile, y = thread / kTile * kRows;
  const int first_row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile + x;
  const int copied_row = first_row + thread / kDepth, copied_k = thread % kDepth;  // of A
  float sums[kRows] = {};
  for (int first = 0; first < p.k; first += kDepth) {
    const int k_of_a = first + copied_k, k_of_b = first + thread / kTile;
    a[thread] = copied_row < p.m && k_of_a < p.k ? p.a[int64_t(copied_row) * p.k + k_of_a] : 0;
    b[thread] = column < p.n && k_of_b < p.k ? p.b[int64_t(k_of_b) * p.n + column] : 0;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      const float value = b[k * kTile + x];
#pragma unroll
      for (int i = 0; i < kRows; ++i) sums[i] += a[(y + i) * kDepth + k] * value;
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i)
    if (first_row + y + i < p.m && column < p.n) p.c[int64_t(first_row + y + i) * p.n + column] = sums[i];
}

inline void run(const Matmul& p) {
  static_assert(kThreads == kTile * kDepth, "each thread copies one element of A and one of B");
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("simt_thread_column", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::simt_thread_column
