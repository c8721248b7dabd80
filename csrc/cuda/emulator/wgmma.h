// wgmma: products of matrices in shared memory by a warpgroup, four warps, that go on while its threads do.
#pragma once
#include <cstdint>

#include "execution.h"

namespace steep::cuda::emulator {

enum class WgmmaType : uint8_t { bf16, f16, tf32 };

/// One wgmma.mma_async: D (64, n) = A·B, or += with `add`, for 32 bytes of k: 16 steps, or 8 of tf32.
struct Wgmma {
  WgmmaType type;
  int n;
  bool add;
  bool a_mn_major, b_mn_major;  // imm-trans-a, imm-trans-b
  bool a_in_registers;
  uint64_t a, b;  // matrix descriptors

  bool operator==(const Wgmma&) const = default;
};

/// `d`: the thread's n/2 elements of D; `a`: its four registers of A where those are used. They are read and written at
/// a time of the emulator's choice before the wait for the operation's group ends, and so is shared memory.
void wgmma(const Wgmma& operation, float* d, const uint32_t* a, const Site& site = Site::current());
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int groups, const Site& site = Site::current());  // until only that many of the newest are under way

/// The address of shared memory as instructions have it: bytes from the beginning of the block's.
uint32_t shared_address(const void* p);

}  // namespace steep::cuda::emulator
