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

/// What tensor cores multiply: elements of 16 bits as they are, float32 rounded to tf32, or float32 as three bfloat16
/// each, in six products.
enum class MmaOperands : int { halves, tf32, pieces };

/// The bytes of k that a block copies of each row at a time: 32 steps of 16-bit elements, 16 of float32.
inline constexpr int kMmaBytes = 64;

/// The m×n elements of C that a block of threads computes by tensor cores, a warp warp_m × warp_n of them: their sums
/// are in its registers. `stages` tiles of A and B are in shared memory, and a multiprocessor is to have registers for
/// as many blocks.
struct MmaTile {
  int m, n, warp_m, warp_n, stages, blocks;

  bool operator==(const MmaTile&) const = default;
  constexpr int threads() const { return 32 * (m / warp_m) * (n / warp_n); }
  constexpr int shared_bytes() const { return stages * (m + n) * kMmaBytes; }
};

/// `percent` is of the rate of tensor cores.
struct MmaChoice {
  MmaTile tile;
  TileSpeed speed;
};

// 48 KB of shared memory at most, which a block has without asking; two such blocks fit where there are 100 KB. A
// warp's loads of fragments grow with warp_m + warp_n, its products with warp_m · warp_n.
inline constexpr MmaTile kMmaLarge{128, 128, 64, 64, 3, 2}, kMmaSmall{64, 64, 32, 32, 4, 4};
inline constexpr MmaTile kMmaPieces{64, 64, 32, 32, 4, 3};  // with twice as many sums

inline constexpr MmaChoice kMmaTiles[] = {{kMmaLarge, {75, 1.6}}, {kMmaSmall, {50, 2.5}}};
inline constexpr MmaChoice kMmaPiecesTiles[] = {{kMmaPieces, {70, 1.5}}};
constexpr std::span<const MmaChoice> mma_tiles(MmaOperands operands) {
  return operands == MmaOperands::pieces ? std::span<const MmaChoice>(kMmaPiecesTiles) : kMmaTiles;
}

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
  double cycles;  // of a multiprocessor: an estimate
};

inline constexpr int64_t kMaxSplits = 64, kLeastDepth = 128;
/// Sums in parts need working memory: at most this many elements.
inline constexpr int64_t kMaxPartials = int64_t(1) << 26;

inline constexpr double kLaunchCycles = 4000;   // of one more kernel
inline constexpr double kElementsPerCycle = 4;  // that a multiprocessor writes and reads of memory

/// Chooses the tile and the number of parts whose time, in cycles of a multiprocessor, is the least, for tiles of
/// `depth` steps of k and so many multiply-adds per cycle.
template <class Choice>
GemmPlan least_time(std::span<const Choice> choices, auto depth_of, int64_t m, int64_t n, int64_t k, int64_t batch,
                    int multiprocessors, double multiply_adds) {
  constexpr double kTileCycles = 1500;  // until the first copy has come, and for the stores
  constexpr double kMargin = 1.1;       // by which several parts have to be better: the estimate isn't exact
  GemmPlan best{0, {1, std::max<int64_t>(k, 1)}, -1};
  for (size_t i = 0; i < choices.size(); ++i) {
    const auto& [tile, speed] = choices[i];
    const double tiles = double((m + tile.m - 1) / tile.m) * double((n + tile.n - 1) / tile.n) * double(batch);
    const double elements = double(m) * double(n) * double(batch);
    const int unit = depth_of(tile);
    for (int64_t parts = 1; parts <= kMaxSplits; parts *= 2) {
      const Split cut = cut_k(k, parts, kLeastDepth, unit);
      if (cut.count < parts && parts > 1) continue;
      if (parts > 1 && elements * double(cut.count) > double(kMaxPartials)) break;
      const double waves =
          std::max(double(int64_t((tiles * cut.count + multiprocessors - 1) / multiprocessors)), speed.enough);
      const double depth = double((std::min(cut.depth, k) + unit - 1) / unit * unit);
      double time = kTileCycles + waves * tile.m * tile.n * depth / (multiply_adds * speed.percent / 100);
      if (cut.count > 1)
        time = kMargin * time + kLaunchCycles + 2 * elements * cut.count / (kElementsPerCycle * multiprocessors);
      if (best.cycles < 0 || time < best.cycles) best = {int(i), cut, time};
    }
  }
  return best;
}

/// By the CUDA cores.
inline GemmPlan choose_tile(std::span<const TileChoice> choices, int64_t m, int64_t n, int64_t k, int64_t batch,
                            int multiprocessors, double multiply_adds = 128) {
  const auto depth = [](const Tile& tile) { return tile.k; };
  return least_time(choices, depth, m, n, k, batch, multiprocessors, multiply_adds);
}

/// Multiply-adds per cycle of a multiprocessor by data sheets (for mma.sync on sm_90 and sm_100, which have faster
/// instructions, an estimate): of float32 by the CUDA cores, and of 16-bit elements by the tensor cores.
struct CoreRates {
  double simt, mma;
};
constexpr CoreRates rates_of(int architecture) {
  if (architecture == 80) return {64, 1024};
  return {128, architecture == 90 || architecture == 100 ? 1280.0 : 512.0};
}

struct GemmSizes {
  int64_t m, n, k, batch;
};

/// By tensor cores.
inline GemmPlan choose_mma_tile(MmaOperands operands, const GemmSizes& g, int multiprocessors, int architecture) {
  const double products = operands == MmaOperands::halves ? 1 : operands == MmaOperands::tf32 ? 2 : 6;
  const int depth = kMmaBytes / (operands == MmaOperands::halves ? 2 : 4);
  return least_time(
      mma_tiles(operands), [=](const MmaTile&) { return depth; }, g.m, g.n, g.k, g.batch, multiprocessors,
      rates_of(architecture).mma / products);
}

/// Which units of a multiprocessor do the work: the CUDA cores, or tensor cores by mma.sync.
enum class Cores { simt, mma };

/// For float32 operands, where tensor cores are accurate enough; copies[i] elements of operand i have to be copied for
/// them first. Some GPUs' tensor cores are no faster at it than their CUDA cores, nor are any with few elements.
inline Cores choose_cores(MmaOperands operands, const GemmSizes& g, const double (&copies)[2], int multiprocessors,
                          int architecture) {
  if (architecture < 80) return Cores::simt;
  double mma = choose_mma_tile(operands, g, multiprocessors, architecture).cycles;
  for (const double elements : copies)
    if (elements > 0) mma += kLaunchCycles + 2 * elements / (kElementsPerCycle * multiprocessors);
  const double rate = rates_of(architecture).simt;
  const double simt = choose_tile(kTiles<float>, g.m, g.n, g.k, g.batch, multiprocessors, rate).cycles;
  return mma < simt ? Cores::mma : Cores::simt;
}

}  // namespace steep::cuda
