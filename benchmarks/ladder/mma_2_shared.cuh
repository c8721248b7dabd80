// Rung 2: tiles in shared memory, and fragments from there by ldmatrix.
//
// A block computes 128×128 elements, 32 steps of k at a time; each of its 4 warps has 64×64 of them, 128 sums in a
// lane. What a warp loads grows with the sum of the sides of its part, what it multiplies with their product.
//
// ldmatrix brings four matrices of 8×8 elements: 8 rows of 16 bytes each, whose addresses the lanes give, arrive as
// mma.sync wants them. Rows of the tile have 64 bytes, so that eight rows' pieces of 16 bytes would meet in a quarter
// of the banks. Hence the swizzle: piece c of row r lies at c xor r/2 % 4. See "ldmatrix" in docs/cuda-kernels.md.
//
// Bytes from global memory: 4/128 for each multiply-add. From shared memory: 2·(64 + 64)/(64·64) = 1/16 for each.
// Bound by: waiting. A step's copies take the time of a trip to memory, and nothing is multiplied meanwhile.
#pragma once
#include "bf16.h"

namespace steep::cuda::ladder::mma_shared {

constexpr int kTile = 128, kDepth = 32, kWarpTile = 64, kThreads = 128;
constexpr int kChunks = kDepth / 8;  // of a row

/// Where a chunk of a tile lies, in elements.
static __device__ int place(int row, int chunk) { return row * kDepth + (chunk ^ row / 2 % 4) * 8; }

/// Copies rows from `first` on, of which `rows` exist in all, and kDepth steps of k.
static __device__ void copy_tile(bfloat16* tile, const bfloat16* x, int rows, int first, int k, int depth) {
#pragma unroll
  for (int i = int(threadIdx.x); i < kTile * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool inside = first + row < rows && k + 8 * chunk < depth;
    *reinterpret_cast<Chunk*>(tile + place(row, chunk)) =
        inside ? *reinterpret_cast<const Chunk*>(x + int64_t(first + row) * depth + k + 8 * chunk) : Chunk{};
  }
}

/// 16 rows of 16 steps of k: words 0 and 1 are rows g and g + 8, words 2 and 3 the same of the next eight steps.
static __device__ void load_fragment(uint32_t (&words)[4], const bfloat16* tile, int row, int step) {
  const int lane = int(threadIdx.x) % 32;
  load_matrices<false>(words, tile + place(row + lane % 16, 2 * step + lane / 16));
}

static __global__ void __launch_bounds__(kThreads) multiply(const MatmulBf16 p) {
  if constexpr (kWarpProducts) {
    STEEP_SHARED(bfloat16, a, kTile * kDepth);
    STEEP_SHARED(bfloat16, b, kTile * kDepth);
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int y = warp / 2 * kWarpTile, x = warp % 2 * kWarpTile;
    const int first_row = int(blockIdx.y) * kTile, first_column = int(blockIdx.x) * kTile;
    float sums[4][8][4] = {};
    for (int k = 0; k < p.k; k += kDepth) {
      copy_tile(a, p.a, p.m, first_row, k, p.k);
      copy_tile(b, p.b, p.n, first_column, k, p.k);
      __syncthreads();
#pragma unroll
      for (int step = 0; step < kDepth / 16; ++step) {
        uint32_t of_a[4][4], of_b[4][4];
#pragma unroll
        for (int i = 0; i < 4; ++i) load_fragment(of_a[i], a, y + 16 * i, step);
#pragma unroll
        for (int j = 0; j < 4; ++j) load_fragment(of_b[j], b, x + 16 * j, step);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 8; ++j)
            multiply_add<bfloat16>(sums[i][j], of_a[i], of_b[j / 2][j % 2], of_b[j / 2][j % 2 + 2]);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const int row = first_row + y + 16 * i + lane / 4, column = first_column + x + 8 * j + lane % 4 * 2;
        store_pair(p, row, column, sums[i][j][0], sums[i][j][1]);
        store_pair(p, row + 8, column, sums[i][j][2], sums[i][j][3]);
      }
  }
}

inline void run(const MatmulBf16& p) {
  if (!has_work("mma_shared", p, false)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("mma_shared", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::mma_shared
