// What the records of unary.h and binary.h have in common. A record is one operation: its name, its value and its
// derivatives as formulas over any V. V is Vec<T> on the CPU and a plain scalar on CUDA; with create_graph the
// derivatives also run on taped tensors, so they keep to + - * /, comparisons, select and named functions.
#pragma once
#include <limits>
#include <type_traits>

#include "../core/kernels.h"

#if defined(__CUDACC__)
#define STEEP_FORMULA __host__ __device__ __forceinline__
#else
#define STEEP_FORMULA inline __attribute__((always_inline))
#endif

namespace steep::STEEP_ISA_NS {
namespace {

enum Accepts : unsigned { kBool = 1, kIntegers = 2, kFloats = 4, kNumbers = kIntegers | kFloats };

/// `count` numbers follow the operands; a record that has them is constructed from a pointer to them.
template <unsigned accepted, int count = 0>
struct Record {
  static constexpr unsigned accepts = accepted;
  static constexpr int params = count;
  static constexpr bool to_bool = false, differentiable = true;
};
/// An operation without a derivative.
template <unsigned accepted>
struct Step : Record<accepted> {
  static constexpr bool differentiable = false;
};
/// One that answers a question.
template <unsigned accepted>
struct Predicate : Step<accepted> {
  static constexpr bool to_bool = true;
};

template <class T>
constexpr bool accepts(unsigned types) {
  const DType t = dtype_of<T>();
  return types & (t == DType::boolean ? kBool : is_integer(t) ? kIntegers : kFloats);
}

/// What kernels see of an element: a boolean is a byte, 0 or 1.
template <class T>
using Lane = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;

/// f.operator()<T>() for every dtype that kernels compute in.
template <class F, class... T>
constexpr void each_type(const F& f, Types<T...>) {
  (f.template operator()<T>(), ...);
}
template <class F>
constexpr void each_computed_type(const F& f) {
  each_type(f, ComputedTypes());
}

template <class Op>
STEEP_FORMULA Op make(const double* params) {
  if constexpr (Op::params > 0)
    return Op(params);
  else
    return Op();
}

/// A bound for values of V, the nearest that V's integers have.
template <class V>
STEEP_FORMULA V saturate(double bound) {
  if constexpr (requires { typename V::Elem; } && std::is_integral_v<typename V::Elem>) {
    using T = typename V::Elem;
    using Limits = std::numeric_limits<T>;
    constexpr double beyond = 2 * double(T(1) << (Limits::digits - 1)), lowest = double(Limits::min());
    return V(bound >= beyond ? Limits::max() : bound >= lowest ? T(bound) : Limits::min());
  } else {
    return V(bound);
  }
}

/// x within ±limit. Where a factor is 0 beyond the limit it takes the place of x, as ∞·0 would be NaN.
template <class V>
STEEP_FORMULA V bounded(V x, double limit) {
  return min(V(limit), max(V(-limit), x));
}

template <class... Op>
struct List {};
template <class... Lists>
struct Join;
template <class... A>
struct Join<List<A...>> {
  using type = List<A...>;
};
template <class... A, class... B, class... Rest>
struct Join<List<A...>, List<B...>, Rest...> : Join<List<A..., B...>, Rest...> {};

}  // namespace
}  // namespace steep::STEEP_ISA_NS
