// Rung 6: blocks stay, and go through tiles.
//
// There are as many blocks as multiprocessors, and each takes every so-many-th tile. The ring goes on from tile to
// tile: while the consumers store the sums of one, the producer has the next one's first places filled. Therefore the
// last place of a tile is given back too, and the ring's place is not begun anew.
//
// Tiles are taken in an order that L2 likes: see tile_place.
//
// Bytes from global memory: as before, but more of them come from L2. Bound by: tensor cores, and L2: 132 blocks ask
// for 48 KB each for every 4 products of a consumer.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_persistent {

constexpr int kRows = 128, kColumns = 256, kStages = 4, kThreads = 3 * kWarpgroup;
constexpr int kABytes = kRows * kWidth, kBBytes = kColumns * kWidth, kStageBytes = kABytes + kBBytes;
constexpr int kShared = kAlignment + kStages * kStageBytes;

static __global__ void __launch_bounds__(kThreads, 1)
    multiply(const MatmulBf16 p, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
  if constexpr (kWgmma) {
    STEEP_DYNAMIC_SHARED(unsigned char, memory);
    STEEP_SHARED(Mbarrier, full, kStages);
    STEEP_SHARED(Mbarrier, empty, kStages);
    unsigned char* const buffers = aligned(memory);
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i) mbarrier_init(full + i, 1), mbarrier_init(empty + i, 2 * kWarpgroup / 32);
      fence_mbarrier_init();
    }
    __syncthreads();
    const int row_tiles = ceil_div(p.m, kRows), column_tiles = ceil_div(p.n, kColumns);
    RingPlace<kStages> ring;
    if (threadIdx.x < kWarpgroup) {
      give_registers<40>();
      if (threadIdx.x == 0) {
        for (int tile = int(blockIdx.x); tile < row_tiles * column_tiles; tile += int(gridDim.x)) {
          const TilePlace at = tile_place(tile, row_tiles, column_tiles);
          for (int k = 0; k < p.k; k += kSteps, ring.next()) {
            unsigned char* const tile_a = buffers + ring.stage * kStageBytes;
            mbarrier_wait(empty + ring.stage, ring.phase ^ 1);
            mbarrier_arrive_expect(full + ring.stage, kStageBytes);
            tma_load(tile_a, &a, full + ring.stage, k, at.row * kRows);
            tma_load(tile_a + kABytes, &b, full + ring.stage, k, at.column * kColumns);
          }
        }
      }
    } else {
      take_registers<232>();
      const int half = int(threadIdx.x) / kWarpgroup - 1;
      const auto give_back = [&](int stage) {
        if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + stage);
      };
      for (int tile = int(blockIdx.x); tile < row_tiles * column_tiles; tile += int(gridDim.x)) {
        const TilePlace at = tile_place(tile, row_tiles, column_tiles);
        float sums[kColumns / 2];
        int before = 0;
#pragma unroll 1  // unrolled, sums are moved between registers, and products wait for that
        for (int k = 0; k < p.k; k += kSteps, ring.next()) {
          const unsigned char* const tile_a = buffers + ring.stage * kStageBytes;
          mbarrier_wait(full + ring.stage, ring.phase);
          wgmma_fence();
#pragma unroll
          for (int i = 0; i < 4; ++i)
            wgmma<bfloat16, kColumns>(sums, operand(tile_a + half * 64 * kWidth, i), operand(tile_a + kABytes, i),
                                      k > 0 || i > 0);
          wgmma_commit();
          wgmma_wait<1>();
          if (k > 0) give_back(before);
          before = ring.stage;
        }
        wgmma_wait<0>();
        give_back(before);
        store_sums(p, sums, at.row * kRows + half * 64, at.column * kColumns);
      }
    }
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_persistent";
  if (!has_work(op, p, true)) return;
  const int tiles = ceil_div(p.m, kRows) * ceil_div(p.n, kColumns);
  const int blocks = std::min(tiles, device_limits().multiprocessors);
  launch_with(op, multiply, unsigned(blocks), kThreads, 1, kShared, p, map_of(op, p.a, p.m, p.k, kRows),
              map_of(op, p.b, p.n, p.k, kColumns));
}

}  // namespace steep::cuda::ladder::wgmma_persistent
