// A caching allocator: freed blocks are kept by size class and handed out again, because fresh pages from the operating
// system cost more than the arithmetic done on them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace steep {

inline constexpr size_t kAlignment = 64;

/// A block of at least `bytes`, aligned to kAlignment; throws MemoryError. Give it back with the same `bytes`.
void* allocate(size_t bytes);
void deallocate(void* block, size_t bytes) noexcept;

struct MemoryStats {
  int64_t in_use;              // bytes in live blocks, as rounded up to their size class
  int64_t cached;              // bytes kept for reuse
  int64_t peak;                // highest in_use so far
  int64_t system_allocations;  // blocks asked of the operating system so far
};
MemoryStats memory_stats();
void empty_cache();

}  // namespace steep
