// What the words of a Philox block become: the formulas of the random fills, for the CPU and for CUDA. Each is a
// function object that makes `per_block` elements of type Element. The same bits everywhere: see philox.h.
#pragma once
#include <cmath>
#include <cstdint>

#include "philox.h"

namespace steep::random {

template <class T>
struct Uniform {
  using Element = T;
  static constexpr int per_block = sizeof(T) == 4 ? 4 : 2;
  T lo, hi, under;

  Uniform(T low, T high) : lo(low), hi(high), under(std::nextafter(high, low)) {}
  STEEP_HD void operator()(const philox::Words& w, T* y) const {
    for (int k = 0; k < per_block; ++k) {
      const T u = sizeof(T) == 4 ? philox::unit<T>(w.v[k], 0) : philox::unit<T>(w.v[2 * k % 4], w.v[(2 * k + 1) % 4]);
      y[k] = philox::between(u, lo, hi, under);
    }
  }
};

template <class T>
struct Normal {
  using Element = T;
  static constexpr int per_block = sizeof(T) == 4 ? 4 : 2;
  T mean, deviation;

  STEEP_HD void operator()(const philox::Words& w, T* y) const {
    for (int k = 0; k < per_block; k += 2) philox::normal_pair(w.v[k], w.v[k + 1], w.v[2], w.v[3], y[k], y[k + 1]);
    for (int k = 0; k < per_block; ++k) y[k] = mean + deviation * y[k];
  }
};

template <class T>
struct Integer {
  using Element = T;
  static constexpr int per_block = 2;
  uint64_t lo, range;

  Integer(int64_t low, int64_t high) : lo(uint64_t(low)), range(uint64_t(high) - uint64_t(low)) {}
  STEEP_HD void operator()(const philox::Words& w, T* y) const {
    for (int k = 0; k < 2; ++k) y[k] = T(lo + philox::below(range, philox::join(w.v[2 * k], w.v[2 * k + 1])));
  }
};

struct Bernoulli {
  using Element = uint8_t;
  static constexpr int per_block = 4;
  uint64_t threshold;

  explicit Bernoulli(double p) : threshold(uint64_t(p * 0x1p32 + 0.5)) {}
  STEEP_HD void operator()(const philox::Words& w, uint8_t* y) const {
    for (int k = 0; k < 4; ++k) y[k] = w.v[k] < threshold;
  }
};

}  // namespace steep::random
