// Barriers that know more than __syncthreads: mbarriers, named barriers, fences, and the registers of warps that share
// out the work. sm_90; devices before it have nothing in these functions, and no kernel may call them there.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

// The line that waits, for what the emulated device says of a deadlock.
#ifdef STEEP_CUDA_EMULATED
#define STEEP_SITE EmulatorSite site = EmulatorSite::current()
#define STEEP_AND_SITE , STEEP_SITE
#else
#define STEEP_SITE
#define STEEP_AND_SITE
#endif

namespace steep::cuda {

/// 8 bytes of shared memory. A phase ends when as many threads have arrived as it was made for and all expected bytes
/// have been copied; then the next one begins. Phases have parities 0, 1, 0, …
using Mbarrier = uint64_t;

namespace ptx {

/// The address of shared memory as instructions take it.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
#ifdef STEEP_CUDA_EMULATED
  return uint32_t(reinterpret_cast<uintptr_t>(p));
#else
  return uint32_t(__cvta_generic_to_shared(p));
#endif
}

}  // namespace ptx

/// mbarrier.init: by one thread, followed by fence_mbarrier_init and a barrier of those that use it.
__device__ __forceinline__ void mbarrier_init(Mbarrier* barrier, uint32_t arrivals) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_init(barrier, arrivals);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(ptx::shared_address(barrier)), "r"(arrivals) : "memory");
#endif
}

/// mbarrier.inval: before its memory is used for anything else.
__device__ __forceinline__ void mbarrier_invalidate(Mbarrier* barrier) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_invalidate(barrier);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(ptx::shared_address(barrier)) : "memory");
#endif
}

/// fence.mbarrier_init: other blocks of the cluster, and the copy engine, see what mbarrier_init has made.
__device__ __forceinline__ void fence_mbarrier_init() {
#if !defined(STEEP_CUDA_EMULATED) && __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/// fence.proxy.async: tensor cores and the copy engine see what this thread has written to shared memory.
__device__ __forceinline__ void fence_proxy_async() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::proxy_fence();
#elif __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/// mbarrier.arrive: what the thread did before is seen by those who wait for the phase.
__device__ __forceinline__ void mbarrier_arrive(Mbarrier* barrier) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_arrive(barrier, 1, 0);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(ptx::shared_address(barrier)) : "memory");
#endif
}

/// mbarrier.arrive.expect_tx: arrives, and lets the phase wait for `bytes` of copies too.
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier* barrier, uint32_t bytes) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_arrive(barrier, 1, bytes);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(ptx::shared_address(barrier)), "r"(bytes)
               : "memory");
#endif
}

/// mbarrier.expect_tx: the same without arriving.
__device__ __forceinline__ void mbarrier_expect(Mbarrier* barrier, uint32_t bytes) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_expect(barrier, bytes);
#elif __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(ptx::shared_address(barrier)),
               "r"(bytes)
               : "memory");
#endif
}

/// mbarrier.try_wait.parity until the phase of that parity has ended. Of a new barrier the phase of parity 1 has: the
/// first wait for room in an empty buffer is for that one.
__device__ __forceinline__ void mbarrier_wait(Mbarrier* barrier, uint32_t parity STEEP_AND_SITE) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_wait(barrier, parity, site);
#elif __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(ptx::shared_address(barrier)),
      "r"(parity)
      : "memory");
#endif
}

/// bar.sync: waits until `threads` threads, whole warps, have come to named barrier `id` (1 to 15).
__device__ __forceinline__ void named_barrier_sync(int id, int threads STEEP_AND_SITE) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::named_barrier(id, threads, true, site);
#else
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

/// bar.arrive: the same without waiting.
__device__ __forceinline__ void named_barrier_arrive(int id, int threads STEEP_AND_SITE) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::named_barrier(id, threads, false, site);
#else
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
#endif
}

/// setmaxnreg (sm_90a): each thread of this warpgroup has so many registers from now on, of those that others gave
/// back.
template <int registers>
__device__ __forceinline__ void take_registers() {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers>
__device__ __forceinline__ void give_registers() {
  static_assert(registers % 8 == 0 && registers >= 24 && registers <= 256);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

}  // namespace steep::cuda
