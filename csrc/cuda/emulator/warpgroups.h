// What the warpgroups of a block multiply.
#pragma once
#include <string>
#include <vector>

#include "device_size.h"
#include "wgmma.h"

namespace steep::cuda::emulator {

class Block;

/// A warp's quarter of an operation: 16 rows of D.
struct WarpWgmma {
  Wgmma operation;
  int group;
  uint32_t arrived;  // lanes
  float* d[warpSize];
  const uint32_t* a[warpSize];

  bool is_complete() const { return arrived == ~0u; }
  void execute(Block& block, int warp) const;
};

/// The operations of a block's warps.
class Warpgroups {
 public:
  static constexpr int kWarps = 4;  // of a warpgroup

  void begin_block();
  // Called by the running thread.
  void start(Block& block, const Wgmma& operation, float* d, const uint32_t* a, const Site& site);
  void fence(Block& block);
  void commit(Block& block);
  void wait(Block& block, int groups, const Site& site);
  /// Operations that only some warps of a warpgroup took part in, for people; empty if there are none.
  std::string missing() const;

 private:
  struct Warp {
    std::vector<WarpWgmma> under_way;  // in their order
    int count = 0;                     // of all so far
    int groups[warpSize] = {};         // that the lanes have committed
    uint32_t fenced = 0;               // lanes that have fenced since they last waited
    char tag = 0;                      // for ThreadSanitizer
  };
  void join(Block& block, const Wgmma& operation, float* d, const uint32_t* a);
  void execute_before(Block& block, int group);
  static bool take_first_before(Warp& warp, int group, WarpWgmma& part);

  Warp warps_[kMaxThreads / warpSize];
  std::vector<Wgmma> agreed_[kMaxThreads / warpSize / kWarps];  // by warpgroup, what its first warp did
  bool used_ = false;
};

}  // namespace steep::cuda::emulator
