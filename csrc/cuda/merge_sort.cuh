// A merge sort of rows: tiles of a block's size are sorted by counting, then runs are merged in pairs, every item by a
// thread that looks for its place in the other run. Items (of core/sort_keys.h, say) are ordered by <, and no two of a
// row are equal.
#pragma once
#include <algorithm>
#include <utility>

#include "launch.cuh"

namespace steep::cuda {
namespace {

constexpr int kSortTile = 256;  // threads of a block, and items that it sorts

/// Sorts each tile of each row: an item's place is the number of those before it. Short rows share a block.
template <class Item, class Load>
__global__ void __launch_bounds__(kSortTile)
    sort_tiles(int64_t rows, int64_t n, int64_t tiles, int block_rows, Load load, Item* sorted) {
  STEEP_SHARED(Item, items, kSortTile);
  const int width = int(min(n, int64_t(kSortTile))), row_in_block = int(threadIdx.x) / width;
  const int64_t group = blockIdx.x / tiles, row = group * block_rows + row_in_block;
  const int64_t begin = (blockIdx.x - group * tiles) * kSortTile;
  const int first = row_in_block * width, own = int(threadIdx.x) - first;
  const int count = int(min(n - begin, int64_t(width)));
  const bool used = row_in_block < block_rows && row < rows && own < count;
  Item item{};
  if (used) items[threadIdx.x] = item = load(row, begin + own);
  __syncthreads();
  if (!used) return;
  int place = 0;
  for (int j = 0; j < count; ++j) place += items[first + j] < item;
  sorted[row * n + begin + place] = item;
}

/// Merges pairs of sorted runs of each row: an item's place is its own in its run and that in the other one.
template <class Item>
__global__ void __launch_bounds__(kSortTile)
    merge_runs(int64_t rows, int64_t n, int64_t run, const Item* from, Item* to) {
  const int64_t i = int64_t(blockIdx.x) * kSortTile + threadIdx.x;
  if (i >= rows * n) return;
  const Item item = from[i];
  const int64_t row = i / n * n, end = row + n;
  const int64_t pair = row + (i - row) / (2 * run) * (2 * run), middle = min(pair + run, end);
  const bool second = i >= middle;
  int64_t low = second ? pair : middle, high = second ? middle : min(middle + run, end);
  const int64_t other = low;
  while (low < high) {
    const int64_t at = low + (high - low) / 2;
    if (from[at] < item)
      low = at + 1;
    else
      high = at;
  }
  to[i - (second ? middle - pair : 0) + (low - other)] = item;
}

/// Rows of items in device memory.
template <class Item>
class SortedRows {
 public:
  /// load(row, i) makes the items. There are some.
  template <class Load>
  SortedRows(const char* op, int64_t rows, int64_t n, const Load& load)
      : first_(size_t(rows * n) * sizeof(Item)), second_(n > kSortTile ? size_t(rows * n) * sizeof(Item) : 0) {
    items_ = first_.as<Item>();
    Item* other = second_.as<Item>();
    const int block_rows = int(std::max<int64_t>(1, kSortTile / n));
    const int64_t tiles = ceil_div(n, int64_t(kSortTile));
    launch(op, sort_tiles<Item, Load>, unsigned(ceil_div(rows, int64_t(block_rows)) * tiles), kSortTile, 0, rows, n,
           tiles, block_rows, load, items_);
    const unsigned blocks = unsigned(ceil_div(rows * n, int64_t(kSortTile)));
    for (int64_t run = kSortTile; run < n; run *= 2, std::swap(items_, other))
      launch(op, merge_runs<Item>, blocks, kSortTile, 0, rows, n, run, items_, other);
  }
  const Item* items() const { return items_; }

 private:
  Workspace first_, second_;
  Item* items_;
};

}  // namespace
}  // namespace steep::cuda
