// Copies whose source has its contiguous axis elsewhere than the target: by square tiles in shared memory, so that both
// are accessed along their own contiguous axis.
#pragma once
#include "elementwise.cuh"

namespace steep::cuda {
namespace {

constexpr int kTile = 32, kTileRows = 8;

/// to[r·to_row + c] = from[r + c·from_column], for every place of the outer axes.
struct Transpose {
  const char* from;
  char* to;
  int64_t rows, columns, from_column, to_row;
  int64_t row_tiles, column_tiles;
  int outer;  // axes, with their extents and strides
  int64_t extents[kMaxNdim], from_strides[kMaxNdim], to_strides[kMaxNdim];
};

template <class Word>
__global__ void __launch_bounds__(kTile* kTileRows) transpose(Transpose t) {
  STEEP_SHARED(Word, tile, kTile * (kTile + 1));  // a column's elements lie in different banks
  int64_t rest = blockIdx.x;
  const int64_t column = rest % t.column_tiles * kTile;
  rest /= t.column_tiles;
  const int64_t row = rest % t.row_tiles * kTile;
  rest /= t.row_tiles;
  const Word* from = reinterpret_cast<const Word*>(t.from);
  Word* to = reinterpret_cast<Word*>(t.to);
  for (int d = t.outer - 1; d >= 0; --d) {
    const int64_t i = rest % t.extents[d];
    rest /= t.extents[d];
    from += i * t.from_strides[d];
    to += i * t.to_strides[d];
  }
  const int x = int(threadIdx.x) % kTile, y = int(threadIdx.x) / kTile;
#pragma unroll
  for (int j = y; j < kTile; j += kTileRows)
    if (row + x < t.rows && column + j < t.columns)
      tile[x * (kTile + 1) + j] = from[row + x + (column + j) * t.from_column];
  __syncthreads();
#pragma unroll
  for (int j = y; j < kTile; j += kTileRows)
    if (row + j < t.rows && column + x < t.columns) to[(row + j) * t.to_row + column + x] = tile[j * (kTile + 1) + x];
}

/// Copies by tiles where the plan is a transposition of axes long enough; else returns false.
template <class Word>
bool launch_transpose(const char* op, const ElementwisePlan& plan) {
  const int last = plan.shape.n - 1;
  const Dims &shape = plan.shape, &from = plan.strides[0], &to = plan.strides[1];
  if (plan.immediates || to[last] != 1 || from[last] == 1 || shape[last] < kTile / 2) return false;
  int axis = -1;  // the source's contiguous one
  for (int d = 0; d < last; ++d)
    if (from[d] == 1 && shape[d] >= kTile / 2) axis = d;
  if (axis < 0) return false;
  Transpose t;
  t.from = plan.data[0];
  t.to = plan.data[1];
  t.rows = shape[axis];
  t.columns = shape[last];
  t.from_column = from[last];
  t.to_row = to[axis];
  t.row_tiles = ceil_div<int64_t>(t.rows, kTile);
  t.column_tiles = ceil_div<int64_t>(t.columns, kTile);
  t.outer = 0;
  int64_t tiles = t.row_tiles * t.column_tiles;
  for (int d = 0; d < last; ++d) {
    if (d == axis) continue;
    t.extents[t.outer] = shape[d];
    t.from_strides[t.outer] = from[d];
    t.to_strides[t.outer] = to[d];
    t.outer++;
    tiles *= shape[d];
  }
  if (tiles > INT32_MAX) return false;
  launch(op, transpose<Word>, dim3(unsigned(tiles)), dim3(kTile * kTileRows), 0, t);
  return true;
}

}  // namespace
}  // namespace steep::cuda
