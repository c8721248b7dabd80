// Matrix products by tensor cores, with mma.sync: sm_80 and later. A block computes one tile of C. It copies tiles of A
// and B to shared memory (cp.async), some steps of k ahead of the arithmetic; its warps load fragments of them to
// registers, one step ahead, and multiply these. The order of a sum depends on the product's sizes only.
//
// A tensor core multiplies exactly, but cuts sums off where float32 arithmetic rounds them (emulator/tensor_cores.cpp):
// errors add up instead of cancelling, about k/4 · 2^-24 of Σ|a·b| where all products have one sign. That is hidden by
// the rounding of elements of 16 bits, and small beside that of tf32. Float32's own accuracy (MmaOperands::pieces)
// needs more: see Pieces.
#pragma once
#include <limits>

#include "gemm_parts.cuh"
#include "ptx.cuh"
#include "ptx_mma.cuh"

namespace steep::cuda {
namespace {

/// A tile of an operand in shared memory: lines of 16-byte chunks, each along what is contiguous in memory, with the
/// chunks of a line in an order of its own, so that neither copies nor loads of fragments meet in a bank.
/// along_k: a line is a row of the operand (or a column of B), kMmaBytes of k; else one step of k and all rows.
template <class T, int rows, bool along_k>
struct MmaLines {
  static constexpr int kVector = 16 / sizeof(T), kDepth = kMmaBytes / sizeof(T);  // elements of a chunk, steps of k
  static constexpr int kChunks = along_k ? kMmaBytes / 16 : rows / kVector, kPitch = 16 * kChunks;
  static_assert(along_k || kChunks >= 8);

  /// Of the chunks' numbers, to be combined by xor.
  static __device__ constexpr int order(int line) {
    return along_k ? line / 2 % 4 : sizeof(T) == 2 ? line % 8 : line % 4 * 2;
  }
};

/// A thread's part of the copies of an operand's tiles. What lies beyond the operand is zeros.
template <class T, int rows, bool along_k, int threads>
struct MmaCopy {
  using Lines = MmaLines<T, rows, along_k>;
  static constexpr int kLineStep = threads / Lines::kChunks, kEach = rows * kMmaBytes / 16 / threads;
  static_assert(threads % Lines::kChunks == 0 && rows * kMmaBytes % (16 * threads) == 0);
  static_assert(Lines::order(kLineStep) == 0 && kEach * kLineStep == (along_k ? rows : Lines::kDepth));

  const T* from;  // its first chunk of the next tile
  int64_t line_step, tile_step;
  int line, place, to;  // of its first chunk: line, element in the line, byte in the tile
  int lines, width;     // how many lines of the operand the tile has, if they aren't along k, and elements of a line

  __device__ MmaCopy(const Operand<T>& operand, int64_t offset, int64_t first_row, int64_t first_k) {
    const int thread = int(threadIdx.x), chunk = thread % Lines::kChunks;
    line = thread / Lines::kChunks, place = chunk * Lines::kVector;
    to = line * Lines::kPitch + (chunk ^ Lines::order(line)) * 16;
    const int inside = int(min(operand.length - first_row, int64_t(rows)));
    from = operand.data + offset;
    if constexpr (along_k) {
      line_step = operand.stride, tile_step = Lines::kDepth;
      lines = inside;
      from += (first_row + line) * operand.stride + first_k + place;
    } else {
      line_step = operand.k_stride, tile_step = Lines::kDepth * operand.k_stride;
      width = bytes(inside - place);
      from += first_row + place + (first_k + line) * operand.k_stride;
    }
  }

  /// Begins to copy a tile, of which `depth` steps of k exist.
  __device__ void start(char* tile, int64_t depth) {
    if constexpr (along_k)
      width = bytes(int(min(depth, int64_t(Lines::kDepth))) - place);
    else
      lines = int(min(depth, int64_t(Lines::kDepth)));
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      copy_async<16>(tile + to + i * kLineStep * Lines::kPitch, from + i * kLineStep * line_step,
                     line + i * kLineStep < lines ? width : 0);
    from += tile_step;
  }

 private:
  static __device__ int bytes(int elements) { return min(max(elements, 0), Lines::kVector) * int(sizeof(T)); }
};

/// A lane's loads of fragments: 16 rows of 32 bytes of k are a step, in four words of a lane. With g = lane / 4 and
/// t = lane % 4, word r + 2·h is word t + 4·h of row g + 8·r. That is a fragment of A, and words r and r + 2 are one of
/// eight columns of B.
template <class T, int rows, bool along_k>
struct MmaLoad {
  using Lines = MmaLines<T, rows, along_k>;
  static constexpr bool kByWords = !along_k && sizeof(T) == 4;  // ldmatrix transposes elements of 16 bits only

  int first;  // byte in the tile

  /// For the warp's rows from `row` on.
  __device__ explicit MmaLoad(int row) {
    const int lane = int(threadIdx.x) % 32, matrix = lane / 8, inside = lane % 8, g = lane / 4, t = lane % 4;
    if constexpr (along_k) {
      const int line = row + matrix % 2 * 8 + inside;
      first = line * Lines::kPitch + ((matrix / 2) ^ Lines::order(line)) * 16;
    } else if constexpr (kByWords) {
      first = t * Lines::kPitch + ((row / 4 + g / 4) ^ Lines::order(t)) * 16 + g % 4 * 4;
    } else {
      const int line = matrix / 2 * 8 + inside;
      first = line * Lines::kPitch + ((row / 8 + matrix % 2) ^ Lines::order(line)) * 16;
    }
  }

  /// 16 rows from the warp's `row` on, a multiple of 16. What is added to a chunk's number has bits of its own, so that
  /// it may be combined with the order of chunks by xor too.
  __device__ void operator()(uint32_t (&words)[4], const char* tile, int row, int step) const {
    if constexpr (along_k) {
      load_matrices<false>(words, tile + (first ^ step * 32) + row * Lines::kPitch);
    } else if constexpr (kByWords) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        words[i] = *reinterpret_cast<const uint32_t*>(tile + (first ^ (row * 4 + i % 2 * 32)) +
                                                      (step * 8 + i / 2 * 4) * Lines::kPitch);
    } else {
      load_matrices<true>(words, tile + (first ^ row * 2) + step * 16 * Lines::kPitch);
    }
  }
};

/// What tensor cores multiply of elements of type T.
template <class T, MmaOperands operands>
using MmaType = std::conditional_t<operands == MmaOperands::tf32, tf32, T>;

/// A warp's part of the tile, tile.warp_m × tile.warp_n, by products of the operands' elements.
template <class T, MmaOperands operands, MmaTile tile>
struct Direct {
  static constexpr int kRows = tile.warp_m / 16, kColumns = tile.warp_n / 16;

  float sums[kRows][2 * kColumns][4] = {};
  uint32_t a[2][kRows][4], b[2][kColumns][4];  // of the step that is multiplied, and of the next

  template <class A, class B>
  __device__ void load(int step, const A& load_a, const B& load_b, const char* tile_a, const char* tile_b) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) fragment(a[step][i], load_a, tile_a, 16 * i, step);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) fragment(b[step][j], load_b, tile_b, 16 * j, step);
  }
  __device__ void multiply(int step) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
#pragma unroll
      for (int j = 0; j < 2 * kColumns; ++j)
        multiply_add<MmaType<T, operands>>(sums[i][j], a[step][i], b[step][j / 2][j % 2], b[step][j / 2][j % 2 + 2]);
  }
  __device__ float sum(int i, int j, int element) const { return sums[i][j][element]; }

 private:
  template <class Load>
  static __device__ void fragment(uint32_t (&words)[4], const Load& load, const char* tile_x, int row, int step) {
    load(words, tile_x, row, step);
    if constexpr (operands == MmaOperands::tf32)
#pragma unroll
      for (uint32_t& word : words) word = to_tf32(__uint_as_float(word));  // else it would be cut off
  }
};

/// The same for float32, to float32's accuracy: x is x0 + x1 + x2, three bfloat16s of 8 bits, exactly, if |x| > 2^-110.
/// Of the nine products the six largest are taken; what is left out is about 2^-25 of |a·b|, with either sign.
/// Sums of 16 steps of k begin at zero, and are added to others by float32 arithmetic, which rounds to nearest: tensor
/// cores alone would cut off ever more. x0·y0 are 16 bits, of which little is lost in such a sum. The other products
/// are 2^-8 of it, and so are their errors: they have sums of their own.
template <MmaTile tile>
struct Pieces {
  static constexpr int kRows = tile.warp_m / 16, kColumns = tile.warp_n / 16;

  float large[kRows][2 * kColumns][4] = {}, small[kRows][2 * kColumns][4] = {};

  template <class A, class B>
  __device__ void multiply(const A& load_a, const B& load_b, const char* tile_a, const char* tile_b) {
    uint32_t b[kColumns][3][4];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) split(b[j], load_b, tile_b, 16 * j);
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      uint32_t a[3][4];
      split(a, load_a, tile_a, 16 * i);
#pragma unroll
      for (int j = 0; j < 2 * kColumns; ++j) {
        const auto add = [&](float(&d)[4], int of_a, int of_b) {
          multiply_add<bfloat16>(d, a[of_a], b[j / 2][of_b][j % 2], b[j / 2][of_b][j % 2 + 2]);
        };
        float first[4] = {}, others[4] = {};
        add(first, 0, 0);
        add(others, 0, 2);
        add(others, 1, 1);
        add(others, 2, 0);
        add(others, 0, 1);
        add(others, 1, 0);
#pragma unroll
        for (int e = 0; e < 4; ++e) large[i][j][e] += first[e], small[i][j][e] += others[e];
      }
    }
  }
  /// Infinities are in x0: what the differences from them are is no matter.
  __device__ float sum(int i, int j, int e) const {
    const bool finite = fabsf(large[i][j][e]) <= std::numeric_limits<float>::max();
    return finite ? large[i][j][e] + small[i][j][e] : large[i][j][e];
  }

 private:
  /// Pairs of bfloat16 from pairs of words, those of t and t + 4: of A and B the same, so which steps of k they are
  /// doesn't matter. x0 is cut off, as the nearest could be infinite.
  template <class Load>
  static __device__ void split(uint32_t (&pieces)[3][4], const Load& load, const char* tile_x, int row) {
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      uint32_t words[4];
      load(words, tile_x, row, step);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float low = __uint_as_float(words[r]), high = __uint_as_float(words[r + 2]);
#pragma unroll
        for (int piece = 0; piece < 3; ++piece) {
          const uint32_t pair = piece == 0 ? to_bfloat16s<true>(low, high) : to_bfloat16s<false>(low, high);
          pieces[piece][r + 2 * step] = pair;
          low -= __uint_as_float(pair << 16), high -= __uint_as_float(pair & 0xffff0000);
        }
      }
    }
  }
};

template <class T, MmaOperands operands, MmaTile tile>
using WarpSums = typename std::conditional_t<operands == MmaOperands::pieces, std::type_identity<Pieces<tile>>,
                                             std::type_identity<Direct<T, operands, tile>>>::type;

/// Where a warp's part of the tile is.
template <MmaTile tile>
struct WarpPlace {
  int row = int(threadIdx.x) / 32 / (tile.n / tile.warp_n) * tile.warp_m;
  int column = int(threadIdx.x) / 32 % (tile.n / tile.warp_n) * tile.warp_n;
};

/// Adds up a part of k.
template <class T, MmaOperands operands, MmaTile tile, bool a_along_k, bool b_along_k>
__device__ void add_products(WarpSums<T, operands, tile>& sums, const Product<T>& g, const Place& place, char* shared) {
  constexpr int kDepth = kMmaBytes / sizeof(T), kStage = (tile.m + tile.n) * kMmaBytes, kB = tile.m * kMmaBytes;
  const int64_t begin = place.part * g.split.depth;
  int64_t depth = min(g.split.depth, g.k - begin);  // that isn't under way yet
  const int tiles = int((depth + kDepth - 1) / kDepth);
  if (tiles == 0) return;
  const Batch::Offsets at = g.batch[place.matrix];
  MmaCopy<T, tile.m, a_along_k, tile.threads()> copy_a(g.a, at.a, int64_t(place.row) * tile.m, begin);
  MmaCopy<T, tile.n, b_along_k, tile.threads()> copy_b(g.b, at.b, int64_t(place.column) * tile.n, begin);
  const WarpPlace<tile> warp;
  const MmaLoad<T, tile.m, a_along_k> load_a(warp.row);
  const MmaLoad<T, tile.n, b_along_k> load_b(warp.column);
  char* const end = shared + tile.stages * kStage;
  char *now = shared, *next = shared;  // the stage that is multiplied, and the one that is copied to
  const auto start = [&] {
    if (depth > 0) {
      copy_a.start(next, depth);
      copy_b.start(next + kB, depth);
      depth -= kDepth;
    }
    commit_async();
    next = next + kStage == end ? shared : next + kStage;
  };
  const auto advance = [&] { now = now + kStage == end ? shared : now + kStage; };
  const auto wait = [] {
    wait_async<tile.stages - 2>();
    __syncthreads();  // the tile is there for all, and nobody reads any more what is overwritten now
  };
#pragma unroll
  for (int i = 0; i < tile.stages - 1; ++i) start();
  if constexpr (operands == MmaOperands::pieces) {
    for (int i = 0; i < tiles; ++i) {
      wait();
      start();
      sums.multiply(load_a, load_b, now, now + kB);
      advance();
    }
  } else {
    const auto load = [&](int step) { sums.load(step, load_a, load_b, now, now + kB); };
    wait();
    load(0);
    for (int i = 0; i < tiles; ++i) {
      load(1);
      start();
      sums.multiply(0);
      wait();
      advance();
      load(0);  // behind the last tile, of anything
      sums.multiply(1);
    }
  }
}

/// Stores the first `count` of some values.
template <class To, int n>
__device__ void store(To* to, const float (&values)[n], int count) {
  constexpr int kVector = Vector<To>::n;
#pragma unroll
  for (int i = 0; i < n; i += kVector) {
    if (i + kVector <= count && reinterpret_cast<uintptr_t>(to) % 16 == 0) {
      Vector<To> vector;
#pragma unroll
      for (int e = 0; e < kVector; ++e) vector.v[e] = To(values[i + e]);
      *reinterpret_cast<Vector<To>*>(to + i) = vector;
    } else {
#pragma unroll
      for (int e = 0; e < kVector; ++e)
        if (i + e < count) to[i + e] = To(values[i + e]);
    }
  }
}

/// Stores the tile by way of shared memory, so that memory is written in vectors: the sums of the warps beside each
/// other at a time. What takes many instructions for an element is done there too, as code that isn't unrolled.
template <class T, MmaOperands operands, MmaTile tile>
__device__ void store_sums(const WarpSums<T, operands, tile>& sums, const Product<T>& g, const Place& place,
                           float* parts, char* shared) {
  constexpr int kEach = Vector<T>::n;
  static_assert(tile.warp_m * tile.n * sizeof(float) <= size_t(tile.shared_bytes()));
  float* const rows_of_sums = reinterpret_cast<float*>(shared);
  // Chunks of four, in an order for each row as in MmaLines.
  const auto at = [&](int row, int column) {
    return rows_of_sums + row * tile.n + ((column / 4) ^ (row % 4 * 2)) * 4 + column % 4;
  };
  const WarpPlace<tile> warp;
  const int lane = int(threadIdx.x) % 32;
  const int64_t first_row = int64_t(place.row) * tile.m, first_column = int64_t(place.column) * tile.n;
  T* const c = g.c + g.batch[place.matrix].c + first_column;
  const bool in_place = !parts && !g.epilogue.is_finished();
  if (parts) parts += (place.part * g.batch.matrices + place.matrix) * g.a.length * g.b.length + first_column;
#pragma unroll 1
  for (int pass = 0; pass < tile.m; pass += tile.warp_m) {
    __syncthreads();
    if (warp.row == pass) {
#pragma unroll
      for (int i = 0; i < tile.warp_m / 8; ++i)
#pragma unroll
        for (int j = 0; j < tile.warp_n / 8; ++j) {
          float* const to = at(8 * i + lane / 4, warp.column + 8 * j + lane % 4 * 2);
          const int e = i % 2 * 2;
          *reinterpret_cast<float2*>(to) = make_float2(sums.sum(i / 2, j, e), sums.sum(i / 2, j, e + 1));
        }
    }
    __syncthreads();
    if (in_place) {
#pragma unroll 1
      for (int i = int(threadIdx.x); i < tile.warp_m * tile.n; i += tile.threads()) {
        const int64_t row = first_row + pass + i / tile.n, column = first_column + i % tile.n;
        if (row >= g.a.length || column >= g.b.length) continue;
        float& value = *at(i / tile.n, i % tile.n);
        const float before = g.epilogue.before(c + row * g.c_row + i % tile.n);
        value = finish(g.epilogue, g.epilogue.begin(value, before, g.epilogue.bias_of(row, column)));
      }
      __syncthreads();
    }
#pragma unroll 1
    for (int i = int(threadIdx.x); i < tile.warp_m * tile.n / kEach; i += tile.threads()) {
      const int row_inside = i / (tile.n / kEach), column = i % (tile.n / kEach) * kEach;
      const int64_t row = first_row + pass + row_inside;
      const int count = int(min(g.b.length - first_column - column, int64_t(kEach)));
      if (row >= g.a.length || count <= 0) continue;
      float values[kEach];
#pragma unroll
      for (int e = 0; e < kEach; e += 4) {
        const Vector<float> four = *reinterpret_cast<const Vector<float>*>(at(row_inside, column + e));
#pragma unroll
        for (int v = 0; v < 4; ++v) values[e + v] = four.v[v];
      }
      if (parts) {
        store(parts + row * g.b.length + column, values, count);
      } else {
        T* const to = c + row * g.c_row + column;
#pragma unroll
        for (int e = 0; e < kEach; ++e)
          if (e < count && !in_place)
            values[e] = g.epilogue.begin(values[e], g.epilogue.before(to + e),
                                         g.epilogue.bias_of(row, first_column + column + e));
        store(to, values, count);
      }
    }
  }
}

/// nvcc takes no struct as a parameter of a kernel's template. `parts`: where the sums go if there are several parts.
template <class T, MmaOperands operands, int m, int n, int warp_m, int warp_n, int stages, int blocks, bool a_along_k,
          bool b_along_k>
__global__ void __launch_bounds__(MmaTile{m, n, warp_m, warp_n, stages, blocks}.threads(), blocks)
    mma_kernel(const __grid_constant__ Product<T> g, float* parts) {
  if constexpr (kWarpProducts) {
    constexpr MmaTile tile{m, n, warp_m, warp_n, stages, blocks};
    STEEP_DYNAMIC_SHARED(char, shared);
    WarpSums<T, operands, tile> sums;
    add_products<T, operands, tile, a_along_k, b_along_k>(sums, g, find_place(g, blockIdx.x), shared);
    store_sums<T, operands, tile>(sums, g, find_place(g, hidden(blockIdx.x)), parts, shared);
  }
}
template <class T, MmaOperands operands, MmaTile tile, bool a_along_k, bool b_along_k>
constexpr auto mma_tiles_kernel =
    mma_kernel<T, operands, tile.m, tile.n, tile.warp_m, tile.warp_n, tile.stages, tile.blocks, a_along_k, b_along_k>;

}  // namespace
}  // namespace steep::cuda
