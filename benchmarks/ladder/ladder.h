// What the rungs share: the problems they solve, and 16-byte accesses. A rung is a kernel and a host function that
// launches it; rungs.h lists them, docs/cuda-kernels.md tells their story.
#pragma once
#include <cstdint>

#include "../../csrc/cuda/launch.cuh"
#include "../../csrc/cuda/ptx.cuh"

namespace steep::cuda::ladder {

/// C = A·B: A is m×k, B k×n, C m×n, each row after row.
struct Matmul {
  const float *a, *b;
  float* c;
  int m, n, k;
};

/// y = softmax(x) of each of `rows` rows of n elements.
struct Softmax {
  const float* x;
  float* y;
  int rows, n;
};

/// y = max(x, 0) of n elements.
struct Relu {
  const float* x;
  float* y;
  int64_t n;
};

/// *y = Σ x of n elements. `partial` has room for kMostPartials of them.
struct Sum {
  const float* x;
  float *y, *partial;
  int64_t n;
};
inline constexpr int kMostPartials = 1024;

/// Do rows of `length` elements that begin at p all begin at multiples of 16 bytes?
template <class T>
__host__ __device__ bool takes_vectors(const T* p, int64_t length) {
  return (reinterpret_cast<uintptr_t>(p) | length * int64_t(sizeof(T))) % 16 == 0;
}

/// p[0…3], zeros in place of those from `valid` on; one access where `vectors` says that it may be.
__device__ inline float4 load4(const float* p, int valid, bool vectors) {
  if (vectors && valid >= 4) return *reinterpret_cast<const float4*>(p);
  return {valid > 0 ? p[0] : 0, valid > 1 ? p[1] : 0, valid > 2 ? p[2] : 0, valid > 3 ? p[3] : 0};
}

/// Stores the first `valid` of four.
__device__ inline void store4(float* p, float4 v, int valid, bool vectors) {
  if (vectors && valid >= 4) {
    *reinterpret_cast<float4*>(p) = v;
    return;
  }
  if (valid > 0) p[0] = v.x;
  if (valid > 1) p[1] = v.y;
  if (valid > 2) p[2] = v.z;
  if (valid > 3) p[3] = v.w;
}

}  // namespace steep::cuda::ladder
