// Distances between the points of two sets, and their derivatives, from the differences of the coordinates. Points of
// one set lie across the lanes, in panels packed coordinate by coordinate; elements of the other are broadcast. A tile
// of sums stays in registers, as in a matrix product.
#include "../core/kernels.h"
#include "../core/norm.h"
#include "lanes.h"
//
#include "../ops/math.h"

namespace steep::STEEP_ISA_NS {
namespace {

constexpr int kVectors = STEEP_VECTOR_BYTES == 64 ? 3 : 2;  // of a panel: with the rows below, what registers hold
constexpr int kTile = STEEP_VECTOR_BYTES == 64 ? 8 : 4;
constexpr int64_t kDepth = 128;  // coordinates at a time: a panel stays in L1, and sums in T stay short
constexpr int64_t kBlock = 64;   // points at a time in the derivative, for the same reasons

/// Longer distances may make weights of usual gradients vanish.
template <class T>
constexpr double kLong = sizeof(T) == 8 ? 0x1p300 : 0x1p30;

/// x^p for x ≥ 0: by multiplications and a root where 2p is a small integer.
template <class T>
class Power {
 public:
  explicit Power(double p) : p_(p), twice_(p >= 0 && p <= 8 && 2 * p == __builtin_floor(2 * p) ? int(2 * p) : -1) {}
  STEEP_INLINE Vec<T> operator()(Vec<T> x) const {
    Vec<T> y;
    raise(x, y);
    return y;
  }

 private:
  STEEP_NOINLINE void raise(const Vec<T>& x, Vec<T>& y) const {
    if (twice_ < 0) return void(y = pow(x, Vec<T>(p_)));
    y = twice_ & 1 ? sqrt(x) : Vec<T>(1);
    Vec<T> square = x;
    for (int n = twice_ >> 1; n > 0; n >>= 1, square *= square)
      if (n & 1) y *= square;
  }

  double p_;
  int twice_;
};

template <class T>
STEEP_INLINE Vec<T> sign(Vec<T> x) {
  return select(x > 0, Vec<T>(1), select(x < 0, Vec<T>(-1), x));
}

// What of a difference x goes into a sum; how sums combine; the distance of a sum; and ∂distance/∂x · g, of which the
// factor that all the coordinates share, `weight`, is made once for each pair of points.

template <class T>
struct Unequal {  // p = 0, which has no derivative
  using V = Vec<T>;
  static constexpr int rows = kTile;
  static constexpr bool has_powers = false;
  STEEP_INLINE V add(V sum, V x) const { return sum + select(x != 0, V(1), V(0)); }
  STEEP_INLINE V combine(V a, V b) const { return a + b; }
  STEEP_INLINE V finish(V sum) const { return sum; }
};

template <class T>
struct Manhattan : Unequal<T> {
  using V = Vec<T>;
  STEEP_INLINE V add(V sum, V x) const { return sum + abs(x); }
  STEEP_INLINE V weight(V g, V) const { return g; }
  STEEP_INLINE V add_slope(V sum, V x, V g, V) const { return fma(g, sign(x), sum); }
};

template <class T>
struct Euclidean : Unequal<T> {
  using V = Vec<T>;
  static constexpr bool has_powers = true;
  STEEP_INLINE V add(V sum, V x) const { return fma(x, x, sum); }
  STEEP_INLINE V finish(V sum) const { return sqrt(sum); }
  STEEP_INLINE V weight(V g, V y) const { return select(y == 0, V(0), g / y); }
  STEEP_INLINE V add_slope(V sum, V x, V w, V) const { return fma(w, x, sum); }
};

template <class T>
struct Largest : Manhattan<T> {
  using V = Vec<T>;
  STEEP_INLINE V add(V sum, V x) const { return Max::combine(sum, abs(x)); }
  STEEP_INLINE V combine(V a, V b) const { return Max::combine(a, b); }
  STEEP_INLINE V add_slope(V sum, V x, V g, V y) const { return sum + select(abs(x) == y, g * sign(x), V(0)); }
};

template <class T>
struct Minkowski : Manhattan<T> {
  using V = Vec<T>;
  static constexpr int rows = 1;  // calls leave no registers to more
  static constexpr bool has_powers = true;
  Power<T> power, root, slope;
  explicit Minkowski(double p) : power(p), root(1 / p), slope(p - 1) {}
  STEEP_INLINE V add(V sum, V x) const { return sum + power(abs(x)); }
  STEEP_INLINE V finish(V sum) const { return root(sum); }
  STEEP_INLINE V add_slope(V sum, V x, V g, V y) const {
    const auto moved = (x != 0) & (y != 0);
    const V size = select(moved, abs(x) / y, V(1));
    return sum + select(moved, g * sign(x) * slope(size), V(0));
  }
};

/// f(metric) for p > 0.
template <class T, class F>
void visit_metric(double p, const F& f) {
  if (p == 1) return f(Manhattan<T>());
  if (p == 2) return f(Euclidean<T>());
  if (p == __builtin_inf()) return f(Largest<T>());
  f(Minkowski<T>(p));
}

/// f(first point, points, count) for the panels of n points: of kVectors vectors, the last ones of one.
template <class T, class F>
STEEP_INLINE void each_panel(int64_t n, const F& f) {
  constexpr int64_t L = Vec<T>::n, kWidth = kVectors * L;
  int64_t j = 0;
  for (; n - j > kWidth - L; j += kWidth)
    f(j, n - j < kWidth ? n - j : kWidth, std::integral_constant<int, kVectors>());
  for (; j < n; j += L) f(j, n - j < L ? n - j : L, std::integral_constant<int, 1>());
}

/// panel[k, j] = b[j·d + k] for n points and `depth` coordinates; `width` points, of which the last are zeros.
template <class T>
STEEP_NOINLINE void pack(int64_t n, int64_t width, int64_t depth, int64_t d, const T* b, T* panel) {
  for (int64_t j = 0; j < width; ++j)
    for (int64_t k = 0; k < depth; ++k) panel[k * width + j] = j < n ? b[j * d + k] : T(0);
}

/// Have none of the powers in sums between these overflowed, and none vanished that count?
template <class T>
STEEP_INLINE bool fits(Vec<T> low, Vec<T> high) {
  return ((low >= T(kLeastSquares<T>)) & (high <= std::numeric_limits<T>::max())).all();
}

/// The distance of two points in units of the largest difference.
template <class T, class Metric>
STEEP_NOINLINE T scaled_distance(const Metric& metric, int64_t d, const T* a, const T* b) {
  Vec<T> sizes = T(0);
  const auto difference = [&](int64_t k, auto span) { return span.load(a + k) - span.load(b + k); };
  each_vector<T>(d, [&](int64_t k, auto span) { sizes = Max::combine(sizes, abs(difference(k, span))); });
  if ((sizes == 0).all()) return 0;
  if (isnan(sizes).any()) return std::numeric_limits<T>::quiet_NaN();
  const T unit = reduce(sizes, [](Vec<T> x, Vec<T> y) { return max(x, y); });
  if (unit > std::numeric_limits<T>::max()) return unit;
  const double sum = sum_of<T>(d, [&](int64_t k, auto span) { return metric.add(T(0), difference(k, span) / unit); });
  return metric.finish(T(sum))[0] * unit;
}

/// Where the sums of a tile go: `n` columns of y, whose rows are `row` apart, from the first coordinates on, and as
/// distances after the last ones; and the points, of d coordinates, to the columns of b.
template <class T>
struct Output {
  int64_t n, row;
  bool first, last;
  int64_t d;
  const T* b;
};

/// Puts the distances whose sums don't fit.
template <class T, class Metric>
STEEP_NOINLINE void put_scaled(const Metric& metric, const T* sums, const T* a, T* y, const Output<T>& out) {
  for (int64_t j = 0; j < out.n; j += Vec<T>::n) {
    const Vec<T> sum = Vec<T>::load(sums + j);
    if (fits(sum, sum)) continue;
    for (int64_t q = j; q < out.n && q < j + Vec<T>::n; ++q)
      if (!(sums[q] >= T(kLeastSquares<T>) && sums[q] <= std::numeric_limits<T>::max()))
        y[q] = scaled_distance(metric, out.d, a, out.b + q * out.d);
  }
}

/// a: the points of the rows.
template <class T, class Metric>
STEEP_NOINLINE void put_rows(const Metric& metric, int rows, int64_t width, T* sums, const T* a, T* y,
                             const Output<T>& out) {
  for (int r = 0; r < rows; ++r, sums += width, a += out.d, y += out.row) {
    Vec<T> low = T(1), high = T(1);
    each_vector<T>(out.n, [&](int64_t j, auto span) {
      Vec<T> sum = Vec<T>::load(sums + j);
      if (!out.first) sum = metric.combine(span.load(y + j), sum);
      span.store(y + j, out.last ? metric.finish(sum) : sum);
      if constexpr (Metric::has_powers) {
        if (!out.first) sum.store(sums + j);
        low = min(sum, low), high = max(sum, high);
      }
    });
    if (Metric::has_powers && out.last && !fits(low, high)) put_scaled(metric, sums, a, y, out);
  }
}

/// R rows of distances to the points of a panel of `count` vectors, over `depth` of the coordinates from k on.
template <int R, int count, class T, class Metric>
STEEP_NOINLINE void tile(const Metric& metric, int64_t k, int64_t depth, const T* a, const T* panel, T* y,
                         const Output<T>& out) {
  constexpr int64_t L = Vec<T>::n;
  const int64_t d = out.d;
  Vec<T> sum[R][count] = {};
  for (const int64_t end = k + depth; k < end; ++k, panel += count * L) {
    Vec<T> b[count];
#pragma GCC unroll 4
    for (int v = 0; v < count; ++v) b[v] = Vec<T>::load(panel + v * L);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Vec<T> x = a[r * d + k];
#pragma GCC unroll 4
      for (int v = 0; v < count; ++v) sum[r][v] = metric.add(sum[r][v], x - b[v]);
    }
  }
  T sums[R * count * L];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < count; ++v) sum[r][v].store(sums + (r * count + v) * L);
  put_rows(metric, R, count * L, sums, a, y, out);
}

template <class T>
void distances(int64_t n, int64_t m, int64_t d, const T* a, const T* b, double p, T* y, int64_t row) {
  alignas(64) T panel[kDepth * kVectors * Vec<T>::n];
  const auto run = [&]<class Metric>(const Metric& metric) {
    each_panel<T>(m, [&](int64_t j, int64_t points, auto count) {
      for (int64_t k = 0; k < d || k == 0; k += kDepth) {
        const int64_t depth = d - k < kDepth ? d - k : kDepth;
        pack(points, count * Vec<T>::n, depth, d, b + j * d + k, panel);
        const Output<T> out{points, row, k == 0, k + depth == d, d, b + j * d};
        int64_t i = 0;
        for (; i + Metric::rows <= n; i += Metric::rows)
          tile<Metric::rows, count>(metric, k, depth, a + i * d, panel, y + i * row + j, out);
        for (; i < n; ++i) tile<1, count>(metric, k, depth, a + i * d, panel, y + i * row + j, out);
      }
    });
  };
  p == 0 ? run(Unequal<T>()) : visit_metric<T>(p, run);
}

/// sums[c, j] += Σ_i of the slopes between the points i of a block and the points j of a panel, for K coordinates.
template <int K, int count, class T, class Metric>
STEEP_NOINLINE void slope_tile(const Metric& metric, int64_t rows, int64_t d, const T* a, const T* panel,
                               const T* weight, const T* y, double* sums) {
  constexpr int64_t L = Vec<T>::n, kWidth = count * L;
  Vec<T> sum[K][count] = {};
  for (int64_t i = 0; i < rows; ++i, a += d, weight += kWidth, y += kWidth) {
#pragma GCC unroll 8
    for (int c = 0; c < K; ++c) {
      const Vec<T> x = a[c];
#pragma GCC unroll 4
      for (int v = 0; v < count; ++v)
        sum[c][v] = metric.add_slope(sum[c][v], Vec<T>::load(panel + c * kWidth + v * L) - x,
                                     Vec<T>::load(weight + v * L), Vec<T>::load(y + v * L));
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < K; ++c)
#pragma GCC unroll 4
    for (int v = 0; v < count; ++v) accumulate(sums + c * kWidth + v * L, sum[c][v], Whole{});
}

template <class T>
void distances_backward(int64_t n, int64_t m, int64_t d, const T* a, const T* b, double p, const T* g, const T* y,
                        int64_t row, double* db) {
  constexpr int64_t kWidth = kVectors * Vec<T>::n;
  alignas(64) T panel[kDepth * kWidth], weights[kBlock * kWidth] = {}, lengths[kBlock * kWidth] = {};
  alignas(64) double sums[kDepth * kWidth];
  visit_metric<T>(p, [&]<class Metric>(const Metric& metric) {
    each_panel<T>(m, [&](int64_t j, int64_t points, auto count) {
      constexpr int vectors = count;
      constexpr int64_t width = vectors * Vec<T>::n;
      for (int64_t k = 0; k < d; k += kDepth) {
        const int64_t depth = d - k < kDepth ? d - k : kDepth;
        pack(points, width, depth, d, b + j * d + k, panel);
        for (int64_t s = 0; s < depth * width; ++s) sums[s] = 0;
        for (int64_t i = 0; i < n; i += kBlock) {
          const int64_t rows = n - i < kBlock ? n - i : kBlock;
          const auto weigh = [&](const auto& by) {
            Vec<T> longest = T(0), heaviest = T(0);
            for (int64_t r = 0; r < rows; ++r)
              each_vector<T>(points, [&](int64_t q, auto span) {
                const Vec<T> length = span.load(y + (i + r) * row + j + q),
                             weight = by.weight(span.load(g + (i + r) * row + j + q), length);
                length.store(lengths + r * width + q);
                weight.store(weights + r * width + q);
                longest = max(length, longest), heaviest = max(abs(weight), heaviest);
              });
            return ((longest <= T(kLong<T>)) & (heaviest <= std::numeric_limits<T>::max())).all();
          };
          const auto add = [&]<class M>(const M& by) {
            int64_t c = 0;
            for (; c + M::rows <= depth; c += M::rows)
              slope_tile<M::rows, vectors>(by, rows, d, a + i * d + k + c, panel + c * width, weights, lengths,
                                           sums + c * width);
            for (; c < depth; ++c)
              slope_tile<1, vectors>(by, rows, d, a + i * d + k + c, panel + c * width, weights, lengths,
                                     sums + c * width);
          };
          if (weigh(metric) || !std::is_same_v<Metric, Euclidean<T>>) {
            add(metric);
          } else {  // g / y overflows, or may vanish, where x / y doesn't
            const Minkowski<T> powers(2);
            weigh(powers);
            add(powers);
          }
        }
        for (int64_t q = 0; q < points; ++q)
          for (int64_t c = 0; c < depth; ++c) db[(j + q) * d + k + c] += sums[c * width + q];
      }
    });
  });
}

template <class T>
constexpr DistanceKernels<T> kernels() {
  return {kVectors * Vec<T>::n, distances<T>, distances_backward<T>};
}

}  // namespace

void fill_distances(Kernels& k) {
  k.distances_f32 = kernels<float>();
  k.distances_f64 = kernels<double>();
}

}  // namespace steep::STEEP_ISA_NS
