// A transposition in registers.
#pragma once
#include <utility>

#include "../simd.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Transposes n vectors of n lanes in log2(n) rounds, each of which interleaves vector i with vector i + n/2.
template <class T, int... I>
STEEP_INLINE void transpose(Vec<T> (&x)[sizeof...(I)], std::integer_sequence<int, I...>) {
  constexpr int n = sizeof...(I);
#pragma GCC unroll 4
  for (int round = 1; round < n; round *= 2) {
    Vec<T> next[n];
#pragma GCC unroll 16
    for (int i = 0; i < n / 2; ++i) {
      next[2 * i] = __builtin_shufflevector(x[i].v, x[i + n / 2].v, (I / 2 + I % 2 * n)...);
      next[2 * i + 1] = __builtin_shufflevector(x[i].v, x[i + n / 2].v, (I / 2 + I % 2 * n + n / 2)...);
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) x[i] = next[i];
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
