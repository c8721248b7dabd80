// What every kernel file needs: shared memory, launches, working memory. The same source is compiled by nvcc and, for
// the emulated device, by the host's compiler, where <cuda_runtime.h> is that of csrc/cuda/emulator. Two things have a
// syntax of their own in CUDA, and so a name here: shared arrays and launches.
#pragma once
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "runtime.h"

#ifdef STEEP_CUDA_EMULATED
#define STEEP_SHARED(type, name, count) EMULATOR_SHARED(type, name, count)
#define STEEP_DYNAMIC_SHARED(type, name) EMULATOR_DYNAMIC_SHARED(type, name)
#else
/// An array of `count` elements, aligned to 16 bytes, that the threads of a block share.
#define STEEP_SHARED(type, name, count) __shared__ __align__(16) type name[count]
/// The block's shared memory whose size the launch gives, as `type*`.
#define STEEP_DYNAMIC_SHARED(type, name)                                 \
  extern __shared__ __align__(128) unsigned char steep_dynamic_shared[]; \
  type* const name = reinterpret_cast<type*>(steep_dynamic_shared)
#endif

namespace steep::cuda {

/// Queues a kernel on the current stream, its blocks in clusters of the size `cluster` (sm_90; more than 8 blocks want
/// cudaFuncAttributeNonPortableClusterSizeAllowed). Throws CudaError naming `op` if it cannot be launched.
template <class... Parameter, class... Argument>
void launch_clusters(const char* op, void (*kernel)(Parameter...), dim3 grid, dim3 block, dim3 cluster,
                     size_t shared_bytes, const Argument&... arguments) {
#ifdef STEEP_CUDA_EMULATED
  emulator::launch(op, reinterpret_cast<const void*>(kernel), grid, block, cluster, shared_bytes, current_stream(),
                   [=] { kernel(Parameter(arguments)...); });
  check(op, cudaGetLastError());
#else
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {cluster.x, cluster.y, cluster.z};
  cudaLaunchConfig_t config = {};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes;
  config.stream = current_stream();
  config.attrs = &attribute, config.numAttrs = cluster.x * cluster.y * cluster.z > 1;
  check(op, cudaLaunchKernelEx(&config, kernel, Parameter(arguments)...));
#endif
  wait_if_asked(op);
}

/// The same without clusters.
template <class... Parameter, class... Argument>
void launch(const char* op, void (*kernel)(Parameter...), dim3 grid, dim3 block, size_t shared_bytes,
            const Argument&... arguments) {
  launch_clusters(op, kernel, grid, block, 1, shared_bytes, arguments...);
}

/// ⌈a / b⌉
template <class T>
__host__ __device__ constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

/// Blocks for n elements, `each` at a time, up to a limit: kernels that go on in steps of the grid do the rest.
inline unsigned grid_for(int64_t n, int each) {
  return unsigned(std::min<int64_t>(ceil_div(n, int64_t(each)), int64_t(1) << 20));
}

}  // namespace steep::cuda
