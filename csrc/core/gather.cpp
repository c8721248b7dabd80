#include "gather.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "../cuda/table.h"
#include "chosen.h"
#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "indexing.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread takes at least

/// Lines of an array, the chosen ones of which lie densely in another: line k of the outer place o begins at
/// outer.at(o) + index[k]·step.
struct Chosen {
  Axes outer;
  Line line;
  Array index;
  int64_t step, extent;  // of the axis; 0 where offsets were computed from several indices
  bool all_inside;       // of several

  Places places() const { return extent ? Places(index.as<int64_t>(), extent) : Places(index.as<int64_t>()); }
  int64_t count() const { return index.size(); }
  int64_t lines() const { return outer.size * count(); }
};

int axes_end(const Selection& s) { return s.axis + int(s.indices.size()); }

Dims indices_shape(const Array& a, const Selection& s) {
  if (s.indices.empty() || s.axis < 0 || axes_end(s) > a.ndim())
    throw std::out_of_range(message(s.op, ": ", s.indices.size(), " index tensors from axis ", s.axis,
                                    " of a tensor of shape ", to_string(a.shape)));
  Dims shape = s.indices[0].shape;
  try {
    for (const Array& index : s.indices) shape = broadcast_shapes(s.op, shape, index.shape);
  } catch (const std::invalid_argument&) {
    std::string shapes;
    for (const Array& index : s.indices) shapes += (shapes.empty() ? "" : ", ") + to_string(index.shape);
    throw std::out_of_range(message(s.op, ": index tensors of shapes ", shapes, " cannot be broadcast together"));
  }
  return shape;
}

/// What `gather` returns the shape of, and `scatter` takes values of.
Dims chosen_shape(const Dims& shape, const Selection& s, const Dims& indices) {
  Dims out;
  for (int d = 0; d < s.axis; ++d) out.push(shape[d]);
  for (const int64_t extent : indices) out.push(extent);
  for (int d = axes_end(s); d < shape.n; ++d) out.push(shape[d]);
  return out;
}

/// Σ index·step, broadcast together.
Array weighted_sum_on_device(const std::vector<Array>& indices, const Dims& steps) {
  const auto combine = [](const char* operation, const Array& a, const Array& b) {
    Array out(DType::int64, broadcast_shapes("indexing", a.shape, b.shape), a.device());
    const Array* inputs[] = {&a, &b};
    elementwise("indexing", binary_operation(operation).forward[DType::int64], inputs, out);
    return out;
  };
  Array sum;
  for (size_t i = 0; i < indices.size(); ++i) {
    const Array step = Array::full(DType::int64, {}, double(steps[int(i)]), Device());
    const Array term = combine("multiply", indices[i], step);
    sum = i == 0 ? term : combine("add", sum, term);
  }
  return sum;
}

/// The same on the CPU, to `shape`.
Array weighted_sum(const std::vector<Array>& indices, const Dims& extents, const Dims& steps, const Dims& shape,
                   bool& all_inside) {
  Array out(DType::int64, shape, Device());
  constexpr int64_t kBlock = 1024;  // elements that stay in the first cache while the terms are added
  const int64_t n = shape.n ? shape[shape.n - 1] : 1, lines = n ? out.size() / n : 0;
  std::vector<Axes> outer;
  std::vector<int64_t> inner;
  for (const Array& index : indices) {
    const Array all = broadcast_to(index, shape);
    outer.emplace_back(all, 0, std::max(0, shape.n - 1));
    inner.push_back(shape.n ? all.strides[shape.n - 1] : 0);
  }
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  std::atomic<bool> outside = false;
  parallel_range(lines * blocks, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, std::min(n, kBlock))),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t block = begin; block < end; ++block) {
                     const int64_t line = block / blocks, from = block % blocks * kBlock;
                     const int64_t count = std::min(kBlock, n - from);
                     int64_t* const y = out.as<int64_t>() + line * n + from;
                     for (size_t i = 0; i < indices.size(); ++i) {
                       const int64_t step = steps[int(i)], stride = inner[i];
                       Places x(indices[i].as<int64_t>() + outer[i].at(line) + from * stride, extents[int(i)]);
                       if (i == 0)
                         for (int64_t j = 0; j < count; ++j) y[j] = x[j * stride] * step;
                       else
                         for (int64_t j = 0; j < count; ++j) y[j] += x[j * stride] * step;
                       if (!x.all_inside()) outside.store(true, std::memory_order_relaxed);
                     }
                   }
                 });
  all_inside = !outside;
  return out;
}

/// The chosen index of each line, from the front of an array with these strides; `step` is the factor. Unless they are
/// `checked`, indices that `Places` can read may be out of range: it says so, or of several `all_inside`.
Array lines_of(const Array& a, const Selection& s, const Dims& shape, const Dims& strides, bool checked, int64_t& step,
               bool& all_inside) {
  std::vector<Array> indices;
  Dims extents, steps;
  for (size_t i = 0; i < s.indices.size(); ++i) {
    const int axis = s.axis + int(i);
    const int64_t extent = a.shape[axis];
    const Array& index = s.indices[i];
    const bool as_it_is = (s.distinct || !checked) && are_places(index, extent);
    indices.push_back(as_it_is ? index : checked_indices(s.op, index, extent, s.names.empty() ? axis : s.names[i]));
    extents.push(extent), steps.push(strides[axis]);
  }
  step = steps[0];
  if (indices.size() == 1) return indices[0];
  step = 1;
  return on_cuda(a) ? weighted_sum_on_device(indices, steps) : weighted_sum(indices, extents, steps, shape, all_inside);
}

Chosen choose(const Array& a, const Selection& s, const Dims& shape, bool checked) {
  int64_t step;
  bool all_inside = true;
  Array index = lines_of(a, s, shape, a.strides, checked, step, all_inside);
  const int64_t extent = s.indices.size() == 1 ? a.shape[s.axis] : 0;
  return {Axes(a, 0, s.axis), Line(a, axes_end(s)), index, step, extent, all_inside};
}

/// The indexed axes as one, for CUDA's kernels on contiguous arrays.
cuda::IndexSizes merged(const Array& a, const Selection& s, const Dims& shape, Array& index) {
  Dims steps = a.strides;
  cuda::IndexSizes sizes{1, 1, product(shape), 1};
  for (int d = a.ndim() - 1; d >= 0; --d) {
    const bool inside = d >= s.axis && d < axes_end(s);
    if (inside) steps[d] = sizes.extent;
    (d < s.axis ? sizes.outer : inside ? sizes.extent : sizes.inner) *= a.shape[d];
  }
  int64_t step;
  bool all_inside = true;
  index = lines_of(a, s, shape, steps, true, step, all_inside);
  return sizes;
}

/// Whether all indices were in range.
template <class Word>
bool gather_lines(const Chosen& c, const Word* from, Word* out) {
  std::atomic<bool> outside = !c.all_inside;
  const int64_t count = c.count(), n = c.line.size, step = c.step;
  const size_t bytes = size_t(n) * sizeof(Word);
  parallel_range(c.lines(), std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1)), [&](int64_t begin, int64_t end) {
    Places index = c.places();
    while (begin < end) {
      const int64_t o = begin / count, first = begin - o * count, last = std::min(count, first + end - begin);
      const Word* const x = from + c.outer.at(o);
      Word* y = out + begin * n;
      if (n == 1)
        for (int64_t k = first; k < last; ++k) *y++ = x[index[k] * step];
      else if (c.line.contiguous())
        for (int64_t k = first; k < last; ++k, y += n) std::memcpy(y, x + index[k] * step, bytes);
      else
        for (int64_t k = first; k < last; ++k, y += n)
          c.line.each([y, line = x + index[k] * step](int64_t at, int64_t i) { y[i] = line[at]; });
      begin += last - first;
    }
    if (!index.all_inside()) outside.store(true, std::memory_order_relaxed);
  });
  return !outside;
}

/// write(element of the array, value) for all values, each element's in the order of the indices; it may be one that
/// `copies`.
template <bool copies, class T, class F>
void scatter_lines(const Chosen& c, T* to, const T* values, const F& write) {
  const int64_t count = c.count(), n = c.line.size, step = c.step;
  const auto line = [&, whole = copies && c.line.contiguous(), bytes = size_t(n) * sizeof(T)](T* y, const T* x) {
    if (whole) return void(std::memcpy(y, x, bytes));
    c.line.each([&write, y, x](int64_t at, int64_t i) { write(y[at], x[i]); });
  };
  const int64_t threads = num_threads();
  if (c.outer.size >= threads || n < 8 || c.lines() * n < 2 * kGrain) {
    return parallel_range(c.outer.size, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, count * n)),
                          [&](int64_t begin, int64_t end) {
                            Places index = c.places();
                            for (int64_t o = begin; o < end; ++o) {
                              T* const y = to + c.outer.at(o);
                              const T* const x = values + o * count * n;
                              if (n == 1)
                                for (int64_t k = 0; k < count; ++k) write(y[index[k] * step], x[k]);
                              else
                                for (int64_t k = 0; k < count; ++k) line(y + index[k] * step, x + k * n);
                            }
                          });
  }
  // Every thread goes over all the indices and writes the lines that a hash says are its own.
  parallel_for(threads, [&](int64_t thread) {
    Places index = c.places();
    for (int64_t o = 0; o < c.outer.size; ++o)
      for (int64_t k = 0; k < count; ++k) {
        const int64_t place = index[k];
        const uint64_t hash = uint64_t(place) * 0x9E3779B97F4A7C15u >> 32;
        if (int64_t(hash * uint64_t(threads) >> 32) == thread)
          line(to + c.outer.at(o) + place * step, values + (o * count + k) * n);
      }
  });
}

}  // namespace

Array checked_indices(const char* op, const Array& index, int64_t extent, int axis) {
  if (!is_integer(index.dtype)) throw TypeError(message(op, ": indices must be integers, not ", name(index.dtype)));
  Array out = contiguous(in_dtype(index, DType::int64));
  const int64_t n = out.size();
  if (n == 0) return out;
  if (!on_cuda(out)) {
    std::atomic<bool> wrong = false;
    parallel_range(n, kGrain, [&, x = out.as<int64_t>()](int64_t begin, int64_t end) {
      int64_t sign = 0;  // set where an index is negative or too large
      for (int64_t i = begin; i < end; ++i) sign |= x[i] | (extent - 1 - x[i]);
      if (sign < 0) wrong = true;
    });
    if (!wrong) return out;
  }
  if (is_recorded(out))
    return checked_later(out, extent, index.dtype != DType::uint64, [op = std::string(op), axis, extent](int64_t at) {
      throw std::out_of_range(message(op, ": a replay of a CUDA graph had the index ", at,
                                      ", which is out of range for ", "axis ", axis, " with ", extent,
                                      extent == 1 ? " element" : " elements", ": element 0 was taken in its place"));
    });
  const auto [low, high] = bounds(out);
  if (low < 0 && index.dtype == DType::uint64)
    throw std::out_of_range(message(op, ": index ", uint64_t(low), " is out of range for axis ", axis, " with ", extent,
                                    extent == 1 ? " element" : " elements"));
  if (low < -extent || high >= extent || extent == 0)
    throw std::out_of_range(message(op, ": index ", low < -extent ? low : high, " is out of range for axis ", axis,
                                    " with ", extent, extent == 1 ? " element" : " elements"));
  if (low >= 0) return out;
  if (out.data == index.data) out = copy(out);
  if (on_cuda(out)) {
    const DeviceScope scope(op, {&out});
    cuda::table()->wrap_indices(n, extent, out.as<int64_t>());
  } else {
    for (int64_t i = 0; i < n; ++i)
      if (int64_t& at = out.as<int64_t>()[i]; at < 0) at += extent;
  }
  return out;
}

Array gather(const Array& a, const Selection& s) {
  for (const Array& index : s.indices) check_same_device(s.op, {&a, &index});
  const Dims shape = indices_shape(a, s);
  Array out(a.dtype, chosen_shape(a.shape, s, shape), a.device());
  if (on_cuda(a)) {
    Array index;
    const cuda::IndexSizes sizes = merged(a, s, shape, index);
    const Array from = contiguous(a);
    const DeviceScope scope(s.op, {&from, &index, &out});
    if (out.size()) cuda::table()->take(int64_t(a.itemsize()), sizes, from.data, index.as<int64_t>(), out.data);
    return out;
  }
  const auto read = [&](bool checked) {
    const Chosen chosen = choose(a, s, shape, checked);
    bool all_inside = true;
    if (out.size() > 0)
      visit_words(int64_t(a.itemsize()), [&](auto zero) {
        using Word = decltype(zero);
        all_inside = gather_lines(chosen, a.as<Word>(), out.as<Word>());
      });
    return all_inside;
  };
  // Reading looks at the indices anyway. Where one is out of range, the check throws an error that names it.
  if (out.size() == 0 || !read(false)) read(true);
  return out;
}

namespace {

/// Checks, and then on_device(sizes, index, values, contiguous array) or on_host(lines, values).
template <class OnDevice, class OnHost>
void write(Array& to, const Selection& s, const Array& values, const OnDevice& on_device, const OnHost& on_host) {
  check_writable(s.op, to);
  for (const Array& index : s.indices) check_same_device(s.op, {&to, &index});
  const Dims shape = indices_shape(to, s);
  const Array dense = dense_values(s.op, to, values, chosen_shape(to.shape, s, shape));
  check_same_device(s.op, {&to, &dense});
  if (on_cuda(to)) {
    Array index;
    const cuda::IndexSizes sizes = merged(to, s, shape, index);
    if (dense.size() == 0) return;
    return write_contiguous(to, [&](const Array& y) {
      const DeviceScope scope(s.op, {&dense, &index, &y});
      on_device(sizes, index.as<int64_t>(), dense.data, y);
    });
  }
  const Chosen chosen = choose(to, s, shape, true);
  if (dense.size() == 0) return;
  on_host(chosen, dense);
  to.storage->version++;
}

}  // namespace

void scatter(Array& to, const Selection& s, const Array& values) {
  write(
      to, s, values,
      [&](const cuda::IndexSizes& sizes, const int64_t* index, const void* from, const Array& y) {
        cuda::table()->put(int64_t(y.itemsize()), sizes, s.distinct, from, index, y.data);
      },
      [&](const Chosen& chosen, const Array& from) {
        visit_words(int64_t(to.itemsize()), [&](auto zero) {
          using Word = decltype(zero);
          scatter_lines<true>(chosen, to.as<Word>(), from.as<Word>(), [](Word& y, Word x) { y = x; });
        });
      });
}

void scatter_add(Array& to, const Selection& s, const Array& values) {
  if (const DType t = computed_in(to.dtype); t != to.dtype) {
    Array wide = astype(to, t);
    scatter_add(wide, s, astype(values, t));
    return assign(to, wide);
  }
  write(
      to, s, values,
      [](const cuda::IndexSizes& sizes, const int64_t* index, const void* from, const Array& y) {
        cuda::table()->take_backward(y.dtype, sizes, from, index, y.data);
      },
      [&](const Chosen& chosen, const Array& from) {
        visit_computed(to.dtype, [&](auto zero) {
          using T = decltype(zero);
          scatter_lines<false>(chosen, to.as<T>(), from.as<T>(), [](T& y, T x) { y = sum_of(y, x); });
        });
      });
}

}  // namespace steep
