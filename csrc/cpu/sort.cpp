// Sorting by merging: networks of comparisons order the columns of a square of vectors, which are transposed to sorted
// vectors, and bitonic networks merge runs of these a vector at a time (K. Batcher, Sorting networks and their
// applications, 1968; J. Chhugani et al., Efficient implementation of sorting on multi-core SIMD CPU architecture,
// 2008). A merge goes from both ends of its runs to the middle of the result: two chains that don't wait for each
// other.
#include <limits>

#include "../core/kernels.h"
#include "elementwise.h"
#include "shuffle.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Signed integers that are ordered as the elements are: -0 and +0 equal, NaN the largest. `shared` becomes true where
/// elements of other bits have the same key.
template <class I, class T>
STEEP_INLINE Vec<I> keys_of(Vec<T> x, Mask<I>& shared) {
  constexpr I kMax = std::numeric_limits<I>::max(), kMin = std::numeric_limits<I>::min();
  if constexpr (std::is_same_v<T, uint64_t>) return as<I>(x) ^ Vec<I>(kMin);
  if constexpr (std::is_integral_v<T>) {
    return as<I>(x);
  } else {
    const Vec<I> bits = as<I>(x);
    const Mask<I> zero = as<I>(x == 0), nan = as<I>(x != x);
    shared = shared | zero | nan;
    return select(nan, Vec<I>(kMax), select(zero, Vec<I>(0), select(bits < 0, bits ^ Vec<I>(kMax), bits)));
  }
}
/// An element that has the key.
template <class T, class I>
STEEP_INLINE Vec<T> element_of(Vec<I> key) {
  constexpr I kMax = std::numeric_limits<I>::max(), kMin = std::numeric_limits<I>::min();
  if constexpr (std::is_same_v<T, uint64_t>) return as<T>(key ^ Vec<I>(kMin));
  if constexpr (std::is_integral_v<T>)
    return as<T>(key);
  else
    return as<T>(select(key < 0, key ^ Vec<I>(kMax), key));
}

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
    const auto ordered = less(a, b);
    const Placed low = choose(ordered, a, b);
    b = choose(ordered, b, a);
    a = low;
  }
  template <int distance, int high>
  STEEP_INLINE void compare_lanes() {
    const Placed other{exchanged<distance>(key), exchanged<distance>(place)};
    const Mask<int64_t> upper = (V::iota() & V(high)) != 0;
    *this = choose(less(*this, other) ^ upper, *this, other);
  }

 private:
  static STEEP_INLINE Mask<int64_t> less(const Placed& a, const Placed& b) {
    return (a.key < b.key) | ((a.key == b.key) & (a.place < b.place));
  }
  static STEEP_INLINE Placed choose(Mask<int64_t> m, const Placed& yes, const Placed& no) {
    return {select(m, yes.key, no.key), select(m, yes.place, no.place)};
  }
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
/// Merges all the runs of `size` packs of a square.
template <int size, class P>
STEEP_INLINE void merge_square(P* packs) {
  if constexpr (size < P::kLanes) {
    each_constant<P::kLanes / (2 * size)>([&](auto i) { merge_runs<size>(packs + i * 2 * size); });
    merge_square<2 * size>(packs);
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

/// Sorts n packs, at most as many as one has lanes.
template <class P>
void sort_square(int n, const typename P::Number* items, typename P::Number* to) {
  constexpr int kLanes = P::kLanes;
  static constexpr Network<kLanes> network;
  P packs[kLanes];
  each_constant<kLanes>([&](auto i) { packs[i] = i < n ? P::load(items + i * P::kSlot) : P::fill(); });
  each_constant<network.count>([&](auto i) { P::compare(packs[network.first[i]], packs[network.second[i]]); });
  P::transpose(packs);
  merge_square<1>(packs);
  each_constant<kLanes>([&](auto i) {
    if (i < n) packs[i].store(to + i * P::kSlot);
  });
}

/// From the smallest items of two runs on. Each step adds the pack whose first item is the smaller one to a pack that
/// is kept, and gives away the smaller half of both.
template <class P>
class Upward {
 public:
  using I = typename P::Number;
  STEEP_INLINE Upward(const I* a, int64_t na, const I* b, int64_t nb, I* out)
      : a_(a), b_(b), a_end_(a + na * P::kSlot), b_end_(b + nb * P::kSlot), out_(out), kept_(P::load(next())) {}
  /// Before neither run may have ended.
  STEEP_INLINE int64_t free_steps() const {
    const int64_t a = a_end_ - a_, b = b_end_ - b_;
    return (a < b ? a : b) / P::kSlot;
  }
  STEEP_INLINE void step() { add(next()); }
  STEEP_INLINE void checked_step() {
    if (a_ == a_end_) return add(std::exchange(b_, b_ + P::kSlot));
    if (b_ == b_end_) return add(std::exchange(a_, a_ + P::kSlot));
    step();
  }

 private:
  STEEP_INLINE const I* next() {
    const bool first = P::in_order(a_, b_);
    const I* const chosen = first ? a_ : b_;
    a_ += first ? P::kSlot : 0;
    b_ += first ? 0 : P::kSlot;
    return chosen;
  }
  STEEP_INLINE void add(const I* from) {
    P low = P::load(from).reversed();
    P::compare(low, kept_);
    merge_packs<1>(&kept_), merge_packs<1>(&low);
    low.store(out_);
    out_ += P::kSlot;
  }

  const I *a_, *b_, *a_end_, *b_end_;
  I* out_;
  P kept_;
};

/// The same from the largest items on.
template <class P>
class Downward {
 public:
  using I = typename P::Number;
  STEEP_INLINE Downward(const I* a, int64_t na, const I* b, int64_t nb, I* out)
      : a_begin_(a),
        b_begin_(b),
        a_(a + na * P::kSlot),
        b_(b + nb * P::kSlot),
        out_(out + (na + nb) * P::kSlot),
        kept_(P::load(next())) {}
  STEEP_INLINE int64_t free_steps() const {
    const int64_t a = a_ - a_begin_, b = b_ - b_begin_;
    return (a < b ? a : b) / P::kSlot;
  }
  STEEP_INLINE void step() { add(next()); }
  STEEP_INLINE void checked_step() {
    if (a_ == a_begin_) return add(b_ -= P::kSlot);
    if (b_ == b_begin_) return add(a_ -= P::kSlot);
    step();
  }

 private:
  STEEP_INLINE const I* next() {
    constexpr int kLast = P::kLanes - 1 - P::kSlot;
    const bool second = P::in_order(a_ + kLast, b_ + kLast);
    a_ -= second ? 0 : P::kSlot;
    b_ -= second ? P::kSlot : 0;
    return second ? b_ : a_;
  }
  STEEP_INLINE void add(const I* from) {
    P high = P::load(from).reversed();
    P::compare(kept_, high);
    merge_packs<1>(&kept_), merge_packs<1>(&high);
    high.store(out_ -= P::kSlot);
  }

  const I *a_begin_, *b_begin_, *a_, *b_;
  I* out_;
  P kept_;
};

/// So many steps of each way.
template <class... Way>
STEEP_INLINE void walk(int64_t steps, Way... ways) {
  while (steps > 0) {
    int64_t free = steps;
    ((free = ways.free_steps() < free ? ways.free_steps() : free), ...);
    if (free == 0) (ways.checked_step(), ...), --steps;
    for (steps -= free; free > 0; --free) (ways.step(), ...);
  }
}

/// Merges two runs that lie one behind the other, of `first` packs and of the others of n: the smaller half of the
/// items if `lower`, the larger if `upper`.
template <class P>
void merge(int64_t first, int64_t n, const void* items, void* to, bool lower, bool upper) {
  using I = typename P::Number;
  const I *const a = static_cast<const I*>(items), *const b = a + first * P::kSlot;
  I* const out = static_cast<I*>(to);
  const auto up = [&] { return Upward<P>(a, first, b, n - first, out); };
  const auto down = [&] { return Downward<P>(a, first, b, n - first, out); };
  if (!upper) return walk(n / 2, up());
  if (!lower) return walk(n - n / 2, down());
  auto above = down();
  if (n % 2) above.checked_step();
  walk(n / 2, up(), above);
}

/// Sorts n packs, in `items` or, if `away`, to `other`. Both are written.
template <class P>
void sort_run(int64_t n, typename P::Number* items, typename P::Number* other, bool away) {
  using I = typename P::Number;
  constexpr int64_t kSquare = P::kLanes;
  I *const from = away ? items : other, *const to = away ? other : items;
  if (n == 1) {
    P pack = P::load(items);
    sort_lanes(pack);
    return pack.store(to);
  }
  if (n <= kSquare && n > kSquare / 4) return sort_square<P>(int(n), items, to);
  const int64_t half = n > kSquare ? (n / 2 + kSquare - 1) / kSquare * kSquare : n / 2;
  sort_run<P>(half, items, other, !away);
  sort_run<P>(n - half, items + half * P::kSlot, other + half * P::kSlot, !away);
  merge<P>(half, n, from, to, true, true);
}

template <class P>
void sort(int64_t n, void* items, void* other) {
  sort_run<P>(n, static_cast<typename P::Number*>(items), static_cast<typename P::Number*>(other), false);
}

// Items of elements T, and back.

template <class T>
using KeyOf = std::conditional_t<sizeof(T) == 8, int64_t, int32_t>;

/// f(i, span, keys) for the vectors of n elements.
template <class T, class F>
STEEP_INLINE bool each_key(int64_t n, bool descending, const void* x_, F f) {
  using I = KeyOf<T>;
  const T* const x = static_cast<const T*>(x_);
  const Vec<I> flip = descending ? I(-1) : I(0);
  Mask<I> shared = Vec<I>(0) != 0;
  each_vector<I>(n, [&](int64_t i, auto span) {
    if constexpr (std::is_same_v<T, bool>)
      f(i, span, select(load_mask<I>(span, reinterpret_cast<const uint8_t*>(x) + i), Vec<I>(1), Vec<I>(0)) ^ flip);
    else
      f(i, span, keys_of<I>(span.load(x + i), shared) ^ flip);
  });
  return shared.any();
}
/// Puts elements of the keys at y + i.
template <class T, class Span>
STEEP_INLINE void put_elements(Span span, Vec<KeyOf<T>> key, bool descending, void* y, int64_t i) {
  key = descending ? ~key : key;
  if constexpr (std::is_same_v<T, bool>)
    store(span, static_cast<uint8_t*>(y) + i, key != 0);
  else
    span.store(static_cast<T*>(y) + i, element_of<T>(key));
}

template <class T>
bool encode_alone(int64_t n, bool descending, const void* x, int64_t, void* items) {
  using I = KeyOf<T>;
  return each_key<T>(n, descending, x, [&](int64_t i, auto span, Vec<I> key) {
    span.fill_rest(key, std::numeric_limits<I>::max()).store(static_cast<I*>(items) + i);
  });
}
template <class T>
void decode_alone(int64_t n, bool descending, const void* items, void* y, int64_t*) {
  using I = KeyOf<T>;
  each_vector<I>(n, [&](int64_t i, auto span) {
    put_elements<T>(span, Vec<I>::load(static_cast<const I*>(items) + i), descending, y, i);
  });
}

// A key of 32 bits above its place: an item that is one number.

/// The numbers of a vector's keys and places, in two vectors.
STEEP_INLINE void pair_up(Vec<int32_t> key, Vec<int32_t> place, Vec<int64_t>& low, Vec<int64_t>& high) {
  [&]<int... i>(std::integer_sequence<int, i...>) {
    constexpr int n = Vec<int32_t>::n;
    low = (Vec<int64_t>::Raw)__builtin_shufflevector(place.v, key.v, (i / 2 + i % 2 * n)...);
    high = (Vec<int64_t>::Raw)__builtin_shufflevector(place.v, key.v, (i / 2 + n / 2 + i % 2 * n)...);
  }(std::make_integer_sequence<int, Vec<int32_t>::n>());
}
/// The halves (0: the lower ones) of the numbers in two vectors.
template <int half>
STEEP_INLINE Vec<int32_t> halves_of(Vec<int64_t> low, Vec<int64_t> high) {
  return [&]<int... i>(std::integer_sequence<int, i...>) -> Vec<int32_t> {
    return __builtin_shufflevector((Vec<int32_t>::Raw)low.v, (Vec<int32_t>::Raw)high.v, (2 * i + half)...);
  }(std::make_integer_sequence<int, Vec<int32_t>::n>());
}

constexpr int64_t kWords = Vec<int64_t>::n;

template <class T>
bool encode_word(int64_t n, bool descending, const void* x, int64_t first, void* items) {
  int64_t* const words = static_cast<int64_t*>(items);
  return each_key<T>(n, descending, x, [&](int64_t i, auto span, Vec<int32_t> key) {
    const Vec<int32_t> place = Vec<int32_t>::iota() + int32_t(uint32_t(first + i));
    Vec<int64_t> low, high;
    pair_up(span.fill_rest(key, INT32_MAX), span.fill_rest(place, -1), low, high);
    low.store(words + i);
    if (n - i > kWords) high.store(words + i + kWords);
  });
}
template <class T>
void decode_word(int64_t n, bool descending, const void* items, void* y, int64_t* index) {
  const int64_t* const words = static_cast<const int64_t*>(items);
  each_vector<int64_t>(n, [&](int64_t i, auto span) {
    span.store(index + i, Vec<int64_t>::load(words + i) & Vec<int64_t>(0xFFFFFFFF));
  });
  if (!y) return;
  each_vector<int32_t>(n, [&](int64_t i, auto span) {
    const Vec<int64_t> low = Vec<int64_t>::load(words + i),
                       high = n - i > kWords ? Vec<int64_t>::load(words + i + kWords) : low;
    put_elements<T>(span, halves_of<1>(low, high), descending, y, i);
  });
}

template <class T>
bool encode_placed(int64_t n, bool descending, const void* x, int64_t first, void* items) {
  using I = KeyOf<T>;
  int64_t* const numbers = static_cast<int64_t*>(items);
  return each_key<T>(n, descending, x, [&](int64_t i, auto span, Vec<I> key) {
    const auto put = [&](int64_t at, Vec<int64_t> keys) {
      const Vec<int64_t> place = Vec<int64_t>::iota() + at, end = n;
      const auto used = place < end;
      Placed{select(used, keys, Vec<int64_t>(INT64_MAX)), select(used, place + first, Vec<int64_t>(INT64_MAX))}.store(
          numbers + 2 * at);
    };
    if constexpr (sizeof(I) == 8) {
      put(i, key);
    } else {
      Vec<int64_t> low, high;
      pair_up(key >> 31, key, low, high);
      put(i, low);
      if (n - i > kWords) put(i + kWords, high);
    }
    (void)span;
  });
}
template <class T>
void decode_placed(int64_t n, bool descending, const void* items, void* y, int64_t* index) {
  using I = KeyOf<T>;
  const int64_t* const numbers = static_cast<const int64_t*>(items);
  each_vector<int64_t>(n, [&](int64_t i, auto span) { span.store(index + i, Placed::load(numbers + 2 * i).place); });
  if (!y) return;
  each_vector<I>(n, [&](int64_t i, auto span) {
    const Vec<int64_t> low = Vec<int64_t>::load(numbers + 2 * i);
    if constexpr (sizeof(I) == 8)
      put_elements<T>(span, low, descending, y, i);
    else
      put_elements<T>(span, halves_of<0>(low, n - i > kWords ? Vec<int64_t>::load(numbers + 2 * (i + kWords)) : low),
                      descending, y, i);
  });
}

template <class P>
constexpr SortKernel kernel(bool (*encode)(int64_t, bool, const void*, int64_t, void*),
                            void (*decode)(int64_t, bool, const void*, void*, int64_t*)) {
  return {P::kLanes, P::kSlot * int64_t(sizeof(typename P::Number)), encode, sort<P>, merge<P>, decode};
}

}  // namespace

void fill_sort(Kernels& k) {
  each_computed_type([&]<class T>() {
    SortKernels& all = k.sort[dtype_of<T>()];
    all.alone = kernel<Alone<KeyOf<T>>>(encode_alone<T>, decode_alone<T>);
    all.many_placed = all.placed = kernel<Placed>(encode_placed<T>, decode_placed<T>);
    if constexpr (sizeof(KeyOf<T>) == 4) all.placed = kernel<Alone<int64_t>>(encode_word<T>, decode_word<T>);
  });
}

}  // namespace steep::STEEP_ISA_NS
