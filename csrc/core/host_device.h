// Marks a formula that the CPU's loops and CUDA's kernels share.
#pragma once

#ifdef __CUDACC__
#define STEEP_HD __host__ __device__ __forceinline__
#else
#define STEEP_HD inline __attribute__((always_inline))
#endif
