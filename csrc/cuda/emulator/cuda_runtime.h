// Takes the place of CUDA's header of this name, so that the g++ or clang++ that compiles the host's code compiles
// kernels too, and runs them on the emulated device (docs/cuda-without-gpu.md). It declares what steep uses of CUDA.
#pragma once
#include "types.h"
//
#include "api.h"
#include "atomics.h"
#include "execution.h"
#include "execution_sm90.h"
#include "intrinsics.h"
#include "tensor_cores.h"
#include "wgmma.h"
