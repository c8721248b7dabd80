// The size of the device: a small GPU, so that kernels meet their loops over more work than fits at once.
#pragma once
#include <cstddef>

namespace steep::cuda::emulator {

inline constexpr int kMultiprocessors = 4;
inline constexpr int kThreadsPerMultiprocessor = 2048, kBlocksPerMultiprocessor = 32;
inline constexpr int kMaxThreads = 1024, kMaxDepth = 64;                  // of a block, and in z
inline constexpr unsigned kMaxGrid = 0x7fffffff, kMaxGridOthers = 65535;  // in x, and in y and z
inline constexpr unsigned kMaxCluster = 8, kMaxClusterAllowed = 16;       // blocks; more by cudaFuncSetAttribute
inline constexpr size_t kMaxStaticShared = 48 << 10;  // also of dynamic memory that nobody asked for
inline constexpr size_t kMaxShared = 227 << 10, kSharedPerMultiprocessor = 228 << 10, kReservedShared = 1 << 10;

}  // namespace steep::cuda::emulator
