#include <algorithm>

#include "grid.h"
#include "state.h"

using namespace steep::cuda::emulator;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  return call([=](State& s) {
    if (attribute == cudaFuncAttributeNonPortableClusterSizeAllowed) {
      if (value)
        s.large_clusters.insert(kernel);
      else
        s.large_clusters.erase(kernel);
      return cudaSuccess;
    }
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

void launch(const char* op, const void* kernel, dim3 grid, dim3 block, dim3 cluster, size_t shared_bytes,
            cudaStream_t handle, std::unique_ptr<const Body> body) {
  const auto work = std::make_shared<Launch>(Launch{op, grid, block, cluster, shared_bytes, std::move(body)});
  call([&](State& s) {
    const auto stream = s.find(handle);
    if (!stream || stream->device != current_device()) return cudaErrorInvalidResourceHandle;
    const auto allowed = s.most_shared.find(kernel);
    cudaError_t error = check_configuration(*work, allowed == s.most_shared.end() ? kMaxStaticShared : allowed->second,
                                            s.large_clusters.contains(kernel) ? kMaxClusterAllowed : kMaxCluster);
    if (error == cudaSuccess) error = s.queue(stream, [work, device = stream->device] { return run(*work, device); });
    return error;
  });
}

}  // namespace steep::cuda::emulator
