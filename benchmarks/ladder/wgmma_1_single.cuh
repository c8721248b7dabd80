// Rung 1: one warpgroup, one pair of tiles, and nobody computes an address.
//
// One thread asks the copy engine (TMA) for a box of A and a box of B: 64 rows, 64 steps of k. The engine knows the
// matrices from their tensor maps, writes the boxes with their pieces of 16 bytes exchanged (the swizzle), zeros where
// there is no matrix, and reports the bytes to an mbarrier, on which all threads wait. Then 128 threads together, a
// warpgroup, issue four wgmma: 64×16 elements of A by 64×16 of B each, both read from shared memory.
//
// Bytes from global memory: 4/64 for each multiply-add. From shared memory: 2·(64 + 64)/(64·64) = 1/16.
// Bound by: waiting. Copy, multiply, copy, multiply; other blocks on the multiprocessor fill some of the gaps.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_single {

constexpr int kTile = 64, kTileBytes = kTile * kWidth;
constexpr int kShared = kAlignment + 2 * kTileBytes;

static __global__ void __launch_bounds__(kWarpgroup)
    multiply(const MatmulBf16 p, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
  if constexpr (kWgmma) {
    STEEP_DYNAMIC_SHARED(unsigned char, memory);
    STEEP_SHARED(Mbarrier, full, 1);
    unsigned char *const tile_a = aligned(memory), *const tile_b = tile_a + kTileBytes;
    if (threadIdx.x == 0) {
      mbarrier_init(full, 1);
      fence_mbarrier_init();
    }
    __syncthreads();
    const int row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile;
    float sums[kTile / 2];
    uint32_t phase = 0;
#pragma unroll 1  // unrolled, sums are moved between registers, and products wait for that
    for (int k = 0; k < p.k; k += kSteps, phase ^= 1) {
      if (threadIdx.x == 0) {
        mbarrier_arrive_expect(full, 2 * kTileBytes);
        tma_load(tile_a, &a, full, k, row);
        tma_load(tile_b, &b, full, k, column);
      }
      mbarrier_wait(full, phase);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < 4; ++i) wgmma<bfloat16, kTile>(sums, operand(tile_a, i), operand(tile_b, i), k > 0 || i > 0);
      wgmma_commit();
      wgmma_wait<0>();
      __syncthreads();  // nobody's products read the tiles any more
    }
    store_sums(p, sums, row, column);
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_single";
  if (!has_work(op, p, true)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch_with(op, multiply, grid, kWarpgroup, 1, kShared, p, map_of(op, p.a, p.m, p.k, kTile),
              map_of(op, p.b, p.n, p.k, kTile));
}

}  // namespace steep::cuda::ladder::wgmma_single
