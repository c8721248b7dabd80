// The shared memory of a block. Arrays are poisoned when a block starts, so that what a thread reads before
// it was written is a NaN or an absurd index, and have red zones behind them, looked at when the block ends.
#pragma once
#include <string>
#include <vector>

#include "execution.h"

namespace steep::cuda::emulator {

class SharedMemory {
 public:
  SharedMemory();
  /// `open`: from the beginning. Else an access is a fault before open(), as another block's too early ones are.
  void begin_block(size_t dynamic_bytes, bool open);
  void open();
  /// Where an array comes to lie, from the first byte.
  size_t place(const char* name, size_t bytes, size_t alignment);
  char* data() { return base_; }
  bool contains(const void* p) const;
  /// Addresses of shared memory as matrix descriptors have them: bytes from its beginning.
  uint32_t address(const void* p) const { return uint32_t(static_cast<const char*>(p) - base_); }
  /// The bytes at an address; null if they aren't in one of the block's arrays.
  const char* at(uint32_t address, size_t bytes) const;
  /// Where a thread has written beside an array; empty if none has.
  std::string end_block();
  /// Makes every further access a fault.
  void close();

 private:
  struct Array {
    const char* name;
    char* data;
    size_t bytes;
  };
  size_t add(const char* name, size_t bytes, size_t alignment);
  static void poison(const Array& array);

  char* base_;
  bool is_open_ = true;
  size_t used_ = 0, static_bytes_ = 0, dynamic_bytes_ = 0;
  std::vector<Array> arrays_;
};

}  // namespace steep::cuda::emulator
