// Rung 5: a consumer queues its next products before it waits for the last ones.
//
// wgmma is asynchronous. The wait is for the group before the newest one, so that 4 products are queued while 4 run,
// and the place that is given back is the one before. A place is thus kept a little longer: of four, two.
//
// Bytes: as before. Bound by: the gaps between tiles. A block that is done stores its sums, and while the next one
// makes its mbarriers and waits for its first tiles, the tensor cores have nothing to do.
#pragma once
#include "wgmma.cuh"

namespace steep::cuda::ladder::wgmma_queue {

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
      const auto give_back = [&](int stage) {
        if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + stage);
      };
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
      store_sums(p, sums, row + half * 64, column);
    }
  }
}

inline void run(const MatmulBf16& p) {
  constexpr const char* op = "wgmma_queue";
  if (!has_work(op, p, true)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kColumns)), unsigned(ceil_div(p.m, kRows)));
  launch_with(op, multiply, grid, kThreads, 1, kShared, p, map_of(op, p.a, p.m, p.k, kRows),
              map_of(op, p.b, p.n, p.k, kColumns));
}

}  // namespace steep::cuda::ladder::wgmma_queue
