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
  int mr, vectors;  // Register tile: mr rows of `vectors` vectors. With one row of B and a broadcast of A they
                    // must fit the registers, and be enough to hide the latency of the multiply-add (8 to 10).
  int dot_rows, dot_columns;  // Register tile of the dot products: the sums, dot_columns of B and one of A.
  int kc;                     // Depth of a block. Deep ones cost a panel of B (kc × nr) that L1 must share with A, but
                              // it is prefetched from L2; shallow ones cost passes over C, and those go to memory.
  int64_t a_bytes;            // Block of A (mc × kc): at most half of L2.
  int64_t b_bytes;            // Block of B (kc × nc): in L3.
  int ahead;                  // B is prefetched so many k's ahead: the latency of memory over the time of a step.
  int pack_rows, pack_sets;   // B is packed from so many rows of A on; pack_sets: where its rows fall into few sets of
                              // L1. Wide and tall tiles read whole cache lines of it, and seldom: they can do without.
};

namespace blocking {
constexpr Blocking sse4{6, 2, 4, 3, 1024, 256 << 10, 4096 << 10, 64, 24, 2};       // 12 sums in 16 registers
constexpr Blocking avx2{6, 2, 4, 3, 1024, 256 << 10, 4096 << 10, 64, 24, 2};       // 12 in 16
constexpr Blocking avx512{14, 2, 6, 4, 1024, 448 << 10, 4096 << 10, 32, 768, 64};  // 28 in 32
constexpr Blocking neon{6, 4, 6, 4, 512, 256 << 10, 4096 << 10, 32, 24, 2};        // 24 in 32
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
