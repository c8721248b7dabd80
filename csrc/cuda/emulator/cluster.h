// Blocks that run together, one for a launch without clusters: one of their threads at a time, as a fiber, and another
// where it has to wait.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "block.h"
#include "bulk_copies.h"
#include "device_size.h"
#include "execution.h"
#include "fiber.h"
#include "schedule.h"

namespace steep::cuda::emulator {

struct Outcome {
  cudaError_t error = cudaSuccess;
  std::string text;  // what is wrong, where something is
};

class Cluster {
 public:
  /// Before the first cluster of a grid, and after the last.
  void begin_grid(const Body& body, dim3 shape);
  void end_grid();
  /// Runs all its threads to their end, or until one of them does what is not allowed.
  Outcome run(uint3 first_block, size_t dynamic_shared_bytes);

  int size() const { return size_; }
  Block& operator[](int rank) { return *blocks_[size_t(rank)]; }
  Block& running_block() { return *running_block_; }
  Schedule& schedule() { return schedule_; }
  BulkLoads& loads() { return loads_; }
  /// The fiber of the running thread; null while none runs.
  Fiber* running() { return running_; }
  /// The block in whose shared memory an address is; null if it is in none.
  Block* owner(const void* p);

  // Called by the running thread.
  /// Hands over to another thread; returns when this one is chosen again.
  void go_on();
  void maybe_yield();
  void arrive(const Site& site);
  void wait(const Site& site);
  void place(SharedSite& site, const char* name, size_t bytes, size_t alignment);
  [[noreturn]] void fail(cudaError_t error, std::string text);

  void set_runnable(int rank) { runnable_ |= uint32_t(1) << rank; }

 private:
  static void fiber_main();
  void end_thread();
  void end_barrier_if_complete();
  Thread& pick();
  Fiber* fiber_of(Thread& thread);
  Fiber* take_fiber(const Thread& thread);
  int fibers_wanted() const;
  void abandon();
  [[noreturn]] void stop(cudaError_t error, std::string text);
  std::string name_of(const Block& block) const;
  std::string describe() const;

  std::vector<std::unique_ptr<Block>> blocks_;
  dim3 shape_{1, 1, 1};
  int size_ = 1, ended_ = 0, arrived_ = 0;
  uint32_t runnable_ = 0;  // blocks with threads that can run
  Block* running_block_ = nullptr;
  unsigned barriers_ = 0;
  BulkLoads loads_;
  Schedule schedule_;
  Outcome outcome_;

  const Body* body_ = nullptr;
  Fiber* host_ = nullptr;
  Fiber* running_ = nullptr;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  // Addresses that stand in ThreadSanitizer's eyes for launches, and barriers of the cluster (two, as in block.h).
  char launch_tag_, end_tag_, barrier_tags_[2];
};

Cluster& cluster();
/// The one that runs.
inline Block& block() { return cluster().running_block(); }

}  // namespace steep::cuda::emulator
