#include <algorithm>
#include <atomic>

#include "../cuda/table.h"
#include "chosen.h"
#include "errors.h"
#include "gather.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread takes at least

/// The part of an array that the other axes of an index reach, which may be shorter.
Array reached(const char* op, const Array& a, const Array& index, int axis) {
  bool fits = a.ndim() == index.ndim() && 0 <= axis && axis < a.ndim();
  for (int d = 0; fits && d < a.ndim(); ++d) fits = d == axis || index.shape[d] <= a.shape[d];
  if (!fits)
    throw std::invalid_argument(message(op, ": indices of shape ", to_string(index.shape), " reach beyond shape ",
                                        to_string(a.shape), " on another axis than ", axis));
  Array part = a;
  for (int d = 0; d < a.ndim(); ++d)
    if (d != axis) part.shape[d] = index.shape[d];
  return part;
}

/// The indices' elements as rows × n: a row is a place on the axes in front and on `axis` itself.
struct AlongAxis {
  Axes outer;
  Line line;
  int64_t count, step;
  Places index;

  AlongAxis(const Array& part, const Array& index, int axis)
      : outer(part, 0, axis),
        line(part, axis + 1),
        count(index.shape[axis]),
        step(part.strides[axis]),
        index(index.as<int64_t>(), part.shape[axis]) {}

  /// f(offset in the array, place in the index) for the elements of some rows, in order. Were all indices in range?
  template <class F>
  bool rows(int64_t begin, int64_t end, const F& f) const {
    Places places = index;
    // A copy that no lambda refers to stays in registers.
    const auto row = [&f, stride = step](Places& all, int64_t base, int64_t along, int64_t from, int64_t to) {
      Places own = all;
#pragma GCC unroll 4
      for (int64_t here = from; here < to; ++here, base += along) f(base + own[here] * stride, here);
      all = own;
    };
    while (begin < end) {
      const int64_t o = begin / count, first = begin - o * count, last = std::min(count, first + end - begin);
      const int64_t base = outer.at(o);
      if (line.size == 1)
        row(places, base, 0, begin, begin + last - first);
      else
        for (int64_t here = begin * line.size; here < (begin + last - first) * line.size; here += line.size)
          if (line.offsets.empty())
            row(places, base, line.step, here, here + line.size);
          else
            line.each([&](int64_t offset, int64_t i) { f(base + places[here + i] * step + offset, here + i); });
      begin += last - first;
    }
    return places.all_inside();
  }
};

cuda::IndexSizes sizes_of(const Array& part, const Array& index, int axis) {
  const auto [outer, inner] = sizes_around(part.shape, axis);
  return {outer, part.shape[axis], index.shape[axis], inner};
}

/// Checks, and then on_device(sizes, index, values, contiguous array) or on_host(place, offset in the array, values).
template <class OnDevice, class OnHost>
void write(const char* op, Array& to, const Array& indices, int axis, const Array& values, const OnDevice& on_device,
           const OnHost& on_host) {
  check_writable(op, to);
  check_same_device(op, {&to, &indices});
  Array part = reached(op, to, indices, axis);
  const Array index = checked_indices(op, indices, to.shape[axis], axis);
  const Array dense = dense_values(op, to, values, index.shape);
  check_same_device(op, {&to, &dense});
  if (index.size() == 0) return;
  if (on_cuda(to))
    return write_contiguous(part, [&](const Array& y) {
      const DeviceScope scope(op, {&dense, &index, &y});
      on_device(sizes_of(part, index, axis), index.as<int64_t>(), dense.data, y);
    });
  on_host(AlongAxis(part, index, axis), dense);
  to.storage->version++;
}

/// In order; by several threads where the places on the axes in front are many.
template <class F>
void scatter_rows(const AlongAxis& all, const F& f) {
  const int64_t each = all.count * all.line.size;
  parallel_range(all.outer.size, std::max<int64_t>(1, kGrain / each),
                 [&](int64_t begin, int64_t end) { all.rows(begin * all.count, end * all.count, f); });
}

}  // namespace

Array gather_along_axis(const char* op, const Array& a, const Array& indices, int axis) {
  check_same_device(op, {&a, &indices});
  const Array part = reached(op, a, indices, axis);
  Array out(a.dtype, indices.shape, a.device());
  const bool as_they_are = !on_cuda(a) && out.size() > 0 && are_places(indices, a.shape[axis]);
  const Array index = as_they_are ? indices : checked_indices(op, indices, a.shape[axis], axis);
  if (out.size() == 0) return out;
  if (on_cuda(a)) {
    const Array from = contiguous(part);
    const DeviceScope scope(op, {&from, &index, &out});
    cuda::table()->take_along_axis(int64_t(a.itemsize()), sizes_of(part, index, axis), from.data, index.as<int64_t>(),
                                   out.data);
    return out;
  }
  const AlongAxis all(part, index, axis);
  std::atomic<bool> outside = false;
  visit_words(int64_t(a.itemsize()), [&](auto zero) {
    using Word = decltype(zero);
    const Word* const x = a.as<Word>();
    Word* const y = out.as<Word>();
    parallel_range(all.outer.size * all.count, std::max<int64_t>(1, kGrain / all.line.size),
                   [&](int64_t begin, int64_t end) {
                     if (!all.rows(begin, end, [x, y](int64_t from, int64_t here) { y[here] = x[from]; }))
                       outside.store(true, std::memory_order_relaxed);
                   });
  });
  if (outside) checked_indices(op, indices, a.shape[axis], axis);  // throws an error that names the index
  return out;
}

void scatter_along_axis(const char* op, Array& to, const Array& index, int axis, const Array& values) {
  write(
      op, to, index, axis, values,
      [](const cuda::IndexSizes& sizes, const int64_t* at, const void* from, const Array& y) {
        cuda::table()->put_along_axis(int64_t(y.itemsize()), sizes, from, at, y.data);
      },
      [&](const AlongAxis& all, const Array& from) {
        visit_words(int64_t(to.itemsize()), [&](auto zero) {
          using Word = decltype(zero);
          scatter_rows(all, [x = from.as<Word>(), y = to.as<Word>()](int64_t at, int64_t i) { y[at] = x[i]; });
        });
      });
}

void scatter_add_along_axis(const char* op, Array& to, const Array& index, int axis, const Array& values) {
  if (const DType t = computed_in(to.dtype); t != to.dtype) {
    Array wide = astype(to, t);
    scatter_add_along_axis(op, wide, index, axis, astype(values, t));
    return assign(to, wide);
  }
  write(
      op, to, index, axis, values,
      [](const cuda::IndexSizes& sizes, const int64_t* at, const void* from, const Array& y) {
        cuda::table()->take_along_axis_backward(y.dtype, sizes, from, at, y.data);
      },
      [&](const AlongAxis& all, const Array& from) {
        visit_computed(to.dtype, [&](auto zero) {
          using T = decltype(zero);
          scatter_rows(all, [x = from.as<T>(), y = to.as<T>()](int64_t at, int64_t i) { y[at] = sum_of(y[at], x[i]); });
        });
      });
}

}  // namespace steep
