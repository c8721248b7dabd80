// wgmma, wrapped once: a warpgroup, four warps of which the first one's number is divisible by 4, multiplies matrices
// that lie in shared memory. It is asynchronous, as a copy is: issued in groups, waited for by group. Machine code for
// it is made for the target sm_90a only.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "../core/half.h"
#include "ptx_barrier.cuh"
#include "ptx_mma.cuh"
#include "tensor_map.h"

namespace steep::cuda {

#if defined(STEEP_CUDA_EMULATED) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
/// To be read by device code only.
inline constexpr bool kWgmma = true;
#else
inline constexpr bool kWgmma = false;
#endif

/// In which direction elements are contiguous: along k, or along A's rows or B's columns.
enum class Major : int { k = 0, mn = 1 };

/// Tells wgmma where a matrix is. It is made of units of eight rows of k (or eight steps of k, for Major::mn) of the
/// swizzle's width, 16 bytes without one.
///                              `leading_bytes`                            `stride_bytes`
///   Major::k,  swizzled        not read                                   from eight rows to the next eight
///   Major::k,  Swizzle::none   from the first 16 bytes of k to the next   from eight rows to the next eight
///   Major::mn, swizzled        from a width to the next, along m or n     from eight steps of k to the next eight
///   Major::mn, Swizzle::none   from eight steps of k to the next eight    from 16 bytes to the next, along m or n
/// The permutation goes by address bits, so units must be aligned to eight rows. Both steps are multiples of 16.
__device__ __forceinline__ uint64_t matrix_descriptor(const void* shared, Swizzle swizzle, int leading_bytes,
                                                      int stride_bytes) {
#if defined(STEEP_CUDA_EMULATED)
  const uint32_t address = emulator::shared_address(shared);
#else
  const uint32_t address = ptx::shared_address(shared);
#endif
  const auto field = [](uint32_t bytes) { return uint64_t((bytes & 0x3ffff) >> 4); };
  // 1, 2, 3: 128, 64, 32 bytes
  return field(address) | field(uint32_t(leading_bytes)) << 16 | field(uint32_t(stride_bytes)) << 32 |
         uint64_t(-int(swizzle) & 3) << 62;
}

/// The descriptor of a matrix that begins so many bytes later.
__device__ __forceinline__ uint64_t advance(uint64_t descriptor, int bytes) {
  return descriptor + uint64_t(bytes >> 4);
}

/// wgmma.fence: what the thread has done with registers comes before the products that read or write them. Needed
/// before the first product, and after the threads have used or set sums.
__device__ __forceinline__ void wgmma_fence() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wgmma_fence();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

/// wgmma.commit_group: the products since the commit before become a group.
__device__ __forceinline__ void wgmma_commit() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wgmma_commit();
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/// wgmma.wait_group: waits until only `groups` of the newest groups are under way.
template <int groups>
__device__ __forceinline__ void wgmma_wait() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wgmma_wait(groups);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
#endif
}

#if !defined(STEEP_CUDA_EMULATED) && defined(__CUDA_ARCH_FEAT_SM90_ALL)
// The instruction's text names every register of the sums.
#define STEEP_SUMS_8(d, i)                                                                                    \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define STEEP_SUMS_32(d, i) STEEP_SUMS_8(d, i), STEEP_SUMS_8(d, i + 8), STEEP_SUMS_8(d, i + 16), STEEP_SUMS_8(d, i + 24)
#define STEEP_SUMS_64(d, i) STEEP_SUMS_32(d, i), STEEP_SUMS_32(d, i + 32)
#define STEEP_SUMS_128(d, i) STEEP_SUMS_64(d, i), STEEP_SUMS_64(d, i + 64)
#define STEEP_NAMES_32                                                                                         \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28," \
  "%29,%30,%31"
#define STEEP_NAMES_64                                                                                            \
  STEEP_NAMES_32                                                                                                  \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
  "%59,%60,%61,%62,%63"
#define STEEP_NAMES_128                                                                                               \
  STEEP_NAMES_64                                                                                                      \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91," \
  "%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,"  \
  "%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"

/// n columns, k steps; `inputs`: the text of the operands after the sums; `add`: of the register that tells whether to
/// add; `last`: what follows scale-d.
#define STEEP_WGMMA(n, k, types, sums, inputs, add, last, ...)                                                        \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " add ", 0;\nwgmma.mma_async.sync.aligned.m64n" n "k" k ".f32" types \
               " {" STEEP_NAMES_##sums "}, " inputs ", p, 1, 1" last ";\n}\n"                                         \
               : STEEP_SUMS_##sums(d, 0)                                                                              \
               : __VA_ARGS__)
#define STEEP_WGMMA_OF_TYPE(n, sums, inputs, add, transposes, ...)                  \
  if constexpr (std::is_same_v<T, bfloat16>)                                        \
    STEEP_WGMMA(n, "16", ".bf16.bf16", sums, inputs, add, transposes, __VA_ARGS__); \
  else if constexpr (std::is_same_v<T, float16>)                                    \
    STEEP_WGMMA(n, "16", ".f16.f16", sums, inputs, add, transposes, __VA_ARGS__);   \
  else                                                                              \
    STEEP_WGMMA(n, "8", ".tf32.tf32", sums, inputs, add, "", __VA_ARGS__)
#endif

#ifdef STEEP_CUDA_EMULATED
template <class T>
inline constexpr emulator::WgmmaType kWgmmaType = std::is_same_v<T, bfloat16>  ? emulator::WgmmaType::bf16
                                                  : std::is_same_v<T, float16> ? emulator::WgmmaType::f16
                                                                               : emulator::WgmmaType::tf32;
#endif

/// wgmma.mma_async: d = A·B, or d += A·B with `add`. A is (64, k) and B (k, n), where k is 32 bytes. A thread has n/2
/// of the sums, element i being that of row 16·warp + lane/4 + 8·(i/2 % 2) and column 8·(i/4) + 2·(lane%4) + i%2.
template <class T, int n, Major a_major = Major::k, Major b_major = Major::k>
__device__ __forceinline__ void wgmma(float (&d)[n / 2], uint64_t a, uint64_t b, bool add) {
  static_assert(n == 64 || n == 128 || n == 256);
  static_assert(!std::is_same_v<T, tf32> || (a_major == Major::k && b_major == Major::k));
#if defined(STEEP_CUDA_EMULATED)
  emulator::wgmma({kWgmmaType<T>, n, add, a_major == Major::mn, b_major == Major::mn, false, a, b}, d, nullptr);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define STEEP_INPUTS "l"(a), "l"(b), "r"(int(add)), "n"(int(a_major)), "n"(int(b_major))
  if constexpr (n == 64) {
    STEEP_WGMMA_OF_TYPE("64", 32, "%32, %33", "%34", ", %35, %36", STEEP_INPUTS);
  } else if constexpr (n == 128) {
    STEEP_WGMMA_OF_TYPE("128", 64, "%64, %65", "%66", ", %67, %68", STEEP_INPUTS);
  } else {
    STEEP_WGMMA_OF_TYPE("256", 128, "%128, %129", "%130", ", %131, %132", STEEP_INPUTS);
  }
#undef STEEP_INPUTS
#endif
}

/// The same with A from registers: of 16-bit types, a[i] has row 16·warp + lane/4 + 8·(i%2), steps 8·(i/2) + 2·(lane%4)
/// and the next; of tf32 step 4·(i/2) + lane%4. They must stay as they are until the wait.
template <class T, int n, Major b_major = Major::k>
__device__ __forceinline__ void wgmma(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool add) {
  static_assert(n == 64 || n == 128 || n == 256);
  static_assert(!std::is_same_v<T, tf32> || b_major == Major::k);
#if defined(STEEP_CUDA_EMULATED)
  emulator::wgmma({kWgmmaType<T>, n, add, false, b_major == Major::mn, true, 0, b}, d, a);
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define STEEP_INPUTS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(add)), "n"(int(b_major))
  if constexpr (n == 64) {
    STEEP_WGMMA_OF_TYPE("64", 32, "{%32,%33,%34,%35}, %36", "%37", ", %38", STEEP_INPUTS);
  } else if constexpr (n == 128) {
    STEEP_WGMMA_OF_TYPE("128", 64, "{%64,%65,%66,%67}, %68", "%69", ", %70", STEEP_INPUTS);
  } else {
    STEEP_WGMMA_OF_TYPE("256", 128, "{%128,%129,%130,%131}, %132", "%133", ", %134", STEEP_INPUTS);
  }
#undef STEEP_INPUTS
#endif
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
/// cvt.rn: two floats as T, bfloat16 or float16, the first in the lower half.
template <class T>
__device__ __forceinline__ uint32_t to_halves(float low, float high) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16s<false>(low, high);
  } else {
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
  }
}
#endif

}  // namespace steep::cuda
