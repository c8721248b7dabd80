// Many arrays in one launch, which describes as many as its own parameters have room for. They are cut into chunks, one
// for each block, so that small and large ones balance.
#pragma once
#include <limits>

#include "launch.cuh"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4096;           // elements
constexpr int kMostParameters = 4096;  // bytes that a launch has for its parameters on every GPU

/// What a launch works on. An Item has `n` elements.
template <class Item, int kMost>
struct Batch {
  Item items[kMost];
  int first_block[kMost + 1];  // block b works on item i with first_block[i] ≤ b < first_block[i + 1]
  int count;
  int chunk;  // elements, a multiple of kChunk

  /// False where there is no room.
  bool add(const Item& item) {
    const int64_t blocks = ceil_div(item.n, int64_t(chunk));
    if (count == kMost || blocks > std::numeric_limits<int>::max() - first_block[count]) return false;
    items[count] = item;
    first_block[count + 1] = first_block[count] + int(blocks);
    ++count;
    return true;
  }
  unsigned blocks() const { return unsigned(first_block[count]); }

  /// Elements begin … begin + n - 1 of an item.
  struct Place {
    int item;
    int64_t begin;
    int n;
  };
  /// This block's.
  __device__ Place place() const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first_block[middle] <= int(blockIdx.x) ? low : high) = middle;
    }
    const int64_t begin = int64_t(int(blockIdx.x) - first_block[low]) * chunk, rest = items[low].n - begin;
    return {low, begin, rest < chunk ? int(rest) : chunk};
  }
};

}  // namespace
}  // namespace steep::cuda
