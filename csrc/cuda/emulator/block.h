// A block: which of its threads wait where, its barriers, its shared memory.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "async_copies.h"
#include "bulk_copies.h"
#include "device_size.h"
#include "execution.h"
#include "fiber.h"
#include "mbarrier.h"
#include "shared_memory.h"
#include "warpgroups.h"

namespace steep::cuda::emulator {

class Block;

struct Thread {
  Block* block;
  int number;
  uint3 index;
  Fiber* fiber;  // null before it starts and after it ended
  // Where it waits.
  Site site;
  const char* waits = nullptr;  // for what, unless that is the block's barrier or a warp operation
  const Mbarrier* mbarrier = nullptr;
  unsigned mask;
  WarpOperation operation;
  uint64_t value;  // given, and then got
  int source;
  // Has it arrived at the cluster's barrier, the how manieth, and not waited for it? Does it wait now?
  bool at_cluster = false, waits_for_cluster = false;
  unsigned cluster_barrier = 0;
  AsyncCopies copies;
  BulkStores stores;
};

class Block {
 public:
  explicit Block(int rank);
  /// Before the first block of a grid.
  void begin_grid();
  void begin(uint3 index, size_t dynamic_shared_bytes, bool opens_memory);

  // What the cluster does with its threads.
  int threads() const { return n_; }
  int rank() const { return rank_; }
  /// A thread that can run, which counts as running from now on.
  Thread& pick();
  bool can_run() const { return runnable_warps_ != 0; }
  void set_current(const Thread& thread);
  Thread& current() { return threads_[size_t(current_)]; }
  void set_runnable(const Thread& thread) { set_runnable(thread.number / warpSize, uint32_t(1) << thread.number % 32); }
  /// The running thread has ended. Was it the last one?
  bool end_thread();
  template <class F>
  void each_thread(F f) {
    for (Thread& thread : threads_) f(thread);
  }
  /// Which threads are where, for people.
  std::string describe() const;

  // Called by the running thread.
  int barrier(Vote vote, bool predicate, const Site& site);
  void named_barrier(int id, int threads, bool waits, const Site& site);
  uint64_t warp_operation(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site);
  void warp_collective(Collective& mine, const Site& site);
  unsigned active_lanes() const;
  int lane() const { return current_ % warpSize; }
  void init_mbarrier(uint64_t* p, unsigned arrivals);
  void invalidate_mbarrier(uint64_t* p);
  void wait_for(uint64_t* p, unsigned parity, const Site& site);
  // Another block's threads may do these.
  void arrive_at(uint64_t* p, unsigned count, int64_t bytes);
  void expect_bytes(uint64_t* p, int64_t bytes);
  /// The copy engine has brought some.
  void complete_bytes(uint64_t* p, int64_t bytes);

  uint3 index() const { return index_; }
  SharedMemory& shared() { return shared_; }
  Warpgroups& warpgroups() { return warpgroups_; }

 private:
  /// Threads by lane. Each is one of these, or the running one, or waits for what Thread::waits says.
  struct Warp {
    uint32_t exist, runnable, at_block, at_warp, ended;
  };
  struct NamedBarrier {
    int threads = 0, arrived = 0;
    std::vector<int> waiting;
    unsigned count = 0;
    char tags[2];
  };

  void set_runnable(int warp, uint32_t lanes);
  void end_block_barrier();
  void end_warp_operation(int warp, unsigned mask);
  Mbarrier& find(uint64_t* p);
  void advance(Mbarrier& barrier);
  Warp& warp() { return warps_[current_ / warpSize]; }
  uint32_t lane_bit() const { return uint32_t(1) << lane(); }

  const int rank_;
  uint3 index_;
  int n_ = 0;
  std::vector<Thread> threads_;
  Warp warps_[kMaxThreads / warpSize];
  uint32_t runnable_warps_ = 0;
  int current_ = 0, ended_ = 0, arrived_ = 0, votes_ = 0, vote_result_ = 0;
  unsigned barriers_ = 0;
  Site barrier_site_;
  NamedBarrier named_[16];
  std::map<const uint64_t*, Mbarrier> mbarriers_;

  SharedMemory shared_;
  Warpgroups warpgroups_;
  dim3 size_{0, 0, 0};
  // Addresses that stand for barriers in ThreadSanitizer's eyes. Two of each, so that a thread that leaves one late
  // doesn't see what the others do on their way to the next.
  char block_tags_[2], warp_tags_[kMaxThreads / warpSize][2];
  unsigned warp_barriers_[kMaxThreads / warpSize] = {};
};

}  // namespace steep::cuda::emulator
