// st.linear, the mean cross-entropy, and their derivatives without a Python frame: a small network spends much of its
// time around them. Other operands than tensors, blocks of autocast, and errors are left to the functions of steep.ops.
#include <algorithm>
#include <array>
#include <span>
#include <string_view>

#include "../core/elementwise.h"
#include "../core/errors.h"
#include "../core/matmul.h"
#include "../core/rows.h"
#include "operators.h"
#include "python_type.h"
#include "register.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

PyObject *linear_function = nullptr, *recorded_linear_vjp = nullptr;  // of steep.ops
PyObject* linear_vjp_object = nullptr;                                // linear_vjp below

/// The activation, which is None or a name; throws for other ones than those whose derivative reads only the result.
const UnaryKernel* fused_kernel(PyObject* activation) {
  static const std::array<const UnaryKernel*, 3> fused{&unary_operation("relu"), &unary_operation("sigmoid"),
                                                       &unary_operation("tanh")};
  if (activation == Py_None) return nullptr;
  for (const UnaryKernel* k : fused)
    if (PyUnicode_Check(activation) && PyUnicode_CompareWithASCIIString(activation, k->name) == 0) return k;
  throw std::invalid_argument("linear: the activation must be None, 'relu', 'sigmoid' or 'tanh'");
}

const Array* optional_array(PyObject* o) { return o == Py_None ? nullptr : &array_of(o); }

Array linear_checked(const Array& x, const Array& weight, const Array* bias, const Array* residual,
                     const UnaryKernel* activation) {
  const bool fits = weight.ndim() == 2 && x.ndim() >= 1 && x.shape[x.ndim() - 1] == weight.shape[1] &&
                    (!bias || (bias->ndim() == 1 && bias->shape[0] == weight.shape[0]));
  if (!fits)
    throw std::invalid_argument(message("linear: input of shape ", to_string(x.shape), ", weight ",
                                        to_string(weight.shape), ", bias ", bias ? to_string(bias->shape) : "None",
                                        ": expected (…, in), (out, in) and (out,)"));
  if (residual) {
    Dims shape = x.shape;
    shape[shape.n - 1] = weight.shape[0];
    if (residual->shape != shape)
      throw std::invalid_argument(message("linear: residual of shape ", to_string(residual->shape),
                                          ": it is added to a result of shape ", to_string(shape)));
  }
  const auto differs = [&](const Array* a) { return a && a->dtype != x.dtype; };
  if (!is_floating(x.dtype) || differs(&weight) || differs(bias) || differs(residual))
    throw TypeError(message("linear: input, weight, bias and residual must have one floating-point dtype; input ",
                            name(x.dtype), ", weight ", name(weight.dtype),
                            bias ? std::string(", bias ") + name(bias->dtype) : "",
                            residual ? std::string(", residual ") + name(residual->dtype) : ""));
  const Unlocked unlocked(work_of(x, weight.shape[0]));
  return linear(x, weight, bias, residual, activation);
}

bool is_optional_tensor(PyObject* o) { return o == Py_None || is_tensor(o); }

PyObject* usage(const char* text) {
  PyErr_SetString(PyExc_TypeError, text);
  return nullptr;
}

bool has_gradient(PyObject* o) { return o != Py_None && tensor(o)->requires_grad; }

/// linear(x, weight, bias, activation, residual), where these are tensors and nothing is to be cast.
PyObject* linear_of_tensors(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 5 || !is_tensor(args[0]) || !is_tensor(args[1]) || !is_optional_tensor(args[2]) ||
      !is_optional_tensor(args[4]))
    return usage(
        "linear_of_tensors(x, weight, bias, activation, residual): x and weight are Tensors, bias and residual are "
        "Tensors or None");
  PyObject *x = args[0], *weight = args[1], *bias = args[2], *activation = args[3], *residual = args[4];
  const auto out = py::reinterpret_steal<py::object>(wrap(linear_checked(
      array_of(x), array_of(weight), optional_array(bias), optional_array(residual), fused_kernel(activation))));
  const std::array inputs{x, weight, bias, residual};
  const std::array saved{has_gradient(weight) ? x : nullptr,          has_gradient(x) ? weight : nullptr,
                         activation == Py_None ? nullptr : out.ptr(), activation,
                         has_gradient(bias) ? Py_True : Py_False,     has_gradient(residual) ? Py_True : Py_False};
  return record(out.ptr(), linear_vjp_object, inputs, saved);
}

/// linear(x, weight, bias, activation, residual)
PyObject* linear_of_any(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (n == 5 && is_tensor(args[0]) && is_tensor(args[1]) && is_optional_tensor(args[2]) &&
      is_optional_tensor(args[4]) && !is_autocasting()) {
    try {
      return linear_of_tensors(self, args, n);
    } catch (const std::exception&) {  // the function raises it again, as Python's
    }
  }
  return PyObject_Vectorcall(linear_function, args, size_t(n), nullptr);
}

/// linear_vjp(g, x, weight, y, activation, needs_bias, needs_residual): the gradients of x, weight, bias and residual;
/// None where not wanted.
PyObject* linear_vjp(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (is_recording()) return PyObject_Vectorcall(recorded_linear_vjp, args, size_t(n), nullptr);
  if (n != 7 || !is_tensor(args[0]) || !is_optional_tensor(args[1]) || !is_optional_tensor(args[2]) ||
      !is_optional_tensor(args[3]))
    return usage("linear_vjp(g, x, weight, y, activation, needs_bias, needs_residual)");
  LinearGrads grads = [&] {
    const Array &g = array_of(args[0]), *x = optional_array(args[1]), *weight = optional_array(args[2]);
    const UnaryKernel* const k = fused_kernel(args[4]);
    const Unlocked unlocked(work_of(g, weight ? weight->shape[1] : x ? x->shape[x->ndim() - 1] : 1));
    return linear_backward(g, x, weight, {args[5] == Py_True, args[6] == Py_True}, optional_array(args[3]), k);
  }();
  py::tuple out(4);
  Py_ssize_t i = 0;
  for (Array* a : {&grads.dx, &grads.dweight, &grads.dbias, &grads.dresidual})
    PyTuple_SET_ITEM(out.ptr(), i++, a->data ? wrap(std::move(*a)) : new_reference(nullptr));
  return out.release().ptr();
}

PyObject *recorded_cross_entropy_vjp = nullptr, *softmax_vjp = nullptr;  // of steep.ops
PyObject* cross_entropy_vjp_object = nullptr;                            // cross_entropy_vjp below

bool are_labels(const Array& labels, int64_t rows, int64_t classes) {
  if (labels.dtype != DType::int64 || on_cuda(labels) || labels.shape != Dims{rows} || !labels.is_contiguous())
    return false;
  return std::ranges::all_of(std::span(labels.as<int64_t>(), size_t(rows)),
                             [=](int64_t label) { return 0 <= label && label < classes; });
}

/// mean_cross_entropy(logits, labels), where these are the most frequent: (N, C) on the CPU, and (N,) in int64. None
/// for others, and for labels out of range.
PyObject* mean_cross_entropy(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2) return usage("mean_cross_entropy(logits, labels)");
  if (!is_tensor(args[0]) || !is_tensor(args[1]) || is_autocasting()) return new_reference(nullptr);
  const Array &x = array_of(args[0]), &labels = array_of(args[1]);
  const bool usual = x.ndim() == 2 && x.shape[0] > 0 && x.shape[1] > 1 && !on_cuda(x) &&
                     (x.dtype == DType::float32 || x.dtype == DType::float64);
  PyObject* const before = tensor(args[0])->node;
  if (!usual || (before && node(before)->vjp == softmax_vjp) || !are_labels(labels, x.shape[0], x.shape[1]))
    return new_reference(nullptr);
  const double rows = double(x.shape[0]);
  if (!is_recording() || !tensor(args[0])->requires_grad) {
    Array loss = [&] {
      const Unlocked unlocked(x.size() * 4);
      return cross_entropy(x, labels, rows).loss;
    }();
    return wrap(std::move(loss));
  }
  CrossEntropyGradient both = [&] {
    const Unlocked unlocked(x.size() * 4);
    return cross_entropy_gradient(x, labels, nullptr, nullptr, rows, 0);
  }();
  const auto loss = py::reinterpret_steal<py::object>(wrap(std::move(both.loss)));
  const auto gradient = py::reinterpret_steal<py::object>(wrap(std::move(both.dx)));
  const py::float_ divisor(rows), smoothing(0.0);
  const std::array<PyObject*, 8> saved{args[0],        args[1], nullptr, divisor.ptr(),
                                       gradient.ptr(), nullptr, nullptr, smoothing.ptr()};
  return record(loss.ptr(), cross_entropy_vjp_object, std::array{args[0]}, saved);
}

/// cross_entropy_vjp(g, logits, labels, lse, divisor, gradient, …): where the forward pass computed the gradient, that
/// times g.
PyObject* cross_entropy_vjp(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (is_recording() || n != 9 || !is_tensor(args[0]) || !is_tensor(args[5]))
    return PyObject_Vectorcall(recorded_cross_entropy_vjp, args, size_t(n), nullptr);
  py::tuple out(1);
  PyTuple_SET_ITEM(out.ptr(), 0, wrap(times_number(array_of(args[5]), array_of(args[0]))));
  return out.release().ptr();
}

/// Can a layer with this weight take x as it is?
PyObject* suits(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2) return usage("suits(x, weight)");
  if (!is_tensor(args[0]) || !is_tensor(args[1])) Py_RETURN_FALSE;
  const Array &x = array_of(args[0]), &weight = array_of(args[1]);
  return PyBool_FromLong(x.dtype == weight.dtype && x.ndim() > 0 && weight.ndim() == 2 &&
                         x.shape[x.ndim() - 1] == weight.shape[1]);
}

}  // namespace

void register_layers(py::module_& m) {
  static PyMethodDef functions[] = {
      {"linear", fast_function<linear_of_any>(), METH_FASTCALL,
       "linear(x, weight, bias, activation, residual), recorded."},
      {"linear_of_tensors", fast_function<linear_of_tensors>(), METH_FASTCALL,
       "linear(x, weight, bias, activation, residual) of tensors of one dtype, recorded."},
      {"linear_vjp", fast_function<linear_vjp>(), METH_FASTCALL,
       "linear_vjp(g, x, weight, y, activation, needs_bias, needs_residual): the gradients of x, weight, bias and "
       "residual, or None."},
      {"mean_cross_entropy", fast_function<mean_cross_entropy>(), METH_FASTCALL,
       "mean_cross_entropy(logits, labels), recorded, or None for other operands than the most frequent."},
      {"cross_entropy_vjp", fast_function<cross_entropy_vjp>(), METH_FASTCALL,
       "cross_entropy_vjp(g, logits, labels, lse, divisor, gradient, weights, total, smoothing)"},
      {"suits", fast_function<suits>(), METH_FASTCALL,
       "suits(x, weight): is x a tensor of weight's dtype, with a last axis as long as weight's?"},
      {}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  linear_vjp_object = py::object(m.attr("linear_vjp")).release().ptr();
  cross_entropy_vjp_object = py::object(m.attr("cross_entropy_vjp")).release().ptr();
  m.def(
      "set_cross_entropy",
      [](py::function vjp, py::function softmax) {
        recorded_cross_entropy_vjp = vjp.release().ptr(), softmax_vjp = softmax.release().ptr();
      },
      "Says which function has the other derivatives, and after which one a cross-entropy warns.");
  m.def(
      "set_linear",
      [](py::function function, py::function vjp) {
        linear_function = function.release().ptr(), recorded_linear_vjp = vjp.release().ptr();
      },
      "Says which functions take other operands, and record the derivative.");
}

}  // namespace steep
