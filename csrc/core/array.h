// Array: a typed, strided view of a reference-counted storage. Knows nothing of differentiation.
#pragma once
#include <atomic>
#include <compare>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>

#include "dtype.h"

namespace steep {

inline constexpr int kMaxNdim = 8;

/// A short list of extents, strides or axes.
struct Dims {
  int n = 0;
  int64_t v[kMaxNdim];

  Dims() = default;
  Dims(std::initializer_list<int64_t> values) {
    for (int64_t x : values) v[n++] = x;
  }
  int64_t& operator[](int i) { return v[i]; }
  int64_t operator[](int i) const { return v[i]; }
  const int64_t* begin() const { return v; }
  const int64_t* end() const { return v + n; }
  int size() const { return n; }
  void push(int64_t x);  // throws beyond kMaxNdim
  void erase(int i);
  void insert(int i, int64_t x);
  bool operator==(const Dims& o) const {
    if (n != o.n) return false;
    for (int i = 0; i < n; ++i)
      if (v[i] != o.v[i]) return false;
    return true;
  }
};

std::string to_string(const Dims& d);  // "(2, 3)", "(4,)", "()"
/// 1 for no dimension.
inline int64_t product(const Dims& d) {
  int64_t p = 1;
  for (int64_t x : d) p *= x;
  return p;
}

enum class DeviceType : uint8_t { cpu, cuda };
struct Device {
  DeviceType type = DeviceType::cpu;
  int8_t index = 0;
  auto operator<=>(const Device&) const = default;
};

/// Bytes that several arrays may share: on the CPU allocated right behind this header, or on a CUDA device, or lent by
/// somebody else.
struct Storage {
  std::atomic<int> refs{1};
  std::atomic<uint32_t> version{0};  // grows with every change in place
  char* data;
  size_t bytes;
  Device device;
  bool writable = true;
  void (*release)(void* owner) = nullptr;  // of memory that doesn't lie behind the header
  void* owner = nullptr;
  void* stream = nullptr;  // of a CUDA device: where it was allocated

  static Storage* create(size_t bytes, Device device);
  static Storage* lend(void* data, size_t bytes, Device device, void (*release)(void*), void* owner, bool writable);
  static void destroy(Storage* s) noexcept;
};

class StorageRef {
 public:
  StorageRef() = default;
  explicit StorageRef(Storage* owned) : s_(owned) {}
  StorageRef(const StorageRef& o) : s_(o.s_) {
    if (s_) s_->refs.fetch_add(1, std::memory_order_relaxed);
  }
  StorageRef(StorageRef&& o) noexcept : s_(std::exchange(o.s_, nullptr)) {}
  StorageRef& operator=(StorageRef o) noexcept {
    std::swap(s_, o.s_);
    return *this;
  }
  ~StorageRef() {
    if (s_ && s_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) Storage::destroy(s_);
  }
  Storage* operator->() const { return s_; }
  Storage* get() const { return s_; }
  explicit operator bool() const { return s_; }

 private:
  Storage* s_ = nullptr;
};

struct Array {
  StorageRef storage;
  char* data = nullptr;  // of the first element, within the storage
  DType dtype = DType::float32;
  Dims shape;
  Dims strides;  // in elements; any sign, 0 where broadcast

  Array() = default;
  /// A new C-contiguous array, not initialised. Throws std::invalid_argument and MemoryError.
  Array(DType dtype, const Dims& shape, Device device);
  static Array full(DType dtype, const Dims& shape, double value, Device device);

  int ndim() const { return shape.n; }
  int64_t size() const { return product(shape); }
  size_t itemsize() const { return item_size(dtype); }
  Device device() const { return storage->device; }
  bool is_contiguous() const;
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

Dims contiguous_strides(const Dims& shape);
/// The half-open range of bytes that the elements of a lie in.
std::pair<const char*, const char*> extent(const Array& a);

}  // namespace steep
