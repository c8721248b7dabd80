// CUDA's atomic functions. One thread runs at a time, so plain operations will do; they are places where the random
// schedule may change threads, and ThreadSanitizer is told to see one whole access.
#pragma once
#include <type_traits>

#include "execution.h"

namespace steep::cuda::emulator {

template <class T, class F>
T atomic(T* p, F change) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  maybe_yield();
  T before, after;
  __atomic_load(p, &before, __ATOMIC_RELAXED);
  after = change(before);
  __atomic_store(p, &after, __ATOMIC_RELAXED);
  return before;
}

}  // namespace steep::cuda::emulator

template <class T>
T atomicAdd(T* p, std::type_identity_t<T> value) {
  return steep::cuda::emulator::atomic(p, [=](T x) {
    if constexpr (std::is_integral_v<T>) {
      using U = std::make_unsigned_t<T>;
      return T(U(x) + U(value));
    } else {
      return x + value;
    }
  });
}
template <class T>
T atomicSub(T* p, std::type_identity_t<T> value) {
  using U = std::make_unsigned_t<T>;
  return steep::cuda::emulator::atomic(p, [=](T x) { return T(U(x) - U(value)); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA has none for floating-point numbers");
  return steep::cuda::emulator::atomic(p, [=](T x) { return x < value ? value : x; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA has none for floating-point numbers");
  return steep::cuda::emulator::atomic(p, [=](T x) { return value < x ? value : x; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> value) {
  return steep::cuda::emulator::atomic(p, [=](T) { return value; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "CUDA compares bits: use the integer of that size");
  return steep::cuda::emulator::atomic(p, [=](T x) { return x == expected ? value : x; });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> value) {
  return steep::cuda::emulator::atomic(p, [=](T x) { return x & value; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> value) {
  return steep::cuda::emulator::atomic(p, [=](T x) { return x | value; });
}
template <class T>
T atomicXor(T* p, std::type_identity_t<T> value) {
  return steep::cuda::emulator::atomic(p, [=](T x) { return x ^ value; });
}
/// x + 1, and 0 after `last`
inline unsigned atomicInc(unsigned* p, unsigned last) {
  return steep::cuda::emulator::atomic(p, [=](unsigned x) { return x >= last ? 0 : x + 1; });
}
