#include "grid.h"

#include "../../core/errors.h"
#include "fault.h"
#include "memory.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

Outcome run_blocks(const Launch& launch) {
  const Hidden hidden;
  const uint64_t x = launch.grid.x, y = launch.grid.y, blocks = x * y * launch.grid.z;
  const BlockOrder order(block().schedule(), blocks);
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t b = order[i];
    blockIdx = {unsigned(b % x), unsigned(b / x % y), unsigned(b / (x * y))};
    Outcome outcome = block().run(launch.shared_bytes);
    if (outcome.error == cudaSuccess) continue;
    outcome.text = message(launch.op, ": block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, "), ", outcome.text);
    return outcome;
  }
  if (const std::string damage = device_memory().damage_of_open(); !damage.empty())
    return {cudaErrorIllegalAddress, message(launch.op, ": ", damage)};
  return {};
}

}  // namespace

cudaError_t check_configuration(const Launch& l, size_t most_shared) {
  const auto product = [](dim3 d) { return uint64_t(d.x) * d.y * d.z; };
  if (!product(l.grid) || l.grid.x > kMaxGrid || l.grid.y > kMaxGridOthers || l.grid.z > kMaxGridOthers)
    return cudaErrorInvalidConfiguration;
  if (!product(l.block) || product(l.block) > kMaxThreads || l.block.z > kMaxDepth)
    return cudaErrorInvalidConfiguration;
  if (l.shared_bytes > most_shared) return cudaErrorInvalidValue;
  return cudaSuccess;
}

Outcome run(const Launch& launch, int device) {
  CatchFaults::set_device(device);
  gridDim = launch.grid, blockDim = launch.block;
  block().begin_grid(*launch.body);
  const Outcome outcome = run_blocks(launch);
  block().end_grid();
  return outcome;
}

}  // namespace steep::cuda::emulator
