// Rung 2: neighbours in a warp take neighbouring columns.
//
// Nothing but the two indices has changed places. The 32 elements of B that one load wants, and the 32 of C that one
// store writes, are now 128 bytes in a row: 4 pieces of 32 bytes, all of which are used. That is a coalesced access.
// The element of A is the same for all lanes, and is delivered once.
//
// Multiply-adds: m·n·k. Bytes asked for: 8 for each of them, in 4 + 1 pieces of 32 bytes for 32 of them.
// Bound by: the first-level cache, which delivers 128 bytes a cycle, half of a multiply-add's operands for 32 lanes.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_coalesced {

constexpr int kSide = 32;

static __global__ void multiply(const Matmul p) {
  const int row = int(blockIdx.y) * kSide + int(threadIdx.y), column = int(blockIdx.x) * kSide + int(threadIdx.x);
  if (row >= p.m || column >= p.n) return;
  float sum = 0;
  for (int k = 0; k < p.k; ++k) sum += p.a[int64_t(row) * p.k + k] * p.b[int64_t(k) * p.n + column];
  p.c[int64_t(row) * p.n + column] = sum;
}

inline void run(const Matmul& p) {
  const dim3 grid(unsigned(ceil_div(p.n, kSide)), unsigned(ceil_div(p.m, kSide)));
  launch("simt_coalesced", multiply, grid, dim3(kSide, kSide), 0, p);
}

}  // namespace steep::cuda::ladder::simt_coalesced
