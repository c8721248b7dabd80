// The edge, bound by nanobind: kernels on anybody's arrays, of the CPU or CUDA, without a copy.
#include <nanobind/nanobind.h>
#include <pybind11/pybind11.h>

#include <string_view>

#include "../core/elementwise.h"
#include "../core/errors.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/rows.h"
#include "../core/views.h"
#include "dlpack.h"
#include "register.h"
#include "unlocked.h"

namespace nb = nanobind;

namespace steep {
namespace {

Array checked(const char* op, const char* argument, const Array& a, DType dtype) {
  if (a.dtype != dtype || !is_floating(dtype))
    throw TypeError(
        message(op, ": '", argument, "' has dtype ", name(a.dtype), "; all arrays must be float32, or all float64"));
  return a;
}

Array checked(const char* op, const char* argument, const Array& a, const Array& like) {
  checked(op, argument, a, like.dtype);
  if (a.shape != like.shape)
    throw std::invalid_argument(
        message(op, ": '", argument, "' has shape ", to_string(a.shape), ", the input ", to_string(like.shape)));
  return a;
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

/// What a forward kernel maps x to, array to array.
struct Forward {
  Call call;
  Array x, out;
  Forward(const char* op, nb::handle in, nb::handle o) : call(op, o), x(call.in("x", in)) {
    checked(op, "x", x, x.dtype);
    out = checked(op, "out", call.out(), x);
    check_overlap(op, x, out);
  }
};

/// A backward kernel reads the gradient of the result and the result.
struct Backward {
  Call call;
  Array g, y, out;
  Backward(const char* op, nb::handle gradient, nb::handle result, nb::handle o)
      : call(op, o), g(call.in("g", gradient)) {
    checked(op, "g", g, g.dtype);
    y = checked(op, "y", call.in("y", result), g);
    out = checked(op, "out", call.out(), g);
    check_overlap(op, g, out), check_overlap(op, y, out);
  }
};

const UnaryKernel& sigmoid_kernel() {
  for (const UnaryKernel& k : kernels().unary)
    if (std::string_view(k.name) == "sigmoid") return k;
  throw std::runtime_error("the kernel table has no sigmoid");
}

void sigmoid(nb::handle x, nb::handle out) {
  const Forward f("sigmoid", x, out);
  const Array* inputs[] = {&f.x};
  const Unlocked unlocked(Unlocked::kAlways);
  elementwise("sigmoid", sigmoid_kernel().forward[f.x.dtype], inputs, f.out);
}

void sigmoid_backward(nb::handle g, nb::handle y, nb::handle out) {
  const Backward b("sigmoid_backward", g, y, out);
  const Array* inputs[] = {&b.g, &b.g, &b.y};  // the derivative reads y only
  const Unlocked unlocked(Unlocked::kAlways);
  elementwise("sigmoid_backward", sigmoid_kernel().backward[b.g.dtype], inputs, b.out);
}

void softmax_into(nb::handle x, nb::handle out, int64_t axis) {
  Forward f("softmax", x, out);
  const int i = normalize_axis("softmax", axis, f.x.ndim());
  const Unlocked unlocked(Unlocked::kAlways);
  softmax(f.x, i, f.out);
}

void softmax_backward_into(nb::handle g, nb::handle y, nb::handle out, int64_t axis) {
  Backward b("softmax_backward", g, y, out);
  const int i = normalize_axis("softmax_backward", axis, b.g.ndim());
  const Unlocked unlocked(Unlocked::kAlways);
  softmax_backward(b.g, b.y, i, b.out);
}

void matmul_into(nb::handle a, nb::handle b, nb::handle out, double alpha, double beta) {
  Call call("matmul", out);
  const Array x = call.in("a", a);
  const Array y = checked("matmul", "b", call.in("b", b), checked("matmul", "a", x, x.dtype).dtype);
  if (x.ndim() < 2 || y.ndim() < 2)
    throw std::invalid_argument(message("matmul: shapes ", to_string(x.shape), " and ", to_string(y.shape),
                                        ": both need two dimensions or more"));
  Array z = checked("matmul", "out", call.out(), x.dtype);
  const Unlocked unlocked(Unlocked::kAlways);
  matmul(x, y, z, alpha, beta);
}

}  // namespace

void register_kernels(pybind11::module_& engine) {
  if (!nb::register_module(engine.ptr())) throw pybind11::error_already_set();
  nb::module_ m = nb::borrow<nb::module_>(engine.ptr());
  const auto translate = [](const std::exception_ptr& p, void* cuda_error) {
    try {
      std::rethrow_exception(p);
    } catch (const TypeError& e) {
      PyErr_SetString(PyExc_TypeError, e.what());
    } catch (const MemoryError& e) {
      PyErr_SetString(PyExc_MemoryError, e.what());
    } catch (const cuda::CudaError& e) {
      PyErr_SetString(static_cast<PyObject*>(cuda_error), e.what());
    }
  };
  nb::register_exception_translator(translate, m.attr("cuda").attr("CudaError").ptr());
  register_dlpack(m);

  nb::module_ k = m.def_submodule("kernels");
  k.def("matmul", &matmul_into, nb::arg("a"), nb::arg("b"), nb::arg("out"), nb::arg("alpha") = 1.0,
        nb::arg("beta") = 0.0,
        "out = alpha·a @ b + beta·out for shapes (…, m, k) and (…, k, n); a and b of any strides, out with contiguous "
        "rows, which isn't read where beta, in the arrays' dtype, is 0.");
  k.def("sigmoid", &sigmoid, nb::arg("x"), nb::arg("out"), "out = 1 / (1 + exp(-x)); any strides.");
  k.def("sigmoid_backward", &sigmoid_backward, nb::arg("g"), nb::arg("y"), nb::arg("out"),
        "out = g · y · (1 − y), where y is sigmoid's result; any strides.");
  k.def("softmax", &softmax_into, nb::arg("x"), nb::arg("out"), nb::arg("axis") = -1,
        "out = softmax(x) along an axis.");
  k.def("softmax_backward", &softmax_backward_into, nb::arg("g"), nb::arg("y"), nb::arg("out"), nb::arg("axis") = -1,
        "out = y · (g − Σ g·y), where y is softmax's result along the axis.");
}

}  // namespace steep
