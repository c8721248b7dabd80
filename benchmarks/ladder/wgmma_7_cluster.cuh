// Rung 7: two blocks share a tile of B.
//
// They are a cluster: they run at the same time, on neighbouring multiprocessors, and have tiles below each other,
// which need the same columns of B. Each has one half of that tile brought to both (multicast), so that a place is full
// when three copies have come, two of one's own and one of the other's. A place is empty when the consumers of both
// blocks have read it: each warp reports to both, and an mbarrier waits for 16.
//
// A block must not end while the other may still write to it, or report to it: hence the barrier at the end. And no
// copy may be sent before the other's mbarriers are made: hence the one at the beginning.
//
// Bytes from L2 for each multiply-add: 2/128 of B shared by two, 2/256 of A: 2/256 + 2/256, a third less.
// Bound by: tensor cores; and the stores, which the consumers do themselves.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_cluster {

constexpr int kRows = 128, kColumns = 256, kStages = 4, kThreads = 3 * kWarpgroup, kCluster = 2;
constexpr int kABytes = kRows * kWidth, kBBytes = kColumns * kWidth, kStageBytes = kABytes + kBBytes;
constexpr int kShare = kColumns / kCluster;  // rows of B's tile that a block has brought
constexpr int kShared = kAlignment + kStages * kStageBytes;

static __global__ void __launch_bounds__(kThreads, 1)
    multiply(const MatmulBf16 p, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b) {
  if constexpr (kWgmma) {
    STEEP_DYNAMIC_SHARED(unsigned char, memory);
    STEEP_SHARED(Mbarrier, full, kStages);
    STEEP_SHARED(Mbarrier, empty, kStages);
    unsigned char* const buffers = aligned(memory);
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i)
        mbarrier_init(full + i, 1), mbarrier_init(empty + i, kCluster * 2 * kWarpgroup / 32);
      fence_mbarrier_init();
    }
    cluster_arrive();
    cluster_wait();
    const int rank = int(cluster_rank()), cluster = int(blockIdx.x) / kCluster, clusters = int(gridDim.x) / kCluster;
    const int row_tiles = ceil_div(p.m, kCluster * kRows), column_tiles = ceil_div(p.n, kColumns);
    RingPlace<kStages> ring;
    if (threadIdx.x < kWarpgroup) {
      give_registers<40>();
      if (threadIdx.x == 0) {
        for (int tile = cluster; tile < row_tiles * column_tiles; tile += clusters) {
          const TilePlace at = tile_place(tile, row_tiles, column_tiles);
          const int row = (at.row * kCluster + rank) * kRows, column = at.column * kColumns;
          for (int k = 0; k < p.k; k += kSteps, ring.next()) {
            unsigned char* const tile_a = buffers + ring.stage * kStageBytes;
            mbarrier_wait(empty + ring.stage, ring.phase ^ 1);
            mbarrier_arrive_expect(full + ring.stage, kStageBytes);
            tma_load(tile_a, &a, full + ring.stage, k, row);
            tma_load_multicast(tile_a + kABytes + rank * kShare * kWidth, &b, full + ring.stage, (1 << kCluster) - 1, k,
                               column + rank * kShare);
          }
        }
      }
    } else {
      take_registers<232>();
      const int half = int(threadIdx.x) / kWarpgroup - 1;
      const auto give_back = [&](int stage) {
        if (threadIdx.x % 32 < kCluster) mbarrier_arrive_at(empty + stage, threadIdx.x % 32);
      };
      for (int tile = cluster; tile < row_tiles * column_tiles; tile += clusters) {
        const TilePlace at = tile_place(tile, row_tiles, column_tiles);
        const int row = (at.row * kCluster + rank) * kRows, column = at.column * kColumns;
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
        store_sums(p, sums, row + half * 64, column);
      }
    }
    __syncwarp();
    cluster_arrive();
    cluster_wait();
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_cluster";
  if (!has_work(op, p, true)) return;
  const int tiles = ceil_div(p.m, kCluster * kRows) * ceil_div(p.n, kColumns);
  const int clusters = std::min(tiles, device_limits().multiprocessors / kCluster);
  launch_with(op, multiply, unsigned(clusters * kCluster), kThreads, kCluster, kShared, p,
              map_of(op, p.a, p.m, p.k, kRows), map_of(op, p.b, p.n, p.k, kShare));
}

}  // namespace steep::cuda::ladder::wgmma_cluster
