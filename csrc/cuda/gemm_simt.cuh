// Matrix products by the CUDA cores, in the elements' own precision. A block computes one tile of C: it copies tiles of
// A and B to shared memory, some steps of k ahead of the arithmetic, and every thread adds up thread_m × thread_n
// elements in registers. The order of a sum depends on the product's sizes only, not on strides or alignment.
//
// A float32 sum of k products is a chain of k multiply-adds, as in other libraries: its error is at most
// k·2^-24·Σ|a·b|, and about √k·2^-24·Σ|a·b| for rounding errors of random signs. Parts of k make it smaller.
#pragma once
#include <type_traits>

#include "gemm_parts.cuh"
#include "ptx.cuh"

namespace steep::cuda {
namespace {

/// A thread's part of the copies of an operand's tiles to shared memory, where element (row, k) lies at k·kStride +
/// row: 16 bytes more than the tile has rows, so that 8 lanes along k and 4 along rows write to 32 different banks.
/// Rows beyond the operand's last are zeros.
template <class T, Tile tile, int rows>
struct TileCopy {
  static constexpr int kVector = Vector<T>::n, kStride = rows + kVector, kElements = kStride * tile.k;
  static constexpr int kEach = rows * tile.k / tile.threads();  // elements
  static constexpr int kLanes = 8, kRowStep = tile.threads() / kLanes, kRowSteps = rows / kRowStep;
  static constexpr int kVectorStep = tile.threads() * kVector / rows, kElementStep = tile.threads() / rows;
  static_assert(tile.k % kLanes == 0 && tile.k % kVectorStep == 0 && tile.k % kElementStep == 0);
  static_assert(rows % kRowStep == 0);

  const Operand<T>& operand;
  int k, to;            // of the thread's first element in the tile
  uint32_t inside = 0;  // bit i: is its row, or that of row step i, one of the operand's?
  const T* from;        // its first element of the next tile

  __device__ TileCopy(const Operand<T>& operand, int64_t offset, int64_t first_row, int64_t first_k)
      : operand(operand) {
    const int thread = int(threadIdx.x);
    int row;
    if (operand.access == Access::along_k) {
      row = thread / kLanes, k = thread % kLanes;
#pragma unroll
      for (int i = 0; i < kRowSteps; ++i) inside |= uint32_t(first_row + row + i * kRowStep < operand.length) << i;
    } else {
      const int width = operand.access == Access::vectors ? kVector : 1;
      row = thread % (rows / width) * width, k = thread / (rows / width);
      inside = first_row + row < operand.length;
    }
    to = k * kStride + row;
    from = operand.data + offset + (first_row + row) * operand.stride + (first_k + k) * operand.k_stride;
  }
  __device__ void advance(int steps) { from += steps * operand.k_stride; }

  /// Calls f.operator()<width>(slot, at, from, valid) for all its accesses: kEach slots of elements, places `at` in
  /// shared memory. With `checked`, those from `depth` on along k aren't valid.
  template <bool checked, class F>
  __device__ void each(int depth, F f) const {
    if (operand.access == Access::vectors) {
#pragma unroll
      for (int i = 0; i < kEach / kVector; ++i)
        f.template operator()<kVector>(i * kVector, to + i * kVectorStep * kStride,
                                       from + i * kVectorStep * operand.k_stride,
                                       inside && (!checked || k + i * kVectorStep < depth));
    } else if (operand.access == Access::along_mn) {
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        f.template operator()<1>(i, to + i * kElementStep * kStride, from + i * kElementStep * operand.k_stride,
                                 inside && (!checked || k + i * kElementStep < depth));
    } else {
#pragma unroll
      for (int j = 0; j < tile.k / kLanes; ++j)
#pragma unroll
        for (int i = 0; i < kRowSteps; ++i)
          f.template operator()<1>(j * kRowSteps + i, to + j * kLanes * kStride + i * kRowStep,
                                   from + i * kRowStep * operand.stride + j * kLanes * operand.k_stride,
                                   (inside >> i & 1) && (!checked || k + j * kLanes < depth));
    }
  }

  /// Begins to copy a tile of which `depth` steps of k exist, the rest being zeros.
  template <bool checked>
  __device__ void start(T* shared, int depth) const {
    each<checked>(depth, [&]<int width>(int, int at, const T* source, bool valid) {
      constexpr int bytes = width * int(sizeof(T));
      copy_async<bytes>(shared + at, source, valid ? bytes : 0);
    });
  }

  /// The same in two halves, by way of registers.
  template <bool checked>
  __device__ void load(T (&registers)[kEach], int depth) const {
    each<checked>(depth, [&]<int width>(int slot, int, const T* source, bool valid) {
      if constexpr (width == 1) {
        registers[slot] = valid ? *source : T(0);
      } else {
        const Vector<T> vector = valid ? *reinterpret_cast<const Vector<T>*>(source) : Vector<T>{};
#pragma unroll
        for (int i = 0; i < width; ++i) registers[slot + i] = vector.v[i];
      }
    });
  }
  __device__ void store(const T (&registers)[kEach], T* shared) const {
    each<false>(0, [&]<int width>(int slot, int at, const T*, bool) {
      if constexpr (width == 1) {
        shared[at] = registers[slot];
      } else {
        Vector<T> vector;
#pragma unroll
        for (int i = 0; i < width; ++i) vector.v[i] = registers[slot + i];
        *reinterpret_cast<Vector<T>*>(shared + at) = vector;
      }
    });
  }
};

/// The elements of C that a thread adds up: rows and columns in runs of a vector, so that its loads of shared memory
/// are vectors, and neighbours' are neighbours.
template <class T, Tile tile>
struct ThreadTile {
  static constexpr int kVector = Vector<T>::n;
  using A = TileCopy<T, tile, tile.m>;
  using B = TileCopy<T, tile, tile.n>;
  static constexpr int kStage = A::kElements + B::kElements;

  int row, column;  // of the first one
  T sums[tile.thread_m][tile.thread_n] = {};

  __device__ ThreadTile() {
    // 8 lanes that load together need 2 vectors of A and 4 of B; 16 lanes, 2 and 8.
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    row = warp / tile.warps_n() * (4 * tile.thread_m) + (lane / 16 * 2 + lane % 2) * kVector;
    column = warp % tile.warps_n() * (8 * tile.thread_n) + lane / 2 % 8 * kVector;
  }

  /// The row or column of the i-th of its rows or columns, relative to the first.
  static __device__ constexpr int nth_row(int i) { return i / kVector * (4 * kVector) + i % kVector; }
  static __device__ constexpr int nth_column(int j) { return j / kVector * (8 * kVector) + j % kVector; }

  __device__ void multiply(const T* shared) {
    const T *a = shared + row, *b = shared + A::kElements + column;
#pragma unroll
    for (int k = 0; k < tile.k; ++k) {
      T x[tile.thread_m], y[tile.thread_n];
#pragma unroll
      for (int i = 0; i < tile.thread_m; i += kVector) read(a + k * A::kStride + nth_row(i), x + i);
#pragma unroll
      for (int j = 0; j < tile.thread_n; j += kVector) read(b + k * B::kStride + nth_column(j), y + j);
#pragma unroll
      for (int i = 0; i < tile.thread_m; ++i)
#pragma unroll
        for (int j = 0; j < tile.thread_n; ++j) sums[i][j] += x[i] * y[j];
    }
  }

 private:
  static __device__ void read(const T* shared, T* registers) {
    const Vector<T> vector = *reinterpret_cast<const Vector<T>*>(shared);
#pragma unroll
    for (int i = 0; i < kVector; ++i) registers[i] = vector.v[i];
  }
};

/// Adds up a part of k. The first tile is the one that may be short, so that the others need no checks.
template <bool async, class T, Tile tile>
__device__ void add_products(ThreadTile<T, tile>& sums, const Product<T>& g, const Place& place) {
  constexpr int kStages = async ? 3 : 2;
  using Sums = ThreadTile<T, tile>;
  STEEP_SHARED(T, shared, kStages * Sums::kStage);
  const int64_t begin = place.part * g.split.depth, depth = min(g.split.depth, g.k - begin);
  const int tiles = int((depth + tile.k - 1) / tile.k);  // matrices of 2^34 columns don't fit memory
  if (tiles == 0) return;
  const int first = int(depth - int64_t(tiles - 1) * tile.k);
  const Batch::Offsets at = g.batch[place.matrix];
  typename Sums::A copy_a(g.a, at.a, int64_t(place.row) * tile.m, begin);
  typename Sums::B copy_b(g.b, at.b, int64_t(place.column) * tile.n, begin);

  const auto advance = [&](int steps) {
    copy_a.advance(steps);
    copy_b.advance(steps);
  };
  if constexpr (async) {
    const auto start = [&]<bool checked>(int stage, int steps) {
      T* to = shared + stage * Sums::kStage;
      copy_a.template start<checked>(to, steps);
      copy_b.template start<checked>(to + Sums::A::kElements, steps);
      advance(steps);
    };
    start.template operator()<true>(0, first);
    commit_async();
#pragma unroll
    for (int i = 1; i < kStages - 1; ++i) {
      if (i < tiles) start.template operator()<false>(i, tile.k);
      commit_async();
    }
    int stage = 0, next = kStages - 1;
    for (int i = 0; i < tiles; ++i) {
      wait_async<kStages - 2>();
      __syncthreads();  // the tile is there for all, and nobody reads any more what is overwritten now
      if (i + kStages - 1 < tiles) start.template operator()<false>(next, tile.k);
      commit_async();
      sums.multiply(shared + stage * Sums::kStage);
      stage = stage + 1 == kStages ? 0 : stage + 1;
      next = next + 1 == kStages ? 0 : next + 1;
    }
  } else {
    T next_a[Sums::A::kEach], next_b[Sums::B::kEach];
    const auto load = [&]<bool checked>(int steps) {
      copy_a.template load<checked>(next_a, steps);
      copy_b.template load<checked>(next_b, steps);
      advance(steps);
    };
    const auto store = [&](int stage) {
      copy_a.store(next_a, shared + stage * Sums::kStage);
      copy_b.store(next_b, shared + stage * Sums::kStage + Sums::A::kElements);
      __syncthreads();
    };
    load.template operator()<true>(first);
    store(0);
    int stage = 0;
    for (int i = 1; i < tiles; ++i, stage ^= 1) {
      load.template operator()<false>(tile.k);
      sums.multiply(shared + stage * Sums::kStage);
      store(stage ^ 1);
    }
    sums.multiply(shared + stage * Sums::kStage);
  }
}

/// Stores a thread's elements of the tile at `c`, of which `rows` × `columns` exist, as vectors where C takes them.
template <class T, Tile tile>
__device__ void store_sums(const ThreadTile<T, tile>& sums, const Epilogue<T>& epilogue, T* c, int64_t c_row,
                           const T* bias, int rows, int columns) {
  constexpr int kVector = Vector<T>::n;
  const bool vectors = (reinterpret_cast<uintptr_t>(c) | c_row * sizeof(T)) % 16 == 0;
  T biases[tile.thread_n];
#pragma unroll
  for (int j = 0; j < tile.thread_n; ++j) {
    const int column = sums.column + sums.nth_column(j);
    biases[j] = bias && column < columns ? bias[column] : T(0);
  }
  c += sums.row * c_row + sums.column;
  rows -= sums.row, columns -= sums.column;
#pragma unroll
  for (int i = 0; i < tile.thread_m; ++i) {
    if (sums.nth_row(i) >= rows) break;
    T* const to = c + sums.nth_row(i) * c_row;
#pragma unroll
    for (int j = 0; j < tile.thread_n; j += kVector) {
      const int column = sums.nth_column(j);
      if (vectors && column + kVector <= columns) {
        Vector<T> value{};
        if (epilogue.beta != T(0)) value = *reinterpret_cast<const Vector<T>*>(to + column + epilogue.to_addend);
#pragma unroll
        for (int e = 0; e < kVector; ++e) value.v[e] = epilogue.begin(sums.sums[i][j + e], value.v[e], biases[j + e]);
        *reinterpret_cast<Vector<T>*>(to + column) = value;
      } else {
#pragma unroll
        for (int e = 0; e < kVector; ++e)
          if (column + e < columns)
            to[column + e] = epilogue.begin(sums.sums[i][j + e], epilogue.before(to + column + e), biases[j + e]);
      }
    }
  }
}

template <class T, Tile tile, bool async>
__device__ __forceinline__ void multiply_tile(const Product<T>& g) {
  ThreadTile<T, tile> sums;
  add_products<async>(sums, g, find_place(g, blockIdx.x));
  const Place place = find_place(g, hidden(blockIdx.x));  // computed again: registers are scarce in between
  const int64_t row = int64_t(place.row) * tile.m, column = int64_t(place.column) * tile.n;
  T* const c = g.c + g.batch[place.matrix].c + place.part * g.c_part + row * g.c_row + column;
  const int rows = int(min(g.a.length - row, int64_t(tile.m))),
            columns = int(min(g.b.length - column, int64_t(tile.n)));
  store_sums(sums, g.epilogue, c, g.c_row, g.epilogue.bias ? g.epilogue.bias + column : nullptr, rows, columns);
  if constexpr (std::is_floating_point_v<T>) {
    // In place, one by one: unrolled over all of a thread's elements it would be most of the kernel's code.
    if (g.epilogue.is_finished()) return;
    __syncthreads();
#pragma unroll 1
    for (int i = int(threadIdx.x); i < tile.m * tile.n; i += tile.threads()) {
      T* const element = c + i / tile.n * g.c_row + i % tile.n;
      if (i / tile.n < rows && i % tile.n < columns) *element = finish(g.epilogue, *element);
    }
  }
}

/// Blocks that a multiprocessor must have registers for: 512 threads may use 128 each, 384 may use 168. Up to 80 of
/// them are for sums and factors; more leave too few of 128 for addresses.
template <class T, Tile tile>
constexpr int kBlocks = (tile.thread_m * tile.thread_n + tile.thread_m + tile.thread_n) * sizeof(T) > 320
                            ? 384 / tile.threads()
                            : 512 / tile.threads();

/// nvcc takes no struct as a parameter of a kernel's template.
template <class T, int m, int n, int k, int thread_m, int thread_n>
__global__ void __launch_bounds__(Tile{m, n, k, thread_m, thread_n}.threads(),
                                  kBlocks<T, Tile{m, n, k, thread_m, thread_n}>)
    gemm_kernel(const __grid_constant__ Product<T> g) {
  multiply_tile<T, Tile{m, n, k, thread_m, thread_n}, kAsyncCopies>(g);
}
template <class T, Tile tile>
constexpr auto gemm_tiles = gemm_kernel<T, tile.m, tile.n, tile.k, tile.thread_m, tile.thread_n>;

}  // namespace
}  // namespace steep::cuda
