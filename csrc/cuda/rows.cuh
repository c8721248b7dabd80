// What kernels over the rows of a matrix share. A row is the work of a team: of a few lanes of a warp where it is
// short, so that a warp takes several rows, else of a block. A thread holds up to 64 bytes of its row in registers, a
// tile of it together with its team. A row of one tile is read once, however often its elements are used. Longer rows
// are swept through tile by tile, there and back: the tile at the turn is still in registers, the first ones are kept
// in shared memory, and where that is full, those in between are read again, and may be in a cache. Or a row is the
// work of a cluster of blocks, each with a slice of it (row_plan.h).
#pragma once
#include <algorithm>
#include <initializer_list>
#include <limits>

#include "launch.cuh"
#include "ptx_cluster.cuh"
#include "row_plan.h"
#include "total.cuh"
#include "vec.cuh"

namespace steep::cuda {
namespace {

constexpr int kSharedByTeams = 128;  // threads of a block where teams are lanes of a warp
constexpr int kWarps = kMostThreads / kLanes;
constexpr int kMostSums = 2;                      // of one reduction
constexpr int kScratch = 2 * kMostSums * kWarps;  // doubles of shared memory, for two reductions
constexpr int kClusterScratch = 2 * kMostSums * kMostBlocks;

/// Elements of a 16-byte access.
template <class T>
constexpr int kWidth = 16 / int(sizeof(T));
/// Elements of each input that a thread holds. 1024 threads of a multiprocessor then have 64 KB of floats in flight;
/// doubles cost more arithmetic, and code.
template <class T, int kInputs>
constexpr int kPer = sizeof(T) == 4 ? 16 / kInputs : 4;

/// A thread's share of a row. `v` holds its elements of the tile where a sweep is.
template <class T, int kInputs, bool kCluster = false>
class Row {
 public:
  static constexpr int kCount = kPer<T, kInputs>, kSlot = kWidth<T>;
  static constexpr bool kIsCluster = kCluster;
  T v[kInputs][kCount];

  /// A tile in a sweep.
  struct At {
    int pass;
    bool is_new;   // else v is as the sweep before has left it
    bool is_last;  // of this sweep
  };

  /// The number of this thread's team.
  static __device__ int64_t team(const RowPlan& plan) {
    if constexpr (kCluster) return blockIdx.x / cluster_size();
    if (plan.threads > kLanes) return blockIdx.x;
    return (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) >> (__ffs(plan.threads) - 1);
  }

  /// scratch: kScratch doubles of shared memory, and kClusterScratch for a cluster; kept: what the plan's tiles take.
  __device__ Row(const RowPlan& plan, double* scratch, T* kept)
      : plan_(plan),
        scratch_(scratch),
        rank_(int(plan.threads > kLanes ? threadIdx.x : threadIdx.x & (plan.threads - 1))),
        first_(plan.vectors ? rank_ * kSlot : rank_),
        kept_(reinterpret_cast<Slot*>(kept) + rank_) {
    if constexpr (kCluster) cluster_arrive();
  }

  __device__ bool exists(int64_t index) const { return index < plan_.rows; }
  /// Is this the thread that writes what there is once for a row?
  __device__ bool writes(int64_t index) const {
    if (kCluster && cluster_rank() > 0) return false;
    return rank_ == 0 && exists(index);
  }

  /// Sweeps `passes` times through row `index` of the inputs: f(at) for every tile, whose elements are then in `v`,
  /// with `fill` in place of those beyond the row's end. Where f stores, it must store the tile's own elements only. A
  /// team whose row doesn't exist takes part, because of its warp's reductions: all its elements are beyond the end.
  template <class F>
  __device__ void sweep(int passes, int64_t index, const T* const (&inputs)[kInputs], const T (&fill)[kInputs], F f) {
    const int64_t tile = int64_t(plan_.threads) * kCount;
    const int64_t begin = kCluster ? cluster_rank() * plan_.slice : 0;
    rest_ = exists(index) ? plan_.n - begin : 0;
    if constexpr (kCluster) rest_ = rest_ < 0 ? 0 : rest_ > plan_.slice ? plan_.slice : rest_;
    column_ = begin + first_;
    at_ = index * plan_.n + column_;
    more_passes_ = 0;
#pragma unroll 1
    for (int pass = 0; pass < passes + more_passes_; ++pass) {
#pragma unroll 1
      for (int64_t i = 0; i < plan_.tiles; ++i) {
        if (i > 0) {
          const int64_t step = pass % 2 ? -tile : tile;
          rest_ -= step, column_ += step, at_ += step;
        }
        const bool is_new = pass == 0 || i > 0;
        if (is_new) {
          count_ = rest_ < tile ? int(rest_) : int(tile);
          const int64_t number = pass % 2 ? plan_.tiles - 1 - i : i;
          const bool is_kept = passes > 1 && number < plan_.kept;
          if (pass > 0 && is_kept) {
            recall(int(number));
          } else {
#pragma unroll
            for (int j = 0; j < kInputs; ++j) {
#pragma unroll
              for (int k = 0; k < kCount; ++k) v[j][k] = fill[j];
              load(inputs[j] + at_, v[j]);
            }
            if (is_kept) keep(int(number));
          }
        }
        f(At{pass, is_new, i == plan_.tiles - 1});
      }
    }
  }

  /// From within a sweep: shall there be `passes` more, because one of the warp's rows needs them?
  __device__ bool needs_more(int passes, bool needed) {
    if (!__any_sync(~0u, needed)) return false;
    more_passes_ = passes;
    return true;
  }

  /// f(k) for the tile's elements v[…][k], and perhaps some of the filling.
  template <class F>
  __device__ void each(F f) const {
    each_slot([&](int slot) {
#pragma unroll
      for (int j = 0; j < kSlot; ++j) f(slot + j);
    });
  }
  /// Is element k one of the row's?
  __device__ bool contains(int k) const { return offset(k) < count_; }
  /// Its index in the tile, and that of a column of the row; -1 where it lies elsewhere.
  __device__ int offset(int k) const {
    return plan_.vectors ? k / kSlot * kSlot * plan_.threads + first_ + k % kSlot : k * plan_.threads + first_;
  }
  __device__ int offset_of_column(int64_t column) const {
    const int64_t offset = column - (column_ - first_);
    return offset >= 0 && offset < count_ ? int(offset) : -1;
  }

  /// The tile's elements of a matrix, or of one row for all; `out` stays as it is beyond the end.
  __device__ void load_matrix(const T* p, T* out) const { load(p + at_, out); }
  __device__ void load_row(const T* p, T* out) const { load(p + column_, out); }
  __device__ void store_matrix(T* p, const T* in) const { store(p + at_, in); }
  __device__ void store_row(T* p, const T* in) const { store(p + column_, in); }

  /// This thread's Σ f(k) over the tile: f(k, terms) sets the terms of kSums sums. A term takes part in 5 additions.
  template <int kSums, class F>
  __device__ void tile_sum(T (&sum)[kSums], F f) const {
#pragma unroll
    for (int s = 0; s < kSums; ++s) sum[s] = 0;
    each_slot([&](int slot) {
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
  /// Sums over the team's threads, in an order that depends on nothing but its size.
  template <int kSums>
  __device__ void all_sum(double (&x)[kSums]) {
    block_sum(x);
    if constexpr (kCluster) {
      double sum[kSums] = {};
      each_block(x, [&](const double* of_block) {
#pragma unroll
        for (int s = 0; s < kSums; ++s) sum[s] += of_block[s];
      });
#pragma unroll
      for (int s = 0; s < kSums; ++s) x[s] = sum[s];
    }
  }
  /// The same over the block's threads, where the team is a cluster.
  template <int kSums>
  __device__ void block_sum(double (&x)[kSums]) {
    within_block(x, 0., [](double a, double b) { return a + b; });
  }
  /// The largest number of them, leaving out NaNs.
  __device__ T block_max(T v) {
    T x[1] = {v};
    within_block(x, -std::numeric_limits<T>::infinity(), [](T a, T b) { return T(fmax(a, b)); });
    return x[0];
  }
  /// Of a cluster: f(x) with the numbers of each block, in the order of their ranks.
  template <int kNumbers, class F>
  __device__ void each_block(const double (&x)[kNumbers], F f) {
    static_assert(kNumbers <= kMostSums);
    double* const all = scratch_ + kScratch + exchanges_ % 2 * kMostSums * kMostBlocks;
    const int blocks = int(cluster_size()), to = int(threadIdx.x);
    if (exchanges_++ == 0) cluster_wait();  // until all have begun
    if (to < blocks) {
#pragma unroll
      for (int i = 0; i < kNumbers; ++i) *map_shared(all + cluster_rank() * kMostSums + i, uint32_t(to)) = x[i];
    }
    __syncwarp();  // the warp must arrive as one
    cluster_arrive();
    cluster_wait();
    for (int block = 0; block < blocks; ++block) f(all + block * kMostSums);
  }

 private:
  // Of the tile, p pointing to this thread's first element.
  __device__ void load(const T* p, T* out) const {
    const int threads = plan_.threads, rest = count_ - first_;
    if (plan_.vectors) {
#pragma unroll
      for (int k = 0; k < kCount; k += kSlot) {
        if (k * threads >= rest) continue;
        set_slot(out + k, *reinterpret_cast<const Slot*>(p + k * threads));
      }
    } else {
      each([&](int k) {
        if (k * threads < rest) out[k] = p[k * threads];
      });
    }
  }
  __device__ void store(T* p, const T* in) const {
    const int threads = plan_.threads, rest = count_ - first_;
    if (plan_.vectors) {
#pragma unroll
      for (int k = 0; k < kCount; k += kSlot) {
        if (k * threads >= rest) continue;
        *reinterpret_cast<Slot*>(p + k * threads) = slot_of(in + k);
      }
    } else {
      each([&](int k) {
        if (k * threads < rest) p[k * threads] = in[k];
      });
    }
  }

  // v in shared memory, as tile `number`. No other thread reads it.
  __device__ void keep(int number) const {
    Slot* p = kept_ + number * kSlots * plan_.threads;
#pragma unroll
    for (int j = 0; j < kInputs; ++j) {
#pragma unroll
      for (int k = 0; k < kCount; k += kSlot, p += plan_.threads) *p = slot_of(v[j] + k);
    }
  }
  __device__ void recall(int number) {
    const Slot* p = kept_ + number * kSlots * plan_.threads;
#pragma unroll
    for (int j = 0; j < kInputs; ++j) {
#pragma unroll
      for (int k = 0; k < kCount; k += kSlot, p += plan_.threads) set_slot(v[j] + k, *p);
    }
  }

  using Slot = Aligned<T, kSlot>;
  static constexpr int kSlots = kInputs * kCount / kSlot;  // of v
  static __device__ Slot slot_of(const T* v) {
    Slot a;
#pragma unroll
    for (int j = 0; j < kSlot; ++j) a.v[j] = v[j];
    return a;
  }
  static __device__ void set_slot(T* v, const Slot a) {
#pragma unroll
    for (int j = 0; j < kSlot; ++j) v[j] = a.v[j];
  }

  /// f(slot) for elements slot … slot + kSlot - 1 of v: one access, or one for each.
  template <class F>
  __device__ void each_slot(F f) const {
#pragma unroll
    for (int slot = 0; slot < kCount; slot += kSlot) {
      if (slot * plan_.threads >= count_) break;
      f(slot);
    }
  }
  template <int kSums, class V, class F>
  __device__ void across(V (&x)[kSums], int lanes, F combine) const {
    __syncwarp();  // what lanes have read of a row is in front of what they write, where that is the same memory
#pragma unroll 1
    for (int step = lanes / 2; step > 0; step /= 2) {
#pragma unroll
      for (int s = 0; s < kSums; ++s) x[s] = combine(x[s], __shfl_xor_sync(~0u, x[s], step));
    }
  }
  /// Two reductions in a row use different scratch: then the barrier of the second is also the end of the first.
  template <int kSums, class V, class F>
  __device__ void within_block(V (&x)[kSums], V identity, F combine) {
    across(x, plan_.threads < kLanes ? plan_.threads : kLanes, combine);
    if (plan_.threads <= kLanes) return;
    double* const scratch = scratch_ + turn_ * kMostSums * kWarps;
    turn_ ^= 1;
    const int lane = int(threadIdx.x) % kLanes;
    if (lane == 0) {
#pragma unroll
      for (int s = 0; s < kSums; ++s) scratch[s * kWarps + threadIdx.x / kLanes] = double(x[s]);
    }
    __syncthreads();
#pragma unroll
    for (int s = 0; s < kSums; ++s) x[s] = lane < plan_.threads / kLanes ? V(scratch[s * kWarps + lane]) : identity;
    across(x, kLanes, combine);
  }

  const RowPlan& plan_;
  double* const scratch_;
  const int rank_, first_;  // first: the offset of element 0 in a tile
  Slot* const kept_;
  int turn_ = 0, exchanges_ = 0, more_passes_;

  // Where the sweep is. Moved along rather than computed: then loads and stores share one address.
  int64_t rest_;    // elements from here to the row's end
  int64_t column_;  // of this thread's first element
  int64_t at_;      // the same in the matrix
  int count_;       // the tile's elements
};

/// Sums over a row, kSums of them, by one sweep.
template <class T, int kSums>
class RowSum {
 public:
  double sum[kSums];

  /// Adds the tile that is in row.v: f(k, terms) sets the terms of element k.
  template <class Row, class F>
  __device__ void add(Row& row, typename Row::At at, F f) {
    T part[kSums];
    row.tile_sum(part, f);
#pragma unroll
    for (int s = 0; s < kSums; ++s) total_[s].add(part[s]);
    if (!at.is_last) return;
#pragma unroll
    for (int s = 0; s < kSums; ++s) sum[s] = total_[s].value();
    row.all_sum(sum);
  }

 private:
  Total<T> total_[kSums];
};

/// One row for each team: op(row, index), which sweeps through it at most Op::kPasses times.
template <class T, int kInputs, class Op>
__global__ void __launch_bounds__(kMostThreads, 2) over_rows(const Op op, const RowPlan plan) {
  STEEP_SHARED(double, scratch, kScratch);
  STEEP_DYNAMIC_SHARED(T, kept);
  Row<T, kInputs> row(plan, scratch, kept);
  op(row, row.team(plan));
}

/// The same for a cluster of blocks. Empty before sm_90, where plan_row has none.
template <class T, int kInputs, class Op>
__global__ void __launch_bounds__(kMostThreads, 2) over_long_rows(const Op op, const RowPlan plan) {
#if defined(STEEP_CUDA_EMULATED) || __CUDA_ARCH__ >= 900
  STEEP_SHARED(double, scratch, kScratch + kClusterScratch);
  STEEP_DYNAMIC_SHARED(T, kept);
  Row<T, kInputs, true> row(plan, scratch, kept);
  op(row, row.team(plan));
#endif
}

/// Shared memory that a tile takes.
template <class T, int kInputs>
constexpr int kept_bytes(int threads) {
  return threads * kInputs * kPer<T, kInputs> * int(sizeof(T));
}

/// The plan for rows of n elements, swept through `passes` times. `operands` are the arrays with rows of that length.
template <class T, int kInputs>
RowPlan plan_rows(int64_t rows, int64_t n, int passes, std::initializer_list<const void*> operands,
                  bool clusters = false) {
  bool aligned = true;
  for (const void* p : operands) aligned &= reinterpret_cast<uintptr_t>(p) % 16 == 0;
  const int scratch = (kScratch + (clusters ? kClusterScratch : 0)) * int(sizeof(double));
  return plan_row(rows, n, aligned, {int(sizeof(T)), kInputs, kPer<T, kInputs>, passes, scratch, clusters},
                  device_limits());
}

inline dim3 block_of(const RowPlan& plan) { return plan.threads > kLanes ? plan.threads : kSharedByTeams; }
inline dim3 grid_of(const RowPlan& plan, int64_t teams) {
  return plan.threads > kLanes ? unsigned(teams) : unsigned(ceil_div(teams, int64_t(kSharedByTeams / plan.threads)));
}

/// Lets a kernel have as much shared memory as a plan may ask for. Not as much as this one does: another thread may be
/// about to launch it with more.
template <class Kernel>
void allow_shared(const char* name, Kernel* kernel, int scratch) {
  const int most = device_limits().shared_bytes_per_block - scratch * int(sizeof(double));
  check(name, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
}

/// Launches as many teams as there are rows, or fewer where op takes several.
template <class T, int kInputs, class Op>
void launch_rows(const char* name, const RowPlan& plan, int64_t teams, const Op& op) {
  const auto kernel = over_rows<T, kInputs, Op>;
  const int bytes = plan.kept * kept_bytes<T, kInputs>(plan.threads);
  if (bytes > 0) allow_shared(name, kernel, kScratch);
  launch(name, kernel, grid_of(plan, teams), block_of(plan), bytes, op, plan);
}
/// Is an operation made for clusters, too? It must sweep twice, with a reduction, and take one row.
template <class Op>
constexpr bool is_made_for_clusters() {
  if constexpr (requires { Op::kClusters; }) return Op::kClusters;
  return false;
}

template <class T, int kInputs, class Op>
void launch_rows(const char* name, int64_t rows, int64_t n, std::initializer_list<const void*> operands, const Op& op) {
  if (rows == 0) return;
  const RowPlan plan = plan_rows<T, kInputs>(rows, n, Op::kPasses, operands, is_made_for_clusters<Op>());
  if constexpr (is_made_for_clusters<Op>()) {
    if (plan.blocks > 1) {
      const auto kernel = over_long_rows<T, kInputs, Op>;
      const int bytes = plan.kept * kept_bytes<T, kInputs>(plan.threads);
      allow_shared(name, kernel, kScratch + kClusterScratch);
      const unsigned blocks = unsigned(plan.blocks);
      return launch_clusters(name, kernel, unsigned(rows) * blocks, unsigned(plan.threads), blocks, size_t(bytes), op,
                             plan);
    }
  }
  launch_rows<T, kInputs>(name, plan, rows, op);
}

}  // namespace
}  // namespace steep::cuda
