// Rung 6: accesses of 16 bytes.
//
// One instruction can load or store four floats, if they are neighbours at a multiple of 16 bytes. A thread's 8
// elements of B are neighbours in shared memory; its 8 elements of A were k-steps apart. So A's tile is stored
// transposed: four elements of a row come by one load, and go to four rows of shared memory. Rows there are 4 elements
// longer than the tile, so that those who store at the same time find different banks.
//
// Where k or n isn't a multiple of 4, rows of A or B don't begin at multiples of 16 bytes, and their loads are single.
//
// Multiply-adds: m·n·k. Bytes: as before, 1 from shared memory for each, but 4 loads for 64 multiply-adds, not 16.
// Bound by: shared memory in part: 16 lanes read B's vectors 32 bytes apart, so every load takes twice as long as it
// should. And by the wait for global memory, which nothing hides while a block copies.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_vectors {

constexpr int kTile = 128, kDepth = 8, kEach = 8;  // kEach: rows and columns of a thread
constexpr int kThreads = kTile / kEach * (kTile / kEach);
constexpr int kRowOfA = kTile + 4;  // in shared memory

/// p[0…7] of shared memory.
static __device__ void read8(const float* p, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 8; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(p + i);
    v[i] = four.x, v[i + 1] = four.y, v[i + 2] = four.z, v[i + 3] = four.w;
  }
}

static __global__ void __launch_bounds__(kThreads, 2) multiply(const Matmul p) {
  STEEP_SHARED(float, a, kDepth* kRowOfA);
  STEEP_SHARED(float, b, kDepth* kTile);
  const int thread = int(threadIdx.x);
  const int x = thread % (kTile / kEach) * kEach, y = thread / (kTile / kEach) * kEach;
  const int first_row = int(blockIdx.y) * kTile, first_column = int(blockIdx.x) * kTile;
  // What this thread copies: four elements of a row of A, four of a row of B.
  const int a_row = thread / (kDepth / 4), a_k = thread % (kDepth / 4) * 4;
  const int b_k = thread / (kTile / 4), b_column = thread % (kTile / 4) * 4;
  const float* const from_a = p.a + int64_t(first_row + a_row) * p.k + a_k;
  const float* const from_b = p.b + int64_t(b_k) * p.n + first_column + b_column;
  const bool a_vectors = takes_vectors(p.a, p.k), b_vectors = takes_vectors(p.b, p.n);
  float sums[kEach][kEach] = {};
  for (int first = 0; first < p.k; first += kDepth) {
    const int a_valid = first_row + a_row < p.m ? p.k - first - a_k : 0;
    const int b_valid = first + b_k < p.k ? p.n - first_column - b_column : 0;
    const float4 u4 = load4(from_a + first, a_valid, a_vectors);
    const float4 v4 = load4(from_b + int64_t(first) * p.n, b_valid, b_vectors);
    float* const to_a = a + a_k * kRowOfA + a_row;
    to_a[0] = u4.x, to_a[kRowOfA] = u4.y, to_a[2 * kRowOfA] = u4.z, to_a[3 * kRowOfA] = u4.w;
    *reinterpret_cast<float4*>(b + b_k * kTile + b_column) = v4;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float u[kEach], v[kEach];
      read8(a + k * kRowOfA + y, u);
      read8(b + k * kTile + x, v);
#pragma unroll
      for (int i = 0; i < kEach; ++i)
#pragma unroll
        for (int j = 0; j < kEach; ++j) sums[i][j] += u[i] * v[j];
    }
    __syncthreads();
  }
  const bool c_vectors = takes_vectors(p.c, p.n);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int row = first_row + y + i, column = first_column + x;
    if (row >= p.m) break;
#pragma unroll
    for (int j = 0; j < kEach; j += 4)
      store4(p.c + int64_t(row) * p.n + column + j, {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]},
             p.n - column - j, c_vectors);
  }
}

inline void run(const Matmul& p) {
  static_assert(kThreads * 4 == kTile * kDepth, "each thread copies four elements of A and four of B");
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("simt_vectors", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::simt_vectors
