// The shared memory of the block that runs. Arrays are poisoned when a block starts, so that what a thread reads before
// it was written is a NaN or an absurd index, and have red zones behind them, looked at when the block ends.
#pragma once
#include <string>
#include <vector>

#include "execution.h"

namespace steep::cuda::emulator {

class SharedMemory {
 public:
  SharedMemory();
  void begin_block(size_t dynamic_bytes);
  void* place(SharedSite& site, const char* name, size_t bytes, size_t alignment);
  void* dynamic() { return base_; }
  /// Addresses of shared memory, as PTX has them: bytes from its beginning.
  uint32_t address(const void* p) const { return uint32_t(static_cast<const char*>(p) - base_); }
  /// The bytes at an address; null if they aren't in one of the block's arrays.
  const char* at(uint32_t address, size_t bytes) const;
  /// Where a thread has written beside an array; empty if none has.
  std::string end_block();

 private:
  struct Array {
    const char* name;
    char* data;
    size_t bytes;
  };
  char* add(const char* name, size_t bytes, size_t alignment);

  char* base_;
  size_t used_ = 0, static_bytes_ = 0, dynamic_bytes_ = 0;
  std::vector<Array> arrays_;
};

}  // namespace steep::cuda::emulator
