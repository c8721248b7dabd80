// Float32 operands as tensor cores take them, copied to where the copy engine can read them: rounded to tf32, or as
// three bfloat16 whose sum they are.
#pragma once
#include "gemm_parts.cuh"
#include "ptx_mma.cuh"

namespace steep::cuda {
namespace {

/// `lines` lines of n floats for each of some matrices; they go to lines that begin every `pitch` elements.
struct Lines {
  const float* from;
  int64_t matrices, lines, n;
  int64_t line_step, step;
  int64_t pitch;
  bool along_lines;  // do threads next to each other take lines next to each other?
};

/// Three numbers of 8 bits whose sum is x, unless it is below 2^-110. Infinities and NaNs are the first.
__device__ inline void cut(float x, bfloat16 (&pieces)[3]) {
  pieces[0] = bfloat16(x);
  const bool rounds_to_infinity = (pieces[0].bits & 0x7fff) == 0x7f80 && fabsf(x) <= 3.402823466e38f;
  if (rounds_to_infinity) pieces[0].bits -= 1;
  const float rest = (pieces[0].bits & 0x7f80) == 0x7f80 ? 0 : x - float(pieces[0]);
  pieces[1] = bfloat16(rest);
  pieces[2] = bfloat16(rest - float(pieces[1]));
}

constexpr int kPieceThreads = 256, kPieceRun = 8;  // elements of a line that a thread copies

/// To `to`: (piece, matrix, line, pitch), T: float for tf32, bfloat16 for three pieces. `steps`: to the matrices.
template <class T>
__global__ void __launch_bounds__(kPieceThreads)
    make_pieces(const __grid_constant__ Lines x, const __grid_constant__ Batch steps, T* to) {
  const int64_t runs = ceil_div<int64_t>(x.n, kPieceRun), all = x.matrices * x.lines * runs;
  const int64_t plane = x.matrices * x.lines * x.pitch;
  for (int64_t i = int64_t(blockIdx.x) * kPieceThreads + threadIdx.x; i < all;
       i += int64_t(gridDim.x) * kPieceThreads) {
    const int64_t inside = i % (x.lines * runs), matrix = i / (x.lines * runs);
    const int64_t line = x.along_lines ? inside % x.lines : inside / runs;
    const int64_t first = (x.along_lines ? inside / x.lines : inside % runs) * kPieceRun;
    const float* const from = x.from + steps[matrix].a + line * x.line_step + first * x.step;
    T* const out = to + (matrix * x.lines + line) * x.pitch + first;
    float values[kPieceRun];
#pragma unroll
    for (int j = 0; j < kPieceRun; ++j) values[j] = first + j < x.n ? from[j * x.step] : 0;
    if constexpr (std::is_same_v<T, float>) {
#pragma unroll
      for (int j = 0; j < kPieceRun; j += Vector<T>::n) {
        Vector<T> v;
#pragma unroll
        for (int e = 0; e < Vector<T>::n; ++e) v.v[e] = __uint_as_float(to_tf32(values[j + e]));
        *reinterpret_cast<Vector<T>*>(out + j) = v;
      }
    } else {
      Vector<T> v[3];
#pragma unroll
      for (int j = 0; j < kPieceRun; ++j) {
        bfloat16 pieces[3];
        cut(values[j], pieces);
#pragma unroll
        for (int piece = 0; piece < 3; ++piece) v[piece].v[j] = pieces[piece];
      }
#pragma unroll
      for (int piece = 0; piece < 3; ++piece) *reinterpret_cast<Vector<T>*>(out + piece * plane) = v[piece];
    }
  }
}

}  // namespace
}  // namespace steep::cuda
