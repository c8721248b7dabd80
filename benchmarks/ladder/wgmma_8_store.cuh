// Rung 8: the copy engine stores, too. This is the shape of csrc/cuda/gemm_wgmma.cuh.
//
// A warp writes 16 rows of 64 sums to shared memory, as bfloat16, and one of its lanes has the engine carry them to C.
// That goes on by itself while the warp writes the next ones, and while it multiplies the next tile. The engine stores
// rows of 128 bytes; lanes by themselves stored 16 bytes of a row at a time, half of the 32 that memory is written in.
//
// Written to memory by threads, read by the engine: fence_proxy_async is between, in each thread that wrote. The engine
// wants C's rows to begin at multiples of 16 bytes; others are stored as before.
//
// Bytes: as before. Bound by: the tensor cores, and the power they draw.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_store {

constexpr int kRows = 128, kColumns = 256, kStages = 4, kThreads = 3 * kWarpgroup, kCluster = 2;
constexpr int kABytes = kRows * kWidth, kBBytes = kColumns * kWidth, kStageBytes = kABytes + kBBytes;
constexpr int kShare = kColumns / kCluster;                            // rows of B's tile that a block has brought
constexpr int kBoxBytes = 16 * kWidth, kStagingBytes = 2 * kBoxBytes;  // of a warp
constexpr int kShared = kAlignment + kStages * kStageBytes + 2 * kWarpgroup / 32 * kStagingBytes;

/// A warp's 16 rows of sums, 64 columns at a time, by way of two boxes in shared memory that take turns. In a box they
/// lie as the engine expects them, pieces of 16 bytes exchanged: so eight rows' pairs are in different banks, too.
static __device__ void store_by_engine(const float (&sums)[kColumns / 2], unsigned char* boxes, const TensorMap& c,
                                       int row, int column) {
  const int lane = int(threadIdx.x) % 32, g = lane / 4;
#pragma unroll
  for (int j = 0; j < kColumns / kSteps; ++j) {
    unsigned char* const box = boxes + j % 2 * kBoxBytes;
    if (lane == 0) tma_wait_read<1>();  // the engine has read what was there
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 32; i += 2) {
      unsigned char* const to = box + (g + i / 2 % 2 * 8) * kWidth + (i / 4 ^ g) * 16 + lane % 4 * 4;
      *reinterpret_cast<uint32_t*>(to) = to_bfloat16s<false>(sums[32 * j + i], sums[32 * j + i + 1]);
    }
    fence_proxy_async();
    __syncwarp();
    if (lane == 0) {
      tma_store(&c, box, column + j * kSteps, row);
      tma_commit();
    }
  }
}

static __global__ void __launch_bounds__(kThreads, 1)
    multiply(const MatmulBf16 p, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
             const __grid_constant__ TensorMap c) {
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
      const int half = int(threadIdx.x) / kWarpgroup - 1, warp = int(threadIdx.x) / 32 - kWarpgroup / 32;
      unsigned char* const boxes = buffers + kStages * kStageBytes + warp * kStagingBytes;
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
        if (takes_vectors(p.c, p.n))
          store_by_engine(sums, boxes, c, row + warp * 16, column);
        else
          store_sums(p, sums, row + half * 64, column);
      }
      if (threadIdx.x % 32 == 0) tma_wait_read<0>();
    }
    __syncwarp();
    cluster_arrive();
    cluster_wait();
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_store";
  if (!has_work(op, p, true)) return;
  const int tiles = ceil_div(p.m, kCluster * kRows) * ceil_div(p.n, kColumns);
  const int clusters = std::min(tiles, device_limits().multiprocessors / kCluster);
  const TensorMap map = map_of(op, p.a, p.m, p.k, kRows);
  const TensorMap map_of_c = takes_vectors(p.c, p.n) ? map_of(op, p.c, p.m, p.n, 16) : map;
  launch_with(op, multiply, unsigned(clusters * kCluster), kThreads, kCluster, kShared, p, map,
              map_of(op, p.b, p.n, p.k, kShare), map_of_c);
}

}  // namespace steep::cuda::ladder::wgmma_store
