#include "grid.h"

#include "../../core/errors.h"
#include "fault.h"
#include "memory.h"

namespace steep::cuda::emulator {

cudaError_t check_configuration(const Launch& l, size_t most_shared) {
  const auto product = [](dim3 d) { return uint64_t(d.x) * d.y * d.z; };
  if (!product(l.grid) || l.grid.x > 0x7fffffff || l.grid.y > 65535 || l.grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  if (!product(l.block) || product(l.block) > kMaxThreads || l.block.z > 64) return cudaErrorInvalidConfiguration;
  if (l.shared_bytes > most_shared) return cudaErrorInvalidValue;
  return cudaSuccess;
}

Outcome run(const Launch& launch, int device) {
  CatchFaults::set_device(device);
  const uint64_t x = launch.grid.x, y = launch.grid.y, blocks = x * y * launch.grid.z;
  gridDim = launch.grid, blockDim = launch.block;
  block().begin_grid(*launch.body);
  const BlockOrder order(block().schedule(), blocks);
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t b = order[i];
    blockIdx = {unsigned(b % x), unsigned(b / x % y), unsigned(b / (x * y))};
    Outcome outcome = block().run(launch.shared_bytes);
    if (outcome.error == cudaSuccess) continue;
    outcome.text = message(launch.op, ": block (", blockIdx.x, ", ", blockIdx.y, ", ", blockIdx.z, "), ", outcome.text);
    return outcome;
  }
  block().end_grid();
  if (const std::string damage = device_memory().damage_of_open(); !damage.empty())
    return {cudaErrorIllegalAddress, message(launch.op, ": ", damage)};
  return {};
}

}  // namespace steep::cuda::emulator
