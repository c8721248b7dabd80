// Element types, and which of them kernels compute in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "half.h"

namespace steep {

enum class DType : uint8_t {
  boolean,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  bfloat16,
  float32,
  float64,
};
inline constexpr int kDTypes = 13;

template <class... T>
struct Types {};
/// In the order of DType.
using EveryType = Types<bool, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, float16,
                        bfloat16, float, double>;
/// Those that kernels compute in. The others are storage: their values are converted to one of these, and back.
using ComputedTypes = Types<bool, int32_t, int64_t, uint64_t, float, double>;
inline constexpr int kComputedTypes = 6;

namespace detail {
template <class T, class... All>
constexpr int place_in(Types<All...>) {
  int place = 0;
  (void)((std::is_same_v<T, All> || (++place, false)) || ...);
  return place;
}
}  // namespace detail

template <class T>
constexpr DType dtype_of() {
  constexpr int place = detail::place_in<T>(EveryType());
  static_assert(place < kDTypes);
  return DType(place);
}

constexpr size_t item_size(DType t) {
  constexpr size_t sizes[kDTypes] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8};
  return sizes[int(t)];
}

constexpr const char* name(DType t) {
  constexpr const char* names[kDTypes] = {"bool",   "int8",   "int16",   "int32",    "int64",   "uint8",  "uint16",
                                          "uint32", "uint64", "float16", "bfloat16", "float32", "float64"};
  return names[int(t)];
}

constexpr bool is_floating(DType t) { return t >= DType::float16; }
constexpr bool is_integer(DType t) { return t >= DType::int8 && t <= DType::uint64; }
constexpr bool is_unsigned(DType t) { return t >= DType::uint8 && t <= DType::uint64; }

/// The dtype that operations on t compute in: it holds every value of t. Integers that wrap in it have the right low
/// bits.
constexpr DType computed_in(DType t) {
  switch (t) {
    case DType::int8:
    case DType::int16:
    case DType::uint8:
    case DType::uint16:
      return DType::int32;
    case DType::uint32:
      return DType::int64;
    case DType::float16:
    case DType::bfloat16:
      return DType::float32;
    default:
      return t;
  }
}

/// An X for every dtype that kernels compute in; of another dtype, that of the one it is computed in.
template <class X>
struct ByDType {
  X of[kComputedTypes];

  constexpr X& operator[](DType t) { return of[place(t)]; }
  constexpr const X& operator[](DType t) const { return of[place(t)]; }

 private:
  static constexpr int place(DType t) {
    constexpr int8_t places[kDTypes] = {0, 1, 1, 1, 2, 1, 1, 2, 3, 4, 4, 4, 5};
    return places[int(t)];
  }
};

namespace detail {
template <class F, class First, class... Rest>
decltype(auto) visit(DType t, F&& f, Types<First, Rest...>) {
  if constexpr (sizeof...(Rest) > 0)
    if (t != dtype_of<First>()) return visit(t, static_cast<F&&>(f), Types<Rest...>());
  return f(First{});
}
}  // namespace detail

/// Calls f with a value of the C++ type that stores `t`: visit(t, [&](auto zero) { using T = decltype(zero); … }).
template <class F>
decltype(auto) visit(DType t, F&& f) {
  return detail::visit(t, static_cast<F&&>(f), EveryType());
}
/// The same for a dtype that kernels compute in. Throws std::logic_error if t is another.
template <class F>
decltype(auto) visit_computed(DType t, F&& f) {
  if (computed_in(t) != t)
    throw std::logic_error(std::string("no kernel computes in ") + name(t) + ": convert to " + name(computed_in(t)));
  return detail::visit(t, static_cast<F&&>(f), ComputedTypes());
}

/// An unsigned integer of so many bytes: what elements are where they are only moved, or compared as bits.
template <int bytes>
using Word =
    std::conditional_t<bytes == 1, uint8_t,
                       std::conditional_t<bytes == 2, uint16_t, std::conditional_t<bytes == 4, uint32_t, uint64_t>>>;

/// f with a Word of `item` bytes.
template <class F>
void visit_words(int64_t item, const F& f) {
  if (item == 1) return f(uint8_t());
  if (item == 2) return f(uint16_t());
  if (item == 4) return f(uint32_t());
  f(uint64_t());
}

/// a + b; integers wrap.
template <class T>
STEEP_HD T sum_of(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return T(uint64_t(a) + uint64_t(b));
  else
    return a + b;
}

}  // namespace steep
