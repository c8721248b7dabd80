// Rung 4: a tile of 128×256, two warpgroups that multiply, and registers where they are needed.
//
// Each consumer has 64 rows and all 256 columns, the widest wgmma there is; both read the same tile of B. A thread has
// 128 sums as before, and two consumers keep the tensor cores busy in turns: one's products are queued while the other
// waits for its own.
//
// The kernel is compiled for 65,536 / 384, that is 168 registers a thread. The producer has become a warpgroup of its
// own, as setmaxnreg goes by warpgroups: it gives back all but 40, and the consumers take 232.
//
// Bytes from global memory: 2/128 + 2/256 = 3/128 for each multiply-add. From shared memory: 2·(64 + 256)/(64·256) =
// 5/128. Bound by: the gaps between a consumer's products, and between tiles.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_consumers {

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
    const int row = int(blockIdx.y) * kRows, column = int(blockIdx.x) * kColumns;
    RingPlace<kStages> ring;
    if (threadIdx.x < kWarpgroup) {
      give_registers<40>();
      if (threadIdx.x == 0) {
        for (int k = 0; k < p.k; k += kSteps, ring.next()) {
          unsigned char* const tile_a = buffers + ring.stage * kStageBytes;
          mbarrier_wait(empty + ring.stage, ring.phase ^ 1);
          mbarrier_arrive_expect(full + ring.stage, kStageBytes);
          tma_load(tile_a, &a, full + ring.stage, k, row);
          tma_load(tile_a + kABytes, &b, full + ring.stage, k, column);
        }
      }
    } else {
      take_registers<232>();
      const int half = int(threadIdx.x) / kWarpgroup - 1;
      float sums[kColumns / 2];
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
        wgmma_wait<0>();
        if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + ring.stage);
      }
      store_sums(p, sums, row + half * 64, column);
    }
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_consumers";
  if (!has_work(op, p, true)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kColumns)), unsigned(ceil_div(p.m, kRows)));
  launch_with(op, multiply, grid, kThreads, 1, kShared, p, map_of(op, p.a, p.m, p.k, kRows),
              map_of(op, p.b, p.n, p.k, kColumns));
}

}  // namespace steep::cuda::ladder::wgmma_consumers
