// The order of sorts and searches, for the CPU and for CUDA: that of the numbers, where -0 and +0 are equal, and NaN
// comes last; descending, the reverse of it. Equal elements keep their order.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "dtype.h"
#include "host_device.h"

namespace steep::sorting {

template <class T>
using Key = Word<sizeof(T)>;

template <class T>
inline constexpr Key<T> kSign = Key<T>(Key<T>(1) << (8 * sizeof(T) - 1));

/// An unsigned integer that is ordered as the elements are.
template <class T>
STEEP_HD Key<T> key(T x, bool descending = false) {
  Key<T> bits;
  memcpy(&bits, &x, sizeof bits);
  if constexpr (std::is_integral_v<T>) {
    if constexpr (std::is_signed_v<T>) bits ^= kSign<T>;
  } else {  // without branches, which signs in no order would mislead
    bits ^= Key<T>(Key<T>(0) - (bits >> (8 * sizeof(T) - 1))) | kSign<T>;
    bits = x == T(0) ? kSign<T> : bits;
    bits = x != x ? Key<T>(-1) : bits;
  }
  return descending ? Key<T>(~bits) : bits;
}

/// Do elements that have this key differ in their bits?
template <class T>
STEEP_HD bool is_shared(Key<T> k, bool descending) {
  if constexpr (std::is_integral_v<T>) return false;
  if (descending) k = Key<T>(~k);
  return k == kSign<T> || k == Key<T>(-1);
}

/// The element of a key that is not shared.
template <class T>
STEEP_HD T element(Key<T> k, bool descending) {
  if (descending) k = Key<T>(~k);
  if constexpr (!std::is_integral_v<T>)
    k ^= Key<T>((k >> (8 * sizeof(T) - 1)) - Key<T>(1)) | kSign<T>;
  else if constexpr (std::is_signed_v<T>)
    k ^= kSign<T>;
  T x;
  memcpy(&x, &k, sizeof x);
  return x;
}

/// What is sorted: a key and the place it came from. No two are equal, so every sort is stable.
struct LongItem {
  uint64_t key_;
  int64_t place_;
  static STEEP_HD LongItem make(uint64_t key, int64_t place) { return {key, place}; }
  STEEP_HD uint64_t key() const { return key_; }
  STEEP_HD int64_t place() const { return place_; }
  STEEP_HD bool operator<(const LongItem& o) const { return key_ != o.key_ ? key_ < o.key_ : place_ < o.place_; }
};

/// The same in one word, for keys and places of 32 bits.
struct ShortItem {
  uint64_t word;
  static STEEP_HD ShortItem make(uint64_t key, int64_t place) { return {key << 32 | uint64_t(place)}; }
  STEEP_HD uint64_t key() const { return word >> 32; }
  STEEP_HD int64_t place() const { return int64_t(word & 0xFFFFFFFF); }
  STEEP_HD bool operator<(const ShortItem& o) const { return word < o.word; }
};

/// f(item) with an item of the type that holds the keys of T and the places of rows of n elements.
template <class T, class F>
decltype(auto) visit_item(int64_t n, const F& f) {
  if constexpr (sizeof(T) <= 4)
    if (n <= int64_t(1) << 32) return f(ShortItem{});
  return f(LongItem{});
}

/// For each of `count` values, how many of n sorted elements are less, or (`right`) not greater. They are looked for
/// together, as each step of a search waits for memory.
template <int count, class T>
STEEP_HD void search(const T* sorted, int64_t n, const T* values, bool right, int64_t* out) {
  int64_t low[count] = {};
  while (n > 0) {
    const int64_t half = (n + 1) / 2;
    for (int i = 0; i < count; ++i) {
      const T x = sorted[low[i] + half - 1], value = values[i];
      const bool last = value != value;  // NaN is greater than any number
      const bool before = right ? bool((x <= value) | last) : bool((x < value) | (last & (x == x)));
      low[i] += before ? half : 0;
    }
    n -= half;
  }
  for (int i = 0; i < count; ++i) out[i] = low[i];
}

}  // namespace steep::sorting
