// The blocking of matmul on each instruction set: what the frame (frame.h) is tuned by.
//
// The names follow the five-loop algorithm of Goto and van de Geijn ("Anatomy of high-performance matrix
// multiplication", 2008) as restructured by BLIS (Van Zee and van de Geijn, 2015); the sizes follow Low et al.,
// "Analytical modeling is enough for high-performance BLIS" (2016), then measurement.
#pragma once
#include <cstdint>

namespace steep::STEEP_ISA_NS {
namespace {

struct Blocking {
  int mr, vectors;            // register tile: mr rows of `vectors` vectors. Their accumulators, one row of B and one
                              // broadcast of A must fit the registers, and there must be enough of them to hide the
                              // latency of the multiply-add (8 to 10 on every core here).
  int dot_rows, dot_columns;  // register tile of the dot-product kernel: accumulators, dot_columns of B, one of A
  int kc;                     // depth of a block: kc × NR of B stay in L1 while the tiles go down A
  int64_t a_bytes;            // block of A (MC × kc) that stays in L2, about half of it
  int64_t b_bytes;            // block of B (kc × NC) that stays in L3
  int ahead;                  // how many k's B is prefetched ahead
};

namespace blocking {
constexpr Blocking sse4{6, 2, 4, 3, 384, 256 << 10, 1536 << 10, 64};      // 12 accumulators of 16 registers
constexpr Blocking avx2{6, 2, 4, 3, 384, 256 << 10, 1536 << 10, 64};      // 12 of 16
constexpr Blocking avx512{14, 2, 6, 4, 1024, 448 << 10, 4096 << 10, 32};  // 28 of 32
constexpr Blocking neon{6, 4, 6, 4, 384, 256 << 10, 1536 << 10, 32};      // 24 of 32
}  // namespace blocking

constexpr int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t unit) { return ceil_div(a, unit) * unit; }

template <class T>
struct Tile {
  static constexpr const Blocking& row = blocking::STEEP_ISA_NS;
  static constexpr int lanes = STEEP_VECTOR_BYTES / sizeof(T);
  static constexpr int vectors = row.vectors;
  static constexpr int64_t mr = row.mr, nr = row.vectors * lanes, kc = row.kc;
  static constexpr int64_t mc = row.a_bytes / int64_t(kc * sizeof(T)) / mr * mr;
  static constexpr int64_t nc = row.b_bytes / int64_t(kc * sizeof(T)) / nr * nr;
};

}  // namespace
}  // namespace steep::STEEP_ISA_NS
