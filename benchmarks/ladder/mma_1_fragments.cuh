// Rung 1: a warp's tensor core product, with operands straight from global memory.
//
// mma.sync multiplies 16×16 elements of A by 16×8 of Bᵀ, 2048 multiply-adds, in one instruction of a warp. Its lanes
// hold the operands and the sums in registers, spread out as the instruction wants it: see "Fragments" in
// docs/cuda-kernels.md. With g = lane / 4 and t = lane % 4, a lane has pairs of elements of rows g and g + 8 of A, and
// of column g of the product; a pair along k is a word of 32 bits.
//
// A block is 4 warps beside and below one another: 32×16 elements of C.
//
// For 2048 multiply-adds a warp loads 512 bytes of A and 256 of B: 3/8 of a byte for each, in 6 loads of 4 bytes. Each
// load is of 8 rows' pieces of 16 bytes, half of the 32 that are read.
// Bound by: the caches, as rung 1 of the float32 ladder.
#pragma once
#include "bf16.h"

namespace steep::cuda::ladder::mma_fragments {

constexpr int kThreads = 128, kRows = 32, kColumns = 16;  // of a block

static __global__ void __launch_bounds__(kThreads) multiply(const MatmulBf16 p) {
  if constexpr (kWarpProducts) {
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32, g = lane / 4, t = lane % 4;
    const int row = int(blockIdx.y) * kRows + warp / 2 * 16, column = int(blockIdx.x) * kColumns + warp % 2 * 8;
    // Word t of the eight elements from k on of a row; k is a multiple of 8, so that they all exist or none does.
    const auto word = [&](const bfloat16* x, int rows, int r, int k) -> uint32_t {
      return r < rows && k < p.k ? *reinterpret_cast<const uint32_t*>(x + int64_t(r) * p.k + k + 2 * t) : 0;
    };
    float sums[4] = {};
    for (int k = 0; k < p.k; k += 16) {
      const uint32_t a[4] = {word(p.a, p.m, row + g, k), word(p.a, p.m, row + g + 8, k), word(p.a, p.m, row + g, k + 8),
                             word(p.a, p.m, row + g + 8, k + 8)};
      multiply_add<bfloat16>(sums, a, word(p.b, p.n, column + g, k), word(p.b, p.n, column + g, k + 8));
    }
    store_pair(p, row + g, column + 2 * t, sums[0], sums[1]);
    store_pair(p, row + g + 8, column + 2 * t, sums[2], sums[3]);
  }
}

inline void run(const MatmulBf16& p) {
  if (!has_work("mma_fragments", p, false)) return;
  const dim3 grid(unsigned(ceil_div(p.n, kColumns)), unsigned(ceil_div(p.m, kRows)));
  launch("mma_fragments", multiply, grid, kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::mma_fragments
