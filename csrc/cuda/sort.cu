// Sorts of rows, and searches in them.
#include "../core/sort_keys.h"
#include "merge_sort.cuh"
#include "table.h"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256;

/// The item of an element.
template <class Item, class T>
struct LoadItem {
  const T* x;
  int64_t n;
  bool descending;
  __device__ Item operator()(int64_t row, int64_t i) const {
    return Item::make(sorting::key(x[row * n + i], descending), i);
  }
};

template <class Item>
__global__ void __launch_bounds__(kThreads) write_places(int64_t n, const Item* items, int64_t* index) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < n; i += step) index[i] = items[i].place();
}

void argsort(DType t, bool descending, int64_t rows, int64_t n, const void* x, int64_t* index) {
  visit_computed(t, [&](auto zero) {
    using T = decltype(zero);
    sorting::visit_item<T>(n, [&](auto item) {
      using Item = decltype(item);
      const LoadItem<Item, T> load{static_cast<const T*>(x), n, descending};
      const SortedRows<Item> sorted("sort", rows, n, load);
      launch("sort", write_places<Item>, grid_for(rows * n, kThreads), kThreads, 0, rows * n, sorted.items(), index);
    });
  });
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    search_rows(int64_t total, int64_t n, int64_t count, const T* sorted, const T* values, bool right, int64_t* out) {
  const int64_t step = int64_t(gridDim.x) * kThreads;
#pragma unroll 1
  for (int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x; i < total; i += step)
    sorting::search<1>(sorted + i / count * n, n, values + i, right, out + i);
}

void searchsorted(DType t, bool right, int64_t rows, int64_t n, int64_t count, const void* sorted, const void* values,
                  int64_t* out) {
  visit_computed(t, [&](auto zero) {
    using T = decltype(zero);
    launch("searchsorted", search_rows<T>, grid_for(rows * count, kThreads), kThreads, 0, rows * count, n, count,
           static_cast<const T*>(sorted), static_cast<const T*>(values), right, out);
  });
}

}  // namespace

void fill_sort(Table& table) {
  table.argsort = argsort;
  table.searchsorted = searchsorted;
}

}  // namespace steep::cuda
