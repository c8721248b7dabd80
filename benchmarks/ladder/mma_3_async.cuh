// Rung 3: the next tiles come while these are multiplied.
//
// cp.async starts a copy of 16 bytes from global to shared memory, past registers, and goes on. There is room for three
// pairs of tiles: one is multiplied, two are under way. One barrier a step is enough: who has passed it knows that the
// tile has come for all, and that nobody reads the one before any more, which is the one to be overwritten.
//
// Bytes: as before. Bound by: shared memory's latency. A warp loads the fragments of 16 steps of k and can't multiply
// before they are there; the 8 warps that a multiprocessor has registers for are too few to hide that.
#pragma once
#include "bf16.h"

namespace steep::cuda::ladder::mma_async {

constexpr int kTile = 128, kDepth = 32, kWarpTile = 64, kThreads = 128, kStages = 3;
constexpr int kChunks = kDepth / 8, kStage = 2 * kTile * kDepth;  // of a row; elements of A's tile and B's

/// Where a chunk of a tile lies, in elements.
static __device__ int place(int row, int chunk) { return row * kDepth + (chunk ^ row / 2 % 4) * 8; }

/// Begins to copy rows from `first` on, of which `rows` exist in all, and kDepth steps of k.
static __device__ void start_copy(bfloat16* tile, const bfloat16* x, int rows, int first, int k, int depth) {
#pragma unroll
  for (int i = int(threadIdx.x); i < kTile * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool inside = first + row < rows && k + 8 * chunk < depth;
    copy_async<16>(tile + place(row, chunk), inside ? x + int64_t(first + row) * depth + k + 8 * chunk : x,
                   inside ? 16 : 0);
  }
}

/// 16 rows of 16 steps of k: words 0 and 1 are rows g and g + 8, words 2 and 3 the same of the next eight steps.
static __device__ void load_fragment(uint32_t (&words)[4], const bfloat16* tile, int row, int step) {
  const int lane = int(threadIdx.x) % 32;
  load_matrices<false>(words, tile + place(row + lane % 16, 2 * step + lane / 16));
}

static __global__ void __launch_bounds__(kThreads) multiply(const MatmulBf16 p) {
  if constexpr (kWarpProducts) {
    STEEP_SHARED(bfloat16, stages, kStages * kStage);
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int y = warp / 2 * kWarpTile, x = warp % 2 * kWarpTile;
    const int first_row = int(blockIdx.y) * kTile, first_column = int(blockIdx.x) * kTile;
    const int tiles = ceil_div(p.k, kDepth);
    const auto start = [&](int tile) {
      if (tile < tiles) {
        bfloat16* const to = stages + tile % kStages * kStage;
        start_copy(to, p.a, p.m, first_row, tile * kDepth, p.k);
        start_copy(to + kStage / 2, p.b, p.n, first_column, tile * kDepth, p.k);
      }
      commit_async();  // an empty group too, so that the number of groups says which tile has come
    };
    float sums[4][8][4] = {};
    for (int i = 0; i < kStages - 1; ++i) start(i);
    for (int tile = 0; tile < tiles; ++tile) {
      wait_async<kStages - 2>();
      __syncthreads();
      start(tile + kStages - 1);
      const bfloat16 *const a = stages + tile % kStages * kStage, *const b = a + kStage / 2;
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
  if (!has_work("mma_async", p, false)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch("mma_async", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::mma_async
