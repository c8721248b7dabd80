// The elementwise loop. A thread loads kPer elements of every input, applies the formula, and stores as many: as
// 16-byte accesses where every operand is contiguous and aligned, else one by one at any strides, neighbours by
// neighbours.
#pragma once
#include <algorithm>
#include <cstring>

#include "../core/elementwise_plan.h"
#include "launch.cuh"
#include "vec.cuh"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256;

/// In place of the type of an operand that the formula doesn't read.
struct Unread {};

template <class T>
constexpr int size_of = int(sizeof(T));
template <>
constexpr int size_of<Unread> = 1;

/// Elements per access: 16 bytes of the widest type, and at most 8.
template <class... T>
constexpr int kWidth = std::min(8, 16 / std::max({size_of<T>...}));
/// Elements per thread: two accesses, so that 2048 threads of a multiprocessor have 64 KB of each operand in flight.
template <class... T>
constexpr int kPer = std::min(8, 2 * kWidth<T...>);

/// Division by a constant of numbers below 2^31, by T. Granlund, P. Montgomery, Division by Invariant Integers (1994).
struct Divider {
  uint32_t divisor, multiplier, shift;
  Divider() = default;
  explicit Divider(uint32_t d) : divisor(d), shift(0) {
    while ((uint64_t(1) << shift) < d) ++shift;
    multiplier = uint32_t(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - d)) / d + 1);
  }
  __device__ uint32_t divide(uint32_t n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

struct Operand {
  char* data;
  uint64_t value;  // of an immediate
  int32_t strides[kMaxNdim];
  bool immediate, one;  // one: an element that stands for all
};

/// An ElementwisePlan as the kernel reads it.
template <int kOperands>
struct Operands {
  uint32_t size;
  int axes;
  bool vectors;  // all operands are contiguous and aligned, or one element
  Divider extents[kMaxNdim];
  Operand operands[kOperands];
};

template <class T, int n>
struct Fragment {
  T v[n];
};
// What formulas give, as it is stored.
template <class T>
STEEP_INLINE T stored(Vec<T> v) {
  return v.v;
}
template <class T>
STEEP_INLINE uint8_t stored(Mask<T> m) {
  return m.v;
}
template <class T>
STEEP_INLINE T stored(T x) {
  return x;
}

template <class T>
__device__ T single(const Operand& a) {
  if (!a.immediate) return *reinterpret_cast<const T*>(a.data);
  T x;
  memcpy(&x, &a.value, sizeof x);
  return x;
}

/// f(k, offset) for the elements begin + k·kThreads + thread that there are, k < n. Offsets are computed modulo 2^32,
/// as those beyond the end may be anything, and a few at a time, which takes fewer registers.
template <int n, int kOperands, class F>
__device__ void each_offset(const Operands<kOperands>& plan, const Operand& a, uint32_t begin, const F& f) {
  constexpr int kFew = n < 4 ? n : 4;
#pragma unroll
  for (int first = 0; first < n; first += kFew) {
    const uint32_t at = begin + first * kThreads + threadIdx.x;
    uint32_t index[kFew], offset[kFew];
#pragma unroll
    for (int k = 0; k < kFew; ++k) index[k] = at + k * kThreads, offset[k] = 0;
#pragma unroll 1
    for (int d = plan.axes - 1; d > 0; --d) {
      const Divider extent = plan.extents[d];
      const uint32_t stride = a.strides[d];
#pragma unroll
      for (int k = 0; k < kFew; ++k) {
        const uint32_t outer = extent.divide(index[k]);
        offset[k] += (index[k] - outer * extent.divisor) * stride;
        index[k] = outer;
      }
    }
#pragma unroll
    for (int k = 0; k < kFew; ++k)
      if (at + k * kThreads < plan.size) f(first + k, int32_t(offset[k] + index[k] * uint32_t(a.strides[0])));
  }
}

/// The elements of this thread: `first` + vector·kThreads·width + 0…width-1 as vectors, else first + k·kThreads.
struct Place {
  uint32_t begin;  // of the block's tile
  bool vectors;
};

template <int width, class T, int n, int kOperands>
__device__ void load(const Operands<kOperands>& plan, const Operand& a, Place at, Fragment<T, n>& x) {
  if constexpr (!std::is_same_v<T, Unread>) {
    if (a.one) {
      const T value = single<T>(a);
#pragma unroll
      for (int k = 0; k < n; ++k) x.v[k] = value;
    } else if (at.vectors) {
#pragma unroll
      for (int k = 0; k < n; k += width) {
        const size_t index = at.begin + k * kThreads + threadIdx.x * width;
        const auto v = *reinterpret_cast<const Aligned<T, width>*>(a.data + index * sizeof(T));
#pragma unroll
        for (int j = 0; j < width; ++j) x.v[k + j] = v.v[j];
      }
    } else {
      each_offset<n>(plan, a, at.begin, [&](int k, int32_t i) { x.v[k] = reinterpret_cast<const T*>(a.data)[i]; });
    }
  }
}

template <int width, class T, int n, int kOperands>
__device__ void store(const Operands<kOperands>& plan, const Operand& a, Place at, const Fragment<T, n>& y) {
  if (at.vectors) {
#pragma unroll
    for (int k = 0; k < n; k += width) {
      Aligned<T, width> v;
#pragma unroll
      for (int j = 0; j < width; ++j) v.v[j] = y.v[k + j];
      const size_t index = at.begin + k * kThreads + threadIdx.x * width;
      *reinterpret_cast<Aligned<T, width>*>(a.data + index * sizeof(T)) = v;
    }
  } else {
    each_offset<n>(plan, a, at.begin, [&](int k, int32_t i) { reinterpret_cast<T*>(a.data)[i] = y.v[k]; });
  }
}

template <class Out, class... In, int... I, class F, int n>
__device__ void apply(std::integer_sequence<int, I...>, const F& f, const Operands<sizeof...(In) + 1>& plan, Place at,
                      Fragment<In, n>... x) {
  constexpr int width = kWidth<Out, In...>;
  (load<width>(plan, plan.operands[I], at, x), ...);
  Fragment<Out, n> y;
#pragma unroll
  for (int k = 0; k < n; ++k) y.v[k] = stored(f(x.v[k]...));
  store<width>(plan, plan.operands[sizeof...(In)], at, y);
}

template <class F, class Out, class... In>
__global__ void __launch_bounds__(kThreads) elementwise(F f, Operands<sizeof...(In) + 1> plan) {
  constexpr int n = kPer<Out, In...>;
  const uint32_t begin = blockIdx.x * uint32_t(kThreads * n);
  const Place at{begin, plan.vectors && begin + kThreads * n <= plan.size};
  apply<Out, In...>(std::make_integer_sequence<int, sizeof...(In)>(), f, plan, at, Fragment<In, n>()...);
}

/// The axis to cut a plan at, whose sizes and offsets have to fit 31 bits for the kernel; -1 where they do.
inline int axis_to_cut(const ElementwisePlan& plan) {
  constexpr int64_t kLargest = int64_t(1) << 30;
  const auto longest = [&](const auto& length) {
    int axis = 0;
    for (int d = 1; d < plan.shape.n; ++d)
      if (length(d) > length(axis)) axis = d;
    return axis;
  };
  if (plan.size() > kLargest) return longest([&](int d) { return plan.shape[d]; });
  for (int i = 0; i < plan.operands; ++i) {
    const auto reach = [&](int d) { return (plan.shape[d] - 1) * std::abs(plan.strides[i][d]); };
    int64_t total = 0;
    for (int d = 0; d < plan.shape.n; ++d) total += reach(d);
    if (total > kLargest) return longest(reach);
  }
  return -1;
}

template <class Run>
void in_pieces(const ElementwisePlan& plan, const Run& run) {
  const int axis = axis_to_cut(plan);
  if (axis < 0) return run(plan);
  ElementwisePlan half = plan;
  half.shape[axis] = plan.shape[axis] / 2;
  in_pieces(half, run);
  for (int i = 0; i < plan.operands; ++i) half.data[i] += half.shape[axis] * plan.strides[i][axis] * plan.item[i];
  half.shape[axis] = plan.shape[axis] - half.shape[axis];
  in_pieces(half, run);
}

/// Is an operand contiguous and aligned to accesses of `width` elements?
inline bool takes_vectors(const ElementwisePlan& plan, int operand, int width) {
  return plan.shape.n == 1 && plan.strides[operand][0] == 1 &&
         reinterpret_cast<uintptr_t>(plan.data[operand]) % uintptr_t(width * plan.item[operand]) == 0;
}

/// y = f(x…) for all the elements of a plan.
template <class Out, class... In, class F>
void launch_elementwise(const char* op, const ElementwisePlan& plan, const F& f) {
  constexpr int kOperands = int(sizeof...(In)) + 1, width = kWidth<Out, In...>, per = kPer<Out, In...>;
  constexpr bool read[] = {!std::is_same_v<In, Unread>..., true};
  in_pieces(plan, [&](const ElementwisePlan& piece) {
    Operands<kOperands> operands;
    operands.size = uint32_t(piece.size());
    operands.axes = piece.shape.n;
    operands.vectors = true;
    for (int d = 0; d < piece.shape.n; ++d) operands.extents[d] = Divider(uint32_t(piece.shape[d]));
    for (int i = 0; i < kOperands; ++i) {
      Operand& a = operands.operands[i];
      a.data = piece.data[i];
      a.value = piece.value[i];
      a.immediate = piece.immediates >> i & 1;
      a.one = true;
      for (int d = 0; d < piece.shape.n; ++d) {
        const int64_t stride = piece.shape[d] == 1 ? 0 : piece.strides[i][d];
        a.strides[d] = int32_t(stride);
        a.one &= stride == 0;
      }
      a.one = (a.immediate || (a.one && operands.size > 1)) && i < kOperands - 1;
      if (read[i] && !a.one) operands.vectors &= takes_vectors(piece, i, width);
    }
    const uint32_t blocks = ceil_div(operands.size, uint32_t(kThreads * per));
    launch(op, elementwise<F, Out, In...>, blocks, kThreads, 0, f, operands);
  });
}

}  // namespace
}  // namespace steep::cuda
