#include "array.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "../cuda/table.h"
#include "allocator.h"
#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "thread_pool.h"

namespace steep {

static_assert(sizeof(Storage) <= kAlignment, "the header takes one aligned slot in front of the data");

void Dims::push(int64_t x) {
  if (n == kMaxNdim) throw std::invalid_argument(message("steep's tensors have at most ", kMaxNdim, " dimensions"));
  v[n++] = x;
}

void Dims::erase(int i) {
  std::copy(v + i + 1, v + n, v + i);
  --n;
}

void Dims::insert(int i, int64_t x) {
  push(x);
  std::rotate(v + i, v + n - 1, v + n);
}

std::string to_string(const Dims& d) {
  std::string s = "(";
  for (int i = 0; i < d.n; ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + (d.n == 1 ? ",)" : ")");
}

namespace {

Storage* create_on_cuda(size_t bytes, Device device) {
  const cuda::Table& cuda = *cuda::table();
  const int before = cuda.set_device(device.index);
  void* data = nullptr;
  try {
    data = cuda.allocate(bytes);
    Storage* s = Storage::lend(data, bytes, device, cuda.deallocate, data, true);
    s->stream = cuda.current_stream();
    cuda.restore_device(before);
    return s;
  } catch (...) {
    if (data) cuda.deallocate(data);
    cuda.restore_device(before);
    throw;
  }
}

}  // namespace

Storage* Storage::create(size_t bytes, Device device) {
  if (device.type == DeviceType::cuda) return create_on_cuda(bytes, device);
  char* block = static_cast<char*>(allocate(kAlignment + bytes));
  Storage* s = new (block) Storage;
  s->data = block + kAlignment;
  s->bytes = bytes;
  return s;
}

Storage* Storage::lend(void* data, size_t bytes, Device device, void (*release)(void*), void* owner, bool writable) {
  Storage* s = new (allocate(kAlignment)) Storage;
  s->data = static_cast<char*>(data);
  s->bytes = bytes;
  s->device = device;
  s->release = release;
  s->owner = owner;
  s->writable = writable;
  return s;
}

void Storage::destroy(Storage* s) noexcept {
  if (s->release) s->release(s->owner);
  const size_t bytes = kAlignment + (s->release ? 0 : s->bytes);
  s->~Storage();
  deallocate(s, bytes);
}

Dims contiguous_strides(const Dims& shape) {
  Dims strides;
  strides.n = shape.n;
  int64_t step = 1;
  for (int i = shape.n - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<int64_t>(shape[i], 1);
  }
  return strides;
}

Array::Array(DType t, const Dims& s, Device device) : dtype(t), shape(s) {
  constexpr int64_t kLimit = std::numeric_limits<int64_t>::max() / 16;
  int64_t elements = 1;  // zero extents count as one, so that the strides of an empty array cannot overflow either
  for (int64_t d : s) {
    if (d < 0) throw std::invalid_argument(message("shape ", to_string(s), " has a negative extent"));
    if (d > 0 && elements > kLimit / d)
      throw MemoryError(message("shape ", to_string(s), " has more elements than any machine can hold"));
    elements *= std::max<int64_t>(d, 1);
  }
  strides = contiguous_strides(s);
  storage = StorageRef(Storage::create(size_t(size()) * itemsize(), device));
  data = storage->data;
}

Array Array::full(DType t, const Dims& shape, double value, Device device) {
  Array a(t, shape, device);
  if (on_cuda(a)) {
    const Array number = full(t, {}, value, Device());
    const Array* inputs[] = {&number};
    elementwise("full", kernels().cast[int(t)][int(t)], inputs, a, nullptr, kAsStored);
    return a;
  }
  constexpr int64_t kGrain = 65536;  // elements a thread takes at least
  visit(t, [&](auto zero) {
    using T = decltype(zero);
    parallel_range(a.size(), kGrain, [&](int64_t begin, int64_t end) {
      if (value == 0 && !std::signbit(value))
        std::memset(a.data + begin * int64_t(sizeof(T)), 0, size_t(end - begin) * sizeof(T));
      else
        std::fill(a.as<T>() + begin, a.as<T>() + end, T(value));
    });
  });
  return a;
}

bool Array::is_contiguous() const {
  int64_t step = 1;
  for (int i = shape.n - 1; i >= 0; --i) {
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) {
      for (int j = 0; j < i; ++j)
        if (shape[j] == 0) return true;
      return false;
    }
    step *= shape[i];
  }
  return true;
}

std::pair<const char*, const char*> extent(const Array& a) {
  if (a.size() == 0) return {a.data, a.data};
  int64_t low = 0, high = 0;
  for (int i = 0; i < a.ndim(); ++i) (a.strides[i] < 0 ? low : high) += a.strides[i] * (a.shape[i] - 1);
  const int64_t item = int64_t(a.itemsize());
  return {a.data + low * item, a.data + (high + 1) * item};
}

}  // namespace steep
