// The formulas of the scans, for the CPU and for CUDA. A scan carries a state along each line: `take` is the state of
// one element, the k-th of its line, join(a, b) that of a stretch with state a and the one right behind it with state
// b, and `store` writes the result of a line up to an element. join(init(), b) is b.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "host_device.h"

namespace steep::scans {

/// What comes of cutting a line in pieces that are scanned at the same time, once their states have been made: other
/// results; the same, at twice the work; or all but the same, in less time even on one thread, as a sum waits for the
/// one before.
enum class Pieces { differ, same, pay };

/// Float32 is summed in float64, as in the reductions; integers wrap: unsigned, because signed overflow is undefined.
template <class T>
using Wide = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;

template <class T>
struct Sum {
  using State = Wide<T>;
  static constexpr Pieces pieces = std::is_integral_v<T> ? Pieces::same : Pieces::pay;
  const T* x;
  T* y;

  static STEEP_HD State init() { return State(-0.0); }  // of which -0 is the neutral one
  STEEP_HD State take(int64_t at, int64_t) const { return State(x[at]); }
  static STEEP_HD State join(State a, State b) { return a + b; }
  STEEP_HD void store(int64_t at, State s) const { y[at] = T(s); }
};

template <class T>
struct Prod {
  using State = Wide<T>;
  // 0 · (a · b) is NaN where a · b is infinite.
  static constexpr Pieces pieces = std::is_integral_v<T> ? Pieces::same : Pieces::differ;
  const T* x;
  T* y;

  static STEEP_HD State init() { return 1; }
  STEEP_HD State take(int64_t at, int64_t) const { return State(x[at]); }
  static STEEP_HD State join(State a, State b) { return a * b; }
  STEEP_HD void store(int64_t at, State s) const { y[at] = T(s); }
};

/// log Σ exp(x) as the largest x and the sum of exp(x - largest) without the 1 of the largest itself, so that log1p
/// keeps the accuracy of small terms.
struct LogState {
  double largest, rest;
};

template <class T>
struct LogSumExp {
  using State = LogState;
  static constexpr Pieces pieces = Pieces::differ;
  const T* x;
  T* y;

  static STEEP_HD State init() { return {-std::numeric_limits<double>::infinity(), -1}; }
  STEEP_HD State take(int64_t at, int64_t) const { return {double(x[at]), 0}; }
  static STEEP_HD State join(State a, State b) {
    const bool rises = b.largest > a.largest;
    const State high = rises ? b : a, low = rises ? a : b;
    // Equal ones may be infinite, whose difference is NaN.
    const double scale = low.largest == high.largest ? 1.0 : ::exp(low.largest - high.largest);
    return {high.largest, high.rest + (1 + low.rest) * scale};
  }
  STEEP_HD void store(int64_t at, State s) const { y[at] = T(s.largest + ::log1p(s.rest)); }
};

/// y[k] = b[k] + a[k] · y[k - 1] as the map y[k - 1] → offset + factor · y[k - 1]. The first factor is not read.
struct LinearState {
  double factor, offset;
};

template <class T>
struct Linear {
  using State = LinearState;
  static constexpr Pieces pieces = Pieces::differ;
  const T *a, *b;
  T* y;

  static STEEP_HD State init() { return {1, 0}; }
  STEEP_HD State take(int64_t at, int64_t k) const { return {k ? double(a[at]) : 0.0, double(b[at])}; }
  static STEEP_HD State join(State s, State t) { return {s.factor * t.factor, t.offset + t.factor * s.offset}; }
  STEEP_HD void store(int64_t at, State s) const { y[at] = T(s.offset); }
};

template <class T>
struct Place {
  T value;
  int64_t at;
};

/// The last of the largest or smallest elements, as PyTorch's cummax and cummin; a NaN is larger and smaller than any.
template <class T, bool largest>
struct Extreme {
  using State = Place<T>;
  static constexpr Pieces pieces = Pieces::same;
  const T* x;
  T* y;
  int64_t* index;

  static STEEP_HD State init() {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::has_infinity)
      return {largest ? T(-Limits::infinity()) : Limits::infinity(), -1};
    else
      return {largest ? Limits::lowest() : Limits::max(), -1};
  }
  STEEP_HD State take(int64_t at, int64_t k) const { return {x[at], k}; }
  static STEEP_HD State join(State a, State b) {
    const bool better = largest ? b.value >= a.value : b.value <= a.value;
    return better || b.value != b.value ? b : a;
  }
  STEEP_HD void store(int64_t at, State s) const { y[at] = s.value, index[at] = s.at; }
};

}  // namespace steep::scans
