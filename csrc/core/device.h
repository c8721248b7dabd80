// Which device an operation runs on: that of its operands, which must be one.
#pragma once
#include <initializer_list>
#include <span>
#include <string>

#include "array.h"

namespace steep {

std::string to_string(Device d);  // "cpu", "cuda:0"

/// Does the calling thread record a CUDA graph that `a` may be part of? Then it has no values yet.
bool is_recorded(const Array& a);
/// Throws CudaError naming `op` if that is so, before it reads them.
void check_readable(const char* op, const Array& a);

inline bool on_cuda(const Array& a) { return a.device().type == DeviceType::cuda; }

/// Throws std::invalid_argument naming `op` and both devices unless all the arrays are on one. Null pointers are
/// skipped.
void check_same_device(const char* op, std::initializer_list<const Array*> arrays);

/// Around the work of one operation: checks that the arrays are on one device and, if that is CUDA's, makes it the
/// current one and tells its allocator that the current stream uses their memory. Null pointers are skipped.
class DeviceScope {
 public:
  DeviceScope(const char* op, std::initializer_list<const Array*> arrays)
      : DeviceScope(op, std::span(arrays.begin(), arrays.size())) {}
  DeviceScope(const char* op, std::span<const Array* const> arrays);
  DeviceScope(const DeviceScope&) = delete;
  ~DeviceScope();

 private:
  int before_;
};

/// The elements of `a` on another device, contiguous; a itself where it is there.
Array to_device(const Array& a, Device device);

}  // namespace steep
