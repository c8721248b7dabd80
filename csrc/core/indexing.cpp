#include "indexing.h"

#include <algorithm>
#include <cstring>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "reduce.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 32768;

/// Contiguous int64 indices in 0…extent - 1.
Array checked_indices(const char* op, const Array& indices, int64_t extent, int axis) {
  if (!is_integer(indices.dtype)) throw TypeError(message(op, ": indices must be integers, not ", name(indices.dtype)));
  Array out = astype(indices, DType::int64);
  const int64_t n = out.size();
  if (n == 0) return out;
  const auto [low, high] = bounds(out);
  if (low < -extent || high >= extent)
    throw std::out_of_range(message(op, ": index ", low < -extent ? low : high, " is out of range for axis ", axis,
                                    " with ", extent, extent == 1 ? " element" : " elements"));
  if (low >= 0) return out;
  if (on_cuda(out)) {
    const DeviceScope scope(op, {&out});
    cuda::table()->wrap_indices(n, extent, out.as<int64_t>());
  } else {
    for (int64_t i = 0; i < n; ++i)
      if (int64_t& at = out.as<int64_t>()[i]; at < 0) at += extent;
  }
  return out;
}

int64_t outer_size(const Dims& shape, int axis) {
  int64_t n = 1;
  for (int d = 0; d < axis; ++d) n *= shape[d];
  return n;
}

int64_t inner_size(const Dims& shape, int axis) {
  int64_t n = 1;
  for (int d = axis + 1; d < shape.n; ++d) n *= shape[d];
  return n;
}

/// As the CUDA table wants them, for `count` elements in place of a's `axis`.
cuda::IndexSizes index_sizes(const Dims& shape, int axis, int64_t count) {
  return {outer_size(shape, axis), shape[axis], count, inner_size(shape, axis)};
}

void check_along_axis(const Dims& shape, const Dims& indices, int axis) {
  bool fits = shape.n == indices.n;
  for (int d = 0; fits && d < shape.n; ++d) fits = d == axis || shape[d] == indices[d];
  if (!fits)
    throw std::invalid_argument(message("take_along_axis: indices of shape ", to_string(indices),
                                        " must have the shape of the tensor, ", to_string(shape), ", except on axis ",
                                        axis));
}

/// f(offset in the full array, offset in the indexed one) for every index of take_along_axis, line by line.
template <class F>
void along_axis(const Array& index, int64_t extent, int axis, const F& f) {
  const int64_t inner = inner_size(index.shape, axis), count = index.shape[axis];
  const int64_t* at = index.as<int64_t>();
  for (int64_t o = 0, outer = outer_size(index.shape, axis); o < outer; ++o)
    for (int64_t k = 0; k < count; ++k)
      for (int64_t i = 0; i < inner; ++i) {
        const int64_t here = (o * count + k) * inner + i;
        f((o * extent + at[here]) * inner + i, here);
      }
}

}  // namespace

std::pair<int64_t, int64_t> bounds(const Array& a) {
  if (!on_cuda(a)) {
    const auto [low, high] = std::minmax_element(a.as<int64_t>(), a.as<int64_t>() + a.size());
    return {*low, *high};
  }
  const unsigned all = (1u << a.ndim()) - 1;
  Array found(DType::int64, {2}, a.device());
  Array low = select(found, 0, 0), high = select(found, 0, 1);
  assign(low, reduce(reduction("min"), a, all, false));
  assign(high, reduce(reduction("max"), a, all, false));
  const Array here = to_device(found, Device());
  return {here.as<int64_t>()[0], here.as<int64_t>()[1]};
}

Array take(const Array& a, const Array& indices, int axis) {
  check_same_device("take", {&a, &indices});
  const Array index = checked_indices("take", indices, a.shape[axis], axis);
  const Array from = contiguous(a);
  Dims shape;
  for (int d = 0; d < a.ndim(); ++d) {
    if (d != axis)
      shape.push(a.shape[d]);
    else
      for (int64_t extent : index.shape) shape.push(extent);
  }
  Array out(a.dtype, shape, a.device());
  const int64_t count = index.size(), extent = a.shape[axis], bytes = inner_size(a.shape, axis) * int64_t(a.itemsize());
  if (out.size() == 0) return out;
  if (on_cuda(a)) {
    const DeviceScope scope("take", {&from, &index, &out});
    cuda::table()->take(int64_t(a.itemsize()), index_sizes(a.shape, axis, count), from.data, index.as<int64_t>(),
                        out.data);
    return out;
  }
  const int64_t lines = outer_size(a.shape, axis) * count;
  parallel_range(lines, std::max<int64_t>(1, kGrain / bytes), [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t source = line / count * extent + index.as<int64_t>()[line % count];
      std::memcpy(out.data + line * bytes, from.data + source * bytes, size_t(bytes));
    }
  });
  return out;
}

Array take_backward(const Array& g, const Array& indices, int axis, const Dims& shape) {
  if (const DType t = computed_in(g.dtype); t != g.dtype)
    return astype(take_backward(astype(g, t), indices, axis, shape), g.dtype);
  check_same_device("take", {&g, &indices});
  const Array index = checked_indices("take", indices, shape[axis], axis);
  const Array from = contiguous(g);
  Array out = Array::full(g.dtype, shape, 0, g.device());
  const int64_t count = index.size(), extent = shape[axis], inner = inner_size(shape, axis);
  if (on_cuda(g)) {
    const DeviceScope scope("take", {&from, &index, &out});
    if (from.size())
      cuda::table()->take_backward(g.dtype, index_sizes(shape, axis, count), from.data, index.as<int64_t>(), out.data);
    return out;
  }
  visit_computed(g.dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t line = 0, lines = outer_size(shape, axis) * count; line < lines; ++line) {
      T* to = out.as<T>() + (line / count * extent + index.as<int64_t>()[line % count]) * inner;
      const T* x = from.as<T>() + line * inner;
      for (int64_t i = 0; i < inner; ++i) to[i] = T(to[i] + x[i]);
    }
  });
  return out;
}

Array take_along_axis(const Array& a, const Array& indices, int axis) {
  check_along_axis(a.shape, indices.shape, axis);
  check_same_device("take_along_axis", {&a, &indices});
  const Array index = checked_indices("take_along_axis", indices, a.shape[axis], axis);
  const Array from = contiguous(a);
  Array out(a.dtype, index.shape, a.device());
  if (on_cuda(a)) {
    const DeviceScope scope("take_along_axis", {&from, &index, &out});
    if (out.size())
      cuda::table()->take_along_axis(int64_t(a.itemsize()), index_sizes(a.shape, axis, index.shape[axis]), from.data,
                                     index.as<int64_t>(), out.data);
    return out;
  }
  visit(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    along_axis(index, a.shape[axis], axis, [&](int64_t full, int64_t here) { out.as<T>()[here] = from.as<T>()[full]; });
  });
  return out;
}

Array take_along_axis_backward(const Array& g, const Array& indices, int axis, const Dims& shape) {
  if (const DType t = computed_in(g.dtype); t != g.dtype)
    return astype(take_along_axis_backward(astype(g, t), indices, axis, shape), g.dtype);
  check_same_device("take_along_axis", {&g, &indices});
  const Array index = checked_indices("take_along_axis", indices, shape[axis], axis);
  const Array from = contiguous(g);
  Array out = Array::full(g.dtype, shape, 0, g.device());
  if (on_cuda(g)) {
    const DeviceScope scope("take_along_axis", {&from, &index, &out});
    if (from.size())
      cuda::table()->take_along_axis_backward(g.dtype, index_sizes(shape, axis, index.shape[axis]), from.data,
                                              index.as<int64_t>(), out.data);
    return out;
  }
  visit_computed(g.dtype, [&](auto zero) {
    using T = decltype(zero);
    along_axis(index, shape[axis], axis,
               [&](int64_t full, int64_t here) { out.as<T>()[full] = T(out.as<T>()[full] + from.as<T>()[here]); });
  });
  return out;
}

Array one_hot(const Array& indices, int64_t classes, DType dtype) {
  const Array index = checked_labels("one_hot", indices, classes);
  Dims shape = index.shape;
  shape.push(classes);
  Array out = Array::full(dtype, shape, 0, index.device());
  if (on_cuda(index)) {
    const DeviceScope scope("one_hot", {&index, &out});
    if (index.size()) cuda::table()->one_hot(dtype, index.size(), classes, index.as<int64_t>(), out.data);
    return out;
  }
  visit(dtype, [&](auto zero) {
    using T = decltype(zero);
    for (int64_t i = 0, n = index.size(); i < n; ++i) out.as<T>()[i * classes + index.as<int64_t>()[i]] = T(1);
  });
  return out;
}

Array concat(std::span<const Array> arrays, int axis) {
  Dims shape = arrays[0].shape;
  DType dtype = arrays[0].dtype;
  int64_t total = 0;
  for (const Array& a : arrays) {
    Dims other = a.shape;
    if (other.n == shape.n) other[axis] = shape[axis];
    if (other != shape)
      throw std::invalid_argument(message("concat: shapes ", to_string(arrays[0].shape), " and ", to_string(a.shape),
                                          " differ on another axis than ", axis));
    total += a.shape[axis];
    dtype = promote_types(dtype, a.dtype);
  }
  shape[axis] = total;
  for (const Array& a : arrays) check_same_device("concat", {&arrays[0], &a});
  Array out(dtype, shape, arrays[0].device());
  int64_t at = 0;
  for (const Array& a : arrays) {
    Array part = slice(out, axis, at, 1, a.shape[axis]);
    assign(part, a);
    at += a.shape[axis];
  }
  return out;
}

Array checked_labels(const char* op, const Array& labels, int64_t classes) {
  if (!is_integer(labels.dtype))
    throw TypeError(
        message(op, ": class labels must be integers, not ", name(labels.dtype), " (use labels.astype(steep.int64))"));
  Array out = contiguous(astype(labels, DType::int64));
  if (out.size() == 0) return out;
  const auto [low, high] = bounds(out);
  if (low < 0 || high >= classes)
    throw std::invalid_argument(message(op, ": labels range from ", low, " to ", high, ", but with ", classes,
                                        classes == 1 ? " class" : " classes", " they must lie in 0…", classes - 1));
  return out;
}

}  // namespace steep
