// Clusters (sm_90): blocks that run at the same time, wait for each other, and reach into each other's shared memory.
// Devices before sm_90 have nothing in these functions, and no kernel may call them there.
#pragma once
#include "ptx_barrier.cuh"

namespace steep::cuda {

/// %cluster_ctarank: which of its cluster's blocks this one is.
__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank = 0;
#if defined(STEEP_CUDA_EMULATED)
  rank = emulator::cluster_rank();
#elif __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

/// %cluster_nctarank: how many they are.
__device__ __forceinline__ uint32_t cluster_size() {
  uint32_t size = 1;
#if defined(STEEP_CUDA_EMULATED)
  size = emulator::cluster_size();
#elif __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
#endif
  return size;
}

/// mapa: the place in block `rank`'s shared memory that `p` is in this block's. Between the first barrier of the
/// cluster, which shows that the other block has begun, and the last, before which it may not end.
template <class T>
__device__ __forceinline__ T* map_shared(T* p, uint32_t rank) {
#if defined(STEEP_CUDA_EMULATED)
  return static_cast<T*>(emulator::map_shared(p, rank));
#elif __CUDA_ARCH__ >= 900
  T* mapped;
  asm("mapa.u64 %0, %1, %2;" : "=l"(mapped) : "l"(p), "r"(rank));
  return mapped;
#else
  return p;
#endif
}

/// barrier.cluster.arrive and .wait, of all threads of the cluster: what they did before arriving is seen by all after
/// waiting.
__device__ __forceinline__ void cluster_arrive(STEEP_SITE) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::cluster_arrive(site);
#elif __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait(STEEP_SITE) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::cluster_wait(site);
#elif __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

/// mbarrier.arrive at the mbarrier that another block of the cluster has at the same place.
__device__ __forceinline__ void mbarrier_arrive_at(Mbarrier* barrier, uint32_t rank) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::mbarrier_arrive(map_shared(barrier, rank), 1, 0);
#elif __CUDA_ARCH__ >= 900
  asm volatile(
      "{\n"
      ".reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n"
      "}" ::"r"(ptx::shared_address(barrier)),
      "r"(rank)
      : "memory");
#endif
}

}  // namespace steep::cuda
