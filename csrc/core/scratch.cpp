#include "scratch.h"

#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace steep {
namespace {

// Matmul walks packed panels of a few megabytes again and again: on huge pages the walk costs no TLB misses.
constexpr size_t kHugePage = size_t{2} << 20;

class Buffer {
 public:
  ~Buffer() { std::free(data_); }

  void* reserve(size_t bytes) {
    if (bytes > size_) grow(bytes);
    return data_;
  }

 private:
  void grow(size_t bytes) {
    std::free(data_);
    data_ = nullptr;
    size_ = 0;
    const size_t unit = bytes < kHugePage / 2 ? 4096 : kHugePage;
    const size_t rounded = (bytes + unit - 1) / unit * unit;
    if (rounded < bytes || !(data_ = std::aligned_alloc(unit, rounded))) throw std::bad_alloc();
    size_ = rounded;
#ifdef MADV_HUGEPAGE
    if (unit == kHugePage) madvise(data_, rounded, MADV_HUGEPAGE);
#endif
  }

  void* data_ = nullptr;
  size_t size_ = 0;
};

thread_local Buffer buffer;

}  // namespace

void* scratch(size_t bytes) { return buffer.reserve(bytes); }

}  // namespace steep
