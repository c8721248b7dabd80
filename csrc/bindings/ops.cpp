// The tables as Python functions: every row of the kernel table becomes functions of its name.
#include <pybind11/pybind11.h>

#include <optional>
#include <string>

#include "../core/device.h"
#include "../core/elementwise.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/reduce.h"
#include "../core/views.h"
#include "operators.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

/// The dtype that a Python number beside a tensor of dtype t computes in: the tensor's, unless its kind is higher.
DType weak_dtype(py::handle number, DType t) {
  if (PyFloat_Check(number.ptr())) return is_floating(t) ? t : DType::float32;
  if (PyBool_Check(number.ptr())) return t;
  return t == DType::boolean ? DType::int64 : t;
}

/// A 0-d array of a Python number; OverflowError where an integer does not fit.
Array number_array(py::handle number, DType t) {
  Array out(t, {}, Device());
  visit(t, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (!std::is_integral_v<T>) {
      const double x = PyFloat_AsDouble(number.ptr());
      if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
      *out.as<T>() = T(x);
    } else {
      using Widest = std::conditional_t<std::is_same_v<T, uint64_t>, uint64_t, int64_t>;
      Widest x;
      if constexpr (std::is_same_v<T, uint64_t>)
        x = PyLong_AsUnsignedLongLong(number.ptr());
      else
        x = PyLong_AsLongLong(number.ptr());
      if ((x == Widest(-1) && PyErr_Occurred()) || x != Widest(T(x))) {
        PyErr_Clear();
        PyErr_Format(PyExc_OverflowError, "%R does not fit in a tensor of dtype %s", number.ptr(), name(t));
        throw py::error_already_set();
      }
      *out.as<T>() = T(x);
    }
  });
  return out;
}

DType dtype_of_number(py::handle h) {
  if (PyBool_Check(h.ptr())) return DType::boolean;
  return PyFloat_Check(h.ptr()) ? DType::float32 : DType::int64;
}

/// Both operands of a binary operation, in one dtype. Each is a Tensor or a Python number.
std::pair<Array, Array> operands(const char* op, py::handle a, py::handle b) {
  const bool tensor_a = is_tensor(a.ptr()), tensor_b = is_tensor(b.ptr());
  if ((!tensor_a && !is_python_number(a)) || (!tensor_b && !is_python_number(b))) {
    py::handle odd = tensor_a || is_python_number(a) ? b : a;
    throw TypeError(message(op, ": expected a Tensor or a number, not ", Py_TYPE(odd.ptr())->tp_name));
  }
  if (tensor_a && tensor_b) {
    const Array &x = array_of(a.ptr()), &y = array_of(b.ptr());
    check_same_device(op, {&x, &y});
    if (x.dtype == y.dtype) return {x, y};
    const DType t = promote_types(x.dtype, y.dtype);
    return {in_dtype(x, t), in_dtype(y, t)};
  }
  const DType t = tensor_a   ? weak_dtype(b, array_of(a.ptr()).dtype)
                  : tensor_b ? weak_dtype(a, array_of(b.ptr()).dtype)
                             : weak_dtype(a, weak_dtype(b, dtype_of_number(a)));
  const auto convert = [&](py::handle h, bool tensor) {
    if (!tensor) return number_array(h, t);
    return in_dtype(array_of(h.ptr()), t);
  };
  return {convert(a, tensor_a), convert(b, tensor_b)};
}

/// Where the result of operands goes: numbers go wherever the other operand is.
Device common_device(const Array& a, const Array& b) { return std::max(a.device(), b.device()); }

/// x in a dtype that the row defines: an integer becomes float32 where only floats are defined.
Array in_defined_dtype(const char* op, const ByDType<ElementwiseKernel>& kernels, const Array& x) {
  if (kernels[x.dtype]) return x;
  const bool floats_only = kernels[DType::float32] && !kernels[DType::int32];
  if (floats_only) return astype(x, DType::float32);
  const bool integers = bool(kernels[DType::int32]), booleans = bool(kernels[DType::boolean]);
  if (booleans && !integers) return astype(x, DType::boolean);  // logical operations take any truth value
  const bool of_bits = integers && !kernels[DType::float32];
  throw TypeError(message(op, " is not defined for ", name(x.dtype), " tensors: ",
                          of_bits ? "compare first, as in (x > 0) & (y > 0), or convert with .astype(steep.int64)"
                                  : "convert with .astype()"));
}

/// The numbers behind a unary operation's tensors.
struct Params {
  double values[4];
  Params(const UnaryKernel& k, const py::args& args) {
    if (int(args.size()) != k.params)
      throw TypeError(message(k.name, " takes ", k.params, " parameters, not ", args.size()));
    for (int i = 0; i < k.params; ++i) {
      values[i] = PyFloat_AsDouble(args[size_t(i)].ptr());
      if (values[i] == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        throw TypeError(
            message(k.name, ": a parameter must be a number, not ", Py_TYPE(args[size_t(i)].ptr())->tp_name));
      }
    }
  }
};

Array unary_forward(const UnaryKernel& k, const Array& a, const double* params) {
  const Array x = in_defined_dtype(k.name, k.forward, a);
  Array y(k.to_bool ? DType::boolean : x.dtype, x.shape, x.device());
  const Array* inputs[] = {&x};
  const Unlocked unlocked(y.size());
  elementwise(k.name, k.forward[x.dtype], inputs, y, params);
  return y;
}

/// `a` where a value was saved, else any array of g's shape: the kernel doesn't read it.
const Array& saved_or(py::handle saved, const Array& g) { return saved.is_none() ? g : array_of(saved.ptr()); }

void check_saved(const char* op, py::handle saved) {
  if (!saved.is_none() && !is_tensor(saved.ptr())) throw TypeError(message(op, ": expected a Tensor or None"));
}

Array unary_backward(const UnaryKernel& k, const Array& g, py::handle x, py::handle y, const double* params) {
  check_saved(k.name, x), check_saved(k.name, y);
  const ElementwiseKernel& kernel = k.backward[g.dtype];
  if (!kernel) throw TypeError(message(k.name, " has no gradient for ", name(g.dtype)));
  Array dx(g.dtype, g.shape, g.device());
  const Array* inputs[] = {&g, &saved_or(x, g), &saved_or(y, g)};
  for (const Array* input : inputs)
    if (input->dtype != g.dtype || input->shape != g.shape)
      throw std::invalid_argument(message(k.name, ": the gradient has shape ", to_string(g.shape), " and dtype ",
                                          name(g.dtype), ", the saved value ", to_string(input->shape), " and ",
                                          name(input->dtype)));
  const Unlocked unlocked(dx.size());
  elementwise(k.name, kernel, inputs, dx, params);
  return dx;
}

void check_exponent(const BinaryKernel& k, const Array& b) {
  if (!is_integer(b.dtype) || is_unsigned(b.dtype) || std::string_view(k.name) != "pow" || b.size() == 0) return;
  const Unlocked unlocked(b, b.size());
  const int64_t low = bounds(astype(b, DType::int64)).first;
  if (low < 0)
    throw std::invalid_argument(
        message("pow: an integer to the power of ", low, " is not an integer: make the base a float"));
}

}  // namespace

Array binary_forward(const BinaryKernel& k, py::handle left, py::handle right) {
  auto [a, b] = operands(k.name, left, right);
  a = in_defined_dtype(k.name, k.forward, a), b = in_defined_dtype(k.name, k.forward, b);
  check_exponent(k, b);
  Array y(k.to_bool ? DType::boolean : a.dtype,
          a.shape == b.shape ? a.shape : broadcast_shapes(k.name, a.shape, b.shape), common_device(a, b));
  const Array* inputs[] = {&a, &b};
  const Unlocked unlocked(y.size());
  elementwise(k.name, k.forward[a.dtype], inputs, y, nullptr, kTakesScalars);
  return y;
}

namespace {

bool overlap(const Array& a, const Array& b) {
  const auto [a_begin, a_end] = extent(a);
  const auto [b_begin, b_end] = extent(b);
  const bool same = a.data == b.data && a.shape == b.shape && a.strides == b.strides;
  return !same && a_begin < b_end && b_begin < a_end;
}

/// out = a op b in out's own memory.
void binary_in_place(const BinaryKernel& k, Array& out, py::handle right) {
  const py::object left = py::reinterpret_steal<py::object>(wrap(Array(out)));
  auto [a, b] = operands(k.name, left, right);
  a = in_defined_dtype(k.name, k.forward, a), b = in_defined_dtype(k.name, k.forward, b);
  if (a.dtype != out.dtype)
    throw TypeError(
        message(k.name, " in place: a ", name(out.dtype), " tensor cannot hold the ", name(a.dtype), " result"));
  if (broadcast_shapes(k.name, a.shape, b.shape) != out.shape)
    throw std::invalid_argument(message(k.name, " in place: a tensor of shape ", to_string(out.shape),
                                        " cannot hold the result with an operand of shape ", to_string(b.shape)));
  check_writable(k.name, out);
  check_exponent(k, b);
  if (overlap(b, out)) b = copy(b);
  const Array* inputs[] = {&a, &b};
  {
    const Unlocked unlocked(out.size());
    elementwise(k.name, k.forward[a.dtype], inputs, out, nullptr, kTakesScalars);
  }
  out.storage->version++;
}

Array binary_backward(const BinaryKernel& k, const ByDType<ElementwiseKernel>& kernels, const Array& g, py::handle a,
                      py::handle b, py::handle y) {
  const ElementwiseKernel& kernel = kernels[g.dtype];
  if (!kernel) throw TypeError(message(k.name, " has no gradient for ", name(g.dtype)));
  const auto operand = [&](py::handle h) {
    if (h.is_none()) return g;
    if (is_python_number(h)) return number_array(h, g.dtype);
    check_saved(k.name, h);
    return in_dtype(array_of(h.ptr()), g.dtype);
  };
  const Array x = operand(a), z = operand(b), out = operand(y);
  Array d(g.dtype, g.shape, g.device());
  const Array* inputs[] = {&g, &x, &z, &out};
  for (const Array* input : inputs)
    if (broadcast_shapes(k.name, input->shape, g.shape) != g.shape)
      throw std::invalid_argument(message(k.name, ": a saved value has shape ", to_string(input->shape),
                                          ", the gradient ", to_string(g.shape)));
  const Unlocked unlocked(d.size());
  elementwise(k.name, kernel, inputs, d);
  return d;
}

Array where(const Array& condition, py::handle left, py::handle right) {
  auto [a, b] = operands("where", left, right);
  const Array c = in_dtype(condition, DType::boolean);
  for (const auto& [h, x] : {std::pair(left, &a), std::pair(right, &b)})
    if (is_tensor(h.ptr())) check_same_device("where", {&c, x});
  Array y(a.dtype, broadcast_shapes("where", c.shape, broadcast_shapes("where", a.shape, b.shape)), c.device());
  const Array* inputs[] = {&c, &a, &b};
  const Unlocked unlocked(y.size());
  elementwise("where", kernels().where[a.dtype], inputs, y, nullptr, kTakesScalars);
  return y;
}

/// An axis counted from the front.
int axis_of(const char* op, py::handle axis, int ndim) {
  if (!PyIndex_Check(axis.ptr()))
    throw TypeError(
        message(op, ": axis must be None, an integer or a tuple of integers, not ", Py_TYPE(axis.ptr())->tp_name));
  const Py_ssize_t i = PyNumber_AsSsize_t(axis.ptr(), nullptr);  // huge numbers become the largest: out of range
  if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
  return normalize_axis(op, i, ndim);
}

/// The axes that None (all), an integer or a tuple names, as a mask.
unsigned axes_of(const char* op, py::handle axis, int ndim) {
  if (axis.is_none()) return (1u << ndim) - 1;
  Dims axes;
  if (PyTuple_Check(axis.ptr()) || PyList_Check(axis.ptr())) {
    for (py::handle one : py::reinterpret_borrow<py::sequence>(axis)) axes.push(axis_of(op, one, ndim));
  } else {
    axes.push(axis_of(op, axis, ndim));
  }
  return axes_mask(op, axes, ndim);
}

Array arg_reduce_axis(const ArgReduceKernel& k, const Array& a, py::handle axis, bool keepdims) {
  if (axis.is_none()) {
    Dims ones;
    if (keepdims)
      for (int d = 0; d < a.ndim(); ++d) ones.push(1);
    const Unlocked unlocked(a.size());
    return reshape(arg_reduce(k, reshape(a, {-1}), 0, false), ones);
  }
  const int i = axis_of(k.name, axis, a.ndim());
  const Unlocked unlocked(a.size());
  return arg_reduce(k, a, i, keepdims);
}

}  // namespace

void register_ops(py::module_& m) {
  py::dict unary, binary;
  for (const UnaryKernel& k : kernels().unary) {
    const std::string backward = std::string(k.name) + "_backward";
    unary[k.name] = py::dict(py::arg("params") = k.params, py::arg("reads") = k.reads,
                             py::arg("differentiable") = bool(k.backward[DType::float32]));
    m.def(k.name,
          [&k](const Array& x, const py::args& params) { return unary_forward(k, x, Params(k, params).values); });
    m.def(backward.c_str(), [&k](const Array& g, py::handle x, py::handle y, const py::args& params) {
      return unary_backward(k, g, x, y, Params(k, params).values);
    });
  }
  for (const BinaryKernel& k : kernels().binary) {
    const std::string name = k.name;
    binary[k.name] = py::dict(py::arg("reads_a") = k.reads_a, py::arg("reads_b") = k.reads_b,
                              py::arg("differentiable") = bool(k.backward_a[DType::float32]));
    m.def(k.name, [&k](py::handle a, py::handle b) { return binary_forward(k, a, b); });
    if (k.to_bool) continue;
    m.def((name + "_").c_str(), [&k](Array& out, py::handle b) { binary_in_place(k, out, b); });
    if (!k.backward_a[DType::float32]) continue;
    m.def((name + "_backward_a").c_str(), [&k](const Array& g, py::handle a, py::handle b, py::handle y) {
      return binary_backward(k, k.backward_a, g, a, b, y);
    });
    m.def((name + "_backward_b").c_str(), [&k](const Array& g, py::handle a, py::handle b, py::handle y) {
      return binary_backward(k, k.backward_b, g, a, b, y);
    });
  }
  m.attr("unary") = unary;
  m.attr("binary") = binary;
  m.def("where", &where);

  py::list reductions;
  for (const ReduceKernel& k : kernels().reduce) {
    reductions.append(k.name);
    m.def(k.name, [&k](const Array& a, py::handle axis, bool keepdims) {
      const unsigned mask = axes_of(k.name, axis, a.ndim());
      const Unlocked unlocked(a.size());
      return reduce(k, a, mask, keepdims);
    });
  }
  for (const ArgReduceKernel& k : kernels().arg_reduce) {
    reductions.append(k.name);
    m.def(k.name,
          [&k](const Array& a, py::handle axis, bool keepdims) { return arg_reduce_axis(k, a, axis, keepdims); });
  }
  m.attr("reductions") = reductions;
  m.def("sum_to_shape", [](const Array& a, const Dims& shape) { return sum_to_shape(a, shape); });
}

}  // namespace steep
