// Rung 3: a block keeps what its threads have in common in shared memory.
//
// The 1024 threads of a block compute a tile of 32×32 elements of C. They go along k in steps of 32: copy 32×32
// elements of A and as many of B to shared memory, one each, wait for one another, and multiply what is there. An
// element that has been copied is used by 32 threads.
//
// There are two barriers. The first: nobody multiplies before all have copied. The second: nobody copies the next tiles
// over these before all have multiplied.
//
// Elements beyond the edges are zeros, which add nothing; so the loop needs no conditions.
//
// Multiply-adds: m·n·k. Bytes from global memory: 8/32 for each. From shared memory: 8 for each, as before.
// Bound by: shared memory. A load brings 32 lanes 4 bytes each in a cycle, and a multiply-add needs two of them.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_shared {

constexpr int kSide = 32;

static __global__ void __launch_bounds__(kSide* kSide) multiply(const Matmul p) {
  STEEP_SHARED(float, a, kSide* kSide);
  STEEP_SHARED(float, b, kSide* kSide);
  const int y = int(threadIdx.y), x = int(threadIdx.x);
  const int row = int(blockIdx.y) * kSide + y, column = int(blockIdx.x) * kSide + x;
  float sum = 0;
  for (int first = 0; first < p.k; first += kSide) {
    a[y * kSide + x] = row < p.m && first + x < p.k ? p.a[int64_t(row) * p.k + first + x] : 0;
    b[y * kSide + x] = column < p.n && first + y < p.k ? p.b[int64_t(first + y) * p.n + column] : 0;
    __syncthreads();
    for (int k = 0; k < kSide; ++k) sum += a[y * kSide + k] * b[k * kSide + x];
    __syncthreads();
  }
  if (row < p.m && column < p.n) p.c[int64_t(row) * p.n + column] = sum;
}

inline void run(const Matmul& p) {
  const dim3 grid(unsigned(ceil_div(p.n, kSide)), unsigned(ceil_div(p.m, kSide)));
  launch("simt_shared", multiply, grid, dim3(kSide, kSide), 0, p);
}

}  // namespace steep::cuda::ladder::simt_shared
