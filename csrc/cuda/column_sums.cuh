// Sums down the columns of a matrix whose rows are gone through by teams, in two stages and the same order every time:
// each team leaves the sums of its rows, and a kernel adds them up. What the weights of normalisations get.
#pragma once
#include <algorithm>

#include "rows.cuh"

namespace steep::cuda {
namespace {

constexpr int kRowsPerTeam = 16;  // at most: the additions in T
constexpr dim3 kSumBlock(32, 16);

/// Rows that a team takes: as many as keep the GPU busy with the fewest teams.
inline int rows_per_team(int64_t rows, const RowPlan& plan) {
  const int64_t busy = ceil_div<int64_t>(device_limits().multiprocessors * 512, plan.threads);
  return int(std::clamp<int64_t>((rows + busy / 2) / busy, 1, kRowsPerTeam));
}

/// Leaves a team's sums over its rows in the tile's elements of p, which has n columns, and makes them 0.
template <class T, class Row>
__device__ void store_sums(const Row& row, T* p, bool adds, T (&sum)[Row::kCount]) {
  if (adds) {
    T before[Row::kCount] = {};
    row.load_row(p, before);
    row.each([&](int k) { sum[k] += before[k]; });
  }
  row.store_row(p, sum);
#pragma unroll
  for (int k = 0; k < Row::kCount; ++k) sum[k] = 0;
}

/// Of sums[teams][columns], the first n columns are added to first[0 … n - 1], the others to second; either may be
/// null.
template <class T>
__global__ void __launch_bounds__(kSumBlock.x* kSumBlock.y)
    add_sums(int64_t teams, int64_t columns, int64_t n, const T* sums, double* first, double* second) {
  STEEP_SHARED(double, parts, kSumBlock.x* kSumBlock.y);
  const int64_t column = int64_t(blockIdx.x) * kSumBlock.x + threadIdx.x;
  double sum = 0;
  if (column < columns) {
    constexpr int kStep = 4;
#pragma unroll 1
    for (int64_t team = threadIdx.y * kStep; team < teams; team += kSumBlock.y * kStep) {
      T v[kStep];
#pragma unroll
      for (int i = 0; i < kStep; ++i) v[i] = team + i < teams ? sums[(team + i) * columns + column] : T(0);
      sum += double(pairwise(v));
    }
  }
  parts[threadIdx.y * kSumBlock.x + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= columns) return;
#pragma unroll 1
  for (unsigned i = 1; i < kSumBlock.y; ++i) sum += parts[i * kSumBlock.x + threadIdx.x];
  double* const to = column < n ? first : second;
  if (to) to[column < n ? column : column - n] += sum;
}

template <class T>
void launch_add_sums(const char* name, int64_t teams, int64_t columns, int64_t n, const T* sums, double* first,
                     double* second) {
  launch(name, add_sums<T>, unsigned(ceil_div<int64_t>(columns, kSumBlock.x)), kSumBlock, 0, teams, columns, n, sums,
         first, second);
}

}  // namespace
}  // namespace steep::cuda
