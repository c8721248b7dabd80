// The copy engine (TMA): copies of boxes of a tensor between global and shared memory, which go on by themselves.
#pragma once
#include <vector>

#include "schedule.h"
#include "tensor_box.h"

namespace steep::cuda::emulator {

class Block;

/// Copies to the shared memory of a cluster's blocks. Each tells an mbarrier of its block when it has landed.
class BulkLoads {
 public:
  struct Load {
    TensorBox box;
    Block* block;
    char* to;
    uint64_t* barrier;
  };
  void start(const Load& load, Schedule& schedule);
  /// Lands one of those under way; false if there is none.
  bool land_one(Schedule& schedule);
  /// Lands what the schedule likes to.
  void progress(Schedule& schedule);
  bool any_to(const Block& block) const;
  void clear() { under_way_.clear(); }

 private:
  static void land(const Load& load);
  std::vector<Load> under_way_;
};

/// A thread's copies from shared memory. Each has read it at some time, and written at a later one.
class BulkStores {
 public:
  void start(const TensorBox& box, const char* from, Schedule& schedule);
  void commit() { ++group_; }
  /// Until all but the newest groups have been read, or also written.
  void wait_read(int groups);
  void wait(int groups);
  void progress(Schedule& schedule);
  bool all_read() const;
  void write_all();

 private:
  struct Store {
    TensorBox box;
    const char* from;
    int group;
    bool is_read;
    std::vector<char> bytes;
  };
  void read(Store& store);
  void write(Store& store);

  std::vector<Store> under_way_;
  int group_ = 0;  // of the stores that aren't committed yet
};

}  // namespace steep::cuda::emulator
