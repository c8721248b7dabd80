// A launch, and running it.
#pragma once
#include <memory>

#include "cluster.h"

namespace steep::cuda::emulator {

struct Launch {
  std::string op;
  dim3 grid, block, cluster;
  size_t shared_bytes;
  std::unique_ptr<const Body> body;
};

/// Whether a device can run it at all. `most_shared` and `most_blocks` of a cluster are what cudaFuncSetAttribute
/// allowed the kernel.
cudaError_t check_configuration(const Launch& launch, size_t most_shared, unsigned most_blocks);
/// Runs all the clusters, one after another. An Outcome's text begins with the operation's name and the block.
Outcome run(const Launch& launch, int device);

}  // namespace steep::cuda::emulator
