#include "device.h"

#include <algorithm>

#include "../cuda/table.h"
#include "errors.h"
#include "views.h"

namespace steep {

std::string to_string(Device d) { return d.type == DeviceType::cpu ? "cpu" : message("cuda:", int(d.index)); }

namespace {

void retain(void* storage) { static_cast<Storage*>(storage)->refs.fetch_add(1, std::memory_order_relaxed); }
void release(void* storage) { StorageRef(static_cast<Storage*>(storage)); }

void check_one_device(const char* op, std::span<const Array* const> arrays) {
  const Array* first = nullptr;
  for (const Array* a : arrays) {
    if (!a || !a->storage) continue;
    if (first && first->device() != a->device())
      throw std::invalid_argument(message(op, ": one tensor is on ", to_string(first->device()), ", another on ",
                                          to_string(a->device()), ": move one of them, for example with .to('",
                                          to_string(std::max(first->device(), a->device())), "')"));
    if (!first) first = a;
  }
}

}  // namespace

void check_same_device(const char* op, std::initializer_list<const Array*> arrays) {
  check_one_device(op, std::span(arrays.begin(), arrays.size()));
}

bool is_recorded(const Array& a) { return on_cuda(a) && cuda::table()->is_recording(); }

void check_readable(const char* op, const Array& a) {
  if (on_cuda(a)) cuda::table()->refuse_to_read(op);
}

DeviceScope::DeviceScope(const char* op, std::span<const Array* const> arrays) : before_(-1) {
  check_one_device(op, arrays);
  const auto there = std::ranges::find_if(arrays, [](const Array* a) { return a && a->storage; });
  if (there == arrays.end() || !on_cuda(**there)) return;
  const cuda::Table& cuda = *cuda::table();
  before_ = cuda.set_device((*there)->device().index);
  void* const stream = cuda.current_stream();
  if (cuda.is_recording())
    for (const Array* a : arrays)
      if (a && a->storage && on_cuda(*a)) cuda.keep(*a->storage.get(), retain, release);
  for (const Array* a : arrays)
    if (a && a->storage && on_cuda(*a) && a->storage->stream != stream) cuda.use_on_current_stream(*a->storage.get());
}

DeviceScope::~DeviceScope() {
  if (before_ >= 0) cuda::table()->restore_device(before_);
}

Array to_device(const Array& a, Device device) {
  if (a.device() == device) return a;
  const Array from = contiguous(a);
  Array out(a.dtype, a.shape, device);
  const size_t bytes = size_t(out.size()) * out.itemsize();
  if (bytes == 0) return out;
  const cuda::Table& cuda = *cuda::table();
  if (!on_cuda(from)) {
    const DeviceScope scope("to", {&out});
    cuda.copy_to_device(out.data, from.data, bytes);
  } else if (!on_cuda(out)) {
    const DeviceScope scope("to", {&from});
    cuda.copy_to_host(out.data, from.data, bytes);
  } else {
    const DeviceScope scope("to", {&from});
    cuda.copy_between(out.data, out.device().index, from.data, from.device().index, bytes);
  }
  return out;
}

}  // namespace steep
