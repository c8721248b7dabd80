// What kernels see of Hopper (sm_90): mbarriers, the copy engine, clusters.
#pragma once
#include <cstdint>

#include "cuda.h"
#include "execution.h"

namespace steep::cuda::emulator {

// An mbarrier is 8 bytes of shared memory. A thread may arrive at another block's, by its mapped address.
void mbarrier_init(uint64_t* barrier, unsigned arrivals);
void mbarrier_invalidate(uint64_t* barrier);
void mbarrier_expect(uint64_t* barrier, unsigned bytes);
/// The thread expects `bytes` more, and arrives.
void mbarrier_arrive(uint64_t* barrier, unsigned count, unsigned bytes);
/// Until the phase of that parity has ended, which is so at first for parity 1.
void mbarrier_wait(uint64_t* barrier, unsigned parity, const Site& site);

/// bar.sync and bar.arrive: waits, or not, until as many threads have come.
void named_barrier(int id, int threads, bool waits, const Site& site);

/// What the thread wrote to shared memory comes before what the copy engine reads of it; for ThreadSanitizer only.
void proxy_fence();

/// Copies the box at `coordinates` (as many as the map's rank, the innermost first) to shared memory: the running
/// block's, or those of the cluster whose bits are in `blocks`, each time to the same place, with the mbarrier there.
/// The copy lands at a time of the emulator's choice before the mbarrier's phase ends.
void load_tensor(void* shared, const CUtensorMap* map, const int* coordinates, int rank, uint64_t* barrier,
                 unsigned blocks);
void store_tensor(const CUtensorMap* map, const int* coordinates, int rank, const void* shared);
void prefetch_tensor_map(const CUtensorMap* map);
void commit_stores();
/// Until only that many of the thread's newest groups of stores have not been read, or `written`, yet.
void wait_stores(int groups, bool written);

unsigned cluster_rank();
unsigned cluster_size();
/// The place in block `rank`'s shared memory that `p` is in the running block's.
void* map_shared(const void* p, unsigned rank);
void cluster_arrive(const Site& site);
void cluster_wait(const Site& site);

}  // namespace steep::cuda::emulator
