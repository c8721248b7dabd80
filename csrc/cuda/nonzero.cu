// Where a mask is true, in two passes: blocks count, the counts are added up, and blocks write behind those in front.
#include "launch.cuh"
#include "table.h"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256, kEach = 16;  // elements of a thread
constexpr int kBlock = kThreads * kEach;

int64_t nonzero_blocks(int64_t n) { return ceil_div(n, int64_t(kBlock)); }

/// The sum of the values of the threads in front of this one; `total` is that of all of them.
template <class T>
__device__ T sum_before(T value, T* shared, T& total) {
  const int thread = threadIdx.x;
  shared[thread] = value;
  __syncthreads();
#pragma unroll 1
  for (int step = 1; step < kThreads; step *= 2) {
    const T before = thread >= step ? shared[thread - step] : T(0);
    __syncthreads();
    shared[thread] += before;
    __syncthreads();
  }
  total = shared[kThreads - 1];
  return shared[thread] - value;
}

__device__ int64_t first_of_thread() { return int64_t(blockIdx.x) * kBlock + int64_t(threadIdx.x) * kEach; }

__device__ int count_of_thread(int64_t n, const uint8_t* mask) {
  int count = 0;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    if (first_of_thread() + i < n) count += mask[first_of_thread() + i] != 0;
  return count;
}

__global__ void __launch_bounds__(kThreads) count_blocks(int64_t n, const uint8_t* mask, int64_t* counts) {
  STEEP_SHARED(int, shared, kThreads);
  int total;
  sum_before(count_of_thread(n, mask), shared, total);
  if (threadIdx.x == 0) counts[blockIdx.x] = total;
}

/// counts[b] becomes the sum of those in front, counts[blocks] that of all. By one block of threads.
__global__ void __launch_bounds__(kThreads) add_up(int64_t blocks, int64_t* counts) {
  STEEP_SHARED(int64_t, shared, kThreads);
  const int64_t each = ceil_div(blocks, int64_t(kThreads));
  const int64_t begin = min(blocks, threadIdx.x * each), end = min(blocks, begin + each);
  int64_t sum = 0, total;
#pragma unroll 1
  for (int64_t b = begin; b < end; ++b) sum += counts[b];
  int64_t before = sum_before(sum, shared, total);
#pragma unroll 1
  for (int64_t b = begin; b < end; ++b) {
    const int64_t count = counts[b];
    counts[b] = before;
    before += count;
  }
  if (threadIdx.x == 0) counts[blocks] = total;
}

__global__ void __launch_bounds__(kThreads)
    write(int64_t n, const uint8_t* mask, Dims shape, const int64_t* starts, int64_t blocks, int64_t* out) {
  STEEP_SHARED(int, shared, kThreads);
  int in_block;
  int64_t place = starts[blockIdx.x] + sum_before(count_of_thread(n, mask), shared, in_block);
  const int64_t total = starts[blocks];
#pragma unroll 1
  for (int i = 0; i < kEach; ++i) {
    int64_t at = first_of_thread() + i;
    if (at >= n || !mask[at]) continue;
#pragma unroll 1
    for (int d = shape.n - 1; d > 0; --d) {
      out[d * total + place] = at % shape.v[d];
      at /= shape.v[d];
    }
    out[place++] = at;
  }
}

void count_true(int64_t n, const uint8_t* mask, int64_t* starts) {
  const int64_t blocks = nonzero_blocks(n);
  launch("nonzero", count_blocks, unsigned(blocks), kThreads, 0, n, mask, starts);
  launch("nonzero", add_up, 1, kThreads, 0, blocks, starts);
}

void nonzero(int64_t n, const uint8_t* mask, const Dims& shape, const int64_t* starts, int64_t* out) {
  const int64_t blocks = nonzero_blocks(n);
  launch("nonzero", write, unsigned(blocks), kThreads, 0, n, mask, shape, starts, blocks, out);
}

}  // namespace

void fill_nonzero(Table& table) {
  table.nonzero_blocks = nonzero_blocks;
  table.count_true = count_true;
  table.nonzero = nonzero;
}

}  // namespace steep::cuda
