// Gathers by index, their transposes, and one-hot rows. Scatters write in the order of the indices without atomic
// operations: either a thread owns a line of y, or the indices are sorted and a thread owns all that goes to its
// target.
#include <algorithm>
#include <bit>

#include "../core/sort_keys.h"
#include "graph.h"
#include "launch.cuh"
#include "merge_sort.cuh"
#include "ptx.cuh"
#include "table.h"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256;

/// IndexSizes with the steps of the indices, of which take has one per k and take_along_axis one per element.
struct Indexed {
  int64_t outer, extent, count, inner;
  const int64_t* index;
  int64_t index_outer, index_count, index_inner;
};

Indexed shared_index(const IndexSizes& s, const int64_t* index) {
  return {s.outer, s.extent, s.count, s.inner, index, 0, 1, 0};
}
Indexed index_per_element(const IndexSizes& s, const int64_t* index) {
  return {s.outer, s.extent, s.count, s.inner, index, s.count * s.inner, s.inner, 1};
}

/// A block of columns × kThreads / columns threads; thread 0, 1, … lie along the inner axis.
struct Rectangle {
  int log_columns;
  dim3 grid;

  Rectangle(int64_t rows, int64_t inner) {
    log_columns = std::countr_zero(std::bit_ceil(uint64_t(std::clamp<int64_t>(inner, 1, kThreads))));
    grid.x = grid_for(rows, kThreads >> log_columns);
    grid.y = unsigned(std::min<int64_t>(ceil_div(inner, int64_t(1) << log_columns), 1 << 10));
  }
};

/// body(row, i) for the rows × inner elements, by the grid of a Rectangle.
template <class F>
__device__ void each_element(int64_t rows, int64_t inner, int log_columns, const F& body) {
  const int column = threadIdx.x & ((1 << log_columns) - 1), block_rows = kThreads >> log_columns;
#pragma unroll 1
  for (int64_t row = int64_t(blockIdx.x) * block_rows + (threadIdx.x >> log_columns); row < rows;
       row += int64_t(gridDim.x) * block_rows) {
#pragma unroll 1
    for (int64_t i = (int64_t(blockIdx.y) << log_columns) + column; i < inner; i += int64_t(gridDim.y) << log_columns)
      body(row, i);
  }
}

template <class Item>
__global__ void __launch_bounds__(kThreads) gather(Indexed a, const Item* x, Item* y, int log_columns) {
  each_element(a.outer * a.count, a.inner, log_columns, [&](int64_t row, int64_t i) {
    const int64_t o = row / a.count, k = row - o * a.count;
    const int64_t from = a.index[o * a.index_outer + k * a.index_count + i * a.index_inner];
    y[row * a.inner + i] = x[(o * a.extent + from) * a.inner + i];
  });
}

template <class Item>
void launch_gather(const char* op, const Indexed& a, const void* x, void* y) {
  const Rectangle shape(a.outer * a.count, a.inner);
  launch(op, gather<Item>, shape.grid, kThreads, 0, a, static_cast<const Item*>(x), static_cast<Item*>(y),
         shape.log_columns);
}

bool is_empty(const IndexSizes& s) { return s.outer == 0 || s.count == 0 || s.inner == 0; }

void take(int64_t item, const IndexSizes& s, const void* x, const int64_t* index, void* y) {
  if (is_empty(s)) return;
  // Rows are copied in the largest words that divide them.
  const uint64_t divisible = uint64_t(s.inner * item) | reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(y);
  const int64_t word = std::min<int64_t>(16, int64_t(1) << std::countr_zero(divisible));
  Indexed a = shared_index(s, index);
  const auto copy = [&]<class Item>(Item) {
    a.inner = s.inner * item / int64_t(sizeof(Item));
    launch_gather<Item>("take", a, x, y);
  };
  if (word == 16) return copy(int4());
  if (word == 8) return copy(int64_t());
  if (word == 4) return copy(int32_t());
  if (word == 2) return copy(int16_t());
  copy(int8_t());
}

void take_along_axis(int64_t item, const IndexSizes& s, const void* x, const int64_t* index, void* y) {
  if (is_empty(s)) return;
  const Indexed a = index_per_element(s, index);
  visit_words(item, [&](auto zero) { launch_gather<decltype(zero)>("take_along_axis", a, x, y); });
}

// --- scatters -------------------------------------------------------------------------------------------------------

enum class Write { add, put };

/// A thread writes to all the elements of a line y[o, :, i], one after the other.
template <Write how, class T>
__global__ void __launch_bounds__(kThreads) scatter_lines(Indexed a, const T* g, T* y, int log_columns) {
  constexpr int kAhead = 4;  // indices and elements that are loaded before the first is added
  each_element(a.outer, a.inner, log_columns, [&](int64_t o, int64_t i) {
    const int64_t* index = a.index + o * a.index_outer + i * a.index_inner;
    T* line = y + o * a.extent * a.inner + i;
    const T* values = g + o * a.count * a.inner + i;
#pragma unroll 1
    for (int64_t k = 0; k < a.count; k += kAhead) {
      int64_t to[kAhead];
      T value[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (k + u < a.count) to[u] = index[(k + u) * a.index_count], value[u] = values[(k + u) * a.inner];
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (k + u < a.count)
          line[to[u] * a.inner] = how == Write::add ? sum_of(line[to[u] * a.inner], value[u]) : value[u];
    }
  });
}

/// Row `place` of g is to be added to row `key` of y, the target.
using Move = sorting::LongItem;

/// The moves of indices: one per row of g, or per element.
struct LoadMove {
  Indexed a;
  bool per_element;
  __device__ Move operator()(int64_t, int64_t i) const {
    int64_t target = a.index[i];
    if (per_element) {  // the element of y, not the index on its axis
      const int64_t line = a.count * a.inner, o = i / line;
      target = (o * a.extent + target) * a.inner + (i - o * line) % a.inner;
    }
    return Move::make(uint64_t(target), i);
  }
};

/// The thread at the first of the moves to a target adds them all.
template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_sorted(Indexed a, int64_t moves, const Move* sorted, const T* g, T* y, int log_columns) {
  constexpr int kAhead = 4;
  each_element(a.outer * moves, a.inner, log_columns, [&](int64_t row, int64_t i) {
    const int64_t o = row / moves, m = row - o * moves, target = int64_t(sorted[m].key());
    if (m > 0 && int64_t(sorted[m - 1].key()) == target) return;
    T& element = y[(o * a.extent + target) * a.inner + i];
    T sum = element;
    bool more = true;
#pragma unroll 1
    for (int64_t j = m; more; j += kAhead) {
      bool same[kAhead];
      T value[kAhead];
#pragma unroll
      for (int u = 0; u < kAhead; ++u) {
        const Move move = sorted[min(j + u, moves - 1)];
        same[u] = j + u < moves && int64_t(move.key()) == target;
        if (same[u]) value[u] = g[(o * a.count + move.place()) * a.inner + i];
      }
#pragma unroll
      for (int u = 0; u < kAhead; ++u)
        if (same[u]) sum = sum_of(sum, value[u]);
      more = same[kAhead - 1];
    }
    element = sum;
  });
}

/// The thread at the last of the moves to a target makes it.
template <class T>
__global__ void __launch_bounds__(kThreads)
    put_sorted(Indexed a, int64_t moves, const Move* sorted, const T* x, T* y, int log_columns) {
  each_element(a.outer * moves, a.inner, log_columns, [&](int64_t row, int64_t i) {
    const int64_t o = row / moves, m = row - o * moves;
    const Move move = sorted[m];
    if (m + 1 < moves && sorted[m + 1].key() == move.key()) return;
    y[(o * a.extent + int64_t(move.key())) * a.inner + i] = x[(o * a.count + move.place()) * a.inner + i];
  });
}

/// Where no target is named twice.
template <class T>
__global__ void __launch_bounds__(kThreads) put_distinct(Indexed a, const T* x, T* y, int log_columns) {
  each_element(a.outer * a.count, a.inner, log_columns, [&](int64_t row, int64_t i) {
    const int64_t o = row / a.count, k = row - o * a.count;
    y[(o * a.extent + a.index[k]) * a.inner + i] = x[row * a.inner + i];
  });
}

/// Are there so many lines, or so few indices on each, that a thread per line is the faster way?
bool takes_lines(const IndexSizes& s) {
  return s.count <= 16 || s.outer * s.inner >= int64_t(device_limits().multiprocessors) * 256;
}

template <Write how, class T>
void scatter(const char* op, const IndexSizes& s, Indexed a, bool per_element, const void* g_, void* y_) {
  const T* g = static_cast<const T*>(g_);
  T* y = static_cast<T*>(y_);
  if (takes_lines(s)) {
    const Rectangle shape(a.outer, a.inner);
    return launch(op, scatter_lines<how, T>, shape.grid, kThreads, 0, a, g, y, shape.log_columns);
  }
  const int64_t moves = per_element ? s.outer * s.count * s.inner : s.count;
  const SortedRows<Move> sorted(op, 1, moves, LoadMove{a, per_element});
  if (per_element) a.outer = a.inner = 1;
  const Rectangle shape(a.outer * moves, a.inner);
  launch(op, how == Write::add ? scatter_sorted<T> : put_sorted<T>, shape.grid, kThreads, 0, a, moves, sorted.items(),
         g, y, shape.log_columns);
}

void scatter(const char* op, DType t, const IndexSizes& s, const Indexed& a, bool per_element, const void* g, void* y) {
  if (is_empty(s)) return;
  visit_computed(t, [&](auto zero) { scatter<Write::add, decltype(zero)>(op, s, a, per_element, g, y); });
}

void take_backward(DType t, const IndexSizes& s, const void* g, const int64_t* index, void* y) {
  scatter("take's gradient", t, s, shared_index(s, index), false, g, y);
}

void take_along_axis_backward(DType t, const IndexSizes& s, const void* g, const int64_t* index, void* y) {
  scatter("take_along_axis's gradient", t, s, index_per_element(s, index), true, g, y);
}

void put(int64_t item, const IndexSizes& s, bool distinct, const void* x, const int64_t* index, void* y) {
  if (is_empty(s)) return;
  const Indexed a = shared_index(s, index);
  visit_words(item, [&](auto zero) {
    using Word = decltype(zero);
    if (!distinct) return scatter<Write::put, Word>("put", s, a, false, x, y);
    const Rectangle shape(a.outer * a.count, a.inner);
    launch("put", put_distinct<Word>, shape.grid, kThreads, 0, a, static_cast<const Word*>(x), static_cast<Word*>(y),
           shape.log_columns);
  });
}

void put_along_axis(int64_t item, const IndexSizes& s, const void* x, const int64_t* index, void* y) {
  if (is_empty(s)) return;
  visit_words(item, [&](auto zero) {
    scatter<Write::put, decltype(zero)>("put_along_axis", s, index_per_element(s, index), true, x, y);
  });
}

// --- one element each -----------------------------------------------------------------------------------------------

__global__ void __launch_bounds__(kThreads)
    check(int64_t n, int64_t extent, bool from_end, const int64_t* x, int64_t* y, int64_t* report) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) {
    const int64_t index = x[i], place = from_end && index < 0 ? index + extent : index;
    const bool right = place >= 0 && place < extent;
    y[i] = right ? place : 0;
    if (!right) store_relaxed(report, index == kNothingWrong ? index + 1 : index);
  }
}

__global__ void __launch_bounds__(kThreads) wrap(int64_t n, int64_t extent, int64_t* index) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step)
    if (index[i] < 0) index[i] += extent;
}

template <class Item>
__global__ void __launch_bounds__(kThreads)
    set_labels(int64_t n, int64_t classes, const int64_t* label, Item one, Item* y) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) y[i * classes + label[i]] = one;
}

void wrap_indices(int64_t n, int64_t extent, int64_t* index) {
  if (n > 0) launch("wrap indices", wrap, grid_for(n, kThreads), kThreads, 0, n, extent, index);
}

void check_indices(int64_t n, int64_t extent, bool from_end, const int64_t* x, int64_t* y, int64_t* report) {
  if (n > 0) launch("check indices", check, grid_for(n, kThreads), kThreads, 0, n, extent, from_end, x, y, report);
}

void one_hot(DType t, int64_t n, int64_t classes, const int64_t* label, void* y) {
  if (n == 0) return;
  visit(t, [&](auto zero) {
    using T = decltype(zero);
    launch("one_hot", set_labels<T>, grid_for(n, kThreads), kThreads, 0, n, classes, label, T(1), static_cast<T*>(y));
  });
}

}  // namespace

void fill_indexing(Table& table) {
  table.take = take;
  table.take_backward = take_backward;
  table.take_along_axis = take_along_axis;
  table.take_along_axis_backward = take_along_axis_backward;
  table.put = put;
  table.put_along_axis = put_along_axis;
  table.check_indices = check_indices;
  table.wrap_indices = wrap_indices;
  table.one_hot = one_hot;
}

}  // namespace steep::cuda
