#include "sort.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "kernels.h"
#include "sort_keys.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

using sorting::Key;

constexpr int64_t kGrain = 4096;    // elements of short rows that a thread sorts at least
constexpr int64_t kPiece = 65536;   // elements of a long row that a thread takes at least
constexpr int64_t kSelecting = 64;  // of fewer than one in so many elements the best are selected

constexpr int64_t kCut = 1 << 24;  // elements of a row at most whose keys are cut: of more too many would be equal
constexpr int64_t kFewEqual = 8;   // of one in so many that cutting has put out of order the rest is ordered
constexpr int kSearches = 8;       // at a time

/// Sorts rows of n elements, one at a time; all threads share a row if `threads`.
class RowSort {
 public:
  RowSort(const SortKernel& kernel, int64_t n, bool threads)
      : kernel_(kernel),
        n_(n),
        packs_((n + kernel.lanes - 1) / kernel.lanes),
        pieces_(threads ? std::clamp<int64_t>(n / kPiece, 1, num_threads()) : 1),
        memory_(DType::boolean, {2 * (packs_ + 1) * kernel.bytes}, Device()),
        items_(memory_.data),
        other_(items_ + (packs_ + 1) * kernel.bytes) {}

  /// The elements of a row in their order, and their places, to what isn't null. False if cutting the keys has made too
  /// many equal.
  bool operator()(const Array& x, int64_t row, bool descending, char* y, int64_t* index) {
    const int64_t size = int64_t(x.itemsize());
    const char* const elements = x.data + row * n_ * size;
    const bool cut = kernel_.range;
    if (cut) cut_keys(elements, size, descending);
    const bool shared = sort(elements, size, descending);
    std::atomic<bool> equal = cut && cut_.shift && pieces_ > 1;  // neighbours may be in two pieces
    parallel_for(pieces_, [&](int64_t p) {
      const int64_t at = begin(p) * kernel_.lanes;
      if (kernel_.decode(count(p), descending, items_ + begin(p) * kernel_.bytes, cut_, y ? y + at * size : nullptr,
                         index ? index + at : nullptr))
        equal = true;
    });
    const bool unordered = equal && cut_.shift, gathers = y && (cut || shared);
    return !(unordered || gathers) || visit_computed(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const T* const from = reinterpret_cast<const T*>(elements);
      T* const to = reinterpret_cast<T*>(y);
      if (unordered && !lost_nothing(from) && !order_equal(from, descending, index)) return false;
      if (gathers && index)
        parallel_for(pieces_, [&](int64_t p) {
          const int64_t at = begin(p) * kernel_.lanes;
          for (int64_t i = at; i < at + count(p); ++i) to[i] = from[index[i]];
        });
      else if (gathers)
        put_shared(from, descending, to);
      return true;
    });
  }

 private:
  /// The first pack of a piece. Only the last piece may have an odd number of them.
  int64_t begin(int64_t piece) const { return piece == pieces_ ? packs_ : packs_ / 2 * piece / pieces_ * 2; }
  int64_t count(int64_t piece) const {  // of elements
    return std::min(n_, begin(piece + 1) * kernel_.lanes) - begin(piece) * kernel_.lanes;
  }

  /// Finds how many bits of the keys, less the least one, have room above a place.
  void cut_keys(const char* x, int64_t size, bool descending) {
    std::mutex mutex;
    int64_t least = INT64_MAX, largest = INT64_MIN;
    parallel_for(pieces_, [&](int64_t p) {
      int64_t low = INT64_MAX, high = INT64_MIN;
      kernel_.range(count(p), descending, x + begin(p) * kernel_.lanes * size, low, high);
      const std::lock_guard lock(mutex);
      least = std::min(least, low), largest = std::max(largest, high);
    });
    const int bits = std::bit_width(uint64_t(largest) - uint64_t(least)), places = std::bit_width(uint64_t(n_ - 1));
    cut_ = {least, std::max(0, bits + places - 63), places};
  }

  /// Were the bits that were cut off the same in all keys? So they are of integers in float64.
  template <class T>
  bool lost_nothing(const T* x) const {
    const Key<T> lost = Key<T>((Key<T>(1) << cut_.shift) - 1), first = sorting::key(x[0]);
    for (int64_t i = 1; i < n_; ++i)
      if ((sorting::key(x[i]) ^ first) & lost) return false;
    return true;
  }

  /// Orders the places whose cut keys are equal by the keys. False where these are too many.
  template <class T>
  bool order_equal(const T* x, bool descending, int64_t* index) const {
    const int64_t* const words = reinterpret_cast<const int64_t*>(items_);
    const auto before = [&](int64_t a, int64_t b) {
      const Key<T> p = sorting::key(x[a], descending), q = sorting::key(x[b], descending);
      return p != q ? p < q : a < b;
    };
    int64_t left = n_ / kFewEqual + kFewEqual;
    for (int64_t i = 0, end; i < n_; i = end) {
      for (end = i + 1; end < n_ && (words[end] ^ words[i]) >> cut_.places == 0;) ++end;
      if (std::is_sorted(index + i, index + end, before)) continue;
      if ((left -= end - i) < 0) return false;
      std::make_heap(index + i, index + end, before);  // which stays in its bounds where another thread changes x
      std::sort_heap(index + i, index + end, before);
    }
    return true;
  }

  /// Leaves the items in `items_`. Whether some share a key.
  bool sort(const char* x, int64_t size, bool descending) {
    std::atomic<bool> shared = false;
    parallel_for(pieces_, [&](int64_t p) {
      const int64_t first = begin(p), place = first * kernel_.lanes, at = first * kernel_.bytes;
      if (kernel_.encode(count(p), descending, x + place * size, place, cut_, items_ + at)) shared = true;
      kernel_.sort(begin(p + 1) - first, items_ + at, other_ + at);
    });
    for (int64_t step = 1; step < pieces_; step *= 2) {
      const int64_t pairs = (pieces_ + 2 * step - 1) / (2 * step);
      parallel_for(2 * pairs, [&](int64_t task) {
        const int64_t p = task / 2 * 2 * step, first = begin(p), middle = begin(std::min(p + step, pieces_)),
                      end = begin(std::min(p + 2 * step, pieces_));
        char *const from = items_ + first * kernel_.bytes, *const to = other_ + first * kernel_.bytes;
        const bool lower = task % 2 == 0;
        if (middle < end)
          kernel_.merge(middle - first, end - first, from, to, lower, !lower);
        else if (lower)
          memcpy(to, from, size_t((end - first) * kernel_.bytes));
      });
      std::swap(items_, other_);
    }
    return shared;
  }

  /// Elements that share a key with others stand in the row's order.
  template <class T>
  void put_shared(const T* x, bool descending, T* y) const {
    for (const Key<T> one : {sorting::kSign<T>, Key<T>(-1)}) {  // zeros, and NaNs
      const Key<T> wanted = descending ? Key<T>(~one) : one;
      T* to = std::lower_bound(y, y + n_, wanted, [&](T e, Key<T> k) { return sorting::key(e, descending) < k; });
      for (const T* from = x; to < y + n_ && sorting::key(*to, descending) == wanted; ++to, ++from) {
        while (sorting::key(*from, descending) != wanted) ++from;
        *to = *from;
      }
    }
  }

  const SortKernel& kernel_;
  int64_t n_, packs_, pieces_;
  Array memory_;  // from the allocator, which keeps it: fresh pages cost more than a pass of the sort
  char *items_, *other_;
  KeyCut cut_;
};

/// The elements of the rows in their order to y, and their places to index, unless they have no data.
void sort_rows(const Array& x, int64_t rows, int64_t n, bool descending, const Array& y, const Array& index) {
  const SortKernels& k = kernels().sort[x.dtype];
  const SortKernel& whole = !index.data ? k.alone : n <= int64_t(1) << 32 ? k.placed : k.many_placed;
  const SortKernel& kernel = index.data && k.cut.range && n <= kCut ? k.cut : whole;
  const bool threads = rows < num_threads();  // these share a row, instead of the rows
  const auto run = [&](int64_t begin, int64_t end) {
    RowSort sort(kernel, n, threads);
    std::optional<RowSort> other;
    for (int64_t row = begin; row < end; ++row) {
      char* const to = y.data ? y.data + row * n * int64_t(x.itemsize()) : nullptr;
      int64_t* const places = index.data ? index.as<int64_t>() + row * n : nullptr;
      if (sort(x, row, descending, to, places)) continue;
      if (!other) other.emplace(whole, n, threads);
      (*other)(x, row, descending, to, places);
    }
  };
  if (threads)
    run(0, rows);
  else
    parallel_range(rows, std::max<int64_t>(1, kGrain / n), run);
}

/// `count` elements of a row and their places, from items.
template <class T, class Item>
void write_pairs(const T* row, const Item* items, int64_t count, bool descending, T* y, int64_t* index) {
  for (int64_t i = 0; i < count; ++i) {
    const Key<T> k = Key<T>(items[i].key());
    index[i] = items[i].place();
    y[i] = sorting::is_shared<T>(k, descending) ? row[index[i]] : sorting::element<T>(k, descending);
  }
}

/// A call on rows along the last axis whose results have `count` elements in place of n.
struct Rows {
  Array x;
  Dims shape;  // of the results
  int64_t rows, n;

  Rows(const Array& a, int axis, int64_t count) : x(rows_of(a, axis)), shape(x.shape), n(a.shape[axis]) {
    shape[shape.n - 1] = count;
    rows = n ? x.size() / n : 0;
  }
  Array result(DType t) const { return Array(t, shape, x.device()); }
};

/// The axis back in its place.
Array placed(const Array& rows, int axis) { return contiguous(move_axis(rows, rows.ndim() - 1, axis)); }

/// The places that sort the rows, and, where wanted, the elements, on CUDA.
void sort_on_device(const char* op, const Rows& r, bool descending, const Array& index, const Array* y) {
  const DeviceScope scope(op, {&r.x, &index, y});
  cuda::table()->argsort(r.x.dtype, descending, r.rows, r.n, r.x.data, index.as<int64_t>());
  if (y)
    cuda::table()->take_along_axis(int64_t(y->itemsize()), {r.rows, r.n, r.n, 1}, r.x.data, index.as<int64_t>(),
                                   y->data);
}

/// Sorted rows, where `values`, and their places.
std::pair<Array, Array> sorted(const char* op, const Array& a, int axis, bool descending, bool values) {
  const Rows r(a, axis, a.shape[axis]);
  const Array y = values ? r.result(r.x.dtype) : Array(), index = r.result(DType::int64);
  if (index.size() > 0) {
    if (on_cuda(a)) {
      sort_on_device(op, r, descending, index, values ? &y : nullptr);
    } else {
      sort_rows(r.x, r.rows, r.n, descending, y, index);
    }
  }
  return {values ? in_dtype(placed(y, axis), a.dtype) : y, placed(index, axis)};
}

/// The first k items of the order, in a heap whose top is the last of them.
template <class Item, class T>
void select(const T* row, int64_t n, int64_t k, bool descending, Item* heap) {
  for (int64_t i = 0; i < k; ++i) heap[i] = Item::make(sorting::key(row[i], descending), i);
  std::make_heap(heap, heap + k);
  for (int64_t i = k; i < n; ++i) {
    const Item item = Item::make(sorting::key(row[i], descending), i);
    if (!(item < heap[0])) continue;
    std::pop_heap(heap, heap + k);
    heap[k - 1] = item;
    std::push_heap(heap, heap + k);
  }
  std::sort_heap(heap, heap + k);
}

}  // namespace

Array sort(const Array& a, int axis, bool descending) {
  if (on_cuda(a)) return sorted("sort", a, axis, descending, true).first;
  const Rows r(a, axis, a.shape[axis]);
  const Array y = r.result(r.x.dtype);
  if (y.size() == 0) return in_dtype(placed(y, axis), a.dtype);
  sort_rows(r.x, r.rows, r.n, descending, y, Array());
  return in_dtype(placed(y, axis), a.dtype);
}

std::pair<Array, Array> sort_with_indices(const Array& a, int axis, bool descending) {
  return sorted("sort", a, axis, descending, true);
}

Array argsort(const Array& a, int axis, bool descending) {
  return sorted("argsort", a, axis, descending, false).second;
}

std::pair<Array, Array> topk(const Array& a, int64_t k, int axis, bool largest) {
  const int64_t n = a.shape[axis];
  if (k < 0 || k > n)
    throw std::invalid_argument(message("topk: k=", k, " must be from 0 to ", n, ", the number of elements on axis ",
                                        axis, " of shape ", to_string(a.shape)));
  if (on_cuda(a) || k * kSelecting > n) {
    const auto [y, index] = sorted("topk", a, axis, largest, true);
    return {copy(slice(y, axis, 0, 1, k)), copy(slice(index, axis, 0, 1, k))};
  }
  const Rows r(a, axis, k);
  const Array y = r.result(r.x.dtype), index = r.result(DType::int64);
  visit_computed(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    sorting::visit_item<T>(n, [&](auto item) {
      if (k == 0) return;
      parallel_range(r.rows, std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
        std::vector<decltype(item)> heap(static_cast<size_t>(k));
        for (int64_t row = begin; row < end; ++row) {
          const T* x = r.x.as<T>() + row * n;
          select(x, n, k, largest, heap.data());
          write_pairs(x, heap.data(), k, largest, y.as<T>() + row * k, index.as<int64_t>() + row * k);
        }
      });
    });
  });
  return {in_dtype(placed(y, axis), a.dtype), placed(index, axis)};
}

Array searchsorted(const Array& sorted, const Array& values, bool right) {
  const int last = sorted.ndim() - 1;
  bool fits = last >= 0 && (last == 0 || values.ndim() == sorted.ndim());
  for (int d = 0; fits && d < last; ++d) fits = sorted.shape[d] == values.shape[d];
  if (!fits)
    throw std::invalid_argument(message("searchsorted: sorted elements of shape ", to_string(sorted.shape),
                                        " must have one dimension, or those of the values, ", to_string(values.shape),
                                        ", except on the last axis"));
  const Array x = computable(sorted), v = computable(values);
  Array out(DType::int64, v.shape, v.device());
  const DeviceScope scope("searchsorted", {&x, &v, &out});
  if (out.size() == 0) return out;
  const int64_t n = x.shape[last], count = last ? v.shape[last] : v.size(), rows = v.size() / count;
  if (on_cuda(x)) {
    cuda::table()->searchsorted(x.dtype, right, rows, n, count, x.data, v.data, out.as<int64_t>());
    return out;
  }
  visit_computed(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_range(v.size(), kGrain / 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t row = i / count, left = std::min(end, (row + 1) * count) - i;
        const auto step = [&]<int together>(std::integral_constant<int, together>) {
          sorting::search<together>(x.as<T>() + row * n, n, v.as<T>() + i, right, out.as<int64_t>() + i);
          i += together;
        };
        if (left < kSearches)
          step(std::integral_constant<int, 1>());
        else
          step(std::integral_constant<int, kSearches>());
      }
    });
  });
  return out;
}

}  // namespace steep
