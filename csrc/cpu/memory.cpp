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

void stream(int64_t bytes, const void* from, void* to) {
  const uint8_t* x = static_cast<const uint8_t*>(from);
  uint8_t* y = static_cast<uint8_t*>(to);
  if (reinterpret_cast<uintptr_t>(to) % STEEP_VECTOR_BYTES)
    each_vector<uint8_t>(bytes, [&](int64_t i, auto span) { span.store(y + i, span.load(x + i)); });
  else
    each_streamed<uint8_t>(0, bytes, [&](int64_t i, auto span) { span.store(y + i, span.load(x + i)); });
}

}  // namespace

void fill_memory(Kernels& k) {
  k.memory = {stream, streaming_ends};
  k.multiply_adds = multiply_adds;
}

}  // namespace steep::STEEP_ISA_NS
