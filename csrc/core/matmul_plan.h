// How one matrix product is cut into rectangles of C for the threads. Rectangles share no output, and a kernel computes
// all of K for each of them, so the result has the same bits however the cut falls.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels.h"

namespace steep {

/// The cut: `rows` × `columns` rectangles of about equal size.
struct GemmGrid {
  int64_t rows, columns;
};

/// Waking a worker and waiting for it costs a few microseconds: about this many multiply-adds of one core.
inline constexpr double kGemmSerialWork = 60e3;

/// Rectangles begin at multiples of this many columns: whole vectors and register tiles, and no cache line of C
/// written by two threads.
inline constexpr int64_t kGemmColumnUnit = 32;

inline GemmGrid gemm_grid(int64_t m, int64_t n, int64_t k, int threads) {
  // With little K the time goes into writing C, so K counts for at least a few steps.
  if (threads < 2 || double(m) * double(n) * double(std::max<int64_t>(k, 8)) < kGemmSerialWork) return {1, 1};
  // A thread that computes an (r × c) rectangle does r·c·k multiply-adds and moves, perhaps packs, r·k of A and c·k of
  // B; an element moved takes about as long as 8 multiply-adds.
  GemmGrid best{1, 1};
  double best_cost = -1;
  for (int64_t rows = 1; rows <= std::min<int64_t>(threads, m); ++rows) {
    const int64_t units = (n + kGemmColumnUnit - 1) / kGemmColumnUnit;
    const int64_t columns = std::min<int64_t>(threads / rows, units);
    const double r = double((m + rows - 1) / rows);
    const double c = double(std::min(n, (units + columns - 1) / columns * kGemmColumnUnit));
    // Of equal cuts one across the rows is better where the time goes into writing C, whose rows then stay whole.
    const double cost = r * c + 8 * (r + c);
    const bool writes_most = k < 128;
    if (best_cost < 0 || cost < best_cost || (writes_most && cost == best_cost))
      best = {rows, columns}, best_cost = cost;
  }
  return best;
}

/// Rectangle `task` of the grid; may be empty.
inline GemmRange gemm_range(int64_t m, int64_t n, const GemmGrid& grid, int64_t task) {
  const int64_t i = task / grid.columns, j = task % grid.columns;
  const int64_t units = (n + kGemmColumnUnit - 1) / kGemmColumnUnit;
  const auto column = [&](int64_t part) { return std::min(n, units * part / grid.columns * kGemmColumnUnit); };
  return {m * i / grid.rows, m * (i + 1) / grid.rows, column(j), column(j + 1)};
}

/// Computes the whole product. `parallel_for(tasks, f)` must call f(0) … f(tasks - 1), on any threads in any order.
template <class T, class ParallelFor>
void gemm(const Gemm<T>& g, const GemmKernel<T>& kernel, int threads, ParallelFor&& parallel_for) {
  const GemmGrid grid = gemm_grid(g.m, g.n, g.k, threads);
  const int64_t tasks = grid.rows * grid.columns;
  if (tasks == 1) return kernel.block(g, {0, g.m, 0, g.n});
  parallel_for(tasks, [&](int64_t task) { kernel.block(g, gemm_range(g.m, g.n, grid, task)); });
}

}  // namespace steep
