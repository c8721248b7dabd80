// Sorting by merging: networks of comparisons order the columns of a square of vectors, which are transposed to sorted
// vectors, and bitonic networks merge runs of these a vector at a time (K. Batcher, Sorting networks and their
// applications, 1968; J. Chhugani et al., Efficient implementation of sorting on multi-core SIMD CPU architecture,
// 2008). A merge goes from both ends of its runs to the middle of the result: two chains that don't wait for each
// other.
#include "../core/kernels.h"
#include "elementwise.h"
#include "sort_packs.h"

namespace steep::STEEP_ISA_NS {
namespace {

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

/// n packs to be sorted, and as many beside them to work in.
template <class P>
struct Run {
  using I = typename P::Number;
  I *items, *other;
  Run from(int64_t packs) const { return {items + packs * P::kSlot, other + packs * P::kSlot}; }
  Run swapped() const { return {other, items}; }
};

/// Sorts two runs of n packs, to `other` if `away`, else in `items`; both are written. Their merges make four chains
/// that don't wait for each other.
template <class P>
void sort_twins(int64_t n, Run<P> x, Run<P> y, bool away) {
  constexpr int64_t kSquare = P::kLanes;
  if (n <= kSquare) {
    for (const Run<P>& run : {x, y}) sort_few<P>(int(n), run.items, away ? run.other : run.items);
    return;
  }
  const int64_t half = (n / 2 + kSquare - 1) / kSquare * kSquare;
  sort_twins<P>(half, x, y, !away);
  sort_twins<P>(n - half, x.from(half), y.from(half), !away);
  if (!away) x = x.swapped(), y = y.swapped();
  const auto up = [&](const Run<P>& r) { return Upward<P>(r.items, half, r.from(half).items, n - half, r.other); };
  const auto down = [&](const Run<P>& r) {
    Downward<P> way(r.items, half, r.from(half).items, n - half, r.other);
    if (n % 2) way.checked_step();
    return way;
  };
  walk(n / 2, up(x), down(x), up(y), down(y));
}

template <class P>
void sort(int64_t n, void* items, void* other) {
  const Run<P> run{static_cast<typename P::Number*>(items), static_cast<typename P::Number*>(other)};
  if (n <= P::kLanes) return sort_few<P>(int(n), run.items, run.items);
  const int64_t half = (n + 1) / 2;
  if (n % 2) P::fill().store(run.from(n).items);
  sort_twins<P>(half, run, run.from(half), true);
  merge<P>(half, 2 * half, other, items, true, true);
}

// Items of elements T, and back.

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
      f(i, span, keys_of<I>(span.load(x + i, T(1)), shared) ^ flip);
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
bool encode_alone(int64_t n, bool descending, const void* x, int64_t, const KeyCut&, void* items) {
  using I = KeyOf<T>;
  return each_key<T>(n, descending, x, [&](int64_t i, auto span, Vec<I> key) {
    span.fill_rest(key, std::numeric_limits<I>::max()).store(static_cast<I*>(items) + i);
  });
}
template <class T>
bool decode_alone(int64_t n, bool descending, const void* items, const KeyCut&, void* y, int64_t*) {
  using I = KeyOf<T>;
  each_vector<I>(n, [&](int64_t i, auto span) {
    put_elements<T>(span, Vec<I>::load(static_cast<const I*>(items) + i), descending, y, i);
  });
  return false;
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
bool encode_word(int64_t n, bool descending, const void* x, int64_t first, const KeyCut&, void* items) {
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
bool decode_word(int64_t n, bool descending, const void* items, const KeyCut&, void* y, int64_t* index) {
  const int64_t* const words = static_cast<const int64_t*>(items);
  each_vector<int64_t>(n, [&](int64_t i, auto span) {
    span.store(index + i, Vec<int64_t>::load(words + i) & Vec<int64_t>(0xFFFFFFFF));
  });
  if (!y) return false;
  each_vector<int32_t>(n, [&](int64_t i, auto span) {
    const Vec<int64_t> low = Vec<int64_t>::load(words + i),
                       high = n - i > kWords ? Vec<int64_t>::load(words + i + kWords) : low;
    put_elements<T>(span, halves_of<1>(low, high), descending, y, i);
  });
  return false;
}

template <class T>
bool encode_placed(int64_t n, bool descending, const void* x, int64_t first, const KeyCut&, void* items) {
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
bool decode_placed(int64_t n, bool descending, const void* items, const KeyCut&, void* y, int64_t* index) {
  using I = KeyOf<T>;
  const int64_t* const numbers = static_cast<const int64_t*>(items);
  each_vector<int64_t>(n, [&](int64_t i, auto span) { span.store(index + i, Placed::load(numbers + 2 * i).place); });
  if (!y) return false;
  each_vector<I>(n, [&](int64_t i, auto span) {
    const Vec<int64_t> low = Vec<int64_t>::load(numbers + 2 * i);
    if constexpr (sizeof(I) == 8)
      put_elements<T>(span, low, descending, y, i);
    else
      put_elements<T>(span, halves_of<0>(low, n - i > kWords ? Vec<int64_t>::load(numbers + 2 * (i + kWords)) : low),
                      descending, y, i);
  });
  return false;
}

// A key of 64 bits, of which the lower ones are cut off, above its place: half of the memory and of the moves. The few
// items whose keys have become equal are ordered afterwards.

template <class T>
void key_range(int64_t n, bool descending, const void* x, int64_t& least, int64_t& largest) {
  using V = Vec<int64_t>;
  V low = least, high = largest;
  each_key<T>(n, descending, x, [&](int64_t, auto span, V key) {
    low = min(low, span.fill_rest(key, least)), high = max(high, span.fill_rest(key, largest));
  });
  least = reduce(low, [](V a, V b) { return min(a, b); });
  largest = reduce(high, [](V a, V b) { return max(a, b); });
}
template <class T>
bool encode_cut(int64_t n, bool descending, const void* x, int64_t first, const KeyCut& cut, void* items) {
  using V = Vec<int64_t>;
  return each_key<T>(n, descending, x, [&](int64_t i, auto span, V key) {
    const V word = shift_right_logical(key - cut.least, cut.shift) << cut.places | (V::iota() + (first + i));
    span.fill_rest(word, INT64_MAX).store(static_cast<int64_t*>(items) + i);
  });
}
bool decode_cut(int64_t n, bool, const void* items, const KeyCut& cut, void*, int64_t* index) {
  using V = Vec<int64_t>;
  const int64_t* const words = static_cast<const int64_t*>(items);
  const V beyond = int64_t(1) << cut.places;
  auto equal = beyond < beyond;
  each_vector<int64_t>(n, [&](int64_t i, auto span) {
    const V word = V::load(words + i), next = V::load(words + i + 1);
    equal = equal | (((word ^ next) < beyond) & (V::iota() < V(n - 1 - i)));
    span.store(index + i, word & (beyond - 1));
  });
  return equal.any();
}

template <class P>
constexpr SortKernel kernel(decltype(SortKernel::encode) encode, decltype(SortKernel::decode) decode) {
  return {P::kLanes, P::kSlot * int64_t(sizeof(typename P::Number)), encode, sort<P>, merge<P>, decode, nullptr};
}

}  // namespace

void fill_sort(Kernels& k) {
  each_computed_type([&]<class T>() {
    SortKernels& all = k.sort[dtype_of<T>()];
    all.alone = kernel<Alone<KeyOf<T>>>(encode_alone<T>, decode_alone<T>);
    all.many_placed = all.placed = kernel<Placed>(encode_placed<T>, decode_placed<T>);
    if constexpr (sizeof(KeyOf<T>) == 4) {
      all.placed = kernel<Alone<int64_t>>(encode_word<T>, decode_word<T>);
    } else {
      all.cut = kernel<Alone<int64_t>>(encode_cut<T>, decode_cut);
      all.cut.range = key_range<T>;
    }
  });
}

}  // namespace steep::STEEP_ISA_NS
