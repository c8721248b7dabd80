// Products of a matrix and a vector, which are as fast as the matrix is read: C has one column. Their sums are cut into
// parts of k like those of gemm_simt.cuh, for which a Product's tiles are the rows of a block. The order of a sum
// depends on the sizes, and on which axis of the matrix has the shorter stride.
#pragma once
#include "gemm_simt.cuh"

namespace steep::cuda {
namespace {

constexpr int kVectorThreads = 256, kWarps = kVectorThreads / 32;

template <class T>
__device__ void store_sum(const Product<T>& g, T* c, int64_t row, T sum) {
  T* const to = c + row * g.c_row;
  *to = finish(g.epilogue, g.epilogue.begin(sum, g.epilogue.before(to), g.epilogue.bias_of(row, 0)));
}

/// A warp per row, its lanes along k: for rows whose elements are neighbours. With Access::vectors, rows and the vector
/// are aligned; the order of the sum is the same without.
template <class T>
__global__ void __launch_bounds__(kVectorThreads) gemv_along_k(const __grid_constant__ Product<T> g) {
  constexpr int kVector = Vector<T>::n, kStep = 32 * kVector;
  const Place place = find_place(g, blockIdx.x);
  const int64_t row = int64_t(place.row) * kWarps + threadIdx.x / 32;
  if (row >= g.a.length) return;  // a warp as a whole
  const Batch::Offsets at = g.batch[place.matrix];
  const T *a = g.a.data + at.a + row * g.a.stride, *x = g.b.data + at.b;
  const int64_t begin = place.part * g.split.depth, end = min(begin + g.split.depth, g.k);
  const int lane = int(threadIdx.x) % 32;
  T sums[kVector] = {};
  int64_t k = begin + lane * kVector;
  if (g.a.access == Access::vectors) {
#pragma unroll 4
    for (; k + kVector <= end; k += kStep) {
      const Vector<T> p = *reinterpret_cast<const Vector<T>*>(a + k), q = *reinterpret_cast<const Vector<T>*>(x + k);
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums[i] += p.v[i] * q.v[i];
    }
  } else {
#pragma unroll 4
    for (; k + kVector <= end; k += kStep) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) sums[i] += a[(k + i) * g.a.k_stride] * x[(k + i) * g.b.k_stride];
    }
  }
#pragma unroll
  for (int i = 0; i < kVector; ++i)
    if (k + i < end) sums[i] += a[(k + i) * g.a.k_stride] * x[(k + i) * g.b.k_stride];
#pragma unroll
  for (int width = kVector / 2; width > 0; width /= 2)
#pragma unroll
    for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) sums[0] += __shfl_xor_sync(~0u, sums[0], distance);
  if (lane == 0) store_sum(g, g.c + at.c + place.part * g.c_part, row, sums[0]);
}

/// A lane per row, warps along k: for columns whose elements are neighbours, and for few k.
template <class T>
__global__ void __launch_bounds__(kVectorThreads) gemv_along_rows(const __grid_constant__ Product<T> g) {
  STEEP_SHARED(T, sums, kVectorThreads);
  const Place place = find_place(g, blockIdx.x);
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
  const int64_t row = int64_t(place.row) * 32 + lane;
  const Batch::Offsets at = g.batch[place.matrix];
  const int64_t begin = place.part * g.split.depth, end = min(begin + g.split.depth, g.k);
  T sum = 0;
  if (row < g.a.length) {
    const T* a = g.a.data + at.a + row * g.a.stride + (begin + warp) * g.a.k_stride;
    const T* x = g.b.data + at.b + (begin + warp) * g.b.k_stride;
    const int64_t a_step = kWarps * g.a.k_stride, x_step = kWarps * g.b.k_stride;
#pragma unroll 8
    for (int64_t k = begin + warp; k < end; k += kWarps, a += a_step, x += x_step) sum += *a * *x;
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  if (warp > 0 || row >= g.a.length) return;
#pragma unroll
  for (int i = 1; i < kWarps; ++i) sum += sums[i * 32 + lane];
  store_sum(g, g.c + at.c + place.part * g.c_part, row, sum);
}

}  // namespace
}  // namespace steep::cuda
