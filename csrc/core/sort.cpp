#include "sort.h"

#include <algorithm>
#include <vector>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "sort_keys.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

using sorting::Key;

constexpr int64_t kGrain = 4096;        // elements of short rows that a thread sorts at least
constexpr int64_t kPiece = 65536;       // elements of a long row that a thread takes at least
constexpr int64_t kCounting = 24;       // rows of fewer elements are sorted by counting
constexpr int64_t kComparing = 48;      // of fewer by comparing
constexpr int64_t kWideDigits = 16384;  // rows of more are sorted by 11 bits at a time, others by 8
constexpr int64_t kSelecting = 64;      // of fewer than one in so many elements the best are selected

constexpr int kSearches = 8;  // at a time

/// A key alone, where equal keys are equal elements.
template <class K>
struct BareItem {
  K key_;
  static BareItem make(K key, int64_t) { return {key}; }
  K key() const { return key_; }
  bool operator<(const BareItem& o) const { return key_ < o.key_; }
};

/// Sorts n items, in `items` and as many at `other`, by digits of their keys, the lowest first; returns where they are.
/// All threads share the work if `threads`.
template <class Item>
class RadixSort {
 public:
  RadixSort(int64_t n, int key_bits, bool threads)
      : n_(n),
        key_bits_(key_bits),
        digit_(n > kWideDigits ? 11 : 8),
        pieces_(threads ? std::clamp<int64_t>(n / kPiece, 1, num_threads()) : 1),
        at_once_(pieces_ == 1 && digit_ == 8),
        places_(size_t(at_once_ ? key_bits / digit_ : pieces_) << digit_) {}

  Item* operator()(Item* items, Item* other) {
    if (n_ < kCounting) return by_counting(items, other);
    if (n_ < kComparing) {
      std::sort(items, items + n_);
      return items;
    }
    if (at_once_) {
      count_all(items);
      for (int shift = 0, set = 0; shift < key_bits_; shift += digit_, ++set) {
        if (!find_places(set, 1)) continue;
        move(items, other, 0, n_, places(set), shift);
        std::swap(items, other);
      }
      return items;
    }
    for (int shift = 0; shift < key_bits_; shift += digit_) {
      parallel_for(pieces_, [&](int64_t p) { count(items, p, shift); });
      if (!find_places(0, pieces_)) continue;
      parallel_for(pieces_, [&](int64_t p) { move(items, other, begin(p), begin(p + 1), places(p), shift); });
      std::swap(items, other);
    }
    return items;
  }

 private:
  /// An item's place is the number of those before it: no branches.
  Item* by_counting(const Item* items, Item* to) const {
    for (int64_t i = 0; i < n_; ++i) {
      int64_t place = 0;
      for (int64_t j = 0; j < i; ++j) place += !(items[i] < items[j]);
      for (int64_t j = i + 1; j < n_; ++j) place += items[j] < items[i];
      to[place] = items[i];
    }
    return to;
  }

  int64_t begin(int64_t piece) const { return n_ * piece / pieces_; }
  int64_t* places(int64_t set) { return places_.data() + (set << digit_); }
  int digit(const Item& item, int shift) const { return int(uint64_t(item.key()) >> shift) & ((1 << digit_) - 1); }

  void count(const Item* items, int64_t piece, int shift) {
    int64_t* const counts = places(piece);
    std::fill_n(counts, 1 << digit_, 0);
    for (int64_t i = begin(piece), end = begin(piece + 1); i < end; ++i) ++counts[digit(items[i], shift)];
  }
  /// All digits in one pass: their counts don't depend on the order.
  void count_all(const Item* items) {
    std::fill(places_.begin(), places_.end(), 0);
    for (int64_t i = 0; i < n_; ++i) {
      const uint64_t key = uint64_t(items[i].key());
      int64_t* counts = places_.data();
      for (int shift = 0; shift < key_bits_; shift += 8, counts += 256) ++counts[key >> shift & 255];
    }
  }
  /// Of the first item of each digit in each of the sets. False if all items have one digit.
  bool find_places(int64_t first, int64_t sets) {
    int64_t at = 0;
    for (int d = 0; d < 1 << digit_; ++d) {
      const int64_t before = at;
      for (int64_t p = first; p < first + sets; ++p) at += std::exchange(places(p)[d], at);
      if (at - before == n_) return false;
    }
    return true;
  }
  void move(const Item* items, Item* to, int64_t begin, int64_t end, int64_t* place, int shift) const {
    for (int64_t i = begin; i < end; ++i) to[place[digit(items[i], shift)]++] = items[i];
  }

  int64_t n_;
  int key_bits_, digit_;
  int64_t pieces_;
  bool at_once_;
  std::vector<int64_t> places_;  // counts at first
};

/// Working memory from the allocator that keeps it, as fresh pages cost more than a sort's pass.
template <class Item>
class Items {
 public:
  explicit Items(int64_t n) : array_(DType::boolean, {n * int64_t(sizeof(Item))}, Device()) {}
  Item* data() const { return array_.as<Item>(); }

 private:
  Array array_;
};

/// use(row, items) with the items of each row in their order.
template <class Item, class T, class Use>
void each_sorted_row(const T* x, int64_t rows, int64_t n, bool descending, const Use& use) {
  const bool threads = rows < num_threads();  // these share a row, instead of the rows
  const auto run = [&](int64_t begin, int64_t end) {
    const Items<Item> memory(2 * n);
    RadixSort<Item> sort(n, 8 * sizeof(T), threads);
    for (int64_t row = begin; row < end; ++row) {
      Item* const items = memory.data();
      parallel_range(n, kPiece, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) items[i] = Item::make(sorting::key(x[row * n + i], descending), i);
      });
      use(row, sort(items, items + n));
    }
  };
  if (threads)
    run(0, rows);
  else
    parallel_range(rows, std::max<int64_t>(1, kGrain / n), run);
}

/// The n elements of sorted keys. Those that share a key with others stand in the row's order.
template <class T, class Item>
void write_values(const T* row, const Item* items, int64_t n, bool descending, T* y) {
  parallel_range(n, kPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = sorting::element<T>(items[i].key(), descending);
  });
  if constexpr (!std::is_integral_v<T>) {
    const auto shares = [&](const Item& item) { return sorting::is_shared<T>(item.key(), descending); };
    if (n < kComparing && std::none_of(items, items + n, shares)) return;
    for (const Key<T> shared : {sorting::kSign<T>, Key<T>(-1)}) {  // zeros, and NaNs
      const Item wanted{descending ? Key<T>(~shared) : shared};
      const Item* found = std::lower_bound(items, items + n, wanted);
      const Item* const end = std::upper_bound(found, items + n, wanted);
      for (const T* x = row; found < end && x < row + n; ++x)
        if (sorting::key(*x, descending) == wanted.key()) y[found++ - items] = *x;
    }
  }
}

/// `count` elements of a row and their places, from items.
template <class T, class Item>
void write_pairs(const T* row, const Item* items, int64_t count, bool descending, T* y, int64_t* index) {
  parallel_range(count, kPiece, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Key<T> k = Key<T>(items[i].key());
      index[i] = items[i].place();
      if (y) y[i] = sorting::is_shared<T>(k, descending) ? row[index[i]] : sorting::element<T>(k, descending);
    }
  });
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
      visit_computed(r.x.dtype, [&](auto zero) {
        using T = decltype(zero);
        sorting::visit_item<T>(r.n, [&](auto item) {
          each_sorted_row<decltype(item)>(r.x.as<T>(), r.rows, r.n, descending, [&](int64_t row, const auto* items) {
            const int64_t at = row * r.n;
            write_pairs(r.x.as<T>() + at, items, r.n, descending, values ? y.as<T>() + at : nullptr,
                        index.as<int64_t>() + at);
          });
        });
      });
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
  visit_computed(y.dtype, [&](auto zero) {
    using T = decltype(zero);
    each_sorted_row<BareItem<Key<T>>>(
        r.x.as<T>(), r.rows, r.n, descending, [&](int64_t row, const BareItem<Key<T>>* items) {
          write_values(r.x.as<T>() + row * r.n, items, r.n, descending, y.as<T>() + row * r.n);
        });
  });
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
        const Items<decltype(item)> heap(k);
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
