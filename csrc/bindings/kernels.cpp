// The edge, bound by nanobind: kernels on anybody's arrays without a copy, and DLPack exchange.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string_view>

#include "../core/elementwise.h"
#include "../core/errors.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/rows.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"

namespace nb = nanobind;

namespace steep {
namespace {

using In = nb::ndarray<nb::ro, nb::device::cpu>;
using Out = nb::ndarray<nb::device::cpu>;

std::optional<DType> steep_dtype(nb::dlpack::dtype t) {
  if (t == nb::dtype<bool>()) return DType::boolean;
  if (t == nb::dtype<int32_t>()) return DType::int32;
  if (t == nb::dtype<int64_t>()) return DType::int64;
  if (t == nb::dtype<float>()) return DType::float32;
  if (t == nb::dtype<double>()) return DType::float64;
  return std::nullopt;
}

nb::dlpack::dtype dlpack_dtype(DType t) {
  switch (t) {
    case DType::boolean:
      return nb::dtype<bool>();
    case DType::int32:
      return nb::dtype<int32_t>();
    case DType::int64:
      return nb::dtype<int64_t>();
    case DType::float32:
      return nb::dtype<float>();
    case DType::float64:
      break;
  }
  return nb::dtype<double>();
}

/// An Array over somebody else's memory, which `release` gives back.
template <class NdArray>
Array lend(const char* op, const NdArray& x, void (*release)(void*), void* owner, bool writable) {
  const std::optional<DType> dtype = steep_dtype(x.dtype());
  if (!dtype)
    throw TypeError(
        message(op, ": the array's dtype has no steep counterpart: use bool, int32, int64, float32 or float64"));
  Array out;
  out.dtype = *dtype;
  for (size_t i = 0; i < x.ndim(); ++i) {
    out.shape.push(int64_t(x.shape(i)));
    out.strides.push(x.stride(i));
  }
  out.data = const_cast<char*>(static_cast<const char*>(static_cast<const void*>(x.data())));
  out.storage = StorageRef(Storage::lend(out.data, 0, release, owner, writable));
  return out;
}

/// For the time of one call, in which the caller keeps the memory alive.
template <class NdArray>
Array borrow(const char* op, const char* argument, const NdArray& x, DType dtype) {
  const Array out = lend(op, x, [](void*) {}, nullptr, true);
  if (out.dtype != dtype || !is_floating(dtype))
    throw TypeError(
        message(op, ": '", argument, "' has dtype ", name(out.dtype), "; all arrays must be float32, or all float64"));
  return out;
}

Array borrow_out(const char* op, const Out& x, DType dtype, const Dims& shape) {
  const Array out = borrow(op, "out", x, dtype);
  if (out.shape != shape)
    throw std::invalid_argument(
        message(op, ": 'out' has shape ", to_string(out.shape), ", the result ", to_string(shape)));
  return out;
}

/// A result may be written over an operand, element by element, but not beside it.
void check_overlap(const char* op, const Array& in, const Array& out) {
  check_writable(op, out);
  const auto [in_begin, in_end] = extent(in);
  const auto [out_begin, out_end] = extent(out);
  const bool same = in.data == out.data && in.strides == out.strides;
  if (!same && in_begin < out_end && out_begin < in_end)
    throw std::invalid_argument(message(op, ": 'out' overlaps an input without being the same array"));
}

DType dtype_of_array(const char* op, const In& x) {
  return lend(op, x, [](void*) {}, nullptr, true).dtype;
}

const UnaryKernel& sigmoid_kernel() {
  for (const UnaryKernel& k : kernels().unary)
    if (std::string_view(k.name) == "sigmoid") return k;
  throw std::runtime_error("the kernel table has no sigmoid");
}

void sigmoid(const In& x, const Out& out) {
  const DType t = dtype_of_array("sigmoid", x);
  const Array a = borrow("sigmoid", "x", x, t), y = borrow_out("sigmoid", out, t, a.shape);
  check_overlap("sigmoid", a, y);
  const Array* inputs[] = {&a};
  const nb::gil_scoped_release unlocked;
  elementwise(sigmoid_kernel().forward[int(t)], inputs, y);
}

void sigmoid_backward(const In& g, const In& y, const Out& out) {
  const DType t = dtype_of_array("sigmoid_backward", g);
  const Array a = borrow("sigmoid_backward", "g", g, t), b = borrow("sigmoid_backward", "y", y, t);
  if (a.shape != b.shape)
    throw std::invalid_argument(
        message("sigmoid_backward: 'g' has shape ", to_string(a.shape), ", 'y' ", to_string(b.shape)));
  const Array dx = borrow_out("sigmoid_backward", out, t, a.shape);
  check_overlap("sigmoid_backward", a, dx), check_overlap("sigmoid_backward", b, dx);
  const Array* inputs[] = {&a, &a, &b};  // the derivative reads y only
  const nb::gil_scoped_release unlocked;
  elementwise(sigmoid_kernel().backward[int(t)], inputs, dx);
}

void softmax_into(const In& x, const Out& out, int64_t axis) {
  const DType t = dtype_of_array("softmax", x);
  const Array a = borrow("softmax", "x", x, t);
  Array y = borrow_out("softmax", out, t, a.shape);
  check_overlap("softmax", a, y);
  const int i = normalize_axis("softmax", axis, a.ndim());
  const nb::gil_scoped_release unlocked;
  softmax(a, i, y);
}

void softmax_backward_into(const In& g, const In& y, const Out& out, int64_t axis) {
  const DType t = dtype_of_array("softmax_backward", g);
  const Array a = borrow("softmax_backward", "g", g, t), b = borrow("softmax_backward", "y", y, t);
  if (a.shape != b.shape)
    throw std::invalid_argument(
        message("softmax_backward: 'g' has shape ", to_string(a.shape), ", 'y' ", to_string(b.shape)));
  Array dx = borrow_out("softmax_backward", out, t, a.shape);
  check_overlap("softmax_backward", a, dx), check_overlap("softmax_backward", b, dx);
  const int i = normalize_axis("softmax_backward", axis, a.ndim());
  const nb::gil_scoped_release unlocked;
  softmax_backward(a, b, i, dx);
}

void matmul_into(const In& a, const In& b, const Out& out) {
  const DType t = dtype_of_array("matmul", a);
  const Array x = borrow("matmul", "a", a, t), y = borrow("matmul", "b", b, t);
  if (x.ndim() < 2 || y.ndim() < 2)
    throw std::invalid_argument(message("matmul: shapes ", to_string(x.shape), " and ", to_string(y.shape),
                                        ": both need two dimensions or more"));
  Array z = borrow("matmul", "out", out, t);
  const nb::gil_scoped_release unlocked;
  matmul(x, y, z);
}

// --- DLPack
// -----------------------------------------------------------------------------------------------------------

nb::object to_dlpack(nb::handle tensor, nb::handle stream, nb::handle max_version, nb::handle device,
                     nb::handle copy_wanted) {
  if (!is_tensor(tensor.ptr())) throw TypeError("to_dlpack: expected a Tensor");
  (void)stream, (void)max_version, (void)device;
  const bool copied = !copy_wanted.is_none() && nb::cast<bool>(copy_wanted);
  const bool read_only = !array_of(tensor.ptr()).storage->writable;
  if (read_only && !copied) {
    PyErr_SetString(PyExc_BufferError, "read-only memory cannot be exported by DLPack: pass copy=True");
    throw nb::python_error();
  }
  Array* a = new Array(copied ? copy(array_of(tensor.ptr())) : array_of(tensor.ptr()));
  nb::capsule owner(a, [](void* p) noexcept { delete static_cast<Array*>(p); });
  size_t shape[kMaxNdim];
  int64_t strides[kMaxNdim];
  for (int i = 0; i < a->ndim(); ++i) shape[i] = size_t(a->shape[i]), strides[i] = a->strides[i];
  return nb::cast(
      nb::ndarray<nb::device::cpu>(a->data, size_t(a->ndim()), shape, owner, strides, dlpack_dtype(a->dtype)));
}

/// A tensor over the array's memory, which the array's handle keeps alive.
template <class NdArray>
nb::object adopt(const NdArray& x, bool writable) {
  auto keep = std::make_unique<NdArray>(x);
  const auto release = [](void* p) {
    const nb::gil_scoped_acquire gil;
    delete static_cast<NdArray*>(p);
  };
  Array out = lend("from_dlpack", x, release, keep.get(), writable);
  keep.release();  // the array's storage owns it now
  return nb::steal(wrap(std::move(out)));
}

nb::object from_dlpack(nb::handle x) {
  Out writable;
  if (nb::try_cast(x, writable)) return adopt(writable, true);
  In readable;
  if (nb::try_cast(x, readable)) return adopt(readable, false);
  throw TypeError(message("from_dlpack: expected an array with __dlpack__ whose memory the CPU can reach, not ",
                          Py_TYPE(x.ptr())->tp_name));
}

}  // namespace

void register_kernels(pybind11::module_& engine) {
  if (!nb::register_module(engine.ptr())) throw pybind11::error_already_set();
  nb::module_ m = nb::borrow<nb::module_>(engine.ptr());
  nb::register_exception_translator([](const std::exception_ptr& p, void*) {
    try {
      std::rethrow_exception(p);
    } catch (const TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const MemoryError& e) {
      PyErr_SetString(PyExc_MemoryError, e.what());
    }
  });
  m.def("to_dlpack", &to_dlpack, nb::arg("tensor"), nb::arg("stream") = nb::none(), nb::arg("max_version") = nb::none(),
        nb::arg("dl_device") = nb::none(), nb::arg("copy") = nb::none());
  m.def("from_dlpack", &from_dlpack);

  nb::module_ k = m.def_submodule("kernels");
  k.def("matmul", &matmul_into, nb::arg("a"), nb::arg("b"), nb::arg("out"),
        "out = a @ b for shapes (…, m, k) and (…, k, n); a and b of any strides, out with contiguous rows.");
  k.def("sigmoid", &sigmoid, nb::arg("x"), nb::arg("out"), "out = 1 / (1 + exp(-x)); any strides.");
  k.def("sigmoid_backward", &sigmoid_backward, nb::arg("g"), nb::arg("y"), nb::arg("out"),
        "out = g · y · (1 − y), where y is sigmoid's result; any strides.");
  k.def("softmax", &softmax_into, nb::arg("x"), nb::arg("out"), nb::arg("axis") = -1,
        "out = softmax(x) along an axis.");
  k.def("softmax_backward", &softmax_backward_into, nb::arg("g"), nb::arg("y"), nb::arg("out"), nb::arg("axis") = -1,
        "out = y · (g − Σ g·y), where y is softmax's result along the axis.");
}

}  // namespace steep
