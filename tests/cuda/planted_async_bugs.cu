// The same as planted_bugs.cu for what goes on by itself: bulk copies, mbarriers, blocks of a cluster.
#include <numeric>

#include "cuda/ptx_cluster.cuh"
#include "cuda/ptx_tma.cuh"
#include "cuda/tensor_map.h"
#include "planted.h"

using namespace steep::cuda;
using namespace steep::planted;

namespace {

constexpr int kColumns = 32, kRows = 4;  // of a box: one element for each thread
constexpr int kBoxBytes = kThreads * 4;

struct alignas(128) Box {
  float v[kThreads];
};

/// Loads boxes one after another and adds them up.
template <bool waits, bool right_parity, int expected_bytes>
__device__ void add_boxes(const CUtensorMap* map, int boxes, float* y) {
  STEEP_SHARED(Box, box, 1);
  STEEP_SHARED(Mbarrier, full, 1);
  const int t = int(threadIdx.x);
  if (t == 0) {
    mbarrier_init(full, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < boxes; ++i) {
    if (t == 0) {
      tma_load(box, map, full, 0, i * kRows);
      mbarrier_arrive_expect(full, expected_bytes);
    }
    if (waits) mbarrier_wait(full, uint32_t(right_parity ? i % 2 : i % 2 ^ 1));
    sum += box->v[t];
    __syncthreads();
  }
  if (!waits) mbarrier_wait(full, uint32_t(boxes - 1) % 2);
  y[t] = sum;
}
template <bool bug>
__global__ void reads_at_once(const __grid_constant__ CUtensorMap map, int boxes, float* y) {
  add_boxes<!bug, true, kBoxBytes>(&map, boxes, y);
}
template <bool bug>
__global__ void waits_for_the_phase_before(const __grid_constant__ CUtensorMap map, int boxes, float* y) {
  add_boxes<true, !bug, kBoxBytes>(&map, boxes, y);
}
template <bool bug>
__global__ void expects_nothing(const __grid_constant__ CUtensorMap map, int boxes, float* y) {
  add_boxes<true, true, bug ? 0 : kBoxBytes>(&map, boxes, y);
}
template <bool bug>
__global__ void expects_too_much(const __grid_constant__ CUtensorMap map, int boxes, float* y) {
  add_boxes<true, true, bug ? kBoxBytes + 16 : kBoxBytes>(&map, boxes, y);
}

/// The last copy is under way when the block ends.
template <bool bug>
__global__ void ends_early(const __grid_constant__ CUtensorMap map, int, float* y) {
  STEEP_SHARED(Box, box, 2);
  STEEP_SHARED(Mbarrier, full, 2);
  const int t = int(threadIdx.x);
  if (t == 0) {
    mbarrier_init(&full[0], 1), mbarrier_init(&full[1], 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  for (int i = 0; i < 2; ++i) {
    if (t == 0) {
      mbarrier_arrive_expect(&full[i], kBoxBytes);
      tma_load(&box[i], &map, &full[i], 0, i * kRows);
    }
  }
  mbarrier_wait(&full[0], 0);
  y[t] = box[0].v[t] * 3;
  if (!bug) mbarrier_wait(&full[1], 0);
}

template <bool bug>
__global__ void uses_before_init(float* y) {
  STEEP_SHARED(Mbarrier, barrier, 1);
  if (threadIdx.x == 0) mbarrier_init(barrier, blockDim.x);
  if (!bug) __syncthreads();
  mbarrier_arrive(barrier);
  mbarrier_wait(barrier, 0);
  y[threadIdx.x] = 1;
}

/// Stores boxes from one buffer.
template <bool bug>
__global__ void overwrites_source(const __grid_constant__ CUtensorMap map, int boxes) {
  STEEP_SHARED(Box, box, 1);
  const int t = int(threadIdx.x);
  for (int i = 0; i < boxes; ++i) {
    box->v[t] = float(i * kThreads + t);
    fence_proxy_async();
    __syncthreads();
    if (t == 0) {
      tma_store(&map, box, 0, i * kRows);
      tma_commit();
      if (!bug) tma_wait_read<0>();
    }
    __syncthreads();
  }
  if (t == 0) tma_wait<0>();
}
template <bool fences, bool waits>
__device__ void store_one(const CUtensorMap* map) {
  STEEP_SHARED(Box, box, 1);
  const int t = int(threadIdx.x);
  box->v[t] = float(t);
  if (fences) fence_proxy_async();
  __syncthreads();
  if (t > 0) return;
  tma_store(map, box, 0, 0);
  tma_commit();
  if (waits) tma_wait_read<0>();
}
template <bool bug>
__global__ void ends_before_read(const __grid_constant__ CUtensorMap map, int) {
  store_one<true, !bug>(&map);
}
template <bool bug>
__global__ void stores_without_fence(const __grid_constant__ CUtensorMap map, int) {
  store_one<!bug, true>(&map);
}

template <bool bug>
__global__ void disagrees_on_threads(float* y) {
  const int half = int(threadIdx.x) / 64;
  named_barrier_sync(1, bug && half ? 64 : 128);
  y[threadIdx.x] = 1;
}

/// Each block of a pair takes what the other has.
template <bool begins, bool between, bool ends>
__device__ void exchange(float* y) {
  STEEP_SHARED(float, mine, kThreads);
  STEEP_SHARED(float, received, kThreads);
  const int t = int(threadIdx.x);
  const uint32_t rank = cluster_rank();
  if (begins) cluster_arrive(), cluster_wait();
  map_shared(received, rank ^ 1)[t] = 1;
  mine[t] = float(rank * kThreads + uint32_t(t));
  if (between) cluster_arrive(), cluster_wait();
  const float other = map_shared(mine, rank ^ 1)[(t + 1) % kThreads];
  if (ends) cluster_arrive(), cluster_wait();
  y[rank * kThreads + uint32_t(t)] = other * received[t];
}
template <bool bug>
__global__ void writes_before_begin(float* y) {
  exchange<!bug, true, true>(y);
}
template <bool bug>
__global__ void reads_before_written(float* y) {
  exchange<true, !bug, true>(y);
}
template <bool bug>
__global__ void reads_after_end(float* y) {
  exchange<true, true, !bug>(y);
}

// --- running them ----------------------------------------------------------------------------------------------------

using Load = void (*)(CUtensorMap, int, float*);
using Store = void (*)(CUtensorMap, int);

bool sums_boxes(Load kernel) {
  constexpr int boxes = 3;
  std::vector<float> expected(kThreads, 0.0f), x(boxes * kThreads);
  std::iota(x.begin(), x.end(), 1.0f);
  for (size_t i = 0; i < x.size(); ++i) expected[i % kThreads] += x[i];
  const Array<float> in(x), out(kThreads);
  const CUtensorMap map = make_tensor_map(
      "planted", {steep::DType::float32, in.p, {kColumns, kRows * boxes}, {kColumns * 4}, {kColumns, kRows}});
  launch("planted", kernel, 1, kThreads, 0, map, boxes, out.p);
  return out.host() == expected;
}
bool triples_box(Load kernel) {
  std::vector<float> x(2 * kThreads), expected(kThreads);
  std::iota(x.begin(), x.end(), 1.0f);
  for (size_t i = 0; i < kThreads; ++i) expected[i] = 3 * x[i];
  const Array<float> in(x), out(kThreads);
  const CUtensorMap map = make_tensor_map(
      "planted", {steep::DType::float32, in.p, {kColumns, kRows * 2}, {kColumns * 4}, {kColumns, kRows}});
  launch("planted", kernel, 1, kThreads, 0, map, 2, out.p);
  return out.host() == expected;
}
bool stores_boxes(Store kernel, int boxes) {
  std::vector<float> expected(size_t(boxes) * kThreads);
  std::iota(expected.begin(), expected.end(), 0.0f);
  const Array<float> out(expected.size());
  const CUtensorMap map = make_tensor_map(
      "planted", {steep::DType::float32, out.p, {kColumns, kRows * boxes}, {kColumns * 4}, {kColumns, kRows}});
  launch("planted", kernel, 1, kThreads, 0, map, boxes);
  return out.host() == expected;
}
bool ones(void (*kernel)(float*)) {
  const Array<float> out(kThreads);
  launch("planted", kernel, 1, kThreads, 0, out.p);
  return out.host() == std::vector<float>(kThreads, 1.0f);
}
bool exchanges(void (*kernel)(float*)) {
  const Array<float> out(2 * kThreads);
  launch_clusters("planted", kernel, 2, kThreads, 2, 0, out.p);
  std::vector<float> expected(2 * kThreads);
  for (int i = 0; i < 2 * kThreads; ++i)
    expected[size_t(i)] = float((i / kThreads ^ 1) * kThreads + (i + 1) % kThreads);
  return out.host() == expected;
}

template <bool bug>
bool missing_wait() {
  return sums_boxes(reads_at_once<bug>);
}
template <bool bug>
bool wrong_parity() {
  return sums_boxes(waits_for_the_phase_before<bug>);
}
template <bool bug>
bool missing_expect() {
  return sums_boxes(expects_nothing<bug>);
}
template <bool bug>
bool too_many_bytes() {
  return sums_boxes(expects_too_much<bug>);
}
template <bool bug>
bool copy_after_end() {
  return triples_box(ends_early<bug>);
}
template <bool bug>
bool missing_init() {
  return ones(uses_before_init<bug>);
}
template <bool bug>
bool source_overwritten() {
  return stores_boxes(overwrites_source<bug>, 3);
}
template <bool bug>
bool source_not_read() {
  return stores_boxes(ends_before_read<bug>, 1);
}
template <bool bug>
bool missing_proxy_fence() {
  return stores_boxes(stores_without_fence<bug>, 1);
}
template <bool bug>
bool named_barriers_differ() {
  return ones(disagrees_on_threads<bug>);
}
template <bool bug>
bool block_not_begun() {
  return exchanges(writes_before_begin<bug>);
}
template <bool bug>
bool cluster_barrier_missing() {
  return exchanges(reads_before_written<bug>);
}
template <bool bug>
bool block_has_ended() {
  return exchanges(reads_after_end<bug>);
}

const std::map<std::string, Program> programs = {
    PROGRAM(missing_wait),          PROGRAM(wrong_parity),    PROGRAM(missing_expect),
    PROGRAM(too_many_bytes),        PROGRAM(copy_after_end),  PROGRAM(missing_init),
    PROGRAM(source_overwritten),    PROGRAM(source_not_read), PROGRAM(missing_proxy_fence),
    PROGRAM(named_barriers_differ), PROGRAM(block_not_begun), PROGRAM(cluster_barrier_missing),
    PROGRAM(block_has_ended),
};

}  // namespace

int main(int count, char** arguments) { return run(programs, count, arguments); }
