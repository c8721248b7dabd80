// What kernels for matrix products have in common: which tile a block computes, the last steps of an element, sums in
// parts of k, and launches.
#pragma once
#include "gemm.h"
#include "launch.cuh"
#include "vec.cuh"
//
#include "../ops/math.h"

namespace steep::cuda {

__device__ inline Batch::Offsets Batch::operator[](int64_t matrix) const {
  Offsets at{};
#pragma unroll 1
  for (int i = axes - 1; i >= 0; --i) {
    const int64_t outer = i ? matrix / shape[i] : 0, index = matrix - outer * shape[i];
    at.a += index * a[i], at.b += index * b[i], at.c += index * c[i];
    matrix = outer;
  }
  return at;
}

namespace {

/// What a block computes.
struct Place {
  uint32_t row, column;  // in tiles
  int part;
  int64_t matrix;
};

template <class T>
__device__ Place find_place(const Product<T>& g, uint32_t block) {
  // Blocks that run at the same time read few rows of A and few columns of B, which L2 keeps, when their tiles are
  // taken in groups of rows.
  const uint32_t most = min(8u, g.row_tiles);
  Place place;
  const uint32_t tiles = g.row_tiles * g.column_tiles, tile = block % tiles, parts = uint32_t(g.split.count);
  place.part = int(block / tiles % parts);
  place.matrix = g.first + block / tiles / parts;
  const uint32_t group = tile / (most * g.column_tiles), inside = tile % (most * g.column_tiles);
  const uint32_t rows = min(most, g.row_tiles - group * most);
  place.row = group * most + inside % rows;
  place.column = inside / rows;
  return place;
}

template <class T>
struct alignas(16) Vector {
  static constexpr int n = 16 / sizeof(T);
  T v[n];
};

/// The rest of an element's epilogue, behind `begin`.
template <class T>
__device__ SumOf<T> finish(const Epilogue<T>& epilogue, SumOf<T> value) {
  if constexpr (std::is_floating_point_v<SumOf<T>>) {
    if (epilogue.activation == Activation::sigmoid) return sigmoid(Vec<SumOf<T>>(value)).v;
    if (epilogue.activation == Activation::tanh) return tanh(Vec<SumOf<T>>(value)).v;
  }
  return value;
}

constexpr int kReduceThreads = 256;

/// Adds the parts of the sums of C's elements, (part, matrix, row, column), in their order.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    add_parts(const __grid_constant__ Product<T> g, const SumOf<T>* parts, uint32_t elements) {
  const uint32_t i = blockIdx.x * kReduceThreads + threadIdx.x;
  if (i >= elements) return;
  SumOf<T> sum = parts[i];
#pragma unroll 8
  for (int part = 1; part < g.split.count; ++part) sum += parts[size_t(part) * elements + i];
  const uint32_t rows = uint32_t(g.a.length), columns = uint32_t(g.b.length);
  const uint32_t column = i % columns, row = i / columns % rows;
  T* const c = g.c + g.batch[i / columns / rows].c + row * g.c_row + column;
  *c = T(finish(g.epilogue, g.epilogue.begin(sum, g.epilogue.before(c), g.epilogue.bias_of(row, column))));
}

/// Launches a kernel for blocks of `rows` × `columns` elements of C.
template <class T, class... More>
void launch_blocks(void (*kernel)(Product<T>, More...), int threads, size_t shared_bytes, Product<T> g, int rows,
                   int columns, More... more) {
  constexpr int64_t kMaxBlocks = INT32_MAX;
  const int64_t row_tiles = ceil_div<int64_t>(g.a.length, rows), column_tiles = ceil_div<int64_t>(g.b.length, columns);
  const int64_t blocks = row_tiles * column_tiles * g.split.count;  // fewer than 2^31 for any C that memory holds
  g.row_tiles = uint32_t(row_tiles), g.column_tiles = uint32_t(column_tiles);
  const int64_t matrices = std::max<int64_t>(kMaxBlocks / blocks, 1);
  for (g.first = 0; g.first < g.batch.matrices; g.first += matrices) {
    const int64_t count = std::min(matrices, g.batch.matrices - g.first);
    launch("matmul", kernel, unsigned(count * blocks), threads, shared_bytes, g, more...);
  }
}

template <class T>
int64_t elements_of(const Product<T>& g) {
  return g.batch.matrices * g.a.length * g.b.length;
}

template <class T>
void launch_sum_of_parts(const Product<T>& g, const SumOf<T>* parts) {
  const int64_t elements = elements_of(g);
  launch("matmul", add_parts<T>, unsigned(ceil_div<int64_t>(elements, kReduceThreads)), kReduceThreads, 0, g, parts,
         uint32_t(elements));
}

}  // namespace
}  // namespace steep::cuda
