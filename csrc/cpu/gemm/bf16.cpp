// Products of bfloat16 matrices by AVX512-BF16, whose instruction multiplies pairs: sum += a[k]·b[k] + a[k + 1]·b[k +
// 1] in float32. So both operands are packed as pairs along K, one 32-bit word each. The instruction reads and gives
// subnormal numbers as zeros.
#include <algorithm>

#include "../../core/kernels.h"
#include "../../core/scratch.h"
#include "transpose.h"

namespace steep::STEEP_ISA_NS {
void fill_gemm_bf16(Kernels& k);

namespace {

using Pair = uint32_t;
using Sums = Vec<float>;

constexpr int kRows = 14, kColumns = 2 * Sums::n;  // of a register tile: 28 sums in 32 registers
constexpr int64_t kDepth = 1024;                   // pairs of a block: a panel of B is 128 KB, as in float32
constexpr int64_t kBlockRows = 28 * kRows;         // of A, with kDepth half of L2
constexpr int64_t kBlockColumns = 32 * kColumns;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The pair at p; beyond the last k there is a zero.
STEEP_INLINE Pair pair_at(const bfloat16* p, int64_t step, bool whole) {
  return p->bits | (whole ? Pair(p[step].bits) << 16 : 0);
}

/// to[q·kRows + i]: pair q of row i.
void pack_a(Pair* to, const bfloat16* a, int64_t a_row, int64_t a_col, int64_t rows, int64_t k) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t q = 0; 2 * q < k; ++q)
      to[q * kRows + i] = pair_at(a + i * a_row + 2 * q * a_col, a_col, 2 * q + 1 < k);
}

/// to[q·kColumns + j]: pair q of column j.
void pack_b(Pair* to, const bfloat16* b, int64_t b_row, int64_t b_col, int64_t columns, int64_t k) {
  const int64_t whole = k / 2;
  int64_t q = 0;
  if (columns == kColumns && b_col == 1) {  // pairs across two rows: a zip of their elements
    for (; q < whole; ++q, to += kColumns) {
      const bfloat16 *even = b + 2 * q * b_row, *odd = even + b_row;
      __builtin_prefetch(even + 8 * b_row);
      __builtin_prefetch(odd + 8 * b_row);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const auto low = (const __m256i*)(even + half * Sums::n), high = (const __m256i*)(odd + half * Sums::n);
        const __m512i words =
            _mm512_maskz_slli_epi32(-1, _mm512_maskz_cvtepu16_epi32(-1, _mm256_loadu_si256(high)), 16);
        _mm512_storeu_si512(to + half * Sums::n,
                            _mm512_or_si512(words, _mm512_maskz_cvtepu16_epi32(-1, _mm256_loadu_si256(low))));
      }
    }
  } else if (b_row == 1) {  // pairs lie in memory as they are: transposed words
    for (; q + Sums::n <= whole; q += Sums::n, to += Sums::n * kColumns)
      for (int64_t j = 0; j < columns; j += Sums::n) {
        Sums words[Sums::n];
#pragma GCC unroll 16
        for (int r = 0; r < Sums::n; ++r)
          __builtin_memcpy(&words[r], b + 2 * q + std::min(j + r, columns - 1) * b_col, sizeof(Sums));
        transpose<float>(words, std::make_integer_sequence<int, Sums::n>{});
#pragma GCC unroll 16
        for (int r = 0; r < Sums::n; ++r) __builtin_memcpy(to + r * kColumns + j, &words[r], sizeof(Sums));
      }
  }
  for (; 2 * q < k; ++q, to += kColumns)
    for (int64_t j = 0; j < columns; ++j) to[j] = pair_at(b + 2 * q * b_row + j * b_col, b_row, 2 * q + 1 < k);
}

/// One register tile over a block of K.
struct Tile {
  int64_t pairs;
  const Pair *a, *b;
  float* sums;       // between the blocks of K; null where there is one
  int64_t sums_row;  // its step
  bool first, last;  // block
  bfloat16* c;
  int64_t c_row;
  int columns;
  const bfloat16 *bias, *residual;
  bool relu;
};

STEEP_INLINE Sums widened(__m256i x) {
  return (__m512)_mm512_maskz_slli_epi32(-1, _mm512_maskz_cvtepu16_epi32(-1, x), 16);
}

template <int R>
void run(const Tile& t) {
  Sums sum[R][2] = {};
  const Pair *a = t.a, *b = t.b;
  for (int64_t q = 0; q < t.pairs; ++q, a += kRows, b += kColumns) {
    const auto left = (__m512bh)_mm512_loadu_si512(b), right = (__m512bh)_mm512_loadu_si512(b + Sums::n);
    __builtin_prefetch(b + 16 * kColumns);
    __builtin_prefetch(b + 16 * kColumns + Sums::n);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const auto x = (__m512bh)_mm512_set1_epi32(int(a[i]));
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0].v, x, left);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1].v, x, right);
    }
  }
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const int lanes = std::clamp(t.columns - half * Sums::n, 0, Sums::n);
    const __mmask16 mask = __mmask16((1u << lanes) - 1);
    const Sums bias = t.bias && t.last ? widened(_mm256_maskz_loadu_epi16(mask, t.bias + half * Sums::n)) : Sums(0);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      Sums y = sum[i][half];
      float* partial = t.sums + i * t.sums_row + half * Sums::n;
      if (!t.first) y = y + Sums::load(partial);
      if (!t.last) {
        y.store(partial);
        continue;
      }
      y = y + bias;
      if (t.residual) y = y + widened(_mm256_maskz_loadu_epi16(mask, t.residual + i * t.c_row + half * Sums::n));
      if (t.relu) y = max(Sums(0), y);
      _mm256_mask_storeu_epi16(t.c + i * t.c_row + half * Sums::n, mask, (__m256i)_mm512_cvtneps_pbh(y.v));
    }
  }
}

template <int... I>
void run_rows(const Tile& t, int64_t rows, std::integer_sequence<int, I...>) {
  static constexpr void (*table[])(const Tile&) = {run<I + 1>...};
  table[rows - 1](t);
}

/// Computes the rectangle `r` of C; alpha is 1 and beta 0.
void block(const Gemm<bfloat16>& g, const GemmRange& r) {
  const int64_t m = r.m1 - r.m0, n = r.n1 - r.n0, pairs = std::max<int64_t>(1, ceil_div(g.k, 2));
  if (m <= 0 || n <= 0) return;
  const int64_t depth = ceil_div(pairs, ceil_div(pairs, kDepth)), rows = std::min(m, kBlockRows);
  const int64_t tile_rows = ceil_div(rows, ceil_div(rows, kRows));
  const int64_t columns = std::min(ceil_div(n, kColumns) * kColumns, kBlockColumns);
  const bool several = depth < pairs;
  const int64_t a_size = ceil_div(rows, tile_rows) * depth * kRows, b_size = columns * depth;
  Pair* const b_copy =
      static_cast<Pair*>(scratch(size_t(a_size + b_size + (several ? m * columns : 0)) * sizeof(Pair)));
  Pair* const a_copy = b_copy + b_size;
  Tile t{};
  t.c_row = g.c_row, t.sums_row = columns, t.relu = g.relu;
  for (int64_t j0 = r.n0; j0 < r.n1; j0 += columns) {
    const int64_t width = std::min(columns, r.n1 - j0);
    for (int64_t q0 = 0; q0 < pairs; q0 += depth) {
      const int64_t k = std::min(2 * depth, g.k - 2 * q0);
      t.pairs = ceil_div(k, 2), t.first = q0 == 0, t.last = q0 + depth >= pairs;
      for (int64_t j = 0; j < width; j += kColumns)
        pack_b(b_copy + j * depth, g.b + 2 * q0 * g.b_row + (j0 + j) * g.b_col, g.b_row, g.b_col,
               std::min<int64_t>(kColumns, width - j), k);
      for (int64_t i0 = r.m0; i0 < r.m1; i0 += rows) {
        const int64_t height = std::min(rows, r.m1 - i0);
        for (int64_t i = 0; i < height; i += tile_rows)
          pack_a(a_copy + i / tile_rows * depth * kRows, g.a + (i0 + i) * g.a_row + 2 * q0 * g.a_col, g.a_row, g.a_col,
                 std::min(tile_rows, height - i), k);
        for (int64_t j = 0; j < width; j += kColumns) {
          t.b = b_copy + j * depth;
          t.columns = int(std::min<int64_t>(kColumns, width - j));
          t.bias = g.bias ? g.bias + j0 + j : nullptr;
          for (int64_t i = 0; i < height; i += tile_rows) {
            t.a = a_copy + i / tile_rows * depth * kRows;
            const int64_t at = (i0 + i) * g.c_row + j0 + j;
            t.c = g.c + at, t.residual = g.residual ? g.residual + at : nullptr;
            t.sums = several ? reinterpret_cast<float*>(a_copy + a_size) + (i0 - r.m0 + i) * columns + j : nullptr;
            run_rows(t, std::min(tile_rows, height - i), std::make_integer_sequence<int, kRows>());
          }
        }
      }
    }
  }
}

}  // namespace

void fill_gemm_bf16(Kernels& k) { k.gemm_bf16.block = block; }

}  // namespace steep::STEEP_ISA_NS
