// Device memory: pages of the host with inaccessible ones around them. Allocations end where their pages do, so that
// an access beyond the end is a fault. Pages are closed (not even readable) until a kernel or a copy needs them, so
// that a host that takes a device pointer for one of its own faults as it does with a GPU.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace steep::cuda::emulator {

class DeviceMemory {
 public:
  struct Region {
    char* data;  // what cudaMalloc returned
    size_t bytes;
    int device;
    bool open;
    Region* next_open;
    char *pages, *mapping;
    size_t page_bytes, mapping_bytes, red_zone;
  };

  /// Null where the device has no room.
  void* allocate(int device, size_t bytes);
  void free(const Region& region);
  void free_all(int device);
  /// The allocation that `p` points into, or null.
  const Region* find(const void* p) const;
  /// The allocation nearest to an address that lies in none, as "12 bytes behind an allocation of 400 bytes"; and that
  /// an allocation is another device's. For signal handlers too.
  void describe(const void* address, char* text, size_t size) const;
  size_t used(int device) const { return used_[device]; }

  /// Opens the allocation of this device that the address lies in. For signal handlers too: it allocates nothing.
  bool open(const void* address, int device);
  void open(const Region& region);
  /// Closes what was opened.
  void close_all();
  /// Where something was written beside an open allocation, for people; empty if nothing was.
  static std::string damage(const Region& region);
  std::string damage_of_open() const;

 private:
  void make_accessible(Region& region);

  std::map<uintptr_t, Region> regions_;  // by data
  size_t used_[16] = {};
  Region* first_open_ = nullptr;
};

DeviceMemory& device_memory();

}  // namespace steep::cuda::emulator
