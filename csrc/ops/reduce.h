// Reductions. An accumulator starts at init, takes elements in any order by combine(acc, take(x)), and accumulators
// merge by combine too; finish makes the result. V is a number or a SIMD vector of them.
#pragma once
#include <cstdint>
#include <limits>

#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Integers wrap, as in NumPy: unsigned, because signed overflow is undefined.
template <class T>
using Wide = std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>;

/// The defaults that records share.
struct Reduction {
  template <class A, class T>
  static STEEP_FORMULA A take(T x) {
    return A(x);
  }
  template <class R, class A>
  static STEEP_FORMULA R finish(A a) {
    return R(a);
  }
};

struct Sum : Reduction {
  static constexpr const char* name = "sum";
  static constexpr bool needs_elements = false;
  template <class T>
  using Acc = Wide<T>;
  template <class T>
  using Result = std::conditional_t<std::is_floating_point_v<T> || std::is_same_v<T, uint64_t>, T, int64_t>;
  template <class A>
  static STEEP_FORMULA A init() {
    return 0;
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return a + x;
  }
};

struct Prod : Reduction {
  static constexpr const char* name = "prod";
  static constexpr bool needs_elements = false;
  template <class T>
  using Acc = Wide<T>;
  template <class T>
  using Result = Sum::Result<T>;
  template <class A>
  static STEEP_FORMULA A init() {
    return 1;
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return a * x;
  }
};

/// x where x replaces a: also where x is NaN, and never where a is.
template <class V, class M>
STEEP_FORMULA V replace(M better, V a, V x) {
  if constexpr (std::is_arithmetic_v<V>)
    return (better | (x != x)) ? x : a;
  else
    return select(better | (x != x), x, a);
}

struct Max : Reduction {
  static constexpr const char* name = "max";
  static constexpr bool needs_elements = true;
  template <class T>
  using Acc = T;
  template <class T>
  using Result = T;
  template <class A>
  static STEEP_FORMULA A init() {
    return std::is_floating_point_v<A> ? -std::numeric_limits<A>::infinity() : std::numeric_limits<A>::lowest();
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return replace(x > a, a, x);
  }
};

struct Min : Reduction {
  static constexpr const char* name = "min";
  static constexpr bool needs_elements = true;
  template <class T>
  using Acc = T;
  template <class T>
  using Result = T;
  template <class A>
  static STEEP_FORMULA A init() {
    return std::is_floating_point_v<A> ? std::numeric_limits<A>::infinity() : std::numeric_limits<A>::max();
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return replace(x < a, a, x);
  }
};

struct Any : Reduction {
  static constexpr const char* name = "any";
  static constexpr bool needs_elements = false;
  template <class T>
  using Acc = uint8_t;
  template <class T>
  using Result = bool;
  template <class A>
  static STEEP_FORMULA A init() {
    return 0;
  }
  template <class A, class T>
  static STEEP_FORMULA A take(T x) {
    return x != 0;
  }  // NaN counts as true
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return a | x;
  }
};

struct All : Reduction {
  static constexpr const char* name = "all";
  static constexpr bool needs_elements = false;
  template <class T>
  using Acc = uint8_t;
  template <class T>
  using Result = bool;
  template <class A>
  static STEEP_FORMULA A init() {
    return 1;
  }
  template <class A, class T>
  static STEEP_FORMULA A take(T x) {
    return x != 0;
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return a & x;
  }
};

using Reductions = List<Sum, Prod, Max, Min, Any, All>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
