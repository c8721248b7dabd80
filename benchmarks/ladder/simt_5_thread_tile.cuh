// Rung 5: a thread computes a tile of 8×8 elements.
//
// For a step of k it reads 8 elements of A and 8 of B into registers, and multiplies each by each. What is read grows
// with the sum of the sides, what is computed with their product. 64 sums, 16 operands and the addresses are about as
// many registers as a thread can have if 512 threads are to share a multiprocessor's 65,536.
//
// The tile is 128×128, 8 steps of k at a time: 256 threads, who copy four elements of A and four of B each.
//
// Multiply-adds: m·n·k. Bytes from global memory: 8/128 for each. From shared memory: 4·(8 + 8)/64 = 1 for each.
// Bound by: shared memory once more. Loads of 4 bytes take an instruction each, 16 for 64 multiply-adds; and lanes that
// read columns 8 apart find only every eighth of the 32 banks, so that four of them wait for each other (see "Banks" in
// docs/cuda-kernels.md). nvcc 13 merges loads of neighbours here by itself, along k for A, which takes 151 registers:
// one block on a multiprocessor. The next rung doesn't leave it to the compiler.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_thread_tile {

constexpr int kTile = 128, kDepth = 8, kEach = 8;  // kEach: rows and columns of a thread
constexpr int kThreads = kTile / kEach * (kTile / kEach);

static __global__ void __launch_bounds__(kThreads) multiply(const Matmul p) {
  STEEP_SHARED(float, a, kTile* kDepth);
  STEEP_SHARED(float, b, kDepth* kTile);
  const int thread = int(threadIdx.x);
  const int x = thread % (kTile / kEach) * kEach, y = thread / (kTile / kEach) * kEach;
  const int first_row = int(blockIdx.y) * kTile, first_column = int(blockIdx.x) * kTile;
  float sums[kEach][kEach] = {};
  for (int first = 0; first < p.k; first += kDepth) {
    for (int i = thread; i < kTile * kDepth; i += kThreads) {
      const int row = first_row + i / kDepth, k_of_a = first + i % kDepth;
      const int column = first_column + i % kTile, k_of_b = first + i / kTile;
      a[i] = row < p.m && k_of_a < p.k ? p.a[int64_t(row) * p.k + k_of_a] : 0;
      b[i] = column < p.n && k_of_b < p.k ? p.b[int64_t(k_of_b) * p.n + column] : 0;
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float u[kEach], v[kEach];
#pragma unroll
      for (int i = 0; i < kEach; ++i) u[i] = a[(y + i) * kDepth + k];
#pragma unroll
      for (int j = 0; j < kEach; ++j) v[j] = b[k * kTile + x + j];
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += u[i] * v[j];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kEach; ++i)
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const int row = first_row + y + i, column = first_column + x + j;
      if (row < p.m && column < p.n) p.c[int64_t(row) * p.n + column] = sums[i][j];
    }
}

inline void run(const Matmul& p) {
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("simt_thread_tile", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::simt_thread_tile
