// Rung 2: a tile of 128×128.
//
// The same as for CUDA cores: what is read grows with the sum of the sides, what is multiplied with their product. A
// warpgroup multiplies 64 rows at a time, so it does so twice, by 128 columns; 128 sums in each thread.
//
// Bytes from global memory: 4/128 for each multiply-add. From shared memory: 2·(64 + 128)/(64·128) = 3/64.
// Bound by: waiting still. Fewer blocks fit on a multiprocessor to fill the gaps, but each gap is between more
// products.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_tile {

constexpr int kTile = 128, kTileBytes = kTile * kWidth;
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
    float sums[2][kTile / 2];  // of rows 0 to 63, and 64 to 127
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
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          wgmma<bfloat16, kTile>(sums[half], operand(tile_a + half * 64 * kWidth, i), operand(tile_b, i),
                                 k > 0 || i > 0);
      wgmma_commit();
      wgmma_wait<0>();
      __syncthreads();  // nobody's products read the tiles any more
    }
    store_sums(p, sums[0], row, column);
    store_sums(p, sums[1], row + 64, column);
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_tile";
  if (!has_work(op, p, true)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch_with(op, multiply, grid, kWarpgroup, 1, kShared, p, map_of(op, p.a, p.m, p.k, kTile),
              map_of(op, p.b, p.n, p.k, kTile));
}

}  // namespace steep::cuda::ladder::wgmma_tile
