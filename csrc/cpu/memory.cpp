// Copies past the caches, and what benchmarks measure the machine by.
#include "../core/kernels.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// As many sums as hide the latency of a multiply-add, all in registers.
int64_t multiply_adds(int64_t rounds) {
  using V = Vec<float>;
  constexpr int kSums = 12;
  V sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = float(i);
  const V a = 0.5f, b = 0.25f;
  for (int64_t r = 0; r < rounds; ++r)
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = fma(sums[i], a, b);
  for (const V& sum : sums)
    if (!(sum <= V(float(kSums))).all()) return 0;  // never: they approach 1/2. So the work is needed.
  return rounds * kSums * V::n * 2;
}

}  // namespace

void fill_memory(Kernels& k) {
  k.memory = {copy_past_caches, streaming_ends};
  k.multiply_adds = multiply_adds;
}

}  // namespace steep::STEEP_ISA_NS
