#include "shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "../../core/errors.h"
#include "block.h"
#include "device_size.h"
#include "red_zone.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

size_t round_up(size_t bytes) { return (bytes + 15) & -size_t(16); }

constexpr size_t kRedZone = 128, kArena = 512 << 10, kGuard = 64 << 10;

}  // namespace

uint64_t block_number = 0;

SharedMemory::SharedMemory() {
  void* p = mmap(nullptr, kArena + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<char*>(p) + kGuard;
  mprotect(base_, kArena, PROT_READ | PROT_WRITE);
}

void SharedMemory::begin_block(size_t dynamic_bytes) {
  ++block_number;
  // For ThreadSanitizer these must not be the bytes that the block before used.
  if (kThreadSanitizer && used_)
    mmap(base_, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  used_ = static_bytes_ = 0;
  arrays_.clear();
  dynamic_bytes_ = dynamic_bytes;
  if (dynamic_bytes) add("dynamic shared memory", dynamic_bytes, 1);
}

char* SharedMemory::add(const char* name, size_t bytes, size_t alignment) {
  used_ = (used_ + alignment - 1) & -alignment;
  char* data = base_ + used_;
  const size_t padded = round_up(bytes);
  used_ += padded + kRedZone;
  allow(data, padded + kRedZone);
  uint32_t* const words = reinterpret_cast<uint32_t*>(data);
  std::fill(words, words + padded / 4, kPoison);
  mark_red_zone(data + bytes, data + padded + kRedZone);
  forbid(data + bytes, padded - bytes + kRedZone);
  arrays_.push_back({name, data, bytes});
  return data;
}

void* SharedMemory::place(SharedSite& site, const char* name, size_t bytes, size_t alignment) {
  static_bytes_ += bytes;
  if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_bytes_ > kMaxShared)
    block().fail(cudaErrorLaunchOutOfResources,
                 message("shared arrays take ", static_bytes_, " bytes, and ", dynamic_bytes_, " of dynamic memory"));
  site = {block_number, add(name, bytes, alignment)};
  return site.data;
}

const char* SharedMemory::at(uint32_t address, size_t bytes) const {
  const char* const p = base_ + address;
  for (const Array& array : arrays_)
    if (p >= array.data && p + bytes <= array.data + array.bytes) return p;
  return nullptr;
}

std::string SharedMemory::end_block() {
  for (const Array& array : arrays_) {
    char *const end = array.data + array.bytes, *const last = array.data + round_up(array.bytes) + kRedZone;
    allow(end, size_t(last - end));
    const char* damage = first_damage(end, last);
    if (damage != last)
      return message("wrote ", damage - end, " bytes behind the end of shared array ", array.name, " of ", array.bytes,
                     " bytes");
  }
  return "";
}

void* place_shared(SharedSite& site, const char* name, size_t bytes, size_t alignment) {
  const Hidden hidden;
  return block().shared().place(site, name, bytes, alignment);
}

void* dynamic_shared() { return block().shared().dynamic(); }

}  // namespace steep::cuda::emulator
