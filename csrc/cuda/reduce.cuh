// The reduction kernel. One pass reduces one axis of an array; its results, or its partial results, are what the next
// pass reads (reduce.cu). A block is a rectangle of threads, lines × threads: each line makes one result. The order of
// combining depends on shapes, strides, addresses and the device alone, so that the same bits come out every time.
#pragma once
#include <algorithm>
#include <cstring>
#include <limits>

#include "../core/reduce_plan.h"
#include "../ops/reduce.h"
#include "launch.cuh"

namespace steep::cuda {
namespace {

constexpr int kLogThreads = 8, kThreads = 1 << kLogThreads;

struct KeptAxis {
  int64_t from, to;  // steps in elements of x and of y
  uint32_t extent;
};

/// What a record reads beside the elements.
struct Choice {
  bool flip = false;  // smallest instead of largest, all instead of any
  uint64_t mask = 0;  // bits of an element that make it true
};

/// y[to…] = finish(combine over r < n of x[from… + r·step]) for `kept` results.
struct Pass {
  const void* x;
  void* y;
  int64_t n, step;
  int64_t piece;  // of n, per block; the blocks of a column of the grid share a result
  uint32_t kept;
  int axes;
  KeptAxis axis[kMaxNdim];
  Choice choice;
  int log_near;     // 2^log_near threads with successive numbers are one line
  bool near_lines;  // or have one place in as many lines
  bool vectors;     // 16-byte accesses along r, where step is 1
  bool partial;     // y gets accumulators, those of a result next to each other
};

// --- records beside those of ops/reduce.h ---------------------------------------------------------------------------

/// Any and All, of elements as the integers of their size, so that a few kernels serve all dtypes: all = not any not.
struct Truth {
  template <class T>
  using Acc = uint8_t;
  template <class T>
  using Result = uint8_t;
  template <class A>
  static STEEP_FORMULA A init() {
    return 0;
  }
  template <class A, class T>
  static STEEP_FORMULA A take(T x, int64_t, Choice c) {
    return ((x & T(c.mask)) != 0) != c.flip;
  }
  template <class V>
  static STEEP_FORMULA V combine(V a, V x) {
    return a | x;
  }
  template <class R, class A>
  static STEEP_FORMULA R finish(A a, Choice c) {
    return a != R(c.flip);
  }
};

/// An element and its place. Ranks are ordered as the elements are, from -2^63 + 1 on.
struct Ranked {
  int64_t rank, place;
};

template <class T>
STEEP_FORMULA int64_t rank(T x, bool flip) {
  if constexpr (std::is_floating_point_v<T>) {
    std::conditional_t<sizeof(T) == 4, int32_t, int64_t> bits;
    x = x == 0 ? 0 : flip ? -x : x;
    memcpy(&bits, &x, sizeof bits);
    if (x != x) return std::numeric_limits<int64_t>::max();
    return bits < 0 ? std::numeric_limits<decltype(bits)>::min() - bits : bits;
  } else {
    const int64_t order = std::is_same_v<T, uint64_t> ? int64_t(x ^ uint64_t(1) << 63) : int64_t(x);
    return flip ? ~order : order;
  }
}

/// The first place of the largest or smallest element; a NaN is larger and smaller than any number.
struct Arg {
  template <class T>
  using Acc = Ranked;
  template <class T>
  using Result = int64_t;
  template <class A>
  static STEEP_FORMULA A init() {
    return {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  }
  template <class A, class T>
  static STEEP_FORMULA A take(T x, int64_t place, Choice c) {
    if constexpr (std::is_same_v<T, Ranked>)
      return x;
    else
      return {rank(x, c.flip), place};
  }
  template <class A>
  static STEEP_FORMULA A combine(A a, A x) {
    return x.rank > a.rank || (x.rank == a.rank && x.place < a.place) ? x : a;
  }
  template <class R, class A>
  static STEEP_FORMULA R finish(A a) {
    return a.place;
  }
};

// --- accumulators ---------------------------------------------------------------------------------------------------

/// What a few elements are combined in before their result enters a Total: float32 sums need no double precision here.
template <class Op, class T>
using Short =
    std::conditional_t<std::is_same_v<Op, Sum> && std::is_floating_point_v<T>, T, typename Op::template Acc<T>>;

/// What a thread accumulates.
template <class Op, class T>
struct Total {
  using A = typename Op::template Acc<T>;
  A all = Op::template init<A>();
  __device__ void add(Short<Op, T> x) { all = Op::combine(all, A(x)); }
  __device__ A value() const { return all; }
};

/// Compensated: Knuth's two-sum gives the exact error of every addition. Where the sum is infinite that is NaN.
template <>
struct Total<Sum, double> {
  double sum = 0, error = 0;
  __device__ void add(double x) {
    const double t = sum + x, b = t - sum;
    error += (sum - (t - b)) + (x - b);
    sum = t;
  }
  __device__ double value() const { return error == error ? sum + error : sum; }
};

/// combine of n numbers as a tree: log2(n) roundings, and no long wait for the one before.
template <class Op, int n, class V>
__device__ __forceinline__ V combine_all(const V* x) {
  if constexpr (n == 1)
    return x[0];
  else
    return Op::combine(combine_all<Op, n / 2>(x), combine_all<Op, n / 2>(x + n / 2));
}

template <class A>
__device__ A shuffle_xor(A a, int lanes) {
  constexpr int kWords = (sizeof(A) + 3) / 4;
  uint32_t words[kWords] = {};
  memcpy(words, &a, sizeof a);
#pragma unroll
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_xor_sync(~0u, words[i], lanes);
  memcpy(&a, words, sizeof a);
  return a;
}

/// Combines the accumulators of threads whose numbers differ in the bits from `low` to `high` / 2 only; the one whose
/// number has none of these gets the result.
template <class Op, class A>
__device__ A combine_threads(A a, int low, int high) {
#pragma unroll 1
  for (int bit = low; bit < high && bit < 32; bit *= 2) a = Op::combine(a, shuffle_xor(a, bit));
  const int first = max(low, 32);
  if (first < high) {
    STEEP_SHARED(A, slots, kThreads);
    const int thread = threadIdx.x;
    slots[thread] = a;
    __syncthreads();
    if ((thread & (high - low)) == 0) {
#pragma unroll 1
      for (int other = first; other < high; other += first) a = Op::combine(a, slots[thread + other]);
    }
  }
  return a;
}

// --- the kernel -----------------------------------------------------------------------------------------------------

template <class T>
constexpr int kWidth = int(16 / sizeof(T));
/// Elements that a thread loads before it uses the first: two vectors, so that 1024 threads have 32 KB in flight.
template <class T>
constexpr int kPer = std::clamp(2 * kWidth<T>, 4, 16);

template <class T>
struct alignas(16) Pack {
  T v[kWidth<T>];
};

/// The elements x[begin·step], x[(begin + 1)·step], … up to `end` enter the total, as far as they are this thread's.
/// With `vectors`, x + begin is aligned and end - begin a multiple of kWidth.
template <class Op, class T>
__device__ __forceinline__ void accumulate(Total<Op, T>& total, const T* x, const Pass& p, int64_t begin, int64_t end,
                                           int thread, int threads, bool vectors) {
  constexpr int width = kWidth<T>, per = kPer<T>;
  using V = Short<Op, T>;
  const int within = vectors ? 1 : threads;  // from one element to the next of a pack
#pragma unroll 1
  for (int64_t i = begin + (vectors ? width : 1) * thread; i < end; i += per * threads) {
    const int left = int(min(end - i, int64_t(per) * threads));
    T loaded[per];
    if (vectors) {
      const T* from = x + i;
#pragma unroll
      for (int u = 0; u < per; u += width)
        if (u * threads < left) {
          const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(from + u * threads);
#pragma unroll
          for (int v = 0; v < width; ++v) loaded[u + v] = pack.v[v];
        }
    } else {
      const T* from = x + i * p.step;
      const int64_t step = threads * p.step;
#pragma unroll
      for (int u = 0; u < per; ++u)
        if (u * threads < left) loaded[u] = from[u * step];
    }
    V part[per];
#pragma unroll
    for (int u = 0; u < per; ++u) {
      const int place = u / width * width * threads + u % width * within;
      part[u] = Op::template init<V>();
      if (place < left) {
        if constexpr (requires { Op::template take<V>(loaded[u], i, p.choice); })
          part[u] = Op::template take<V>(loaded[u], i + place, p.choice);
        else
          part[u] = Op::template take<V>(loaded[u]);
      }
    }
    total.add(combine_all<Op, per>(part));
  }
}

/// Blocks of a multiprocessor at the same time: with 4 a thread has 64 registers, too few for pairs, and of 16 pairs at
/// a time even 80 are too few.
template <class A, class T>
constexpr int kBlocks = sizeof(A) <= 8 ? 4
                        : kPer<T> < 16 ? 3
                                       : 2;

template <class Op, class T, class R>
__global__ void __launch_bounds__(kThreads, kBlocks<typename Op::template Acc<T>, T>) reduce(const Pass p) {
  using A = typename Op::template Acc<T>;
  const int near = threadIdx.x & ((1 << p.log_near) - 1), far = threadIdx.x >> p.log_near;
  const int thread = p.near_lines ? far : near, line = p.near_lines ? near : far;
  const int log_lines = p.near_lines ? p.log_near : kLogThreads - p.log_near, threads = kThreads >> log_lines;
  uint32_t index = (blockIdx.x << log_lines) + line;
  const bool valid = index < p.kept;
  int64_t from = 0, to = 0;
#pragma unroll 1
  for (int d = p.axes - 1; d >= 0; --d) {
    const uint32_t outer = d ? index / p.axis[d].extent : 0, i = index - outer * p.axis[d].extent;
    from += i * p.axis[d].from;
    to += i * p.axis[d].to;
    index = outer;
  }
  Total<Op, T> total;
  if (valid) {
    const T* x = static_cast<const T*>(p.x) + from;
    // Bounds of what lies in front of the first whole vector, of the vectors, and of the rest.
    int64_t first = blockIdx.y * p.piece;
    const int64_t end = min(first + p.piece, p.n);
    int64_t last = end;
    if (p.vectors) last = min(end, first + (0 - reinterpret_cast<uintptr_t>(x + first) / sizeof(T)) % kWidth<T>);
#pragma unroll 1
    for (int part = 0; part < 3 && first < end; ++part) {
      accumulate<Op>(total, x, p, first, last, thread, threads, part == 1);
      first = last;
      last = part == 0 ? end - (end - first) % kWidth<T> : end;
    }
  }
  const int low = p.near_lines ? 1 << log_lines : 1;
  const A a = combine_threads<Op>(total.value(), low, low * threads);
  if (!valid || thread != 0) return;
  if (p.partial && !std::is_same_v<A, R>)
    static_cast<A*>(p.y)[to * gridDim.y + blockIdx.y] = a;
  else if constexpr (requires { Op::template finish<R>(a, p.choice); })
    static_cast<R*>(p.y)[to * gridDim.y + blockIdx.y] = Op::template finish<R>(a, p.choice);
  else
    static_cast<R*>(p.y)[to * gridDim.y + blockIdx.y] = Op::template finish<R>(a);
}

}  // namespace
}  // namespace steep::cuda
