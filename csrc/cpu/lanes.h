// Loops over the vectors of a run. A body f(i, span) handles elements i, i + 1, … by span.load and span.store, which
// stop at the end of the run.
#pragma once
#include "../core/kernels.h"
#include "../ops/reduce.h"
#include "simd.h"

namespace steep::STEEP_ISA_NS {
namespace {

struct Whole {
  template <class T>
  STEEP_INLINE Vec<T> load(const T* p, T = 0) const {
    return Vec<T>::load(p);
  }
  template <class T>
  STEEP_INLINE void store(T* p, Vec<T> v) const {
    v.store(p);
  }
  template <class T>
  STEEP_INLINE Vec<T> fill_rest(Vec<T> v, T) const {
    return v;
  }
};

struct Part {
  int k;  // 0 < k < lanes
  template <class T>
  STEEP_INLINE Vec<T> load(const T* p, T fill = 0) const {
    return Vec<T>::load_partial(p, k, fill);
  }
  template <class T>
  STEEP_INLINE void store(T* p, Vec<T> v) const {
    v.store_partial(p, k);
  }
  template <class T>
  STEEP_INLINE Vec<T> fill_rest(Vec<T> v, T fill) const {
    return select(Vec<T>::first(k), v, Vec<T>(fill));
  }
};

/// A whole vector whose store goes past the caches.
struct Streamed : Whole {
  template <class T>
  STEEP_INLINE void store(T* p, Vec<T> v) const {
    v.stream(p);
  }
};

/// The number 1, by which nothing needs to be multiplied.
struct One {
  template <class V>
  friend STEEP_INLINE V operator*(V v, One) {
    return v;
  }
  template <class V>
  friend STEEP_INLINE V operator/(V v, One) {
    return v;
  }
};

template <class T, class F>
STEEP_INLINE void each_vector(int64_t n, F f) {
  constexpr int64_t L = Vec<T>::n;
  int64_t i = 0;
  for (; i + L <= n; i += L) f(i, Whole{});
  if (i < n) f(i, Part{int(n - i)});
}

/// The same past the caches, from element `first` on; those before it, fewer than a vector, are stored as usual.
template <class T, class F>
STEEP_INLINE void each_streamed(int64_t first, int64_t n, F f) {
  constexpr int64_t L = Vec<T>::n;
  int64_t i = first;
  if (i > 0) f(int64_t(0), Part{int(i)});
  for (; i + L <= n; i += L) f(i, Streamed{});
  if (i < n) f(i, Part{int(n - i)});
}

/// `to` is aligned to the vector.
STEEP_INLINE void copy_past_caches(int64_t bytes, const void* from, void* to) {
  const uint8_t* x = static_cast<const uint8_t*>(from);
  uint8_t* y = static_cast<uint8_t*>(to);
  each_streamed<uint8_t>(0, bytes, [&](int64_t i, auto span) { span.store(y + i, span.load(x + i)); });
}

/// Rows of n elements that are stored once, past the caches if they are very large.
template <class T>
class OutputRows {
 public:
  OutputRows(int64_t rows, int64_t n) : n_(n), streams_(rows * n * int64_t(sizeof(T)) > kStreamedBytes) {}
  /// To be called after the last row.
  void end() const {
    if (streams_) streaming_ends();
  }
  bool streams() const { return streams_; }
  /// f(j, span) for the vectors of a row, which are stored to `out` and then not read.
  template <class F>
  STEEP_INLINE void each(T* out, F f) const {
    if (!streams_) return each_vector<T>(n_, f);
    const int64_t first = int64_t(-reinterpret_cast<uintptr_t>(out) % STEEP_VECTOR_BYTES / sizeof(T));
    each_streamed<T>(first < n_ ? first : n_, n_, f);
  }

 private:
  const int64_t n_;
  const bool streams_;
};

/// Rows that a loop down the columns of a matrix takes at a time: their cache lines may lie 4096 bytes apart and
/// compete for 8 places.
constexpr int kRows = 8;

/// f(j, span, count) for strips of `count` vectors from column j on, where count is a constant: kStrip, then 1. A strip
/// uses up its cache lines before other rows push them out.
template <class T, int kStrip, class F>
STEEP_INLINE void each_strip(int64_t n, F f) {
  constexpr int64_t L = Vec<T>::n;
  const std::integral_constant<int, 1> one;
  int64_t j = 0;
  for (; j + kStrip * L <= n; j += kStrip * L) f(j, Whole{}, std::integral_constant<int, kStrip>{});
  for (; j + L <= n; j += L) f(j, Whole{}, one);
  if (j < n) f(j, Part{int(n - j)}, one);
}

/// A sum of vectors in double precision.
template <class T>
struct Total;

template <>
struct Total<float> {
  Vec<double> low = 0., high = 0.;
  STEEP_INLINE void add(Vec<float> v) {
    Vec<double> a, b;
    widen(v, a, b);
    low = low + a;
    high = high + b;
  }
  STEEP_INLINE double value() const { return reduce_add(low + high); }
};

/// Compensated: Knuth's two-sum gives the exact error of every addition. Where the sum is infinite that is NaN.
template <>
struct Total<double> {
  Vec<double> sum = 0., error = 0.;
  STEEP_INLINE void add(Vec<double> v) {
    const Vec<double> t = sum + v, b = t - sum;
    error = error + ((sum - (t - b)) + (v - b));
    sum = t;
  }
  STEEP_INLINE double value() const {
    const double e = reduce_add(error), s = reduce_add(sum);
    return e == e ? s + e : s;
  }
};

/// acc[j] += v[j] for the elements of the span.
STEEP_INLINE void accumulate(double* acc, Vec<float> v, Whole) {
  Vec<double> low, high;
  widen(v, low, high);
  (Vec<double>::load(acc) + low).store(acc);
  (Vec<double>::load(acc + low.n) + high).store(acc + low.n);
}
STEEP_INLINE void accumulate(double* acc, Vec<double> v, Whole) { (Vec<double>::load(acc) + v).store(acc); }
template <class T>
STEEP_INLINE void accumulate(double* acc, Vec<T> v, Part part) {
  for (int j = 0; j < part.k; ++j) acc[j] += v[j];
}

constexpr int kChain = 16;  // additions in T before a partial sum goes to a Total

/// Σ f(i, span) over n elements. Each term takes part in at most kChain + 2 additions in T, so that the error is at
/// most 9 eps(T)·Σ|f| at any length. Cheap terms need 4 streams to hide the latency of the additions, an exp only one.
template <class T, int kStreams = 4, class F>
STEEP_INLINE double sum_of(int64_t n, F f) {
  using V = Vec<T>;
  constexpr int64_t L = V::n, kStep = kStreams * L;
  Total<T> total;
  int64_t i = 0;
  while (i + kStep <= n) {
    V s[kStreams];
    for (V& v : s) v = V(T(0));
    const int64_t whole = (n - i) / kStep;
    for (int64_t steps = whole < kChain ? whole : kChain; steps > 0; --steps, i += kStep)
      for (int k = 0; k < kStreams; ++k) s[k] = s[k] + f(i + k * L, Whole{});
    for (int k = kStreams / 2; k > 0; k /= 2)
      for (int j = 0; j < k; ++j) s[j] = s[j] + s[j + k];
    total.add(s[0]);
  }
  V rest = V(T(0));
  if constexpr (kStreams > 1)
    for (; i + L <= n; i += L) rest = rest + f(i, Whole{});
  if (i < n) {
    const Part part{int(n - i)};
    rest = rest + part.fill_rest(f(i, part), T(0));
  }
  total.add(rest);
  return total.value();
}

/// The largest or smallest of floating-point numbers, NaN if there is one. Op: Max, Min.
template <class Op, std::floating_point T>
STEEP_INLINE T extreme(int64_t n, const T* x) {
  using V = Vec<T>;
  constexpr int64_t L = V::n, kStreams = 4;
  const T init = Op::template init<T>();
  V all = init;
  int64_t i = 0;
  if (n >= kStreams * L) {
    V s[kStreams] = {all, all, all, all};
    for (; i + kStreams * L <= n; i += kStreams * L)
      for (int k = 0; k < kStreams; ++k) s[k] = Op::combine(s[k], V::load(x + i + k * L));
    all = Op::combine(Op::combine(s[0], s[1]), Op::combine(s[2], s[3]));
  }
  for (; i + L <= n; i += L) all = Op::combine(all, V::load(x + i));
  if (i < n) all = Op::combine(all, V::load_partial(x + i, int(n - i), init));
  if (isnan(all).any()) return std::numeric_limits<T>::quiet_NaN();
  return reduce(all, [](V a, V b) { return std::is_same_v<Op, Max> ? max(a, b) : min(a, b); });
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
