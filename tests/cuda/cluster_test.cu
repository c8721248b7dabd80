// Clusters: blocks that run at the same time, wait for each other, and share their shared memory. For devices of sm_90.
#include <numeric>

#include "cuda/launch.cuh"
#include "cuda/ptx_cluster.cuh"
#include "cuda/ptx_tma.cuh"
#include "cuda/tensor_map.h"
#include "testing.h"

using namespace steep;
using namespace steep::cuda;
using namespace steep::testing;

namespace {

bool is_hopper() { return device_limits().capability >= 90; }

__global__ void ranks(int* out) {
  if (threadIdx.x > 0) return;
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[2 * block] = int(cluster_rank());
  out[2 * block + 1] = int(cluster_size());
}

TEST(ranks_in_clusters_of_every_shape) {
  if (!is_hopper()) return;
  for (const auto& [grid, shape] : {std::pair{dim3(3), dim3(1)},
                                    {dim3(6), dim3(2)},
                                    {dim3(4, 6, 2), dim3(2, 3)},
                                    {dim3(4, 2, 6), dim3(1, 2, 2)},
                                    {dim3(8, 3), dim3(8)}}) {
    const DeviceArray<int> out(2 * grid.x * grid.y * grid.z);
    launch_clusters("ranks", ranks, grid, 32, shape, 0, out.data());
    const std::vector<int> got = out.host();
    size_t i = 0;
    for (unsigned z = 0; z < grid.z; ++z)
      for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x, i += 2) {
          CHECK(got[i] == int(x % shape.x + shape.x * (y % shape.y + shape.y * (z % shape.z))));
          CHECK(got[i + 1] == int(shape.x * shape.y * shape.z));
        }
  }
}

/// Every block gives each other one a number, and reads one of each, round after round.
__global__ void everybody(int* out, int rounds) {
  STEEP_SHARED(int, given, 16);
  STEEP_SHARED(int, own, 1);
  const int rank = int(cluster_rank()), size = int(cluster_size()), t = int(threadIdx.x);
  if (t == 0) own[0] = rank + 1;
  int sum = 0;
  for (int i = 0; i < rounds; ++i) {
    cluster_arrive();
    cluster_wait();
    if (t < size) *map_shared(&given[rank], uint32_t(t)) = rank * 100 + i;
    if (t < size) sum += *map_shared(own, uint32_t(t));
    cluster_arrive();
    cluster_wait();
    if (t < size) sum += given[t];
    if (t == 0) own[0] += 1;
  }
  cluster_arrive();
  cluster_wait();
  if (t < size) out[blockIdx.x * 16 + unsigned(t)] = sum;
}

TEST(blocks_reach_into_each_other) {
  if (!is_hopper()) return;
  check("large clusters", cudaFuncSetAttribute(everybody, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  for (const int size : {1, 2, 4, 8, 16}) {
    const int clusters = 3, rounds = 3;
    const DeviceArray<int> out(size_t(clusters * size * 16));
    launch_clusters("everybody", everybody, unsigned(clusters * size), 33, unsigned(size), 0, out.data(), rounds);
    const std::vector<int> got = out.host();
    for (int block = 0; block < clusters * size; ++block)
      for (int t = 0; t < size; ++t) {
        int expected = 0;
        for (int i = 0; i < rounds; ++i) expected += t + 1 + i + t * 100 + i;
        CHECK(got[size_t(block * 16 + t)] == expected);
      }
  }
}

/// Between arriving and waiting a thread may do other things, such as wait for its own block.
__global__ void split_barrier(int* out) {
  STEEP_SHARED(int, number, 1);
  const uint32_t rank = cluster_rank();
  if (threadIdx.x == 0) number[0] = int(rank) + 5;
  cluster_arrive();
  const int together = __syncthreads_count(1);
  cluster_wait();
  if (threadIdx.x == 0) out[blockIdx.x] = *map_shared(number, (rank + 1) % cluster_size()) * 1000 + together;
  cluster_arrive();
  cluster_wait();
}

TEST(arriving_is_not_waiting) {
  if (!is_hopper()) return;
  const DeviceArray<int> out(8);
  launch_clusters("split", split_barrier, 8, 96, 4, 0, out.data());
  const std::vector<int> got = out.host();
  for (int i = 0; i < 8; ++i) CHECK(got[size_t(i)] == ((i + 1) % 4 + 5) * 1000 + 96);
}

constexpr int kColumns = 32, kRows = 8, kRounds = 5;

/// A pipeline of one buffer in each of two blocks. A box is half as high as the buffer, and goes to both: rank 0 loads
/// the upper half, rank 1 the lower one. Who has read its buffer tells both loaders.
__global__ void shared_loads(const __grid_constant__ CUtensorMap map, float* out) {
  struct alignas(128) Buffer {
    float v[2 * kRows * kColumns];
  };
  STEEP_SHARED(Buffer, buffer, 1);
  STEEP_SHARED(Mbarrier, full, 1);
  STEEP_SHARED(Mbarrier, empty, 1);
  constexpr int kHalf = kRows * kColumns;
  const int t = int(threadIdx.x);
  const uint32_t rank = cluster_rank();
  if (t == 0) {
    mbarrier_init(full, 1);
    mbarrier_init(empty, 2);
    fence_mbarrier_init();
  }
  cluster_arrive();
  cluster_wait();
  float sum = 0;
  for (int i = 0; i < kRounds; ++i) {
    if (t == 0) {
      mbarrier_wait(empty, uint32_t(i % 2 ^ 1));
      mbarrier_arrive_expect(full, 2 * kHalf * 4);
      tma_load_multicast(buffer->v + int(rank) * kHalf, &map, full, 3, 0, (2 * i + int(rank)) * kRows);
    }
    mbarrier_wait(full, uint32_t(i % 2));
    for (int j = t; j < 2 * kHalf; j += int(blockDim.x)) sum += buffer->v[j] * float(rank + 1);
    __syncthreads();
    if (t < 2) mbarrier_arrive_at(empty, uint32_t(t));
  }
  out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
  cluster_arrive();
  cluster_wait();
}

TEST(loads_for_several_blocks) {
  if (!is_hopper()) return;
  constexpr int threads = 64, rows = 2 * kRows * kRounds;
  std::vector<float> x(rows * kColumns), expected(4 * threads, 0.0f);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = float(i % 47);
    for (size_t block = 0; block < 4; ++block) expected[block * threads + i % threads] += x[i] * float(block % 2 + 1);
  }
  const DeviceArray<float> in(x), out(4 * threads);
  const CUtensorMap map =
      make_tensor_map("loads", {DType::float32, in.data(), {kColumns, rows}, {kColumns * 4}, {kColumns, kRows}});
  launch_clusters("loads", shared_loads, 4, threads, 2, 0, map, out.data());
  CHECK(out.host() == expected);
}

TEST(clusters_that_cannot_be) {
  if (!is_hopper()) return;
  const DeviceArray<int> out(64);
  const auto refused = [&](dim3 grid, dim3 shape) {
    try {
      launch_clusters("refused", ranks, grid, 32, shape, 0, out.data());
      return false;
    } catch (const CudaError& e) {
      return std::string(e.what()).find("refused: ") == 0;
    }
  };
  CHECK(refused(5, 2));
  CHECK(refused(dim3(4, 3), dim3(2, 2)));
  CHECK(refused(16, 16));  // not asked for
  CHECK(!refused(16, 8));
}

}  // namespace
