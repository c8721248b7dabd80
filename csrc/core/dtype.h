// Element types. The enumerators are ordered by Array API promotion within each kind.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace steep {

enum class DType : uint8_t { boolean, int32, int64, float32, float64 };
inline constexpr int kDTypes = 5;

/// Booleans are stored as one byte that is 0 or 1; kernels see them as uint8_t.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, uint8_t>) return DType::boolean;
  if constexpr (std::is_same_v<T, int32_t>) return DType::int32;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
}

constexpr size_t item_size(DType t) {
  constexpr size_t sizes[kDTypes] = {1, 4, 8, 4, 8};
  return sizes[int(t)];
}

constexpr const char* name(DType t) {
  constexpr const char* names[kDTypes] = {"bool", "int32", "int64", "float32", "float64"};
  return names[int(t)];
}

constexpr bool is_floating(DType t) { return t == DType::float32 || t == DType::float64; }
constexpr bool is_integer(DType t) { return t == DType::int32 || t == DType::int64; }

/// Calls f with a value of the C++ type that stores `t`: visit(t, [&](auto zero) { using T = decltype(zero); … }).
template <class F>
decltype(auto) visit(DType t, F&& f) {
  switch (t) {
    case DType::boolean:
      return f(uint8_t{});
    case DType::int32:
      return f(int32_t{});
    case DType::int64:
      return f(int64_t{});
    case DType::float32:
      return f(float{});
    case DType::float64:
      break;
  }
  return f(double{});
}

}  // namespace steep
