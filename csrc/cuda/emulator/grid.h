// A launch, and running it.
#pragma once
#include <memory>

#include "block.h"

namespace steep::cuda::emulator {

struct Launch {
  std::string op;
  dim3 grid, block;
  size_t shared_bytes;
  std::unique_ptr<const Body> body;
};

/// Whether a device can run it at all. `most_shared` is what cudaFuncSetAttribute allowed the kernel.
cudaError_t check_configuration(const Launch& launch, size_t most_shared);
/// Runs all the blocks, one after another. An Outcome's text begins with the operation's name and the block.
Outcome run(const Launch& launch, int device);

}  // namespace steep::cuda::emulator
