#include "allocator.h"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>

#include "errors.h"

namespace steep {
namespace {

// Four size classes per power of two waste at most a quarter of a block.
constexpr int kSteps = 4;
constexpr size_t kSmallest = 64;
constexpr int kClasses = kSteps * 42;              // up to 2^48 bytes
constexpr int64_t kCacheLimit = int64_t(1) << 30;  // bytes kept at most; what is freed beyond goes back at once

int size_class(size_t bytes) {
  if (bytes <= kSmallest) return 0;
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power+1)
  const size_t step = (size_t(1) << power) / kSteps;
  const int within = int((bytes - (size_t(1) << power) + step - 1) / step);  // 1…kSteps
  return (power - std::bit_width(kSmallest) + 1) * kSteps + within;
}

size_t class_bytes(int index) {
  const size_t base = kSmallest << (index / kSteps);
  return base + base / kSteps * (index % kSteps);
}

// In large blocks the first touch of each page of 4 KB costs more than the arithmetic on it, and its every use a place
// in the TLB: huge pages cost a 500th.
constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kHugeFrom = 2 * kHugePage;

/// A block of the operating system's; null if there is none.
void* system_block(size_t size) {
  const bool huge = size >= kHugeFrom;
  void* block = nullptr;
  if (posix_memalign(&block, huge ? kHugePage : kAlignment, size) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  // Whole pages only: one that the block uses in part would be taken as a whole. If none is granted, all is as before.
  if (huge) madvise(block, size / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return block;
}

struct FreeBlock {
  FreeBlock* next;
};

struct Cache {
  std::mutex mutex;
  FreeBlock* free[kClasses] = {};
  MemoryStats stats = {};

  Cache() {  // a fork while another thread holds the mutex would lock it for ever in the child
    pthread_atfork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); }, [] { cache().mutex.unlock(); });
  }
  static Cache& cache() {
    static Cache& c = *new Cache;  // never destroyed: arrays may outlive every static object
    return c;
  }
  void drop_all() {
    for (FreeBlock*& head : free) {
      while (FreeBlock* block = head) {
        head = block->next;
        std::free(block);
      }
    }
    stats.cached = 0;
  }
};

size_t physical_memory() { return size_t(sysconf(_SC_PHYS_PAGES)) * size_t(sysconf(_SC_PAGESIZE)); }

}  // namespace

void* allocate(size_t bytes) {
  static const size_t limit = physical_memory();  // beyond it Linux may promise the pages and kill the process later
  Cache& c = Cache::cache();
  if (bytes <= limit) {
    const int index = size_class(bytes);
    const size_t size = class_bytes(index);
    const std::lock_guard lock(c.mutex);
    FreeBlock* block = c.free[index];
    if (block) {
      c.free[index] = block->next;
      c.stats.cached -= int64_t(size);
    } else {
      block = static_cast<FreeBlock*>(system_block(size));
      if (!block && c.stats.cached) {
        c.drop_all();
        block = static_cast<FreeBlock*>(system_block(size));
      }
      c.stats.system_allocations++;
    }
    if (block) {
      c.stats.in_use += int64_t(size);
      c.stats.peak = std::max(c.stats.peak, c.stats.in_use);
      return block;
    }
  }
  throw MemoryError(message("out of memory: cannot allocate ", double(bytes) / (1 << 20), " MiB (this machine has ",
                            limit >> 20, " MiB, steep holds ", memory_stats().in_use >> 20,
                            " MiB); use a smaller batch or array, or free tensors you no longer need"));
}

void deallocate(void* p, size_t bytes) noexcept {
  Cache& c = Cache::cache();
  const int index = size_class(bytes);
  const size_t size = class_bytes(index);
  const std::lock_guard lock(c.mutex);
  c.stats.in_use -= int64_t(size);
  if (c.stats.cached + int64_t(size) > kCacheLimit) {
    std::free(p);
    return;
  }
  c.free[index] = new (p) FreeBlock{c.free[index]};
  c.stats.cached += int64_t(size);
}

MemoryStats memory_stats() {
  const std::lock_guard lock(Cache::cache().mutex);
  return Cache::cache().stats;
}

void empty_cache() {
  const std::lock_guard lock(Cache::cache().mutex);
  Cache::cache().drop_all();
}

}  // namespace steep
