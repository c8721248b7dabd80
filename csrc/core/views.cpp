#include "views.h"

#include <algorithm>
#include <cstring>

#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "kernels.h"
#include "reduce.h"

namespace steep {

int normalize_axis(const char* op, int64_t axis, int ndim) {
  if (axis < -ndim || axis >= ndim)
    throw std::out_of_range(message(op, ": axis ", axis, " is out of range for a tensor of ", ndim,
                                    ndim == 1 ? " dimension" : " dimensions"));
  return int(axis < 0 ? axis + ndim : axis);
}

unsigned axes_mask(const char* op, const Dims& axes, int ndim) {
  unsigned mask = 0;
  for (int64_t axis : axes) {
    const unsigned bit = 1u << normalize_axis(op, axis, ndim);
    if (mask & bit) throw std::invalid_argument(message(op, ": axis ", axis, " is given twice in ", to_string(axes)));
    mask |= bit;
  }
  return mask;
}

Dims broadcast_shapes(const char* op, const Dims& a, const Dims& b) {
  Dims out;
  out.n = std::max(a.n, b.n);
  for (int i = 1; i <= out.n; ++i) {
    const int64_t x = i <= a.n ? a[a.n - i] : 1, y = i <= b.n ? b[b.n - i] : 1;
    if (x != y && x != 1 && y != 1)
      throw std::invalid_argument(message(op, ": shapes ", to_string(a), " and ", to_string(b),
                                          " cannot be broadcast together: axis -", i, " has ", x, " and ", y,
                                          " elements (they must be equal, or one of them 1)"));
    out[out.n - i] = x == 1 ? y : x;
  }
  return out;
}

Array broadcast_to(const Array& a, const Dims& shape) {
  const int extra = shape.n - a.ndim();
  bool fits = extra >= 0;
  for (int i = 0; fits && i < a.ndim(); ++i) fits = a.shape[i] == shape[i + extra] || a.shape[i] == 1;
  int64_t size = 1;
  for (int64_t d : shape) fits = fits && d >= 0 && !__builtin_mul_overflow(size, d, &size);
  if (!fits)
    throw std::invalid_argument(
        message("broadcast_to: a tensor of shape ", to_string(a.shape), " does not broadcast to ", to_string(shape)));
  Array out = a;
  out.shape = shape;
  out.strides.n = shape.n;
  for (int i = 0; i < shape.n; ++i)
    out.strides[i] = i < extra || (a.shape[i - extra] == 1 && shape[i] != 1) ? 0 : a.strides[i - extra];
  return out;
}

Array permute(const Array& a, const Dims& axes) {
  if (axes.n != a.ndim())
    throw std::invalid_argument(message("permute_dims: axes ", to_string(axes), " must name each of the ", a.ndim(),
                                        " axes of shape ", to_string(a.shape), " once"));
  axes_mask("permute_dims", axes, a.ndim());
  Array out = a;
  for (int i = 0; i < axes.n; ++i) {
    const int from = normalize_axis("permute_dims", axes[i], a.ndim());
    out.shape[i] = a.shape[from];
    out.strides[i] = a.strides[from];
  }
  return out;
}

Array move_axis(const Array& a, int from, int to) {
  Dims order;
  for (int d = 0; d < a.ndim(); ++d)
    if (d != from) order.push(d);
  order.insert(to, from);
  return permute(a, order);
}

Array squeeze(const Array& a, const Dims& axes) {
  const unsigned mask = axes_mask("squeeze", axes, a.ndim());
  Array out = a;
  out.shape.n = out.strides.n = 0;
  for (int i = 0; i < a.ndim(); ++i) {
    if (!(mask >> i & 1)) {
      out.shape.push(a.shape[i]);
      out.strides.push(a.strides[i]);
    } else if (a.shape[i] != 1) {
      throw std::invalid_argument(
          message("squeeze: axis ", i, " of shape ", to_string(a.shape), " has ", a.shape[i], " elements, not 1"));
    }
  }
  return out;
}

Array expand_dims(const Array& a, int64_t axis) {
  const int i = normalize_axis("expand_dims", axis, a.ndim() + 1);
  Array out = a;
  out.shape.insert(i, 1);
  out.strides.insert(i, 1);
  return out;
}

namespace {

/// Strides of a's elements seen with another shape of the same size, if one set of strides can do it.
bool view_strides(const Array& a, const Dims& shape, Dims& strides) {
  if (a.is_contiguous()) {
    strides = contiguous_strides(shape);
    return true;
  }
  Array packed = a;  // without axes of one element, whose strides mean nothing
  packed.shape.n = packed.strides.n = 0;
  for (int i = 0; i < a.ndim(); ++i) {
    if (a.shape[i] == 1) continue;
    packed.shape.push(a.shape[i]);
    packed.strides.push(a.strides[i]);
  }
  strides.n = shape.n;
  int old = packed.shape.n, now = shape.n;
  while (old > 0 && now > 0) {
    // The shortest groups of trailing axes, old and new, with equally many elements.
    int old_begin = old - 1, now_begin = now - 1;
    int64_t old_size = packed.shape[old_begin], now_size = shape[now_begin];
    while (old_size != now_size) {
      if (now_size < old_size)
        now_size *= shape[--now_begin];
      else
        old_size *= packed.shape[--old_begin];
    }
    for (int i = old_begin; i + 1 < old; ++i)
      if (packed.strides[i] != packed.strides[i + 1] * packed.shape[i + 1]) return false;
    int64_t step = packed.strides[old - 1];
    for (int i = now - 1; i >= now_begin; --i) {
      strides[i] = step;
      step *= shape[i];
    }
    old = old_begin, now = now_begin;
  }
  for (int i = 0; i < now; ++i) strides[i] = 1;  // leading ones
  return true;
}

}  // namespace

Array reshape(const Array& a, Dims shape) {
  int64_t known = 1;
  int unknown = -1;
  bool valid = true;
  for (int i = 0; i < shape.n; ++i) {
    if (shape[i] == -1) {
      valid = valid && unknown < 0;
      unknown = i;
    } else {
      valid = valid && shape[i] >= 0 && !__builtin_mul_overflow(known, shape[i], &known);
    }
  }
  const int64_t size = a.size();
  if (valid && unknown >= 0) {
    valid = known > 0 && size % known == 0;
    if (valid) shape[unknown] = size / known;
  } else {
    valid = valid && known == size;
  }
  if (!valid)
    throw std::invalid_argument(message("reshape: a tensor of shape ", to_string(a.shape), " (", size,
                                        " elements) cannot take the shape ", to_string(shape)));
  Dims strides;
  if (size != 0 && !view_strides(a, shape, strides)) return reshape(copy(a), shape);
  Array out = a;
  out.shape = shape;
  out.strides = size ? strides : contiguous_strides(shape);
  return out;
}

Array slice(const Array& a, int axis, int64_t start, int64_t step, int64_t count) {
  Array out = a;
  if (count > 0) out.data += start * a.strides[axis] * int64_t(a.itemsize());
  out.shape[axis] = count;
  out.strides[axis] = count > 1 ? a.strides[axis] * step : a.strides[axis];
  return out;
}

Array select(const Array& a, int axis, int64_t index) {
  Array out = slice(a, axis, index, 1, 1);
  out.shape.erase(axis);
  out.strides.erase(axis);
  return out;
}

std::pair<int64_t, int64_t> sizes_around(const Dims& shape, int axis) {
  std::pair<int64_t, int64_t> sizes{1, 1};
  for (int d = 0; d < shape.n; ++d)
    if (d != axis) (d < axis ? sizes.first : sizes.second) *= shape[d];
  return sizes;
}

Array diagonal(const Array& a, int64_t offset, int axis1, int axis2) {
  axis1 = normalize_axis("diagonal", axis1, a.ndim()), axis2 = normalize_axis("diagonal", axis2, a.ndim());
  if (axis1 == axis2) throw std::invalid_argument(message("diagonal: the axes are both ", axis1));
  const int64_t row = offset < 0 ? -std::max(offset, -INT64_MAX) : 0, column = offset > 0 ? offset : 0;
  const int64_t n = std::max<int64_t>(0, std::min(a.shape[axis1] - row, a.shape[axis2] - column));
  const int64_t step = a.strides[axis1] + a.strides[axis2];
  Array out = a;
  if (n > 0) out.data += (row * a.strides[axis1] + column * a.strides[axis2]) * int64_t(a.itemsize());
  for (const int axis : {std::max(axis1, axis2), std::min(axis1, axis2)})
    out.shape.erase(axis), out.strides.erase(axis);
  out.shape.push(n);
  out.strides.push(step);
  return out;
}

Array astype(const Array& a, DType dtype) {
  Array out(dtype, a.shape, a.device());
  const Array* inputs[] = {&a};
  elementwise("astype", kernels().cast[int(a.dtype)][int(dtype)], inputs, out, nullptr, kAsStored);
  return out;
}

Array copy(const Array& a) { return astype(a, a.dtype); }

Array contiguous(const Array& a) { return a.is_contiguous() ? a : copy(a); }

Array in_dtype(const Array& a, DType dtype) { return a.dtype == dtype ? a : astype(a, dtype); }

Array computable(const Array& a) {
  const DType t = computed_in(a.dtype);
  return t == a.dtype ? contiguous(a) : astype(a, t);
}

Array rows_of(const Array& a, int axis) { return computable(move_axis(a, axis, a.ndim() - 1)); }

void check_writable(const char* op, const Array& a) {
  if (!a.storage->writable)
    throw std::invalid_argument(message(op, ": this tensor's memory is read-only: copy it before writing"));
  for (int i = 0; i < a.ndim(); ++i)
    if (a.strides[i] == 0 && a.shape[i] > 1)
      throw std::invalid_argument(message(op, ": several elements of this view of shape ", to_string(a.shape),
                                          " share one memory location (it was broadcast): copy it before writing"));
}

void check_truth_values(const char* what, const Array& a) {
  if (a.size() == 0) return;
  Array bytes = a;
  bytes.dtype = DType::uint8;
  for (int i = 0; i < a.ndim(); ++i)
    if (a.strides[i] == 0) bytes.shape[i] = 1;
  check_readable(what, a);
  const Array largest = to_device(reduce(reduction("max"), bytes, (1u << a.ndim()) - 1, false), Device());
  if (*largest.as<uint8_t>() > 1)
    throw std::invalid_argument(message(what, " holds bytes other than 0 and 1 for truth values: copy it first"));
}

void assign(Array& to, const Array& from) {
  check_writable("assignment", to);
  const bool number = from.ndim() == 0 && !on_cuda(from);  // goes to any device
  Array source = broadcast_to(number ? from : to_device(from, to.device()), number ? Dims() : to.shape);
  const auto [to_begin, to_end] = extent(to);
  const auto [from_begin, from_end] = extent(source);
  if (to_begin < from_end && from_begin < to_end) source = copy(source);
  const Array* inputs[] = {&source};
  elementwise("assignment", kernels().cast[int(from.dtype)][int(to.dtype)], inputs, to, nullptr, kAsStored);
  to.storage->version++;
}

DType promote_types(DType a, DType b) {
  if (a > b) std::swap(a, b);
  if (a == b || a == DType::boolean) return b;
  if (is_floating(b)) {
    if (!is_floating(a)) return b;  // an integer beside a float takes the float's type, as in PyTorch
    return a == DType::float16 && b == DType::bfloat16 ? DType::float32 : b;
  }
  if (is_unsigned(a) == is_unsigned(b)) return b;
  // A signed and an unsigned integer: the narrowest signed one that holds both.
  constexpr DType signed_above[] = {DType::int16, DType::int32, DType::int64};
  if (b == DType::uint64)
    throw TypeError(message("steep has no integer dtype for the values of both ", name(a),
                            " and uint64: convert one of the two with .astype()"));
  return std::max(a, signed_above[int(b) - int(DType::uint8)]);
}

}  // namespace steep
