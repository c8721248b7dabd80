// How a matrix product is cut into blocks of threads: plain host code, chosen by the product's sizes and the number of
// multiprocessors alone, so that a product's bits are the same every time on a device.
#pragma once
#include <algorithm>
#include <cstdint>
#include <span>

namespace steep::cuda {

/// The m×n elements of C that a block of threads computes, k steps of the inner dimension at a time. A thread has
/// thread_m × thread_n of them; a warp's threads are 4×8.
struct Tile {
  int m, n, k, thread_m, thread_n;

  bool operator==(const Tile&) const = default;
  constexpr int threads() const { return m / thread_m * (n / thread_n); }
  constexpr int warps_n() const { return n / (8 * thread_n); }
};

/// What a multiprocessor makes of a tile: the percentage of 128 multiply-adds per cycle that it reaches with enough
/// blocks, and how many are enough. Estimates for sm_90: from the share of multiply-adds among the instructions of the
/// loop over k and from its loads of shared memory (which bound the small tile), and from a stall of some 200 cycles
/// per tile where a scheduler has one warp.
struct TileSpeed {
  int percent;
  double enough;
};

struct TileChoice {
  Tile tile;
  TileSpeed speed;
};

// A thread's loads of shared memory grow with thread_m + thread_n, its arithmetic with thread_m · thread_n.
inline constexpr Tile kLarge{128, 128, 8, 8, 8}, kMedium{64, 64, 16, 8, 4}, kSmall{32, 32, 16, 4, 4};
inline constexpr Tile kMedium64{64, 64, 8, 8, 4}, kSmall64{32, 32, 8, 4, 4};  // for elements of 8 bytes

/// What there is for elements of type T. Integers have small tiles only.
template <class T>
inline constexpr TileChoice kTiles[] = {{sizeof(T) == 4 ? kSmall : kSmall64, {60, 2.2}}};
template <>
inline constexpr TileChoice kTiles<float>[] = {{kLarge, {87, 1.1}}, {kMedium, {77, 1.35}}, {kSmall, {60, 2.2}}};
template <>
inline constexpr TileChoice kTiles<double>[] = {{kMedium64, {43, 1.2}}, {kSmall64, {35, 1.6}}};

/// A sum over k in `count` parts of `depth` steps, the last of which may be shorter. No part is empty, but for k = 0.
struct Split {
  int count;
  int64_t depth;
};

/// Cuts k into at most `most` parts of equal size: multiples of `unit`, and at least `least` where k is.
inline Split cut_k(int64_t k, int64_t most, int64_t least, int64_t unit) {
  const int64_t count = std::clamp<int64_t>(std::min(most, k / std::max<int64_t>(least, 1)), 1, INT32_MAX);
  const int64_t depth = std::max<int64_t>((k + count - 1) / count, 1);
  const int64_t rounded = (depth + unit - 1) / unit * unit;
  return {int(std::max<int64_t>((k + rounded - 1) / rounded, 1)), rounded};
}

struct GemmPlan {
  int tile;  // which of the choices
  Split split;
};

inline constexpr int64_t kMaxSplits = 64, kLeastDepth = 128;
/// Sums in parts need working memory: at most this many elements.
inline constexpr int64_t kMaxPartials = int64_t(1) << 26;

/// Chooses the tile and the number of parts whose time, in cycles of a multiprocessor, is the least.
inline GemmPlan choose_tile(std::span<const TileChoice> choices, int64_t m, int64_t n, int64_t k, int64_t batch,
                            int multiprocessors) {
  constexpr double kMultiplyAdds = 128;    // per cycle
  constexpr double kTileCycles = 1500;     // until the first copy has come, and for the stores
  constexpr double kMargin = 1.1;          // by which several parts have to be better: the estimate isn't exact
  constexpr double kLaunchCycles = 4000;   // of the kernel that adds the parts
  constexpr double kElementsPerCycle = 4;  // that a multiprocessor writes and reads of memory
  GemmPlan best{0, {1, std::max<int64_t>(k, 1)}};
  double least = -1;
  for (size_t i = 0; i < choices.size(); ++i) {
    const auto& [tile, speed] = choices[i];
    const double tiles = double((m + tile.m - 1) / tile.m) * double((n + tile.n - 1) / tile.n) * double(batch);
    const double elements = double(m) * double(n) * double(batch);
    for (int64_t parts = 1; parts <= kMaxSplits; parts *= 2) {
      const Split cut = cut_k(k, parts, kLeastDepth, tile.k);
      if (cut.count < parts && parts > 1) continue;
      if (parts > 1 && elements * double(cut.count) > double(kMaxPartials)) break;
      const double waves =
          std::max(double(int64_t((tiles * cut.count + multiprocessors - 1) / multiprocessors)), speed.enough);
      const double depth = double((std::min(cut.depth, k) + tile.k - 1) / tile.k * tile.k);
      double time = kTileCycles + waves * tile.m * tile.n * depth / (kMultiplyAdds * speed.percent / 100);
      if (cut.count > 1)
        time = kMargin * time + kLaunchCycles + 2 * elements * cut.count / (kElementsPerCycle * multiprocessors);
      if (least < 0 || time < least) least = time, best = {int(i), cut};
    }
  }
  return best;
}

}  // namespace steep::cuda
