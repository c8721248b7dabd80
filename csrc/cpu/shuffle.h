// Lanes that change places.
#pragma once
#include "simd.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// f(0), f(1), … with constants.
template <int count, class F>
STEEP_INLINE void each_constant(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (f(std::integral_constant<int, i>()), ...);
  }(std::make_integer_sequence<int, count>());
}

/// Lane i of the result is lane i ^ distance of x.
template <int distance, class T>
STEEP_INLINE Vec<T> exchanged(Vec<T> x) {
  return [&]<int... i>(std::integer_sequence<int, i...>) -> Vec<T> {
    return __builtin_shufflevector(x.v, x.v, (i ^ distance)...);
  }(std::make_integer_sequence<int, Vec<T>::n>());
}

/// The lanes whose number has a bit of `bits` from `yes`, the others from `no`.
template <int bits, class T>
STEEP_INLINE Vec<T> blended(Vec<T> yes, Vec<T> no) {
  return [&]<int... i>(std::integer_sequence<int, i...>) -> Vec<T> {
    return __builtin_shufflevector(no.v, yes.v, (i & bits ? i + Vec<T>::n : i)...);
  }(std::make_integer_sequence<int, Vec<T>::n>());
}

/// Of two rows of blocks of `size` lanes, the upper right and the lower left blocks change places.
template <int size, class T>
STEEP_INLINE void exchange_blocks(Vec<T>& a, Vec<T>& b) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    constexpr int n = Vec<T>::n;
    const auto upper = __builtin_shufflevector(a.v, b.v, (i & size ? i - size + n : i)...);
    b = __builtin_shufflevector(a.v, b.v, (i & size ? i + n : i + size)...);
    a = upper;
  }(std::make_integer_sequence<int, Vec<T>::n>());
}

/// As many vectors as one has lanes, taken for rows of a matrix, become its columns.
template <int size = 1, class T>
STEEP_INLINE void transpose(Vec<T>* rows) {
  constexpr int n = Vec<T>::n;
  if constexpr (size < n) {
    [&]<int... i>(std::integer_sequence<int, i...>) {
      (exchange_blocks<size>(rows[i / size * 2 * size + i % size], rows[i / size * 2 * size + i % size + size]), ...);
    }(std::make_integer_sequence<int, n / 2>());
    transpose<2 * size>(rows);
  }
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
