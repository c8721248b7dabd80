#include "tensor_cores.h"

#include <algorithm>
#include <cstring>

#include "../../core/half.h"
#include "cluster.h"
#include "tensor_sums.h"

namespace steep::cuda::emulator {
namespace {

constexpr int kRows = 16;

float element(MmaType type, uint32_t word, int half) {
  if (type == MmaType::tf32) return same_bits<float>(word & ~uint32_t(0x1fff));
  const uint16_t bits = uint16_t(word >> (16 * half));
  return type == MmaType::bf16 ? float(same_bits<bfloat16>(bits)) : float(same_bits<float16>(bits));
}

struct Mma : Collective {
  uint32_t a[4], b[2];
  float c[4];  // then D
};

/// Which element of A (row, k), B (k, column) and D (row, column) is in which register of which lane is the PTX
/// manual's "Matrix Fragments for mma.m16n8k16" and "… for mma.m16n8k8".
void multiply(Collective* const (&lanes)[warpSize]) {
  const MmaType type = MmaType(lanes[0]->variant);
  const bool tf32 = type == MmaType::tf32;
  double a[kRows][16];
  Row b[16], d[kRows];
  for (int l = 0; l < warpSize; ++l) {
    const Mma& lane = static_cast<const Mma&>(*lanes[l]);
    const int group = l / 4, member = l % 4;
    for (int i = 0; i < 4; ++i) {
      for (int half = 0; half < (tf32 ? 1 : 2); ++half) {
        const int k = tf32 ? member + i / 2 * 4 : member * 2 + half + i / 2 * 8;
        a[group + i % 2 * 8][k] = element(type, lane.a[i], half);
      }
      d[group + i / 2 * 8][member * 2 + i % 2] = lane.c[i];
    }
    for (int i = 0; i < 2; ++i)
      for (int half = 0; half < (tf32 ? 1 : 2); ++half)
        b[tf32 ? member + i * 4 : member * 2 + half + i * 8][group] = element(type, lane.b[i], half);
  }
  // The A100 keeps one bit more, the least since sm_80, and adds up so many products at a time.
  constexpr int kExtraBits = 1;
  for (int row = 0; row < kRows; ++row)
    for (int step = 0; step < 2; ++step)
      tf32 ? add_products<4, kExtraBits>(d[row], a[row] + 4 * step, b + 4 * step)
           : add_products<8, kExtraBits>(d[row], a[row] + 8 * step, b + 8 * step);
  for (int l = 0; l < warpSize; ++l)
    for (int i = 0; i < 4; ++i) static_cast<Mma*>(lanes[l])->c[i] = float(d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2]);
}

struct Matrices : Collective {
  uint16_t row[8];
  uint32_t words[4];
};

/// Lane 8·i + r gives row r of matrix i, and word i of lane l is the pair of its elements (l / 4, 2·(l % 4)) and the
/// next; of the transposed matrix, where they are to be transposed.
void distribute(Collective* const (&lanes)[warpSize]) {
  const int count = lanes[0]->variant >> 1;
  const bool transposed = lanes[0]->variant & 1;
  for (int l = 0; l < warpSize; ++l)
    for (int i = 0; i < count; ++i) {
      const int row = l / 4, column = l % 4 * 2;
      const auto at = [&](int r, int c) -> uint32_t { return static_cast<Matrices*>(lanes[8 * i + r])->row[c]; };
      static_cast<Matrices*>(lanes[l])->words[i] =
          transposed ? at(column, row) | at(column + 1, row) << 16 : at(row, column) | at(row, column + 1) << 16;
    }
}

}  // namespace

void mma(MmaType type, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
         const Site& site) {
  Mma mine;
  mine.run = multiply, mine.variant = int(type);
  std::copy_n(a, 4, mine.a), std::copy_n(b, 2, mine.b), std::copy_n(c, 4, mine.c);
  warp_collective(mine, site);
  std::copy_n(mine.c, 4, d);
}

void load_matrices(int count, bool transposed, const void* row, uint32_t* words, const Site& site) {
  Matrices mine;
  mine.run = distribute, mine.variant = 2 * count + transposed;
  if (lane() < 8 * count) {
    if (reinterpret_cast<uintptr_t>(row) % sizeof mine.row)
      cluster().fail(cudaErrorMisalignedAddress, "the row of a matrix is not aligned to 16 bytes");
    std::memcpy(mine.row, row, sizeof mine.row);  // by the lane that names it: ThreadSanitizer is to see that
  }
  warp_collective(mine, site);
  std::copy_n(mine.words, count, words);
}

}  // namespace steep::cuda::emulator
