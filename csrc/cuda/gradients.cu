// What is done to all gradients between the backward pass and the optimizer's step: their norm, by a launch that leaves
// a number for each block and one that combines them, and changes in place, by one launch, which read the norm where it
// is.
#include "../core/gradients.h"

#include <vector>

#include "../core/norm.h"
#include "multi_tensor.cuh"
#include "table.h"
#include "vec.cuh"

namespace steep::cuda {
void fill_gradients(Table& table);

namespace {

/// Elements of one gradient.
template <class T>
struct Run {
  T* data;
  int64_t n;
};
constexpr int kMostRuns = 192;
template <class T>
using Runs = Batch<Run<T>, kMostRuns>;

/// What elements are computed in.
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// x = f(x) for this thread's elements of a block's x[0 … n - 1], or, of constant ones, f(x) alone. Four 16-byte loads
/// are under way at a time.
template <class T, class F>
__device__ void each_element(T* x, int n, F f) {
  using Item = std::remove_const_t<T>;
  constexpr int kWidth = 16 / int(sizeof(T)), kLoads = 4, kStep = kThreads * kWidth;
  using V = Aligned<Item, kWidth>;
  const int whole = reinterpret_cast<uintptr_t>(x) % 16 == 0 ? n / kWidth * kWidth : 0;
#pragma unroll 1
  for (int i = int(threadIdx.x) * kWidth; i < whole; i += kLoads * kStep) {
    V v[kLoads] = {};
#pragma unroll
    for (int k = 0; k < kLoads; ++k)
      if (i + k * kStep < whole) v[k] = *reinterpret_cast<const V*>(x + i + k * kStep);
#pragma unroll
    for (int k = 0; k < kLoads; ++k) {
      if (i + k * kStep >= whole) break;
#pragma unroll
      for (int j = 0; j < kWidth; ++j) v[k].v[j] = Item(f(Computed<Item>(v[k].v[j])));
      if constexpr (!std::is_const_v<T>) *reinterpret_cast<V*>(x + i + k * kStep) = v[k];
    }
  }
#pragma unroll 1
  for (int i = whole + int(threadIdx.x); i < n; i += kThreads) {
    const Item y = Item(f(Computed<Item>(x[i])));
    if constexpr (!std::is_const_v<T>) x[i] = y;
  }
}

// --- the norm -------------------------------------------------------------------------------------------------------

/// x combined over the threads of a block, in an order that depends on nothing but their number; for thread 0.
template <int threads>
__device__ double combine_block(const NormPlan& plan, double x) {
  constexpr int kWarp = 32;
  STEEP_SHARED(double, parts, threads / kWarp);
#pragma unroll 1
  for (int step = kWarp / 2; step > 0; step /= 2) x = plan.combine(x, __shfl_xor_sync(~0u, x, step));
  if (threadIdx.x % kWarp == 0) parts[threadIdx.x / kWarp] = x;
  __syncthreads();
  if (threadIdx.x > 0) return x;
#pragma unroll 1
  for (int i = 1; i < threads / kWarp; ++i) x = plan.combine(x, parts[i]);
  return x;
}

/// partial[b] is what block b's elements are combined to. Most norms are of squares: they have a kernel of their own.
template <class T, bool squares>
__global__ void __launch_bounds__(kThreads)
    partial_norms(const Runs<T> runs, const NormPlan plan, const double* unit, double* partial) {
  const auto [item, begin, n] = runs.place();
  const T* const x = runs.items[item].data + begin;
  double total = plan.identity();
  if constexpr (squares) {
    each_element(x, n, [&](auto v) {
      total += double(v) * double(v);
      return v;
    });
  } else {
    const double divisor = plan.needs_unit() ? *unit : 1;
    each_element(x, n, [&](auto v) {
      const double size = fabs(double(v)), ratio = size / divisor;
      double term = size;
      if (plan.norm == Norm::nonzeros) term = size != 0;
      if (plan.norm == Norm::powers) term = plan.ord == 2 ? ratio * ratio : ::pow(ratio, plan.ord);
      total = plan.combine(total, term);
      return v;
    });
  }
  total = combine_block<kThreads>(plan, total);
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

constexpr int kFinishing = 512;  // threads

/// One block: the norm of all, as a float or as a double.
__global__ void __launch_bounds__(kFinishing) finish_norm(const NormPlan plan, const double* unit, int64_t n,
                                                          const double* partial, float* narrow, double* wide) {
  double total = plan.identity();
#pragma unroll 4
  for (int64_t i = threadIdx.x; i < n; i += kFinishing) total = plan.combine(total, partial[i]);
  total = combine_block<kFinishing>(plan, total);
  if (threadIdx.x > 0) return;
  const double norm = plan.finish(total, plan.needs_unit() ? *unit : 1);
  if (wide) *wide = norm;
  if (narrow) *narrow = float(norm);
}

// --- changes in place -----------------------------------------------------------------------------------------------

/// A number that a launch before has left, as a float or as a double.
struct Number {
  const float* narrow;
  const double* wide;
  Number(DType dtype, const void* p)
      : narrow(dtype == DType::float64 ? nullptr : static_cast<const float*>(p)),
        wide(dtype == DType::float64 ? static_cast<const double*>(p) : nullptr) {}
  __device__ double value() const { return wide ? *wide : double(*narrow); }
};

/// x *= the number, or, with max_norm ≥ 0, by what a norm asks for.
template <class A>
struct Scale {
  Number number;
  double max_norm;
  A factor = 1;
  __device__ bool begin() {
    factor = A(max_norm >= 0 ? clip_factor(number.value(), max_norm) : number.value());
    return factor != 1;
  }
  __device__ A operator()(A x) const { return x * factor; }
  __device__ void end() const {}
};

template <class A>
struct ClipValues {
  A limit;
  __device__ bool begin() const { return true; }
  __device__ A operator()(A x) const { return x > limit ? limit : x < -limit ? -limit : x; }
  __device__ void end() const {}
};

template <class A>
struct Unscale {
  A factor;
  int32_t* found;
  bool odd = false;
  __device__ bool begin() const { return true; }
  __device__ A operator()(A x) {
    const A y = x * factor;
    odd |= !(y - y == 0);
    return y;
  }
  __device__ void end() const {
    if (odd) atomicOr(found, 1);
  }
};

template <class T, class Change>
__global__ void __launch_bounds__(kThreads) change(const Runs<T> runs, Change op) {
  if (!op.begin()) return;
  const auto [item, begin, n] = runs.place();
  each_element(runs.items[item].data + begin, n, [&](auto v) { return op(v); });
  op.end();
}

// --- launches -------------------------------------------------------------------------------------------------------

/// run(batch) for the arrays of one dtype, as many at a time as a launch describes.
template <class T, class F>
void each_batch(std::span<const Elements> all, int chunk, const F& run) {
  Runs<std::remove_const_t<T>> batch{};
  batch.chunk = chunk;
  const auto flush = [&] {
    if (batch.count) run(batch);
    batch.count = 0;
  };
  for (const Elements& e : all) {
    if (e.dtype != dtype_of<T>() || e.n == 0) continue;
    const Run<T> item{static_cast<T*>(e.data), e.n};
    if (batch.add(item)) continue;
    flush();
    batch.add(item);
  }
  flush();
}
/// The same for every floating-point dtype.
template <class F>
void each_batch(std::span<const Elements> all, int chunk, const F& run) {
  each_batch<float>(all, chunk, run);
  each_batch<double>(all, chunk, run);
  each_batch<float16>(all, chunk, run);
  each_batch<bfloat16>(all, chunk, run);
}

/// Chunks that keep the GPU busy, and are few enough for one block to combine what they leave.
int chunk_of_norms(std::span<const Elements> all) {
  constexpr int kBlocks = 8;  // of a multiprocessor
  int64_t n = 0;
  for (const Elements& e : all) n += e.n;
  const int64_t chunks = ceil_div(n, int64_t(device_limits().multiprocessors) * kBlocks * kChunk);
  return int(std::clamp<int64_t>(chunks, 1, 1 << 16)) * kChunk;
}

void launch_norm(std::span<const Elements> all, const NormPlan& plan, const double* unit, float* narrow, double* wide) {
  constexpr const char* name = "total_norm";
  const int chunk = chunk_of_norms(all);
  int64_t blocks = 0, done = 0;
  for (const Elements& e : all) blocks += ceil_div(e.n, int64_t(chunk));
  const Workspace partial(size_t(blocks) * sizeof(double));
  each_batch(all, chunk, [&]<class T>(const Runs<T>& batch) {
    const auto kernel = plan.norm == Norm::squares ? partial_norms<T, true> : partial_norms<T, false>;
    launch(name, kernel, batch.blocks(), kThreads, 0, batch, plan, unit, partial.as<double>() + done);
    done += batch.blocks();
  });
  launch(name, finish_norm, 1, kFinishing, 0, plan, unit, blocks, partial.as<const double>(), narrow, wide);
}

void total_norm(std::span<const Elements> all, const NormPlan& plan, DType dtype, void* norm) {
  const Workspace unit(plan.needs_unit() ? sizeof(double) : 0);
  if (plan.needs_unit()) launch_norm(all, plan.unit(), nullptr, nullptr, unit.as<double>());
  const bool wide = dtype == DType::float64;
  launch_norm(all, plan, unit.as<const double>(), wide ? nullptr : static_cast<float*>(norm),
              wide ? static_cast<double*>(norm) : nullptr);
}

/// make(zero) makes what is done to elements that are computed in the type of `zero`.
template <class Make>
void change_all(const char* name, std::span<const Elements> all, const Make& make) {
  each_batch(all, kChunk, [&]<class T>(const Runs<T>& batch) {
    const auto op = make(Computed<T>());
    static_assert(sizeof batch + sizeof op <= kMostParameters);
    launch(name, change<T, std::remove_const_t<decltype(op)>>, batch.blocks(), kThreads, 0, batch, op);
  });
}

void clip_norm(std::span<const Elements> all, DType dtype, const void* norm, double max_norm) {
  change_all("clip_grad_norm_", all, [&]<class A>(A) { return Scale<A>{{dtype, norm}, max_norm}; });
}
void scale(std::span<const Elements> all, DType dtype, const void* factor) {
  change_all("scale", all, [&]<class A>(A) { return Scale<A>{{dtype, factor}, -1}; });
}
void clip_values(std::span<const Elements> all, double limit) {
  change_all("clip_grad_value_", all, [&]<class A>(A) { return ClipValues<A>{A(limit)}; });
}
void unscale(std::span<const Elements> all, double factor, int32_t* found) {
  change_all("unscale_", all, [&]<class A>(A) { return Unscale<A>{A(factor), found}; });
}

}  // namespace

void fill_gradients(Table& table) {
  table.total_norm = total_norm;
  table.clip_norm = clip_norm;
  table.scale = scale;
  table.clip_values = clip_values;
  table.unscale = unscale;
}

}  // namespace steep::cuda
