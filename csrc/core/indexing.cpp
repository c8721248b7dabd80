#include "indexing.h"

#include <algorithm>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "gather.h"
#include "reduce.h"
#include "views.h"

namespace steep {
namespace {

void check_along_axis(const Dims& shape, const Dims& indices, int axis) {
  bool fits = shape.n == indices.n && 0 <= axis && axis < shape.n;
  for (int d = 0; fits && d < shape.n; ++d) fits = d == axis || shape[d] == indices[d];
  if (!fits)
    throw std::invalid_argument(message("take_along_axis: indices of shape ", to_string(indices),
                                        " must have the shape of the tensor, ", to_string(shape), ", except on axis ",
                                        axis));
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

Array checked_later(const Array& index, int64_t extent, bool from_end, std::function<void(int64_t)> fail) {
  Array out(DType::int64, index.shape, index.device());
  const DeviceScope scope("check indices", {&index, &out});
  const cuda::Table& cuda = *cuda::table();
  int64_t* const report = cuda.add_check(std::move(fail));
  cuda.check_indices(out.size(), extent, from_end, index.as<int64_t>(), out.as<int64_t>(), report);
  return out;
}

Array take(const Array& a, const Array& indices, int axis) { return gather(a, {"take", {indices}, axis, {}}); }

Array take_backward(const Array& g, const Array& indices, int axis, const Dims& shape) {
  Array out = Array::full(g.dtype, shape, 0, g.device());
  scatter_add(out, {"take", {indices}, axis, {}}, g);
  return out;
}

Array take_along_axis(const Array& a, const Array& indices, int axis) {
  check_along_axis(a.shape, indices.shape, axis);
  return gather_along_axis("take_along_axis", a, indices, axis);
}

Array take_along_axis_backward(const Array& g, const Array& indices, int axis, const Dims& shape) {
  Array out = Array::full(g.dtype, shape, 0, g.device());
  scatter_add_along_axis("take_along_axis", out, indices, axis, g);
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
  if (arrays.empty()) throw std::invalid_argument("concat: there are no arrays");
  axis = normalize_axis("concat", axis, arrays[0].ndim());
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
  if (is_recorded(out))
    return checked_later(out, classes, false, [op = std::string(op), classes](int64_t label) {
      throw std::invalid_argument(message(op, ": a replay of a CUDA graph had the label ", label, ", but with ",
                                          classes, classes == 1 ? " class" : " classes", " they must lie in 0…",
                                          classes - 1, ": class 0 was taken in its place"));
    });
  const auto [low, high] = bounds(out);
  if (low < 0 || high >= classes)
    throw std::invalid_argument(message(op, ": labels range from ", low, " to ", high, ", but with ", classes,
                                        classes == 1 ? " class" : " classes", " they must lie in 0…", classes - 1));
  return out;
}

}  // namespace steep
