// One block at a time: its threads run as fibers, one of them at a time, and hand over to another where they wait.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "async_copies.h"
#include "device_size.h"
#include "execution.h"
#include "fiber.h"
#include "schedule.h"
#include "shared_memory.h"

namespace steep::cuda::emulator {

struct Outcome {
  cudaError_t error = cudaSuccess;
  std::string text;  // what is wrong, where something is
};

class Block {
 public:
  Block();
  /// Before the first block of a grid, and after the last.
  void begin_grid(const Body& body);
  void end_grid();
  /// Runs all its threads to their end, or until one of them does what is not allowed.
  Outcome run(size_t dynamic_shared_bytes);

  // Called by the running thread.
  int barrier(Vote vote, bool predicate, const Site& site);
  uint64_t warp_operation(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site);
  void warp_collective(Collective& mine, const Site& site);
  unsigned active_lanes() const;
  int lane() const { return current_ % warpSize; }
  void maybe_yield();
  AsyncCopies& copies() { return threads_[size_t(current_)].copies; }
  [[noreturn]] void fail(cudaError_t error, std::string text);

  SharedMemory& shared() { return shared_; }
  Schedule& schedule() { return schedule_; }
  /// The fiber of the running thread; null while none runs.
  Fiber* running() { return running_; }

 private:
  struct Thread {
    uint3 index;
    Fiber* fiber;  // null before it starts and after it ended
    // Where it waits.
    Site site;
    unsigned mask;
    WarpOperation operation;
    uint64_t value;  // given, and then got
    int source;
    AsyncCopies copies;
  };
  /// Threads by lane. Each is one of these, or the running one.
  struct Warp {
    uint32_t exist, runnable, at_block, at_warp, ended;
  };

  static void fiber_main();
  void begin();
  void abandon();
  void set_current(int thread);
  void set_runnable(int warp, uint32_t lanes);
  int pick();
  void go_on();
  void end_thread();
  void end_block_barrier();
  void end_warp_operation(int warp, unsigned mask);
  Fiber* take_fiber(int thread);
  std::string describe() const;
  Warp& warp() { return warps_[current_ / warpSize]; }
  uint32_t lane_bit() const { return uint32_t(1) << lane(); }

  const Body* body_ = nullptr;
  int n_ = 0;
  std::vector<Thread> threads_;
  Warp warps_[kMaxThreads / warpSize];
  uint32_t runnable_warps_ = 0;
  int current_ = 0, ended_ = 0, arrived_ = 0, votes_ = 0, vote_result_ = 0;
  unsigned barriers_ = 0;
  Site barrier_site_;
  Outcome outcome_;

  Schedule schedule_;
  SharedMemory shared_;
  dim3 size_{0, 0, 0};
  Fiber* host_ = nullptr;
  Fiber* running_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  // Addresses that stand for barriers in ThreadSanitizer's eyes. Two of each, so that a thread that leaves one late
  // doesn't see what the others do on their way to the next.
  char launch_tag_, end_tag_, block_tags_[2], warp_tags_[kMaxThreads / warpSize][2];
  unsigned warp_barriers_[kMaxThreads / warpSize] = {};
};

Block& block();

}  // namespace steep::cuda::emulator
