// Which way rows of a length take through the kernels of rows.cuh: whose work a row is, and where its elements stay. A
// function of numbers, so that the ways of every device can be tested on any machine.
#pragma once
#include <algorithm>
#include <cstdint>

#include "runtime.h"

namespace steep::cuda {

inline constexpr int kLanes = 32;
/// Threads of a block, at most: so that a multiprocessor has several blocks, of which one loads while another computes.
inline constexpr int kMostThreads = 512;
/// Blocks of a cluster, at most: as many as every device with clusters promises.
inline constexpr int kMostBlocks = 8;

/// How a launch shares its rows out.
struct RowPlan {
  int64_t rows, n;
  int64_t tiles;    // of a row, or of a block's slice of it
  int kept;         // of the tiles, from the first: in shared memory for later sweeps, each thread's elements by itself
  int threads;      // of a team: a power of two up to 32, or all threads of the block
  bool vectors;     // rows are aligned to 16 bytes
  int blocks = 1;   // that share a row, as a cluster
  int64_t slice{};  // elements of a row that each of them has, but for the last ones
};

/// What a kernel holds of a row.
struct RowFootprint {
  int item_bytes;
  int inputs;
  int per;            // elements of each input in a thread's registers
  int passes;         // sweeps through a row
  int scratch_bytes;  // of shared memory, for other things
  bool clusters;      // is it made for them?
};

/// The plan for rows of n elements. Short rows are the work of a few lanes, longer ones of a block, which holds
/// kMostThreads·per elements in registers, and what is swept through again in as much of shared memory as leaves room
/// for a second block. Rows beyond that are read again where there are no clusters (before sm_90); else the smallest
/// cluster takes them that holds them in this way, up to kMostBlocks blocks, or so many with all of shared memory. That
/// goes by the architecture of the code: PTX of an older one has no clusters, whatever the device.
inline RowPlan plan_row(int64_t rows, int64_t n, bool vectors, const RowFootprint& of, const DeviceLimits& limits) {
  const auto parts = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  const int width = 16 / of.item_bytes;
  RowPlan plan{rows, n, 1, 0, 1, vectors && n % width == 0};
  plan.slice = n;
  const int64_t slots = parts(n, width);
  if (slots <= kLanes) {
    while (plan.threads < slots) plan.threads *= 2;
    return plan;
  }
  plan.threads = int(std::min<int64_t>(parts(n, kLanes * of.per) * kLanes, kMostThreads));
  const int64_t tile = int64_t(plan.threads) * of.per, tile_bytes = tile * of.inputs * of.item_bytes;
  plan.tiles = parts(n, tile);
  if (plan.tiles == 1 || of.passes == 1) return plan;

  // The driver has 1 KB of shared memory for each block.
  const int all = limits.shared_bytes_per_block - of.scratch_bytes,
            half = std::min(limits.shared_bytes_per_multiprocessor / 2 - 1024 - of.scratch_bytes, all);
  // Where the last sweep begins at the last tile, that one is in registers.
  const auto wanted = [&] { return plan.tiles - (of.passes == 2); };
  const auto fits = [&](int bytes) { return wanted() * tile_bytes <= bytes; };
  int bytes = half;
  if (of.clusters && limits.architecture >= 90 && !fits(half)) {
    const RowPlan alone = plan;
    do {
      plan.blocks *= 2;
      plan.slice = parts(parts(n, plan.blocks), int64_t(plan.threads) * width) * plan.threads * width;
      plan.tiles = parts(plan.slice, tile);
    } while (!fits(half) && plan.blocks < kMostBlocks);
    if (!fits(half)) bytes = all;
    if (!fits(bytes)) plan = alone, bytes = half;
  }
  plan.kept = int(std::min(wanted(), bytes / tile_bytes));
  return plan;
}

}  // namespace steep::cuda
