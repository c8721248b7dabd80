#include <cstdio>

#include "device_size.h"
#include "state.h"

using namespace steep::cuda::emulator;

namespace {

constexpr int kVersion = 13000;  // of the runtime: 13.0

bool exists(int device) { return device >= 0 && device < settings().devices; }

}  // namespace

cudaError_t cudaRuntimeGetVersion(int* version) { return *version = kVersion, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) { return *version = settings().driver, cudaSuccess; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = settings().devices;
  if (state().forked) return report(cudaErrorInitializationError);
  if (settings().driver < kVersion) return *count = 0, report(cudaErrorInsufficientDriver);
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
      return *value = settings().capability / 10, cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      return *value = settings().capability % 10, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      return *value = int(kSharedPerMultiprocessor), cudaSuccess;
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      return *value = 65536, cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      return *value = int(kMaxShared), cudaSuccess;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      return *value = int(kReservedShared), cudaSuccess;
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
  p.maxThreadsDim[0] = p.maxThreadsDim[1] = kMaxThreads, p.maxThreadsDim[2] = kMaxDepth;
  p.maxGridSize[0] = kMaxGrid, p.maxGridSize[1] = p.maxGridSize[2] = kMaxGridOthers;
  p.major = settings().capability / 10, p.minor = settings().capability % 10;
  p.multiProcessorCount = kMultiprocessors;
  p.l2CacheSize = 4 << 20;
  p.memoryBusWidth = 256;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  return call([](State& s) {
    if (const cudaError_t error = s.captures.check_wait(current_device())) return error;
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
