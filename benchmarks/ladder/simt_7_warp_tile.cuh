// Rung 7: the threads of a warp share a tile that is nearly square.
//
// Lanes that read the same address are served together, so what counts is how many *different* elements a warp reads.
// Up to now a warp was 2×16 threads: 16 rows and 128 columns, 144 elements for a step of k. As 8×4 threads it has 64
// rows and 32 columns, 96 elements.
//
// A thread's 8 rows are two runs of 4, half a warp's tile apart, and so are its columns: then the lanes' vectors of 16
// bytes lie next to each other, and no two different ones are in the same bank.
//
//     columns of a warp:   lane x   0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3 | 0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3
//
// Multiply-adds: m·n·k. Shared memory: 4 loads for 64 of them, and 96 elements a warp.
// Bound by: the wait for global memory between the two barriers.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_warp_tile {

constexpr int kTile = 128, kDepth = 8;
constexpr int kWarpM = 64, kWarpN = 32, kLanesM = 8, kLanesN = 4;
constexpr int kThreads = kTile / kWarpM * (kTile / kWarpN) * 32;
constexpr int kRowOfA = kTile + 4;  // in shared memory

/// p[0…3] and p[half…half + 3].
template <int half>
static __device__ void read_runs(const float* p, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float4 four = *reinterpret_cast<const float4*>(p + i * half);
    v[4 * i] = four.x, v[4 * i + 1] = four.y, v[4 * i + 2] = four.z, v[4 * i + 3] = four.w;
  }
}

static __global__ void __launch_bounds__(kThreads, 2) multiply(const Matmul p) {
  STEEP_SHARED(float, a, kDepth* kRowOfA);
  STEEP_SHARED(float, b, kDepth* kTile);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int y = warp / (kTile / kWarpN) * kWarpM + lane / kLanesN * 4;
  const int x = warp % (kTile / kWarpN) * kWarpN + lane % kLanesN * 4;
  const int first_row = int(blockIdx.y) * kTile, first_column = int(blockIdx.x) * kTile;
  const int a_row = thread / (kDepth / 4), a_k = thread % (kDepth / 4) * 4;
  const int b_k = thread / (kTile / 4), b_column = thread % (kTile / 4) * 4;
  const float* const from_a = p.a + int64_t(first_row + a_row) * p.k + a_k;
  const float* const from_b = p.b + int64_t(b_k) * p.n + first_column + b_column;
  const bool a_vectors = takes_vectors(p.a, p.k), b_vectors = takes_vectors(p.b, p.n);
  float sums[8][8] = {};
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
      float u[8], v[8];
      read_runs<kWarpM / 2>(a + k * kRowOfA + y, u);
      read_runs<kWarpN / 2>(b + k * kTile + x, v);
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sums[i][j] += u[i] * v[j];
    }
    __syncthreads();
  }
  const bool c_vectors = takes_vectors(p.c, p.n);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int row = first_row + y + i / 4 * (kWarpM / 2) + i % 4;
    if (row >= p.m) break;
#pragma unroll
    for (int j = 0; j < 8; j += 4) {
      const int column = first_column + x + j / 4 * (kWarpN / 2);
      store4(p.c + int64_t(row) * p.n + column, {sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]},
             p.n - column, c_vectors);
    }
  }
}

inline void run(const Matmul& p) {
  static_assert(kWarpM == kLanesM * 8 && kWarpN == kLanesN * 8 && kThreads * 4 == kTile * kDepth);
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("simt_warp_tile", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::simt_warp_tile
