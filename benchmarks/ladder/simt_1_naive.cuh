// Rung 1: a thread for each element of C, and the sum as the definition has it.
//
// A warp is 32 threads that execute the same instruction; they differ in threadIdx.x, and here that is the *row*. So
// the 32 elements of A that one load wants lie k elements apart: 32 different pieces of 32 bytes, of which 4 bytes each
// are used, and the same holds for the stores to C.
//
// Multiply-adds: m·n·k. Bytes asked for: 8 for each of them, and 32 + 1 pieces of 32 bytes for 32 of them.
// Bound by: the number of pieces that the caches deliver.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_naive {

constexpr int kSide = 32;

static __global__ void multiply(const Matmul p) {
  const int row = int(blockIdx.x) * kSide + int(threadIdx.x), column = int(blockIdx.y) * kSide + int(threadIdx.y);
  if (row >= p.m || column >= p.n) return;
  float sum = 0;
  for (int k = 0; k < p.k; ++k) sum += p.a[int64_t(row) * p.k + k] * p.b[int64_t(k) * p.n + column];
  p.c[int64_t(row) * p.n + column] = sum;
}

inline void run(const Matmul& p) {
  const dim3 grid(unsigned(ceil_div(p.m, kSide)), unsigned(ceil_div(p.n, kSide)));
  launch("simt_naive", multiply, grid, dim3(kSide, kSide), 0, p);
}

}  // namespace steep::cuda::ladder::simt_naive
