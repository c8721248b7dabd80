#include "shared_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "../../core/errors.h"
#include "cluster.h"
#include "device_size.h"
#include "red_zone.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

size_t round_up(size_t bytes) { return (bytes + 15) & -size_t(16); }

constexpr size_t kRedZone = 128, kArena = 512 << 10, kGuard = 64 << 10;

}  // namespace

SharedMemory::SharedMemory() {
  void* p = mmap(nullptr, kArena + 2 * kGuard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<char*>(p) + kGuard;
  mprotect(base_, kArena, PROT_READ | PROT_WRITE);
}

void SharedMemory::begin_block(size_t dynamic_bytes, bool is_open) {
  // For ThreadSanitizer these must not be the bytes that the block before used.
  if (kThreadSanitizer && used_) {
    mmap(base_, kArena, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    is_open_ = true;
  }
  allow(base_, used_);
  used_ = static_bytes_ = 0;
  arrays_.clear();
  dynamic_bytes_ = dynamic_bytes;
  if (is_open)
    open();
  else
    close();
  if (dynamic_bytes) add("dynamic shared memory", dynamic_bytes, 1);
}

void SharedMemory::open() {
  if (is_open_) return;
  mprotect(base_, kArena, PROT_READ | PROT_WRITE);
  is_open_ = true;
  for (const Array& array : arrays_) poison(array);
}

void SharedMemory::close() {
  if (!is_open_) return;
  mprotect(base_, kArena, PROT_NONE);
  is_open_ = false;
}

bool SharedMemory::contains(const void* p) const {
  const char* const at = static_cast<const char*>(p);
  return at >= base_ && at < base_ + kArena;
}

size_t SharedMemory::add(const char* name, size_t bytes, size_t alignment) {
  const size_t offset = (used_ + alignment - 1) & -alignment;
  used_ = offset + round_up(bytes) + kRedZone;
  arrays_.push_back({name, base_ + offset, bytes});
  if (is_open_) poison(arrays_.back());
  return offset;
}

void SharedMemory::poison(const Array& array) {
  const size_t padded = round_up(array.bytes);
  allow(array.data, padded + kRedZone);
  uint32_t* const words = reinterpret_cast<uint32_t*>(array.data);
  std::fill(words, words + padded / 4, kPoison);
  mark_red_zone(array.data + array.bytes, array.data + padded + kRedZone);
  forbid(array.data + array.bytes, padded - array.bytes + kRedZone);
}

size_t SharedMemory::place(const char* name, size_t bytes, size_t alignment) {
  static_bytes_ += bytes;
  if (static_bytes_ > kMaxStaticShared || static_bytes_ + dynamic_bytes_ > kMaxShared)
    cluster().fail(cudaErrorLaunchOutOfResources,
                   message("shared arrays take ", static_bytes_, " bytes, and ", dynamic_bytes_, " of dynamic memory"));
  return add(name, bytes, alignment);
}

const char* SharedMemory::at(uint32_t address, size_t bytes) const {
  const char* const p = base_ + address;
  for (const Array& array : arrays_)
    if (p >= array.data && p + bytes <= array.data + array.bytes) return p;
  return nullptr;
}

std::string SharedMemory::end_block() {
  if (!is_open_) return "";
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

}  // namespace steep::cuda::emulator
