#include <algorithm>
#include <cstdio>

#include "grid.h"
#include "state.h"

using namespace steep::cuda::emulator;

namespace {

// A small GPU, so that kernels meet their loops over more work than fits at once.
constexpr int kMultiprocessors = 4, kThreadsPerMultiprocessor = 2048, kBlocksPerMultiprocessor = 32;
constexpr int kVersion = 13000, kMajor = 9, kMinor = 0, kReservedShared = 1024;

bool exists(int device) { return device >= 0 && device < settings().devices; }

}  // namespace

cudaError_t cudaRuntimeGetVersion(int* version) { return *version = kVersion, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = kVersion, cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = settings().devices;
  if (state().forked) return report(cudaErrorInitializationError);
  return *count ? cudaSuccess : report(cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* device) { return *device = current_device(), cudaSuccess; }

cudaError_t cudaSetDevice(int device) {
  if (!exists(device)) return report(cudaErrorInvalidDevice);
  current_device() = device;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (!exists(device)) return report(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      return *value = kMaxThreads, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      return *value = int(kMaxStaticShared), cudaSuccess;
    case cudaDevAttrWarpSize:
      return *value = warpSize, cudaSuccess;
    case cudaDevAttrClockRate:
      return *value = 1'000'000, cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      return *value = kMultiprocessors, cudaSuccess;
    case cudaDevAttrMemoryClockRate:
      return *value = 1'000'000, cudaSuccess;
    case cudaDevAttrGlobalMemoryBusWidth:
      return *value = 256, cudaSuccess;
    case cudaDevAttrL2CacheSize:
      return *value = 4 << 20, cudaSuccess;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      return *value = kThreadsPerMultiprocessor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      return *value = kMajor, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = kMinor, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = int(kSharedPerMultiprocessor), cudaSuccess;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return *value = 65536, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = int(kMaxShared), cudaSuccess;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return *value = kReservedShared, cudaSuccess;
  }
  return report(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!exists(device)) return report(cudaErrorInvalidDevice);
  cudaDeviceProp& p = *properties = {};
  std::snprintf(p.name, sizeof p.name, "emulated");
  p.totalGlobalMem = settings().memory;
  p.sharedMemPerBlock = kMaxStaticShared;
  p.sharedMemPerBlockOptin = kMaxShared;
  p.sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  p.regsPerBlock = 65536;
  p.warpSize = warpSize;
  p.maxThreadsPerBlock = kMaxThreads;
  p.maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = 1024, p.maxThreadsDim[2] = 64;
  p.maxGridSize[0] = 0x7fffffff, p.maxGridSize[1] = p.maxGridSize[2] = 65535;
  p.major = kMajor, p.minor = kMinor;
  p.multiProcessorCount = kMultiprocessors;
  p.l2CacheSize = 4 << 20;
  p.memoryBusWidth = 256;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return call([](State& s) {
    s.queues.finish_device(current_device());
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceReset() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.forked) return report(cudaErrorInitializationError);
  s.queues.reset(current_device());
  device_memory().free_all(current_device());
  forget_last_error();
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return call([=](State& s) {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
    if (value < 0 || size_t(value) > kMaxShared) return cudaErrorInvalidValue;
    s.most_shared[kernel] = size_t(value);
    return cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int threads,
                                                          size_t dynamic_shared_bytes) {
  if (threads <= 0) return report(cudaErrorInvalidValue);
  *blocks = 0;
  if (threads > kMaxThreads || dynamic_shared_bytes > kMaxShared) return cudaSuccess;
  const int whole_warps = (threads + warpSize - 1) / warpSize * warpSize;
  *blocks = std::min({kBlocksPerMultiprocessor, kThreadsPerMultiprocessor / whole_warps,
                      int(kSharedPerMultiprocessor / (dynamic_shared_bytes + kReservedShared))});
  return cudaSuccess;
}

namespace steep::cuda::emulator {

void launch(const char* op, const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t handle,
            std::unique_ptr<const Body> body) {
  const auto work = std::make_shared<Launch>(Launch{op, grid, block, shared_bytes, std::move(body)});
  call([&](State& s) {
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    const auto allowed = s.most_shared.find(kernel);
    const cudaError_t error =
        check_configuration(*work, allowed == s.most_shared.end() ? kMaxStaticShared : allowed->second);
    if (error == cudaSuccess) s.queues.push(stream, [work, device = stream->device] { return run(*work, device); });
    return error;
  });
}

}  // namespace steep::cuda::emulator
