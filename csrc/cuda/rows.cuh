// What kernels over the rows of a matrix share. A row is the work of a team: of a few lanes of a warp where it is short,
// so that a warp takes several rows, else of a block. A thread holds up to 64 bytes of its row in registers, a tile of it
// together with its team. A row of one tile is read once, however often its elements are used. Longer rows are swept
// through tile by tile, there and back: so the tile at the turn is still in registers, and those next to it in the
// caches. Where it fits, such a row is kept in shared memory.
#pragma once
#include <algorithm>
#include <initializer_list>
#include <limits>

#include "launch.cuh"
#include "vec.cuh"

namespace steep::cuda {
namespace {

constexpr int kLanes = 32;
constexpr int kMostThreads = 512;   // of a team; two such blocks share a multiprocessor, so that one loads as the other computes
constexpr int kSharedByLanes = 128;  // threads of a block where teams are lanes of a warp
constexpr int kWarps = kMostThreads / kLanes;
constexpr int kMostSums = 2;                                // of one reduction
constexpr int kScratch = 2 * kMostSums * kWarps;            // doubles of shared memory, for two reductions

/// Elements of a 16-byte access.
template <class T>
constexpr int kWidth = 16 / int(sizeof(T));
/// Elements of each input that a thread holds.
template <class T, int kInputs>
constexpr int kPer = 64 / int(sizeof(T)) / kInputs;

/// How a launch shares its rows out.
struct RowPlan {
  int64_t rows, n;
  int threads;   // of a team: a power of two up to 32, or all threads of the block
  bool vectors;  // rows are aligned to 16 bytes
  bool copies;   // rows of several tiles are kept in shared memory
};

/// A sum of a thread's partial sums in double precision; of doubles, compensated by Knuth's two-sum.
template <class T>
struct Total {
  double sum = 0, error = 0;

  __device__ void add(T v) {
    if constexpr (sizeof(T) == sizeof(double)) {
      const double t = sum + v, b = t - sum;
      error += (sum - (t - b)) + (v - b);
      sum = t;
    } else {
      sum += double(v);
    }
  }
  __device__ void scale(T factor) {
    sum *= double(factor);
    error *= double(factor);
  }
  /// Where the sum is infinite, the error is NaN.
  __device__ double value() const { return error == error ? sum + error : sum; }
};

/// The sum of the numbers of an array of 1, 2 or 4.
template <class T>
STEEP_INLINE T pairwise(const T (&v)[2]) {
  return v[0] + v[1];
}
template <class T>
STEEP_INLINE T pairwise(const T (&v)[4]) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

template <class T, int n>
struct alignas(sizeof(T) * n) Aligned {
  T v[n];
};

/// A thread's share of a row. `v` holds its elements of the tile where a sweep is.
template <class T, int kInputs>
class Row {
 public:
  static constexpr int kCount = kPer<T, kInputs>, kSlot = kWidth<T>;
  T v[kInputs][kCount];

  /// Of this thread's team, of which the launch has `teams()`.
  static __device__ int64_t team(const RowPlan& plan) {
    if (plan.threads > kLanes) return blockIdx.x;
    return (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) >> (__ffs(plan.threads) - 1);
  }

  /// scratch: kScratch doubles; copies: of the launch's dynamic shared memory.
  __device__ Row(const RowPlan& plan, double* scratch, T* copies)
      : n_(plan.n),
        tiles_(ceil_div(plan.n, int64_t(plan.threads) * kCount)),
        scratch_(scratch),
        copies_(plan.copies ? copies : nullptr),
        threads_(plan.threads),
        rank_(int(plan.threads > kLanes ? threadIdx.x : threadIdx.x & (plan.threads - 1))),
        first_(plan.vectors ? rank_ * kSlot : rank_),
        step_(plan.vectors ? 1 : threads_),
        vectors_(plan.vectors) {}

  /// Goes to another row, whose elements the inputs point to. In place of elements beyond the row's end, `v` has `fill`.
  /// A team that has run out of rows still must take part in its warp's reductions: for it the row doesn't exist.
  __device__ void start(bool exists, const T* const (&inputs)[kInputs], const T (&fill)[kInputs]) {
    exists_ = exists, held_ = -1, forwards_ = fresh_ = true;
#pragma unroll
    for (int i = 0; i < kInputs; ++i) source_[i] = inputs[i], fill_[i] = fill[i];
  }

  __device__ bool exists() const { return exists_; }
  /// The one thread of the team that writes what there is once for a row.
  __device__ bool is_first() const { return exists_ && rank_ == 0; }
  __device__ int64_t tiles() const { return tiles_; }

  /// f(is_held) for every tile, whose elements are then in `v`: as f left them where the tile was held since the sweep
  /// before, else new.
  template <class F>
  __device__ void sweep(F f) {
#pragma unroll 1
    for (int64_t i = 0; i < tiles_; ++i) {
      const int64_t tile = forwards_ ? i : tiles_ - 1 - i;
      const bool is_held = tile == held_;
      if (!is_held) go_to(tile);
      f(is_held);
    }
    forwards_ = !forwards_;
    if (fresh_ && copies_) {  // every thread reads its own elements only
#pragma unroll
      for (int i = 0; i < kInputs; ++i) source_[i] = copy(i);
    }
    fresh_ = false;
  }

  /// f(slot) for the slots of the tile: of elements slot … slot + kSlot - 1 of `v`.
  template <class F>
  __device__ void slots(F f) const {
#pragma unroll
    for (int slot = 0; slot < kCount; slot += kSlot) {
      if (slot * threads_ >= count_) break;
      f(slot);
    }
  }
  /// f(k) for the elements of the tile.
  template <class F>
  __device__ void each(F f) const {
    slots([&](int slot) {
#pragma unroll
      for (int j = 0; j < kSlot; ++j) f(slot + j);
    });
  }
  /// Is element `k` one of the row's?
  __device__ bool contains(int k) const { return offset(k / kSlot * kSlot, k % kSlot) < count_; }
  /// Its index in the row.
  __device__ int64_t column(int k) const { return begin_ + offset(k / kSlot * kSlot, k % kSlot); }

  /// Elements of the tile at `slot`, from an array with an element for each of the row's; `out` stays as it is beyond.
  __device__ void load(const T* p, int slot, T* out) const {
    const int rest = count_ - slot * threads_ - first_;
    p += begin_ + slot * threads_ + first_;
    if (vectors_) {
      if (rest > 0) {
        const auto a = *reinterpret_cast<const Aligned<T, kSlot>*>(p);
#pragma unroll
        for (int j = 0; j < kSlot; ++j) out[j] = a.v[j];
      }
    } else {
#pragma unroll
      for (int j = 0; j < kSlot; ++j)
        if (j * step_ < rest) out[j] = p[j * step_];
    }
  }
  __device__ void store(T* p, int slot, const T* in) const {
    const int rest = count_ - slot * threads_ - first_;
    p += begin_ + slot * threads_ + first_;
    if (vectors_) {
      if (rest > 0) {
        Aligned<T, kSlot> a;
#pragma unroll
        for (int j = 0; j < kSlot; ++j) a.v[j] = in[j];
        *reinterpret_cast<Aligned<T, kSlot>*>(p) = a;
      }
    } else {
#pragma unroll
      for (int j = 0; j < kSlot; ++j)
        if (j * step_ < rest) p[j * step_] = in[j];
    }
  }
  /// All elements of the tile. First what is to be stored is computed, in v, so that loads needn't wait for stores.
  __device__ void store(T* p, const T* in) const {
    slots([&](int slot) { store(p, slot, in + slot); });
  }

  /// This thread's Σ f(k) over the tile: f(k, terms) sets the terms of kSums sums. A term takes part in 5 additions.
  template <int kSums, class F>
  __device__ void tile_sum(T (&sum)[kSums], F f) const {
#pragma unroll
    for (int s = 0; s < kSums; ++s) sum[s] = 0;
    slots([&](int slot) {
      T terms[kSums][kSlot];
#pragma unroll
      for (int j = 0; j < kSlot; ++j) {
        T term[kSums];
        f(slot + j, term);
#pragma unroll
        for (int s = 0; s < kSums; ++s) terms[s][j] = term[s];
      }
#pragma unroll
      for (int s = 0; s < kSums; ++s) sum[s] += pairwise(terms[s]);
    });
  }
  /// The same over the row, by a sweep; all the team's threads get the sums.
  template <int kSums, class F>
  __device__ void sum(double (&sum)[kSums], F f) {
    Total<T> total[kSums];
    sweep([&](bool) {
      T part[kSums];
      tile_sum(part, f);
#pragma unroll
      for (int s = 0; s < kSums; ++s) total[s].add(part[s]);
    });
#pragma unroll
    for (int s = 0; s < kSums; ++s) sum[s] = total[s].value();
    all_sum(sum);
  }

  /// Sums over the team's threads, in an order that depends on nothing but its size.
  template <int kSums>
  __device__ void all_sum(double (&x)[kSums]) {
    all(x, 0., [](double a, double b) { return a + b; });
  }
  /// The largest number, leaving out NaNs.
  __device__ T all_max(T v) {
    T x[1] = {v};
    all(x, -std::numeric_limits<T>::infinity(), [](T a, T b) { return T(fmax(a, b)); });
    return x[0];
  }

 private:
  __device__ int offset(int slot, int j) const { return slot * threads_ + first_ + j * step_; }
  __device__ T* copy(int i) const { return copies_ + i * ceil_div(n_, int64_t(kSlot)) * kSlot; }

  __device__ void go_to(int64_t tile) {
    const int64_t size = int64_t(threads_) * kCount;
    held_ = tile;
    begin_ = tile * size;
    count_ = !exists_ ? 0 : n_ - begin_ < size ? int(n_ - begin_) : int(size);
#pragma unroll
    for (int i = 0; i < kInputs; ++i) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) v[i][k] = fill_[i];
      slots([&](int slot) { load(source_[i], slot, v[i] + slot); });
    }
    if (fresh_ && copies_) {
#pragma unroll
      for (int i = 0; i < kInputs; ++i) store(copy(i), v[i]);
    }
  }

  template <int kSums, class V, class F>
  __device__ void across(V (&x)[kSums], int lanes, F combine) const {
#pragma unroll 1
    for (int step = lanes / 2; step > 0; step /= 2) {
#pragma unroll
      for (int s = 0; s < kSums; ++s) x[s] = combine(x[s], __shfl_xor_sync(~0u, x[s], step));
    }
  }
  /// Two reductions in a row use different scratch: then the barrier of the second is also the end of the first.
  template <int kSums, class V, class F>
  __device__ void all(V (&x)[kSums], V identity, F combine) {
    across(x, threads_ < kLanes ? threads_ : kLanes, combine);
    if (threads_ <= kLanes) return;
    double* const scratch = scratch_ + turn_ * kMostSums * kWarps;
    turn_ ^= 1;
    const int lane = int(threadIdx.x) % kLanes;
    if (lane == 0) {
#pragma unroll
      for (int s = 0; s < kSums; ++s) scratch[s * kWarps + threadIdx.x / kLanes] = double(x[s]);
    }
    __syncthreads();
#pragma unroll
    for (int s = 0; s < kSums; ++s)
      x[s] = lane < threads_ / kLanes ? V(scratch[s * kWarps + lane]) : identity;
    across(x, kLanes, combine);
  }

  const int64_t n_, tiles_;
  double* const scratch_;
  T* const copies_;
  const int threads_, rank_;
  const int first_, step_;  // element j of a slot is the slot's first_ + j·step_
  const bool vectors_;
  int turn_ = 0;

  const T* source_[kInputs];
  T fill_[kInputs];
  bool exists_, forwards_, fresh_;  // fresh: in the first sweep
  int64_t held_, begin_;            // the tile in v, and its first element
  int count_;                       // of the tile's elements
};

/// Rows 0, 1, … one for each team. Op: op.start(row, index) and op(row, index).
template <class T, int kInputs, class Op>
__global__ void __launch_bounds__(kMostThreads) over_rows(Op op, RowPlan plan) {
  STEEP_SHARED(double, scratch, kScratch);
  STEEP_DYNAMIC_SHARED(T, copies);
  Row<T, kInputs> row(plan, scratch, copies);
  const int64_t index = row.team(plan);
  op(row, index, index < plan.rows);
}

/// The plan for rows of n elements. `operands` are the arrays with rows of that length.
template <class T, int kInputs>
RowPlan plan_rows(int64_t rows, int64_t n, std::initializer_list<const void*> operands) {
  RowPlan plan{rows, n, 1, n % kWidth<T> == 0, false};
  for (const void* p : operands) plan.vectors &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  const int64_t slots = ceil_div(n, int64_t(kWidth<T>));
  if (slots <= kLanes) {
    while (plan.threads < slots) plan.threads *= 2;
  } else {
    const int64_t warps = ceil_div(n, int64_t(kLanes * kPer<T, kInputs>));
    plan.threads = int(std::min<int64_t>(warps * kLanes, kMostThreads));
  }
  return plan;
}

inline dim3 block_of(const RowPlan& plan) { return plan.threads > kLanes ? plan.threads : kSharedByLanes; }
inline dim3 grid_of(const RowPlan& plan, int64_t teams) {
  return plan.threads > kLanes ? unsigned(teams) : unsigned(ceil_div(teams, int64_t(kSharedByLanes / plan.threads)));
}

/// The dynamic shared memory for the plan's copies: of rows of several tiles that are short enough for two blocks to
/// have theirs on a multiprocessor.
template <class T, int kInputs, class Kernel>
size_t place_copies(const char* name, RowPlan& plan, Kernel kernel) {
  if (plan.n <= int64_t(plan.threads) * kPer<T, kInputs>) return 0;
  constexpr int64_t kReserved = 1024 + kScratch * int64_t(sizeof(double));  // CUDA's own and the scratch
  const DeviceLimits& limits = device_limits();
  const int64_t most =
      std::min<int64_t>(limits.shared_bytes_per_block, limits.shared_bytes_per_multiprocessor / 2) - kReserved;
  if (plan.n > most / int64_t(sizeof(T)) / kInputs - kWidth<T>) return 0;
  plan.copies = true;
  const size_t bytes = kInputs * ceil_div(plan.n, int64_t(kWidth<T>)) * 16;
  check(name, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)));
  return bytes;
}

template <class T, int kInputs, class Op>
void launch_rows(const char* name, int64_t rows, int64_t n, std::initializer_list<const void*> operands, const Op& op) {
  if (rows == 0) return;
  RowPlan plan = plan_rows<T, kInputs>(rows, n, operands);
  const auto kernel = over_rows<T, kInputs, Op>;
  const size_t shared_bytes = place_copies<T, kInputs>(name, plan, kernel);
  launch(name, kernel, grid_of(plan, rows), block_of(plan), shared_bytes, op, plan);
}

}  // namespace
}  // namespace steep::cuda
