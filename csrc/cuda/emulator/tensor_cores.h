// Tensor cores: what mma.sync and ldmatrix do for the lanes of a warp together.
#pragma once
#include <cstdint>

#include "execution.h"

namespace steep::cuda::emulator {

enum class MmaType : uint8_t { bf16, f16, tf32 };

/// mma.sync: D (16, 8) = A (16, k)·B (k, 8) + C, for 16 steps of k, or 8 of tf32. Every lane gives its registers.
void mma(MmaType type, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4],
         const Site& site = Site::current());

/// ldmatrix: `count` matrices (1, 2, 4) of 8×8 elements of 16 bits. `row` is the address of one of their rows.
void load_matrices(int count, bool transposed, const void* row, uint32_t* words, const Site& site = Site::current());

}  // namespace steep::cuda::emulator
