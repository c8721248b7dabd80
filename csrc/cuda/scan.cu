// Scans. Many lines take a thread each, a few a block each; long ones are cut in pieces by their length alone, so that
// the bits are the same every time.
#include <algorithm>
#include <cstring>

#include "../core/scan_formulas.h"
#include "launch.cuh"
#include "table.h"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kPer = 4;                                   // elements of a thread in a tile
constexpr int64_t kPiece = int64_t(8) * kThreads * kPer;  // elements of a block, where lines are cut

/// A scan of lines in pieces of `piece` elements.
struct Cut {
  ScanSizes sizes;
  int64_t piece, pieces;
};

/// The offset of a line's first element.
__device__ int64_t line_begin(const ScanSizes& s, int64_t line) {
  const int64_t o = line / s.inner;
  return o * s.n * s.inner + (line - o * s.inner);
}

template <class Op>
__global__ void __launch_bounds__(kThreads) scan_by_thread(const Op op, const ScanSizes s) {
  const int64_t lines = s.outer * s.inner, step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x; line < lines; line += step) {
    typename Op::State state = Op::init();
    int64_t at = line_begin(s, line);
#pragma unroll 1
    for (int64_t k = 0; k < s.n; ++k, at += s.inner) {
      state = Op::join(state, op.take(at, k));
      op.store(at, state);
    }
  }
}

template <class State>
__device__ State shuffle_up(State s, int lanes) {
  constexpr int kWords = (sizeof(State) + 3) / 4;
  uint32_t words[kWords] = {};
  memcpy(words, &s, sizeof s);
#pragma unroll
  for (int i = 0; i < kWords; ++i) words[i] = __shfl_up_sync(~0u, words[i], lanes);
  memcpy(&s, words, sizeof s);
  return s;
}

/// What the threads before this one have, joined behind `carry`; `carry` becomes that with all of them. `totals` are
/// the block's, and may be used again after the next barrier.
template <class Op>
__device__ typename Op::State block_scan(typename Op::State own, typename Op::State& carry,
                                         typename Op::State* totals) {
  using State = typename Op::State;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  State upto = own;
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const State before = shuffle_up(upto, lanes);
    if (lane >= lanes) upto = Op::join(before, upto);
  }
  if (lane == 31) totals[warp] = upto;
  __syncthreads();
  State front = carry;
#pragma unroll 1
  for (int w = 0; w < kWarps; ++w) {
    if (w == warp) front = carry;
    carry = Op::join(carry, totals[w]);
  }
  const State before = shuffle_up(upto, 1);
  return lane ? Op::join(front, before) : front;
}

/// A block goes through a piece in tiles. It begins with the state in states[piece], and stores; without `stores` it
/// begins with none, and leaves the state of the piece there.
template <bool stores, class Op>
__global__ void __launch_bounds__(kThreads) scan_by_block(const Op op, const Cut cut, typename Op::State* states) {
  using State = typename Op::State;
  STEEP_SHARED(State, totals, 2 * kWarps);
  const ScanSizes& s = cut.sizes;
  const int64_t blocks = s.outer * s.inner * cut.pieces;
  int turn = 0;
#pragma unroll 1
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int64_t line = block / cut.pieces, begin = (block - line * cut.pieces) * cut.piece;
    const int64_t end = min(begin + cut.piece, s.n), base = line_begin(s, line);
    State carry = stores && states ? states[block] : Op::init();
#pragma unroll 1
    for (int64_t tile = begin; tile < end; tile += kThreads * kPer, turn ^= 1) {
      const int64_t first = tile + int64_t(threadIdx.x) * kPer;
      const int count = int(max(int64_t(0), min(end - first, int64_t(kPer))));
      State part[kPer], all = Op::init();
#pragma unroll
      for (int u = 0; u < kPer; ++u)
        part[u] = u < count ? op.take(base + (first + u) * s.inner, first + u) : Op::init();
#pragma unroll
      for (int u = 0; u < kPer; ++u)
        if (u < count) all = part[u] = Op::join(all, part[u]);
      const State front = block_scan<Op>(all, carry, totals + turn * kWarps);
      if constexpr (stores) {
#pragma unroll
        for (int u = 0; u < kPer; ++u)
          if (u < count) op.store(base + (first + u) * s.inner, Op::join(front, part[u]));
      }
    }
    if (!stores && threadIdx.x == 0) states[block] = carry;
  }
}

/// The states of the pieces of a line become those in front of them.
template <class Op>
__global__ void __launch_bounds__(kThreads) scan_pieces(int64_t lines, int64_t pieces, typename Op::State* states) {
  const int64_t line = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (line >= lines) return;
  typename Op::State carry = Op::init();
#pragma unroll 1
  for (int64_t p = line * pieces; p < (line + 1) * pieces; ++p) {
    const typename Op::State own = states[p];
    states[p] = carry;
    carry = Op::join(carry, own);
  }
}

template <class Op>
void launch_scan(const char* name, const Op& op, const ScanSizes& s) {
  using State = typename Op::State;
  const int64_t lines = s.outer * s.inner;
  // Threads of neighbouring lines read neighbours, unless lines lie behind each other.
  if (s.n <= 16 || (s.inner >= 32 && lines >= 1 << 14))
    return launch(name, scan_by_thread<Op>, grid_for(lines, kThreads), kThreads, 0, op, s);
  const bool cuts = s.n > kPiece && lines < 1 << 10;
  const Cut cut{s, cuts ? kPiece : s.n, cuts ? ceil_div(s.n, kPiece) : 1};
  const int64_t blocks = lines * cut.pieces;
  const Workspace states(cuts ? size_t(blocks) * sizeof(State) : 0);
  if (cuts) {
    launch(name, scan_by_block<false, Op>, grid_for(blocks, 1), kThreads, 0, op, cut, states.as<State>());
    launch(name, scan_pieces<Op>, unsigned(ceil_div(lines, int64_t(kThreads))), kThreads, 0, lines, cut.pieces,
           states.as<State>());
  }
  launch(name, scan_by_block<true, Op>, grid_for(blocks, 1), kThreads, 0, op, cut, states.as<State>());
}

void scan(Scan kind, DType t, const ScanSizes& s, const void* x, void* y) {
  visit_computed(t, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(x);
    T* to = static_cast<T*>(y);
    if constexpr (!std::is_integral_v<T> || sizeof(T) == sizeof(int64_t)) {  // no sum is of another dtype
      if (kind == Scan::sum) return launch_scan("cumulative_sum", scans::Sum<T>{from, to}, s);
      if (kind == Scan::prod) return launch_scan("cumulative_prod", scans::Prod<T>{from, to}, s);
    }
    if constexpr (!std::is_integral_v<T>) launch_scan("logcumsumexp", scans::LogSumExp<T>{from, to}, s);
  });
}

void linear_scan(DType t, const ScanSizes& s, const void* a, const void* b, void* y) {
  visit_computed(t, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_integral_v<T>)
      launch_scan("linear_scan",
                  scans::Linear<T>{static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(y)}, s);
  });
}

void extreme_scan(bool largest, DType t, const ScanSizes& s, const void* x, void* y, int64_t* index) {
  visit_computed(t, [&](auto zero) {
    using T = decltype(zero);
    const T* from = static_cast<const T*>(x);
    if (largest)
      launch_scan("cummax", scans::Extreme<T, true>{from, static_cast<T*>(y), index}, s);
    else
      launch_scan("cummin", scans::Extreme<T, false>{from, static_cast<T*>(y), index}, s);
  });
}

}  // namespace

void fill_scan(Table& table) {
  table.scan = scan;
  table.linear_scan = linear_scan;
  table.extreme_scan = extreme_scan;
}

}  // namespace steep::cuda
