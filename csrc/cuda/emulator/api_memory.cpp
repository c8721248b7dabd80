#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "sanitizers.h"
#include "state.h"

using namespace steep::cuda::emulator;

namespace {

/// One side of a copy: memory of a device, or of the host.
struct Side {
  const DeviceMemory::Region* region;
  bool fits;  // within its allocation
};

Side side(const void* p, size_t bytes) {
  const DeviceMemory::Region* region = device_memory().find(p);
  if (!region) return {nullptr, true};
  const char* begin = static_cast<const char*>(p);
  return {region, bytes <= size_t(region->data + region->bytes - begin)};
}

void open(const void* p) {
  if (const DeviceMemory::Region* region = device_memory().find(p)) device_memory().open(*region);
}

Outcome copy(void* to, const void* from, size_t bytes) {
  open(to), open(from);
  std::memmove(to, from, bytes);
  return {};
}

/// Queues a copy, or does it where CUDA would not return before.
cudaError_t queue_copy(State& s, void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle) {
  const auto stream = s.find(handle);
  if (!stream) return cudaErrorInvalidResourceHandle;
  const Side target = side(to, bytes), source = side(from, bytes);
  if (!target.fits || !source.fits) return cudaErrorInvalidValue;
  const auto differs = [&](cudaMemcpyKind from_host, bool to_device, bool from_device) {
    return kind == from_host && (bool(target.region) != to_device || bool(source.region) != from_device);
  };
  if (differs(cudaMemcpyHostToHost, false, false) || differs(cudaMemcpyHostToDevice, true, false) ||
      differs(cudaMemcpyDeviceToHost, false, true) || differs(cudaMemcpyDeviceToDevice, true, true))
    return cudaErrorInvalidValue;
  if (bytes == 0) return cudaSuccess;
  if (const cudaError_t error = s.captures.check(s.queues, stream)) return error;
  if (stream->capture) {  // whatever memory it is: it is looked at when the graph is launched
    s.queues.push(stream, [=] { return copy(to, from, bytes); });
    return cudaSuccess;
  }
  if (!source.region && !s.is_pinned(from)) {
    // Pageable memory is read before the call returns.
    const char* begin = static_cast<const char*>(from);
    const auto staged = std::make_shared<std::vector<char>>(begin, begin + bytes);
    s.queues.push(stream, [=] { return copy(to, staged->data(), bytes); }, bytes);
  } else {
    s.queues.push(stream, [=] { return copy(to, from, bytes); });
  }
  if (!target.region && !s.is_pinned(to)) s.queues.finish(*stream);
  return cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** p, size_t bytes) {
  return call([=](State& s) {
    *p = nullptr;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    if (bytes == 0) return cudaSuccess;
    *p = device_memory().allocate(current_device(), bytes);
    return *p ? cudaSuccess : cudaErrorMemoryAllocation;
  });
}

cudaError_t cudaFree(void* p) {
  if (!p) return cudaSuccess;
  return call([=](State& s) {
    const DeviceMemory::Region* region = device_memory().find(p);
    if (!region || region->data != p) return cudaErrorInvalidValue;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    for (int i = 0; i < settings().devices; ++i) s.queues.finish_device(i);
    device_memory().open(*region);
    const std::string damage = device_memory().damage(*region);
    if (!damage.empty()) s.queues.set_lost(region->device, {cudaErrorIllegalAddress, damage});
    device_memory().free(*region);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocHost(void** p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }

cudaError_t cudaHostAlloc(void** p, size_t bytes, unsigned) {
  return call([=](State& s) {
    *p = nullptr;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    if (bytes == 0) return cudaSuccess;
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return cudaErrorMemoryAllocation;
    s.pinned[reinterpret_cast<uintptr_t>(memory)] = bytes;
    *p = memory;
    return cudaSuccess;
  });
}

cudaError_t cudaFreeHost(void* p) {
  if (!p) return cudaSuccess;
  return call([=](State& s) {
    const auto found = s.pinned.find(reinterpret_cast<uintptr_t>(p));
    if (found == s.pinned.end()) return cudaErrorInvalidValue;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    for (int i = 0; i < settings().devices; ++i) s.queues.finish_device(i);
    munmap(p, found->second);
    s.pinned.erase(found);
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return call([=](State&) {
    *total = settings().memory;
    *free = *total - device_memory().used(current_device());
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  return call([=](State& s) {
    void* pointer = const_cast<void*>(p);
    if (const DeviceMemory::Region* region = device_memory().find(p))
      *attributes = {cudaMemoryTypeDevice, region->device, pointer, nullptr};
    else if (s.is_pinned(p))
      *attributes = {cudaMemoryTypeHost, current_device(), pointer, pointer};
    else
      *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, pointer};
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([=](State& s) { return queue_copy(s, to, from, bytes, kind, stream); });
}

cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, size_t bytes,
                                cudaStream_t stream) {
  return call([=](State& s) {
    const Side target = side(to, bytes), source = side(from, bytes);
    if (!target.region || !source.region || target.region->device != to_device || source.region->device != from_device)
      return cudaErrorInvalidValue;
    return queue_copy(s, to, from, bytes, cudaMemcpyDeviceToDevice, stream);
  });
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call([=](State& s) {
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    const cudaError_t error = queue_copy(s, to, from, bytes, kind, nullptr);
    // Between places on devices the host does not wait.
    if (error == cudaSuccess && !(side(to, 0).region && side(from, 0).region))
      s.queues.finish(*s.queues.default_stream(current_device()));
    return error;
  });
}

cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t handle) {
  return call([=](State& s) {
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    const Side target = side(p, bytes);
    if (!target.region || !target.fits) return cudaErrorInvalidValue;
    return s.queue(stream, [=]() -> Outcome {
      open(p);
      std::memset(p, value, bytes);
      return {};
    });
  });
}

cudaError_t cudaMemset(void* p, int value, size_t bytes) { return cudaMemsetAsync(p, value, bytes, nullptr); }
