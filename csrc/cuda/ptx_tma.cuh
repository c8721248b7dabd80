// The copy engine (TMA, sm_90): one thread asks for a box of a tensor of up to five dimensions, and the engine copies
// it between global and shared memory, in 16-byte pieces that a swizzle may have exchanged. Coordinates are those of
// the box's first element, the innermost first; elements outside of the tensor are zeros, and are not written. Devices
// before sm_90 have nothing in these functions, and no kernel may call them there.
#pragma once
#include <cuda.h>

#include "ptx_barrier.cuh"

namespace steep::cuda {

/// A kernel's parameter: `const __grid_constant__ CUtensorMap map`, from make_tensor_map (tensor_map.h).
using TensorMap = CUtensorMap;

namespace ptx {

// Coordinates as the instruction's operands, from operand `first` on.
#define STEEP_TMA_LOAD(rank, list, ...)                                                                              \
  asm volatile("cp.async.bulk.tensor." #rank                                                                         \
               "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" list "}], [%2];" ::"r"(to), \
               "l"(map), "r"(at), __VA_ARGS__                                                                        \
               : "memory")
#define STEEP_TMA_MULTICAST(rank, list, ...)                                                                     \
  asm volatile("cp.async.bulk.tensor." #rank                                                                     \
               "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {" list \
               "}], [%2], %3;" ::"r"(to),                                                                        \
               "l"(map), "r"(at), "h"(blocks), __VA_ARGS__                                                       \
               : "memory")
#define STEEP_TMA_STORE(rank, list, ...)                                                        \
  asm volatile("cp.async.bulk.tensor." #rank "d.global.shared::cta.tile.bulk_group [%0, {" list \
               "}], [%1];" ::"l"(map),                                                          \
               "r"(from), __VA_ARGS__                                                           \
               : "memory")

}  // namespace ptx

/// cp.async.bulk.tensor from global to shared memory (aligned to 128 bytes, or to the swizzle's period of 256, 512 or
/// 1024). The mbarrier, which has to expect them, is told of the box's bytes, those outside of the tensor included.
template <class... Coordinate>
__device__ __forceinline__ void tma_load(void* shared, const TensorMap* map, Mbarrier* barrier, Coordinate... c) {
  constexpr int rank = sizeof...(c);
  static_assert(rank >= 1 && rank <= 5);
  const int at_[] = {int(c)...};
#if defined(STEEP_CUDA_EMULATED)
  emulator::load_tensor(shared, map, at_, rank, barrier, 1u << emulator::cluster_rank());
#elif __CUDA_ARCH__ >= 900
  const uint32_t to = ptx::shared_address(shared), at = ptx::shared_address(barrier);
  if constexpr (rank == 1) STEEP_TMA_LOAD(1, "%3", "r"(at_[0]));
  if constexpr (rank == 2) STEEP_TMA_LOAD(2, "%3, %4", "r"(at_[0]), "r"(at_[1]));
  if constexpr (rank == 3) STEEP_TMA_LOAD(3, "%3, %4, %5", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]));
  if constexpr (rank == 4) STEEP_TMA_LOAD(4, "%3, %4, %5, %6", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]));
  if constexpr (rank == 5)
    STEEP_TMA_LOAD(5, "%3, %4, %5, %6, %7", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]), "r"(at_[4]));
#endif
}

/// The same to each block of the cluster whose bit is in `blocks`: to the same place there, with the mbarrier there.
template <class... Coordinate>
__device__ __forceinline__ void tma_load_multicast(void* shared, const TensorMap* map, Mbarrier* barrier,
                                                   uint16_t blocks, Coordinate... c) {
  constexpr int rank = sizeof...(c);
  static_assert(rank >= 1 && rank <= 5);
  const int at_[] = {int(c)...};
#if defined(STEEP_CUDA_EMULATED)
  emulator::load_tensor(shared, map, at_, rank, barrier, blocks);
#elif __CUDA_ARCH__ >= 900
  const uint32_t to = ptx::shared_address(shared), at = ptx::shared_address(barrier);
  if constexpr (rank == 1) STEEP_TMA_MULTICAST(1, "%4", "r"(at_[0]));
  if constexpr (rank == 2) STEEP_TMA_MULTICAST(2, "%4, %5", "r"(at_[0]), "r"(at_[1]));
  if constexpr (rank == 3) STEEP_TMA_MULTICAST(3, "%4, %5, %6", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]));
  if constexpr (rank == 4) STEEP_TMA_MULTICAST(4, "%4, %5, %6, %7", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]));
  if constexpr (rank == 5)
    STEEP_TMA_MULTICAST(5, "%4, %5, %6, %7, %8", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]), "r"(at_[4]));
#endif
}

/// cp.async.bulk.tensor from shared to global memory. Those who have written to shared memory must have called
/// fence_proxy_async, before a barrier of theirs with this thread.
template <class... Coordinate>
__device__ __forceinline__ void tma_store(const TensorMap* map, const void* shared, Coordinate... c) {
  constexpr int rank = sizeof...(c);
  static_assert(rank >= 1 && rank <= 5);
  const int at_[] = {int(c)...};
#if defined(STEEP_CUDA_EMULATED)
  emulator::store_tensor(map, at_, rank, shared);
#elif __CUDA_ARCH__ >= 900
  const uint32_t from = ptx::shared_address(shared);
  if constexpr (rank == 1) STEEP_TMA_STORE(1, "%2", "r"(at_[0]));
  if constexpr (rank == 2) STEEP_TMA_STORE(2, "%2, %3", "r"(at_[0]), "r"(at_[1]));
  if constexpr (rank == 3) STEEP_TMA_STORE(3, "%2, %3, %4", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]));
  if constexpr (rank == 4) STEEP_TMA_STORE(4, "%2, %3, %4, %5", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]));
  if constexpr (rank == 5)
    STEEP_TMA_STORE(5, "%2, %3, %4, %5, %6", "r"(at_[0]), "r"(at_[1]), "r"(at_[2]), "r"(at_[3]), "r"(at_[4]));
#endif
}
#undef STEEP_TMA_LOAD
#undef STEEP_TMA_MULTICAST
#undef STEEP_TMA_STORE

/// prefetch.tensormap: the map will be used soon.
__device__ __forceinline__ void tma_prefetch(const TensorMap* map) {
#if defined(STEEP_CUDA_EMULATED)
  emulator::prefetch_tensor_map(map);
#elif __CUDA_ARCH__ >= 900
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#endif
}

/// cp.async.bulk.commit_group: this thread's stores since the commit before become a group.
__device__ __forceinline__ void tma_commit() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::commit_stores();
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}

/// cp.async.bulk.wait_group.read: until only `groups` of this thread's newest groups may still read shared memory. A
/// thread must not end before.
template <int groups>
__device__ __forceinline__ void tma_wait_read() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wait_stores(groups, false);
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(groups) : "memory");
#endif
}
/// cp.async.bulk.wait_group: until all but those have been written, too.
template <int groups>
__device__ __forceinline__ void tma_wait() {
#if defined(STEEP_CUDA_EMULATED)
  emulator::wait_stores(groups, true);
#elif __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

}  // namespace steep::cuda
