// Softmax of rows, four times: y = exp(x - m) / Σ exp(x - m) with m the row's maximum, so that nothing overflows. A
// block takes a row. At the least 8 bytes are moved for each element, one read and one write; so what counts is how
// often a row is read.
#pragma once
#include <limits>

#include "ladder.h"

namespace steep::cuda::ladder {

constexpr int kRowThreads = 256;
constexpr float kLowest = -std::numeric_limits<float>::infinity();

/// combine over all threads of the block, for all of them. Each use of it in a kernel has scratch of its own.
template <class F>
__device__ float over_block(float* scratch, float value, F combine) {
  for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(~0u, value, step));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[threadIdx.x % (kRowThreads / 32)];
  for (int step = kRowThreads / 64; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(~0u, value, step));
  return value;
}
/// NaN where either is.
struct Larger {
  __device__ float operator()(float a, float b) const { return a > b || a != a ? a : b; }
};
struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
static __device__ float larger(float a, float b) { return Larger{}(a, b); }

// Rung 1: three passes, as the formula says: maximum, sum, quotient. 16 bytes an element, 3 reads and 1 write; the
// later reads find the row in a cache if it is short and few blocks share that.
namespace softmax_three_passes {

static __global__ void __launch_bounds__(kRowThreads) kernel(const Softmax p) {
  STEEP_SHARED(float, scratch, 2 * kRowThreads / 32);
  const float* const x = p.x + int64_t(blockIdx.x) * p.n;
  float* const y = p.y + int64_t(blockIdx.x) * p.n;
  float most = kLowest, sum = 0;
  for (int i = int(threadIdx.x); i < p.n; i += kRowThreads) most = larger(most, x[i]);
  most = over_block(scratch, most, Larger{});
  for (int i = int(threadIdx.x); i < p.n; i += kRowThreads) sum += expf(x[i] - most);
  const float scale = 1 / over_block(scratch + kRowThreads / 32, sum, Add{});
  for (int i = int(threadIdx.x); i < p.n; i += kRowThreads) y[i] = expf(x[i] - most) * scale;
}
inline void run(const Softmax& p) {
  if (p.rows) launch("softmax_three_passes", kernel, unsigned(p.rows), kRowThreads, 0, p);
}

}  // namespace softmax_three_passes

// Rung 2: maximum and sum in one pass ("online": M. Milakov, N. Gimelshein, Online normalizer calculation for softmax,
// 2018). Where a larger maximum turns up, the sum so far is scaled to it. 12 bytes an element, for one more exp.
namespace softmax_online {

static __global__ void __launch_bounds__(kRowThreads) kernel(const Softmax p) {
  STEEP_SHARED(float, scratch, 2 * kRowThreads / 32);
  const float* const x = p.x + int64_t(blockIdx.x) * p.n;
  float* const y = p.y + int64_t(blockIdx.x) * p.n;
  float own = kLowest, sum = 0;
  for (int i = int(threadIdx.x); i < p.n; i += kRowThreads) {
    const float value = x[i], before = own;
    own = larger(own, value);
    if (own != before) sum *= expf(before - own);  // not at -inf, where the difference is NaN
    if (own != kLowest) sum += expf(value - own);
  }
  const float most = over_block(scratch, own, Larger{});
  if (own != most) sum *= expf(own - most);
  const float scale = 1 / over_block(scratch + kRowThreads / 32, sum, Add{});
  for (int i = int(threadIdx.x); i < p.n; i += kRowThreads) y[i] = expf(x[i] - most) * scale;
}
inline void run(const Softmax& p) {
  if (p.rows) launch("softmax_online", kernel, unsigned(p.rows), kRowThreads, 0, p);
}

}  // namespace softmax_online

// Rung 3: the row stays in registers: 8 bytes an element, and one exp. The loads don't depend on one another, so all
// are under way at once. 256 threads hold rows of up to 4096 elements, 16 each; the arrays' indices must be known when
// the kernel is compiled, since registers have no addresses, hence the unrolled loops.
namespace softmax_registers {

constexpr int kEach = 16, kLongest = kRowThreads * kEach;

static __global__ void __launch_bounds__(kRowThreads) kernel(const Softmax p) {
  STEEP_SHARED(float, scratch, 2 * kRowThreads / 32);
  const int64_t first = int64_t(blockIdx.x) * p.n;
  const bool x_vectors = takes_vectors(p.x, p.n), y_vectors = takes_vectors(p.y, p.n);
  float4 v[kEach / 4];
  float most = kLowest, sum = 0;
#pragma unroll
  for (int j = 0; j < kEach / 4; ++j) {
    const int i = 4 * (j * kRowThreads + int(threadIdx.x)), valid = max(p.n - i, 0);
    v[j] = load4(p.x + first + i, valid, x_vectors);
    if (valid < 4) v[j].w = kLowest;
    if (valid < 3) v[j].z = kLowest;
    if (valid < 2) v[j].y = kLowest;
    if (valid < 1) v[j].x = kLowest;
    most = larger(most, larger(larger(v[j].x, v[j].y), larger(v[j].z, v[j].w)));
  }
  most = over_block(scratch, most, Larger{});
#pragma unroll
  for (int j = 0; j < kEach / 4; ++j) {
    v[j] = {expf(v[j].x - most), expf(v[j].y - most), expf(v[j].z - most), expf(v[j].w - most)};
    sum += (v[j].x + v[j].y) + (v[j].z + v[j].w);
  }
  const float scale = 1 / over_block(scratch + kRowThreads / 32, sum, Add{});
#pragma unroll
  for (int j = 0; j < kEach / 4; ++j) {
    const int i = 4 * (j * kRowThreads + int(threadIdx.x));
    store4(p.y + first + i, {v[j].x * scale, v[j].y * scale, v[j].z * scale, v[j].w * scale}, p.n - i, y_vectors);
  }
}
inline void run(const Softmax& p) {
  if (p.rows) launch("softmax_registers", kernel, unsigned(p.rows), kRowThreads, 0, p);
}

}  // namespace softmax_registers

// Rung 4: a longer row stays in shared memory, at the same 8 bytes of global memory an element: up to some 57,000
// elements on an H200, by cp.async, which needs no registers for what is under way. Each thread reads only what it has
// copied itself, so that its own wait suffices. Rows beyond that are for a cluster of blocks.
namespace softmax_shared {

static __global__ void __launch_bounds__(kRowThreads) kernel(const Softmax p) {
  STEEP_SHARED(float, scratch, 2 * kRowThreads / 32);
  STEEP_DYNAMIC_SHARED(float, row);
  const float* const x = p.x + int64_t(blockIdx.x) * p.n;
  float* const y = p.y + int64_t(blockIdx.x) * p.n;
  const bool x_vectors = takes_vectors(p.x, p.n), y_vectors = takes_vectors(p.y, p.n);
  for (int i = 4 * int(threadIdx.x); i < p.n; i += 4 * kRowThreads) {
    if (x_vectors) {
      copy_async<16>(row + i, x + i);
    } else {
      for (int j = i; j < min(i + 4, p.n); ++j) copy_async<4>(row + j, x + j);
    }
  }
  commit_async();
  wait_async<0>();
  float most = kLowest, sum = 0;
  for (int i = 4 * int(threadIdx.x); i < p.n; i += 4 * kRowThreads)
    for (int j = i; j < min(i + 4, p.n); ++j) most = larger(most, row[j]);
  most = over_block(scratch, most, Larger{});
  for (int i = 4 * int(threadIdx.x); i < p.n; i += 4 * kRowThreads)
    for (int j = i; j < min(i + 4, p.n); ++j) sum += row[j] = expf(row[j] - most);
  const float scale = 1 / over_block(scratch + kRowThreads / 32, sum, Add{});
  for (int i = 4 * int(threadIdx.x); i < p.n; i += 4 * kRowThreads) {
    const float4 v = load4(row + i, p.n - i, true);
    store4(y + i, {v.x * scale, v.y * scale, v.z * scale, v.w * scale}, p.n - i, y_vectors);
  }
}
inline int longest() { return (device_limits().shared_bytes_per_block - 1024) / int(sizeof(float)); }
inline void run(const Softmax& p) {
  if (!p.rows) return;
  const int bytes = p.n * int(sizeof(float));
  check("softmax_shared", cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  launch("softmax_shared", kernel, unsigned(p.rows), kRowThreads, unsigned(bytes), p);
}

}  // namespace softmax_shared
}  // namespace steep::cuda::ladder
