// Rung 8: the next tiles are on their way while these are multiplied.
//
// cp.async (sm_80) copies from global to shared memory without a register in between, and the thread goes on. There are
// three buffers: while one is read, the copies for the next two are under way. A thread waits for its own copies
// (wait_async<1>: until only the newest group is under way), then for the others at the barrier; and that barrier is
// also the one after which the buffer read in the round before may be overwritten. So one barrier does for two.
//
// A's elements are copied by 4 bytes, since they have to be transposed; 8 lanes take a row's 8 steps of k.
// Where there is nothing to copy, cp.async writes zeros (`valid` = 0).
//
// Multiply-adds: m·n·k. Bytes: 8/128 from global memory for each, 1 from shared memory.
// Bound by: the multiply-adds. What separates this from csrc/cuda/gemm_simt.cuh is no rung: strides and batches, other
// tiles for small products, parts of k where there are few tiles, an order of blocks that the second-level cache likes.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder::simt_async {

constexpr int kTile = 128, kDepth = 8, kStages = 3;
constexpr int kWarpM = 64, kWarpN = 32, kLanesN = 4;
constexpr int kThreads = kTile / kWarpM * (kTile / kWarpN) * 32;
constexpr int kRowOfA = kTile + 4, kA = kDepth * kRowOfA, kStage = kA + kDepth * kTile;  // in shared memory

/// p[0…3] and p[half…half + 3].
template <int half>
static __device__ void read_runs(const float* p, float (&v)[8]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float4 four = *reinterpret_cast<const float4*>(p + i * half);
    v[4 * i] = four.x, v[4 * i + 1] = four.y, v[4 * i + 2] = four.z, v[4 * i + 3] = four.w;
  }
}

/// Begins to copy the tiles whose first step of k is `first`; nothing but zeros beyond the edges.
static __device__ void start_copy(const Matmul& p, float* stage, int first, bool b_vectors) {
  const int thread = int(threadIdx.x);
#pragma unroll
  for (int i = 0; i < kTile * kDepth / kThreads; ++i) {
    const int k = thread % kDepth, r = thread / kDepth + i * (kThreads / kDepth);
    const int row = int(blockIdx.y) * kTile + r;
    const bool inside = row < p.m && first + k < p.k;
    copy_async<4>(stage + k * kRowOfA + r, inside ? p.a + int64_t(row) * p.k + first + k : p.a, inside ? 4 : 0);
  }
  const int k = thread / (kTile / 4), c = thread % (kTile / 4) * 4, column = int(blockIdx.x) * kTile + c;
  const int valid = first + k < p.k ? min(max(p.n - column, 0), 4) : 0;
  float* const to = stage + kA + k * kTile + c;
  const float* const from = valid ? p.b + int64_t(first + k) * p.n + column : p.b;
  if (b_vectors) {
    copy_async<16>(to, from, 4 * valid);
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j) copy_async<4>(to + j, j < valid ? from + j : p.b, j < valid ? 4 : 0);
  }
}

static __global__ void __launch_bounds__(kThreads, 2) multiply(const Matmul p) {
  STEEP_SHARED(float, shared, kStages* kStage);
  const int thread = int(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int y = warp / (kTile / kWarpN) * kWarpM + lane / kLanesN * 4;
  const int x = warp % (kTile / kWarpN) * kWarpN + lane % kLanesN * 4;
  const bool b_vectors = takes_vectors(p.b, p.n);
  const int tiles = ceil_div(p.k, kDepth);
  float sums[8][8] = {};
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (i < tiles) start_copy(p, shared + i * kStage, i * kDepth, b_vectors);
    commit_async();  // an empty group too, so that the number of groups says which tile has come
  }
  for (int i = 0; i < tiles; ++i) {
    wait_async<kStages - 2>();
    __syncthreads();
    const int next = i + kStages - 1;
    if (next < tiles) start_copy(p, shared + next % kStages * kStage, next * kDepth, b_vectors);
    commit_async();
    const float *a = shared + i % kStages * kStage + y, *b = shared + i % kStages * kStage + kA + x;
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      float u[8], v[8];
      read_runs<kWarpM / 2>(a + k * kRowOfA, u);
      read_runs<kWarpN / 2>(b + k * kTile, v);
#pragma unroll
      for (int r = 0; r < 8; ++r)
#pragma unroll
        for (int c = 0; c < 8; ++c) sums[r][c] += u[r] * v[c];
    }
  }
  const bool c_vectors = takes_vectors(p.c, p.n);
#pragma unroll
  for (int r = 0; r < 8; ++r) {
    const int row = int(blockIdx.y) * kTile + y + r / 4 * (kWarpM / 2) + r % 4;
    if (row >= p.m) break;
#pragma unroll
    for (int c = 0; c < 8; c += 4) {
      const int column = int(blockIdx.x) * kTile + x + c / 4 * (kWarpN / 2);
      store4(p.c + int64_t(row) * p.n + column, {sums[r][c], sums[r][c + 1], sums[r][c + 2], sums[r][c + 3]},
             p.n - column, c_vectors);
    }
  }
}

inline void run(const Matmul& p) {
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("simt_async", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::simt_async
