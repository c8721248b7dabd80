#include "grid.h"

#include "../../core/errors.h"
#include "fault.h"
#include "memory.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

Outcome run_clusters(const Launch& launch) {
  const Hidden hidden;
  const dim3 shape = launch.cluster;
  const uint64_t x = launch.grid.x / shape.x, y = launch.grid.y / shape.y, clusters = x * y * launch.grid.z / shape.z;
  const BlockOrder order(cluster().schedule(), clusters);
  for (uint64_t i = 0; i < clusters; ++i) {
    const uint64_t c = order[i];
    Outcome outcome =
        cluster().run({unsigned(c % x) * shape.x, unsigned(c / x % y) * shape.y, unsigned(c / (x * y)) * shape.z},
                      launch.shared_bytes);
    if (outcome.error == cudaSuccess) continue;
    outcome.text = message(launch.op, ": ", outcome.text);
    return outcome;
  }
  if (const std::string damage = device_memory().damage_of_open(); !damage.empty())
    return {cudaErrorIllegalAddress, message(launch.op, ": ", damage)};
  return {};
}

}  // namespace

cudaError_t check_configuration(const Launch& l, size_t most_shared, unsigned most_blocks) {
  const auto product = [](dim3 d) { return uint64_t(d.x) * d.y * d.z; };
  if (!product(l.grid) || l.grid.x > kMaxGrid || l.grid.y > kMaxGridOthers || l.grid.z > kMaxGridOthers)
    return cudaErrorInvalidConfiguration;
  if (!product(l.block) || product(l.block) > kMaxThreads || l.block.z > kMaxDepth)
    return cudaErrorInvalidConfiguration;
  if (l.shared_bytes > most_shared) return cudaErrorInvalidValue;
  if (product(l.cluster) == 1) return cudaSuccess;
  if (settings().capability < 90) return cudaErrorNotSupported;
  if (!product(l.cluster) || product(l.cluster) > most_blocks || l.grid.x % l.cluster.x || l.grid.y % l.cluster.y ||
      l.grid.z % l.cluster.z)
    return cudaErrorInvalidClusterSize;
  return cudaSuccess;
}

Outcome run(const Launch& launch, int device) {
  CatchFaults::set_device(device);
  gridDim = launch.grid, blockDim = launch.block;
  cluster().begin_grid(*launch.body, launch.cluster);
  const Outcome outcome = run_clusters(launch);
  cluster().end_grid();
  return outcome;
}

}  // namespace steep::cuda::emulator
