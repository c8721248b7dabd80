// The sum of an array, three times: 4 bytes and one addition for each element. Blocks can't wait for each other, so
// each leaves a partial sum, and a second launch of one block adds those. The order of additions depends on n alone:
// the same bits come out every time, which atomic additions wouldn't give.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder {

constexpr int kSumThreads = 256;

/// Blocks for n elements, `each` at a time, as many as there may be partial sums.
inline unsigned sum_blocks(int64_t n, int64_t each) {
  return unsigned(std::clamp<int64_t>(ceil_div(n, each), 1, kMostPartials));
}

// Rung 1: a tree in shared memory. In each of 8 rounds half as many threads add as in the round before, with a barrier
// after each. Threads whose numbers are far apart add, so that whole warps fall idle, not parts of them.
namespace sum_tree {

static __global__ void __launch_bounds__(kSumThreads) kernel(const float* x, float* y, int64_t n) {
  STEEP_SHARED(float, part, kSumThreads);
  const int thread = int(threadIdx.x);
  float sum = 0;
  for (int64_t i = int64_t(blockIdx.x) * kSumThreads + thread; i < n; i += int64_t(gridDim.x) * kSumThreads)
    sum += x[i];
  part[thread] = sum;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread < half) part[thread] += part[thread + half];
  }
  if (thread == 0) y[blockIdx.x] = part[0];
}
inline void run(const Sum& p) {
  const unsigned blocks = sum_blocks(p.n, kSumThreads);
  launch("sum_tree", kernel, blocks, kSumThreads, 0, p.x, p.partial, p.n);
  launch("sum_tree", kernel, 1, kSumThreads, 0, p.partial, p.y, int64_t(blocks));
}

}  // namespace sum_tree

/// The sum over a block, for thread 0. A shuffle reads another lane's register: five of them add up a warp without
/// shared memory and without a barrier; the warps' sums then need one barrier and five more.
static __device__ float block_sum(float sum) {
  STEEP_SHARED(float, of_warps, kSumThreads / 32);
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  if (lane == 0) of_warps[warp] = sum;
  __syncthreads();
  if (warp > 0) return 0;
  sum = lane < kSumThreads / 32 ? of_warps[lane] : 0;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
  return sum;
}

// Rung 2: shuffles in place of the tree.
namespace sum_shuffles {

static __global__ void __launch_bounds__(kSumThreads) kernel(const float* x, float* y, int64_t n) {
  float sum = 0;
  for (int64_t i = int64_t(blockIdx.x) * kSumThreads + threadIdx.x; i < n; i += int64_t(gridDim.x) * kSumThreads)
    sum += x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}
inline void run(const Sum& p) {
  const unsigned blocks = sum_blocks(p.n, kSumThreads);
  launch("sum_shuffles", kernel, blocks, kSumThreads, 0, p.x, p.partial, p.n);
  launch("sum_shuffles", kernel, 1, kSumThreads, 0, p.partial, p.y, int64_t(blocks));
}

}  // namespace sum_shuffles

// Rung 3: what the loop waits for is memory, not the tree. Four loads of 16 bytes are under way before the first is
// added, and they go to sixteen sums: no addition waits for another, and a sum of n/16 terms has smaller errors.
namespace sum_in_flight {

constexpr int kLoads = 4, kPiece = kSumThreads * kLoads * 4;

static __global__ void __launch_bounds__(kSumThreads) kernel(const float* x, float* y, int64_t n) {
  const bool vectors = takes_vectors(x, 0);
  float sums[kLoads][4] = {};
  for (int64_t piece = int64_t(blockIdx.x) * kPiece; piece < n; piece += int64_t(gridDim.x) * kPiece) {
    float4 v[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) {
      const int64_t i = piece + 4 * (j * kSumThreads + int(threadIdx.x)), rest = n - i;
      v[j] = load4(x + i, rest < 0 ? 0 : rest < 4 ? int(rest) : 4, vectors);
    }
#pragma unroll
    for (int j = 0; j < kLoads; ++j)
      sums[j][0] += v[j].x, sums[j][1] += v[j].y, sums[j][2] += v[j].z, sums[j][3] += v[j].w;
  }
  float sum = 0;
#pragma unroll
  for (int j = 0; j < kLoads; ++j) sum += (sums[j][0] + sums[j][1]) + (sums[j][2] + sums[j][3]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) y[blockIdx.x] = sum;
}
inline void run(const Sum& p) {
  const unsigned blocks = sum_blocks(p.n, kPiece);
  launch("sum_in_flight", kernel, blocks, kSumThreads, 0, p.x, p.partial, p.n);
  launch("sum_in_flight", kernel, 1, kSumThreads, 0, p.partial, p.y, int64_t(blocks));
}

}  // namespace sum_in_flight
}  // namespace steep::cuda::ladder
