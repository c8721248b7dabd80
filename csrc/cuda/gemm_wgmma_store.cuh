// How warpgroups' sums become elements of C.
#pragma once
#include "gemm_parts.cuh"
#include "ptx.cuh"
#include "ptx_tma.cuh"
#include "ptx_wgmma.cuh"

namespace steep::cuda {
namespace {

constexpr int kWidth = 128;  // bytes of a row of a tile in shared memory, as wide as the widest swizzle

/// A part of element (row, column) by float32 multiply-adds: infinities and NaNs don't survive being cut into pieces.
__device__ float exact_sum(const Product<float>& g, const Place& place, int64_t row, int64_t column) {
  const Batch::Offsets at = g.batch[place.matrix];
  const int64_t begin = place.part * g.split.depth, end = min(g.k, begin + g.split.depth);
  const float* a = g.a.data + at.a + row * g.a.stride + begin * g.a.k_stride;
  const float* b = g.b.data + at.b + column * g.b.stride + begin * g.b.k_stride;
  float sum = 0;
#pragma unroll 1
  for (int64_t k = begin; k < end && sum == sum; ++k, a += g.a.k_stride, b += g.b.k_stride) sum += *a * *b;
  return sum;
}

template <class T>
__device__ Aligned<T, 2> rounded_pair(float low, float high) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (sizeof(T) == 2) return bit_cast<Aligned<T, 2>>(to_halves<T>(low, high));
#endif
  return {{T(low), T(high)}};
}

/// A warp's 16 rows of sums go to C by way of shared memory, 64 columns at a time, so that lanes next to each other
/// store 16 bytes next to each other.
template <class T, WgmmaTile tile>
struct TileStore {
  static constexpr int kRows = 16, kColumns = 64, kVector = Vector<T>::n, kLanes = kColumns / kVector;
  static constexpr int kBytes = kRows * kColumns * int(sizeof(float));

  const Product<T>& g;
  float* parts;  // or null
  const Place& place;
  int64_t first_row;

  /// Where element (row, column) is: eight rows' pairs lie in different banks, and 16 bytes of a row stay together.
  static __device__ int at(int row, int column) {
    return row * kColumns + ((column / 4 ^ row % 4 * 2) * 4 | column % 4);
  }

  __device__ void store(const float (&sums)[tile.n / 2], float* shared) const {
    const int lane = int(threadIdx.x) % 32;
#pragma unroll
    for (int j = 0; j < tile.n / kColumns; ++j) {
      __syncwarp();
#pragma unroll
      for (int i = 0; i < kColumns / 2; i += 2) {
        float* const to = shared + at(lane / 4 + i / 2 % 2 * 8, i / 4 * 8 + lane % 4 * 2);
        to[0] = sums[j * kColumns / 2 + i], to[1] = sums[j * kColumns / 2 + i + 1];
      }
      __syncwarp();
      store_rows(shared, lane, int64_t(place.column) * tile.n + j * kColumns + lane % kLanes * kVector);
    }
  }

  /// The same by the copy engine, which goes on by itself: two boxes of 16 rows and 128 bytes take turns. For epilogues
  /// of a few instructions, and beta = 0.
  __device__ void store_by_engine(const float (&sums)[tile.n / 2], unsigned char* shared, const TensorMap& c) const {
    constexpr int kBox = kWidth / sizeof(T), kBoxBytes = kRows * kWidth;
    static_assert(2 * kBoxBytes <= kBytes && tile.n / kBox % 2 == 0);
    const int lane = int(threadIdx.x) % 32;
    const int64_t first_column = int64_t(place.column) * tile.n;
    // Of the lane's first pair, in the swizzle's order: bits 4 to 6 are changed by the row's, and by the columns'.
    const int byte = lane % 4 * 2 * int(sizeof(T));
    const uint32_t first = uint32_t(lane / 4 * kWidth + ((byte / 16 ^ lane / 4) * 16 | byte % 16));
#pragma unroll
    for (int j = 0; j < tile.n / kBox; ++j) {
      unsigned char* const box = shared + j % 2 * kBoxBytes;
      if (lane == 0) tma_wait_read<1>();  // the box of two turns ago
      __syncwarp();
      // Lane l has the bias of columns 2·l and 2·l + 1.
      float bias[2] = {0, 0};
      if (g.epilogue.bias)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (const int64_t at = first_column + j * kBox + 2 * lane + e; at < g.b.length && 2 * lane < kBox)
            bias[e] = float(g.epilogue.bias[at]);
#pragma unroll
      for (int i = 0; i < kBox / 2; i += 2) {
        float values[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float added = g.epilogue.bias ? __shfl_sync(~0u, bias[e], i / 4 * 4 + lane % 4) : 0;
          values[e] = g.epilogue.begin(sums[j * kBox / 2 + i + e], 0, added);
        }
        const uint32_t at = (hidden(first) ^ uint32_t(i / 4 * 8 * sizeof(T))) + i / 2 % 2 * 8 * kWidth;
        *reinterpret_cast<Aligned<T, 2>*>(box + at) = rounded_pair<T>(values[0], values[1]);
      }
      fence_proxy_async();
      __syncwarp();
      if (lane == 0) {
        tma_store(&c, box, first_column + j * kBox, first_row, place.matrix);
        tma_commit();
      }
    }
  }

 private:
  /// Every lane a vector of each of its rows, from `column` on.
  __device__ void store_rows(const float* shared, int lane, int64_t column) const {
    const int valid = int(min(g.b.length - column, int64_t(kVector)));
    const T* const bias = g.epilogue.bias ? g.epilogue.bias + column : nullptr;
    T* const c = g.c + g.batch[place.matrix].c + column;
#pragma unroll 1
    for (int row = lane / kLanes; row < kRows && first_row + row < g.a.length && valid > 0; row += 32 / kLanes) {
      float sums[kVector];
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        sums[i] = shared[at(row, lane % kLanes * kVector + i)];
        if constexpr (tile.pieces > 1)
          if (i < valid && !(fabsf(sums[i]) <= 3e38f)) sums[i] = exact_sum(g, place, first_row + row, column + i);
      }
      if (parts) {
        const int64_t matrix = place.part * g.batch.matrices + place.matrix;
        float* const to = parts + (matrix * g.a.length + first_row + row) * g.b.length + column;
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          if (i < valid) to[i] = sums[i];
      } else {
        store_vector(c + (first_row + row) * g.c_row, bias, sums, valid);
      }
    }
  }

  __device__ void store_vector(T* c, const T* bias, const float (&sums)[kVector], int valid) const {
    const bool vectors = valid == kVector && reinterpret_cast<uintptr_t>(c) % 16 == 0;
    Vector<T> values{};
    if (g.epilogue.beta != 0) {
      if (vectors) {
        values = *reinterpret_cast<const Vector<T>*>(c + g.epilogue.to_addend);
      } else {
#pragma unroll
        for (int i = 0; i < kVector; ++i)
          if (i < valid) values.v[i] = c[i + g.epilogue.to_addend];
      }
    }
#pragma unroll
    for (int i = 0; i < kVector; ++i) {
      const float before = g.epilogue.beta != 0 ? float(values.v[i]) : 0;
      const float added = bias && i < valid ? float(bias[i]) : 0;
      values.v[i] = T(finish(g.epilogue, g.epilogue.begin(sums[i], before, added)));
    }
    if (vectors) {
      *reinterpret_cast<Vector<T>*>(c) = values;
    } else {
#pragma unroll
      for (int i = 0; i < kVector; ++i)
        if (i < valid) c[i] = values.v[i];
    }
  }
};

}  // namespace
}  // namespace steep::cuda
