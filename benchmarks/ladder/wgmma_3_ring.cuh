// Rung 3: a warp that loads, and a warpgroup that multiplies.
//
// There is room for three pairs of tiles, a ring. A warp of its own, the producer, asks for one pair after the other as
// long as there is an empty place; the consumers multiply one after the other as long as there is a full one. Each
// place has two mbarriers: on `full` the copy engine reports, and the consumers wait; on `empty` the four consuming
// warps report, and the producer waits. The first wait for an empty place is for a phase before the first, which counts
// as ended: parity 1. No thread waits for all others any more.
//
// Bytes: as before. Bound by: the wait for the products of a place before it is given back; meanwhile the tensor cores
// have nothing that is queued, but for the other block's: two fit on a multiprocessor.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_ring {

constexpr int kTile = 128, kTileBytes = kTile * kWidth, kStages = 3, kThreads = kWarpgroup + 32;
constexpr int kStageBytes = 2 * kTileBytes, kShared = kAlignment + kStages * kStageBytes;

static __global__ void __launch_bounds__(kThreads, 2)
    multiply(const MatmulBf16 p, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
  if constexpr (kWgmma) {
    STEEP_DYNAMIC_SHARED(unsigned char, memory);
    STEEP_SHARED(Mbarrier, full, kStages);
    STEEP_SHARED(Mbarrier, empty, kStages);
    unsigned char* const buffers = aligned(memory);
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, kWarpgroup / 32);
      fence_mbarrier_init();
    }
    __syncthreads();
    const int row = int(blockIdx.y) * kTile, column = int(blockIdx.x) * kTile;
    RingPlace<kStages> ring;
    if (threadIdx.x >= kWarpgroup) {
      if (threadIdx.x > kWarpgroup) return;
      for (int k = 0; k < p.k; k += kSteps, ring.next()) {
        unsigned char* const tile_a = buffers + ring.stage * kStageBytes;
        mbarrier_wait(empty + ring.stage, ring.phase ^ 1);
        mbarrier_arrive_expect(full + ring.stage, kStageBytes);
        tma_load(tile_a, &a, full + ring.stage, k, row);
        tma_load(tile_a + kTileBytes, &b, full + ring.stage, k, column);
      }
    } else {
      float sums[2][kTile / 2];  // of rows 0 to 63, and 64 to 127
#pragma unroll 1                 // unrolled, sums are moved between registers, and products wait for that
      for (int k = 0; k < p.k; k += kSteps, ring.next()) {
        const unsigned char *const tile_a = buffers + ring.stage * kStageBytes, *const tile_b = tile_a + kTileBytes;
        mbarrier_wait(full + ring.stage, ring.phase);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int half = 0; half < 2; ++half)
            wgmma<bfloat16, kTile>(sums[half], operand(tile_a + half * 64 * kWidth, i), operand(tile_b, i),
                                   k > 0 || i > 0);
        wgmma_commit();
        wgmma_wait<0>();
        if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + ring.stage);
      }
      store_sums(p, sums[0], row, column);
      store_sums(p, sums[1], row + 64, column);
    }
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_ring";
  if (!has_work(op, p, true)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kTile)), unsigned(ceil_div(p.m, kTile)));
  launch_with(op, multiply, grid, kThreads, 1, kShared, p, map_of(op, p.a, p.m, p.k, kTile),
              map_of(op, p.b, p.n, p.k, kTile));
}

}  // namespace steep::cuda::ladder::wgmma_ring
