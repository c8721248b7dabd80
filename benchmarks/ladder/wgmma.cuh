// What the rungs by warpgroups share: tensor maps, descriptors, a place in a ring of buffers, stores of sums. A tile in
// shared memory has rows of 64 steps of k, 128 bytes, as wide as the widest swizzle.
#pragma once
#include "../../csrc/cuda/ptx_cluster.cuh"
#include "../../csrc/cuda/ptx_tma.cuh"
#include "../../csrc/cuda/ptx_wgmma.cuh"
#include "../../csrc/cuda/tensor_map.h"
#include "bf16.h"

namespace steep::cuda::ladder {

constexpr int kWarpgroup = 128, kWidth = 128, kSteps = kWidth / 2;  // threads; bytes and steps of k of a tile's row

/// Boxes of `box` rows and 64 columns of a matrix of `rows` × `columns` elements.
inline TensorMap map_of(const char* op, const bfloat16* x, int rows, int columns, int box) {
  return make_tensor_map(
      op, {DType::bfloat16, x, {columns, rows}, {int64_t(columns) * 2}, {kSteps, box}, Swizzle::bytes_128});
}

/// Where the first buffer begins: the swizzle goes by address bits, with a period of 1024 bytes.
constexpr int kAlignment = 1024;
static __device__ unsigned char* aligned(unsigned char* memory) {
  return memory + (kAlignment - ptx::shared_address(memory) % kAlignment) % kAlignment;
}

/// The descriptor of 16 steps of k, the `step`-th of four, of a tile's rows.
static __device__ __forceinline__ uint64_t operand(const unsigned char* rows, int step) {
  return advance(matrix_descriptor(rows, Swizzle::bytes_128, 0, 8 * kWidth), 32 * step);
}

/// Which of a ring's buffers is next, and the parity of the phase that ends when it is full.
template <int stages>
struct RingPlace {
  int stage = 0;
  uint32_t phase = 0;

  __device__ void next() {
    if (++stage == stages) stage = 0, phase ^= 1;
  }
};

/// The warpgroup's sums, 64 rows from (row, column) on.
template <int count>
static __device__ __forceinline__ void store_sums(const MatmulBf16& p, const float (&sums)[count], int row,
                                                  int column) {
  const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) % kWarpgroup / 32;
#pragma unroll
  for (int i = 0; i < count; i += 2)
    store_pair(p, row + 16 * warp + lane / 4 + i / 2 % 2 * 8, column + i / 4 * 8 + lane % 4 * 2, sums[i], sums[i + 1]);
}

/// Launches a kernel with so many bytes of shared memory.
template <class... Parameter, class... Argument>
void launch_with(const char* op, void (*kernel)(Parameter...), dim3 grid, int threads, int cluster, int bytes,
                 const Argument&... arguments) {
  check(op, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  launch_clusters(op, kernel, grid, unsigned(threads), unsigned(cluster), size_t(bytes), arguments...);
}

}  // namespace steep::cuda::ladder
