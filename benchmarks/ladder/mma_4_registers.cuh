// Rung 4: the next fragments come while these are multiplied. This is the shape of csrc/cuda/gemm_mma.cuh.
//
// What rung 3 does with tiles, this one does with fragments, one floor up: there are two sets of them in registers. The
// loads for one set are issued before the products of the other, and end while these run. The wait for the next tile is
// between the tile's two steps, so that its first fragments are loaded under the last products of this one.
//
// Registers are scarce now, 255 at the most, so that what a copy's addresses have in common is computed once (Copy).
// Two more things are at the edges. Tiles are taken in an order that L2 likes (tile_place). And sums go to C by way of
// shared memory: four lanes hold eight elements of a row, so that a store from registers is of 16 bytes in each of 8
// rows, half of a 32-byte piece; what comes back from shared memory are rows of 256 bytes, 16 bytes a lane.
//
// Bytes: as before. Bound by: the tensor cores, one hopes.
#pragma once
#include "bf16.h"

namespace steep::cuda::ladder::mma_registers {

constexpr int kTile = 128, kDepth = 32, kWarpTile = 64, kThreads = 128, kStages = 3;
constexpr int kChunks = kDepth / 8, kStage = 2 * kTile * kDepth;  // of a row; elements of A's tile and B's

/// Where a chunk of a tile lies, in elements.
static __device__ int place(int row, int chunk) { return row * kDepth + (chunk ^ row / 2 % 4) * 8; }

/// A thread's part of the copies of an operand's tiles, one chunk of every 32nd row. What it can know is computed once.
struct Copy {
  static constexpr int kEvery = kThreads / kChunks;

  const bfloat16* from;  // the first chunk, of the next tile
  int64_t step;          // to the next chunk
  int to, rows, depth;   // its place in the tile; rows and steps of k that exist from it on

  __device__ Copy(const bfloat16* x, int all_rows, int first, int k) {
    const int row = int(threadIdx.x) / kChunks, chunk = int(threadIdx.x) % kChunks;
    from = x + int64_t(first + row) * k + 8 * chunk, step = int64_t(kEvery) * k;
    to = place(row, chunk), rows = all_rows - first - row, depth = k - 8 * chunk;
  }
  __device__ void start(bfloat16* tile) {
#pragma unroll
    for (int i = 0; i < kTile / kEvery; ++i)
      copy_async<16>(tile + to + i * kEvery * kDepth, from + i * step, i * kEvery < rows && depth > 0 ? 16 : 0);
    from += kDepth, depth -= kDepth;
  }
};

/// 16 rows of 16 steps of k: words 0 and 1 are rows g and g + 8, words 2 and 3 the same of the next eight steps.
static __device__ void load_fragment(uint32_t (&words)[4], const bfloat16* tile, int row, int step) {
  const int lane = int(threadIdx.x) % 32;
  load_matrices<false>(words, tile + place(row + lane % 16, 2 * step + lane / 16));
}

/// Where chunk c of a row of the tile of C lies in shared memory, in elements: 16 chunks a row, in an order for each
/// row so that the pairs of eight rows are in different banks.
static __device__ int place_of_sums(int row, int chunk) { return row * kTile + (chunk ^ row % 8) * 8; }

static __device__ void store_tile(const MatmulBf16& p, const bfloat16* tile, int first_row, int first_column) {
  constexpr int kChunksOfC = kTile / 8;
  for (int i = int(threadIdx.x); i < kTile * kChunksOfC; i += kThreads) {
    const int row = first_row + i / kChunksOfC, column = first_column + i % kChunksOfC * 8;
    const bfloat16* const from = tile + place_of_sums(i / kChunksOfC, i % kChunksOfC);
    bfloat16* const to = p.c + int64_t(row) * p.n + column;
    if (row >= p.m) continue;
    if (p.n % 8 == 0 && column < p.n) {
      *reinterpret_cast<Chunk*>(to) = *reinterpret_cast<const Chunk*>(from);
    } else {
      for (int e = 0; e < 8 && column + e < p.n; ++e) to[e] = from[e];
    }
  }
}

static __global__ void __launch_bounds__(kThreads, 2) multiply(const MatmulBf16 p) {
  if constexpr (kWarpProducts) {
    STEEP_SHARED(bfloat16, stages, kStages * kStage);
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int y = warp / 2 * kWarpTile, x = warp % 2 * kWarpTile;
    const TilePlace at = tile_place(int(blockIdx.x), ceil_div(p.m, kTile), ceil_div(p.n, kTile));
    const int first_row = at.row * kTile, first_column = at.column * kTile;
    const int tiles = ceil_div(p.k, kDepth);
    Copy copy_a(p.a, p.m, first_row, p.k), copy_b(p.b, p.n, first_column, p.k);
    const auto start = [&](int tile) {
      if (tile < tiles) {
        bfloat16* const to = stages + tile % kStages * kStage;
        copy_a.start(to);
        copy_b.start(to + kStage / 2);
      }
      commit_async();  // an empty group too, so that the number of groups says which tile has come
    };
    float sums[4][8][4] = {};
    uint32_t of_a[2][4][4], of_b[2][4][4];  // for the tile's two steps
    const auto load = [&](int tile, int step) {
      const bfloat16 *const a = stages + tile % kStages * kStage, *const b = a + kStage / 2;
#pragma unroll
      for (int i = 0; i < 4; ++i) load_fragment(of_a[step][i], a, y + 16 * i, step);
#pragma unroll
      for (int j = 0; j < 4; ++j) load_fragment(of_b[step][j], b, x + 16 * j, step);
    };
    const auto multiply = [&](int step) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j)
          multiply_add<bfloat16>(sums[i][j], of_a[step][i], of_b[step][j / 2][j % 2], of_b[step][j / 2][j % 2 + 2]);
    };
    const auto wait = [] {
      wait_async<kStages - 2>();
      __syncthreads();
    };
    for (int i = 0; i < kStages - 1; ++i) start(i);
    wait();
    load(0, 0);
    for (int tile = 0; tile < tiles; ++tile) {
      load(tile, 1);
      start(tile + kStages - 1);
      multiply(0);
      wait();
      if (tile + 1 < tiles) load(tile + 1, 0);
      multiply(1);
    }
    // The last wait came after the last load: nobody reads a tile any more.
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          bfloat16* const to = stages + place_of_sums(y + 16 * i + 8 * half + lane / 4, x / 8 + j) + lane % 4 * 2;
          *reinterpret_cast<uint32_t*>(to) = to_bfloat16s<false>(sums[i][j][2 * half], sums[i][j][2 * half + 1]);
        }
    __syncthreads();
    store_tile(p, stages, first_row, first_column);
  }
}

inline void run(const MatmulBf16& p) {
  if (!has_work("mma_registers", p, false)) return;
  launch("mma_registers", multiply, unsigned(ceil_div(p.m, kTile) * ceil_div(p.n, kTile)), kThreads, 0, p);
}

}  // namespace steep::cuda::ladder::mma_registers
