// What sorts are made of: packs of items, and the networks that order a few of them in registers.
#pragma once
#include <limits>

#include "shuffle.h"

namespace steep::STEEP_ISA_NS {
namespace {

// Packs: vectors of items that are compared and moved together; kSlot numbers in memory. What fills unused lanes comes
// last in every order.

/// Numbers that are items by themselves.
template <class I>
struct Alone {
  using Number = I;
  using V = Vec<I>;
  static constexpr int kLanes = V::n, kSlot = V::n;
  V v;

  static STEEP_INLINE Alone fill() { return {std::numeric_limits<I>::max()}; }
  static STEEP_INLINE Alone load(const I* p) { return {V::load(p)}; }
  STEEP_INLINE void store(I* p) const { v.store(p); }
  static STEEP_INLINE bool in_order(const I* a, const I* b) { return *a <= *b; }
  STEEP_INLINE Alone reversed() const { return {exchanged<kLanes - 1>(v)}; }
  static STEEP_INLINE void transpose(Alone* packs) { steep::STEEP_ISA_NS::transpose(&packs->v); }

  /// The smaller of each two items goes to a.
  static STEEP_INLINE void compare(Alone& a, Alone& b) {
    const V low = min(a.v, b.v);
    b.v = max(a.v, b.v);
    a.v = low;
  }
  /// Of the items in lanes i and i ^ distance the smaller goes to the lane whose number lacks the bit `high`.
  template <int distance, int high>
  STEEP_INLINE void compare_lanes() {
    const V other = exchanged<distance>(v);
    v = blended<high>(max(v, other), min(v, other));
  }
};

/// Keys with the places they came from, which decide between equal ones. A pack's keys stand in front of its places.
struct Placed {
  using Number = int64_t;
  using V = Vec<int64_t>;
  static constexpr int kLanes = V::n, kSlot = 2 * V::n;
  V key, place;

  static STEEP_INLINE Placed fill() { return {INT64_MAX, INT64_MAX}; }
  static STEEP_INLINE Placed load(const int64_t* p) { return {V::load(p), V::load(p + kLanes)}; }
  STEEP_INLINE void store(int64_t* p) const { key.store(p), place.store(p + kLanes); }
  static STEEP_INLINE bool in_order(const int64_t* a, const int64_t* b) {
    return (*a < *b) | ((*a == *b) & (a[kLanes] < b[kLanes]));
  }
  STEEP_INLINE Placed reversed() const { return {exchanged<kLanes - 1>(key), exchanged<kLanes - 1>(place)}; }
  static STEEP_INLINE void transpose(Placed* packs) {
    V keys[kLanes], places[kLanes];
    for (int i = 0; i < kLanes; ++i) keys[i] = packs[i].key, places[i] = packs[i].place;
    steep::STEEP_ISA_NS::transpose(keys), steep::STEEP_ISA_NS::transpose(places);
    for (int i = 0; i < kLanes; ++i) packs[i] = {keys[i], places[i]};
  }

  static STEEP_INLINE void compare(Placed& a, Placed& b) {
    const Choice ordered = less(a, b);
    const Placed low = choose(ordered, a, b);
    b = choose(ordered, b, a);
    a = low;
  }
  template <int distance, int high>
  STEEP_INLINE void compare_lanes() {
    const Placed other{exchanged<distance>(key), exchanged<distance>(place)};
    *this = choose(less(*this, other) ^ lanes_with<high>(), *this, other);
  }

 private:
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
  using Choice = __mmask8;  // GCC 12 makes vectors of masks that meet other masks
  template <int bit>
  static STEEP_INLINE Choice lanes_with() {
    return bit == 1 ? 0xAA : bit == 2 ? 0xCC : 0xF0;
  }
  static STEEP_INLINE Choice less(const Placed& a, const Placed& b) {
    const Choice equal = _mm512_cmpeq_epi64_mask((__m512i)a.key.v, (__m512i)b.key.v);
    return _mm512_cmplt_epi64_mask((__m512i)a.key.v, (__m512i)b.key.v) |
           _mm512_mask_cmplt_epi64_mask(equal, (__m512i)a.place.v, (__m512i)b.place.v);
  }
  static STEEP_INLINE Placed choose(Choice m, const Placed& yes, const Placed& no) {
    return {(V::Raw)_mm512_mask_blend_epi64(m, (__m512i)no.key.v, (__m512i)yes.key.v),
            (V::Raw)_mm512_mask_blend_epi64(m, (__m512i)no.place.v, (__m512i)yes.place.v)};
  }
#else
  using Choice = Mask<int64_t>;
  template <int bit>
  static STEEP_INLINE Choice lanes_with() {
    return (V::iota() & V(bit)) != 0;
  }
  static STEEP_INLINE Choice less(const Placed& a, const Placed& b) {
    return (a.key < b.key) | ((a.key == b.key) & (a.place < b.place));
  }
  static STEEP_INLINE Placed choose(Choice m, const Placed& yes, const Placed& no) {
    return {select(m, yes.key, no.key), select(m, yes.place, no.place)};
  }
#endif
};

/// Orders the lanes of a pack that ascends and then descends, or the other way round.
template <int distance, class P>
STEEP_INLINE void merge_lanes(P& a) {
  if constexpr (distance > 0) {
    a.template compare_lanes<distance, distance>();
    merge_lanes<distance / 2>(a);
  }
}
template <int size = 2, class P>
STEEP_INLINE void sort_lanes(P& a) {
  if constexpr (size <= P::kLanes) {
    a.template compare_lanes<size - 1, size / 2>();
    merge_lanes<size / 4>(a);
    sort_lanes<2 * size>(a);
  }
}

/// Orders the items of `size` packs that ascend and then descend.
template <int size, class P>
STEEP_INLINE void merge_packs(P* packs) {
  if constexpr (size == 1) {
    merge_lanes<P::kLanes / 2>(*packs);
  } else {
    each_constant<size / 2>([&](auto i) { P::compare(packs[i], packs[i + size / 2]); });
    merge_packs<size / 2>(packs), merge_packs<size / 2>(packs + size / 2);
  }
}
/// Merges two runs of `size` packs.
template <int size, class P>
STEEP_INLINE void merge_runs(P* packs) {
  P second[size];
  each_constant<size>([&](auto i) { second[i] = packs[2 * size - 1 - i].reversed(); });
  each_constant<size>([&](auto i) {
    packs[size + i] = second[i];
    P::compare(packs[i], packs[size + i]);
  });
  merge_packs<size>(packs), merge_packs<size>(packs + size);
}
/// Merges runs of `size` packs to one of `count`.
template <int size, int count, class P>
STEEP_INLINE void merge_all(P* packs) {
  if constexpr (size < count) {
    each_constant<count / (2 * size)>([&](auto i) { merge_runs<size>(packs + i * 2 * size); });
    merge_all<2 * size, count>(packs);
  }
}

/// The comparisons of Batcher's odd-even merge sort of n items.
template <int n>
struct Network {
  int count = 0, first[n * n] = {}, second[n * n] = {};
  constexpr Network() {
    for (int p = 1; p < n; p *= 2)
      for (int k = p; k >= 1; k /= 2)
        for (int j = k % p; j + k < n; j += 2 * k)
          for (int i = 0; i < k && i + j + k < n; ++i)
            if ((i + j) / (2 * p) == (i + j + k) / (2 * p)) first[count] = i + j, second[count] = i + j + k, ++count;
  }
};

/// Sorts n packs, at most `count`: a square by its columns, fewer packs each for itself.
template <int count, class P>
void sort_in_registers(int n, const typename P::Number* items, typename P::Number* to) {
  P packs[count];
  each_constant<count>([&](auto i) { packs[i] = i < n ? P::load(items + i * P::kSlot) : P::fill(); });
  if constexpr (count == P::kLanes) {
    static constexpr Network<count> network;
    each_constant<network.count>([&](auto i) { P::compare(packs[network.first[i]], packs[network.second[i]]); });
    P::transpose(packs);
  } else {
    each_constant<count>([&](auto i) { sort_lanes(packs[i]); });
  }
  merge_all<1, count>(packs);
  each_constant<count>([&](auto i) {
    if (i < n) packs[i].store(to + i * P::kSlot);
  });
}
/// The same with the least count that is enough.
template <class P, int count = 1>
void sort_few(int n, const typename P::Number* items, typename P::Number* to) {
  if constexpr (count < P::kLanes)
    if (n > count) return sort_few<P, 2 * count>(n, items, to);
  sort_in_registers<count, P>(n, items, to);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
