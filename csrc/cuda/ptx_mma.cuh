// The PTX instructions for matrix products by the lanes of a warp, wrapped once; on the emulated device its functions
// stand in. All 32 lanes must come to each of them. They exist since sm_80: before, nobody may call them.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

#include "../core/half.h"

namespace steep::cuda {

#if defined(STEEP_CUDA_EMULATED) || __CUDA_ARCH__ >= 800
/// Are there such instructions? To be read by device code only.
inline constexpr bool kWarpProducts = true;
#else
inline constexpr bool kWarpProducts = false;
#endif

/// ldmatrix: four matrices of 8×8 elements of 16 bits, or 8×4 of 32. Lane 8·i + r names row r of matrix i: 16 bytes in
/// shared memory, aligned. Word i of lane l is word l % 4 of row l / 4 of matrix i; `transposed`, for elements of 16
/// bits: of its transpose.
template <bool transposed>
__device__ __forceinline__ void load_matrices(uint32_t (&words)[4], const void* row) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::load_matrices(4, transposed, row, words);
#elif __CUDA_ARCH__ >= 800
  const uint32_t at = uint32_t(__cvta_generic_to_shared(row));
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(at)
                 : "memory");
#endif
}

/// A float32 of which products use the upper 19 bits: 8 of exponent and 10 of fraction.
struct tf32;

/// mma.sync: D (16, 8) += A (16, k)·B (k, 8) for 16 steps of k, or 8 of tf32. With g = lane / 4 and t = lane % 4, a[i]
/// is word t + 4·(i / 2) of row g + 8·(i % 2) of A, b0 and b1 are words t and t + 4 of column g of B, and d[i] is
/// element (g + 8·(i / 2), 2·t + i % 2) of D. Sums are cut off, not rounded: see emulator/tensor_cores.cpp.
template <class T>
__device__ __forceinline__ void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

#if defined(STEEP_CUDA_EMULATED)
#define STEEP_MMA(type, shape)    \
  const uint32_t b[2] = {b0, b1}; \
  emulator::mma(emulator::MmaType::type, d, a, b, d);
#elif __CUDA_ARCH__ >= 800
#define STEEP_MMA(type, shape)                                               \
  asm("mma.sync.aligned." #shape ".row.col.f32." #type "." #type             \
      ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                       \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
#define STEEP_MMA(type, shape)
#endif
template <>
__device__ __forceinline__ void multiply_add<bfloat16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                       uint32_t b1) {
  STEEP_MMA(bf16, m16n8k16)
}
template <>
__device__ __forceinline__ void multiply_add<float16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  STEEP_MMA(f16, m16n8k16)
}
template <>
__device__ __forceinline__ void multiply_add<tf32>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                                   uint32_t b1){STEEP_MMA(tf32, m16n8k8)}
#undef STEEP_MMA

/// cvt.rna: to the nearest tf32, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float x) {
#if defined(STEEP_CUDA_EMULATED)
  const uint32_t bits = same_bits<uint32_t>(x);
  return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fffe000u : (bits + 0x1000) & ~uint32_t(0x1fff);
#elif __CUDA_ARCH__ >= 800
  uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
#else
  return 0;
#endif
}

/// Two floats as bfloat16s, the first one in the lower half; cut off (cvt.rz), or to the nearest (cvt.rn).
template <bool cut>
__device__ __forceinline__ uint32_t to_bfloat16s(float low, float high) {
#if defined(STEEP_CUDA_EMULATED)
  const auto convert = [](float x) -> uint32_t {
    return cut && x == x ? same_bits<uint32_t>(x) >> 16 : bfloat16(x).bits;
  };
  return convert(low) | convert(high) << 16;
#elif __CUDA_ARCH__ >= 800
  uint32_t y;
  if constexpr (cut)
    asm("cvt.rz.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
#else
  return 0;
#endif
}

}  // namespace steep::cuda
