// Every PTX instruction that kernels use is wrapped once, here or in ptx_*.cuh; on the emulated device its functions
// stand in.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace steep::cuda {

#if defined(STEEP_CUDA_EMULATED) || __CUDA_ARCH__ >= 800
/// Do copies to shared memory go on while the thread does? To be read by device code only.
inline constexpr bool kAsyncCopies = true;
#else
inline constexpr bool kAsyncCopies = false;
#endif

/// x, of which the compiler doesn't know that it is x: what follows from it is computed again, not kept in registers.
__device__ __forceinline__ uint32_t hidden(uint32_t x) {
  asm volatile("" : "+r"(x));
  return x;
}

/// cp.async: copies 4, 8 or 16 bytes, aligned to as many, from global to shared memory. Only the first `valid` are
/// read; zeros are written in place of the others. They are there after the wait for their group; before sm_80, at
/// once.
template <int bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, int valid = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
#if defined(STEEP_CUDA_EMULATED)
  emulator::copy_async<bytes>(shared, global, valid);
#elif __CUDA_ARCH__ >= 800
  const uint32_t to = uint32_t(__cvta_generic_to_shared(shared));
  if constexpr (bytes == 16)  // past L1, which smaller copies have to pass through
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(bytes), "r"(valid)
                 : "memory");
#else
  struct alignas(bytes) Word {
    unsigned char byte[bytes];
  };
  Word word = {};
  if (valid == bytes) {
    word = *static_cast<const Word*>(global);
  } else {
#pragma unroll
    for (int i = 0; i < bytes; ++i)
      if (i < valid) word.byte[i] = static_cast<const unsigned char*>(global)[i];
  }
  *static_cast<Word*>(shared) = word;
#endif
}

/// cp.async.commit_group: this thread's copies since the commit before become a group.
__device__ __forceinline__ void commit_async() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::commit_async();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// cp.async.wait_group: waits until only `groups` of this thread's newest groups are under way. Other threads see what
/// has been copied after a barrier.
template <int groups>
__device__ __forceinline__ void wait_async() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wait_async<groups>();
#elif __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

/// st.relaxed: what several threads may store at once, and the host may read meanwhile.
__device__ __forceinline__ void store_relaxed(int64_t* to, int64_t value) {
#if defined(STEEP_CUDA_EMULATED)
  __atomic_store_n(to, value, __ATOMIC_RELAXED);
#else
  asm volatile("st.relaxed.sys.global.s64 [%0], %1;" ::"l"(to), "l"(value) : "memory");
#endif
}

}  // namespace steep::cuda
