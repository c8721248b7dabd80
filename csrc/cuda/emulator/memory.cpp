#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "../../core/errors.h"
#include "red_zone.h"
#include "sanitizers.h"
#include "settings.h"

namespace steep::cuda::emulator {
namespace {

constexpr size_t kAlignment = 256;          // of cudaMalloc
constexpr size_t kRedZone = 256;            // at most, before an allocation; behind it lies what aligns its size
constexpr size_t kMostPoisoned = 16 << 20;  // more would take long, and memory that may not be needed
constexpr size_t kHugePage = size_t(2) << 20;

size_t page_for(size_t bytes) {
  static const size_t small = size_t(sysconf(_SC_PAGESIZE));
  // Opening and closing takes 0.1 us for every page, whatever its size.
  return bytes < kHugePage / 8 ? small : kHugePage;
}

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace

DeviceMemory& device_memory() {
  static DeviceMemory& one = *new DeviceMemory;
  return one;
}

void* DeviceMemory::allocate(int device, size_t bytes) {
  if (bytes > settings().memory || used_[device] + bytes > settings().memory) return nullptr;
  Region r{};
  const size_t padded = round_up(bytes, kAlignment), page = page_for(bytes);
  r.page_bytes = round_up(padded, page);
  r.mapping_bytes = r.page_bytes + 2 * page;
  void* p = mmap(nullptr, r.mapping_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  r.mapping = static_cast<char*>(p);
  r.pages = reinterpret_cast<char*>(round_up(reinterpret_cast<uintptr_t>(p) + 1, page));
  r.data = r.pages + r.page_bytes - padded;
  r.bytes = bytes;
  r.red_zone = std::min(kRedZone, size_t(r.data - r.pages));
  r.device = device;
  if (page == kHugePage) madvise(r.pages, r.page_bytes, MADV_HUGEPAGE);
  madvise(r.mapping, r.mapping_bytes, MADV_DONTFORK);  // a forked process has no device
  mprotect(r.pages, r.page_bytes, PROT_READ | PROT_WRITE);
  uint32_t* const words = reinterpret_cast<uint32_t*>(r.data);
  std::fill(words, words + std::min(bytes, kMostPoisoned) / 4, kPoison);
  mark_red_zone(r.data - r.red_zone, r.data);
  mark_red_zone(r.data + bytes, r.data + padded);
  forbid(r.pages, size_t(r.data - r.pages));
  forbid(r.data + bytes, padded - bytes);
  if (settings().guard)
    mprotect(r.pages, r.page_bytes, PROT_NONE);
  else
    r.open = true;
  used_[device] += bytes;
  regions_[reinterpret_cast<uintptr_t>(r.data)] = r;
  return r.data;
}

void DeviceMemory::free(const Region& region) {
  close_all();  // none of the open ones may go away
  const Region r = region;
  used_[r.device] -= r.bytes;
  regions_.erase(reinterpret_cast<uintptr_t>(r.data));
  allow(r.pages, r.page_bytes);
  munmap(r.mapping, r.mapping_bytes);
}

void DeviceMemory::free_all(int device) {
  for (auto it = regions_.begin(); it != regions_.end();) {
    const Region& r = (it++)->second;
    if (r.device == device) free(r);
  }
}

const DeviceMemory::Region* DeviceMemory::find(const void* p) const {
  const auto after = regions_.upper_bound(reinterpret_cast<uintptr_t>(p));
  if (after == regions_.begin()) return nullptr;
  const Region& r = std::prev(after)->second;
  return static_cast<const char*>(p) < r.data + r.bytes ? &r : nullptr;
}

void DeviceMemory::describe(const void* address, char* text, size_t size) const {
  const char* p = static_cast<const char*>(address);
  auto at = regions_.upper_bound(reinterpret_cast<uintptr_t>(p));
  const Region* behind = at == regions_.end() ? nullptr : &at->second;
  const Region* before = at == regions_.begin() ? nullptr : &std::prev(at)->second;
  if (before && p < before->data + before->bytes) {
    std::snprintf(text, size, "an address of device %d", before->device);
  } else if (before && p < before->mapping + before->mapping_bytes) {
    std::snprintf(text, size, "an address %td bytes behind the end of %zu allocated bytes",
                  p - before->data - ptrdiff_t(before->bytes), before->bytes);
  } else if (behind && p >= behind->mapping) {
    std::snprintf(text, size, "an address %td bytes before an allocation of %zu bytes", behind->data - p,
                  behind->bytes);
  } else {
    std::snprintf(text, size, "address %p, far from any allocation", address);
  }
}

void DeviceMemory::make_accessible(Region& region) {
  mprotect(region.pages, region.page_bytes, PROT_READ | PROT_WRITE);
  region.open = true;
  region.next_open = first_open_;
  first_open_ = &region;
}

bool DeviceMemory::open(const void* address, int device) {
  const Hidden hidden;  // a kernel's thread is here by way of the fault handler
  // The red zones too: what is written there is found when the kernel has ended.
  const char* p = static_cast<const char*>(address);
  auto at = regions_.upper_bound(reinterpret_cast<uintptr_t>(p + kRedZone));
  if (at == regions_.begin()) return false;
  Region& r = (--at)->second;
  if (r.open || r.device != device || p < r.data - r.red_zone || p >= r.pages + r.page_bytes) return false;
  make_accessible(r);
  return true;
}

void DeviceMemory::open(const Region& region) {
  if (!region.open) make_accessible(regions_.at(reinterpret_cast<uintptr_t>(region.data)));
}

void DeviceMemory::close_all() {
  if (!settings().guard) return;
  for (; first_open_; first_open_ = first_open_->next_open) {
    mprotect(first_open_->pages, first_open_->page_bytes, PROT_NONE);
    first_open_->open = false;
  }
}

std::string DeviceMemory::damage(const Region& r) {
  char *const begin = r.data - r.red_zone, *const end = r.data + r.bytes, *const last = r.pages + r.page_bytes;
  allow(begin, r.red_zone);
  allow(end, size_t(last - end));
  const char *before = first_damage(begin, r.data), *behind = first_damage(end, last);
  forbid(begin, r.red_zone);
  forbid(end, size_t(last - end));
  if (before != r.data) return message("wrote ", r.data - before, " bytes before an allocation of ", r.bytes, " bytes");
  if (behind != last) return message("wrote ", behind - end, " bytes behind the end of ", r.bytes, " allocated bytes");
  return "";
}

std::string DeviceMemory::damage_of_open() const {
  for (const Region* r = first_open_; r; r = r->next_open)
    if (std::string text = damage(*r); !text.empty()) return text;
  return "";
}

}  // namespace steep::cuda::emulator
