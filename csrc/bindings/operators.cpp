// The operators + - * / @ of tensors as slots of their raw type: with two tensors, or a tensor and a number, they run
// and record without a Python frame. All else, errors too, is left to the function of steep.ops.
#include "operators.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <string_view>

#include "../core/elementwise.h"
#include "../core/errors.h"
#include "register.h"
#include "tensor_type.h"

namespace py = pybind11;

namespace steep {
namespace {

/// Whether a thread is in a block of steep.autocast: then the function of steep.ops chooses the dtype of a product.
std::atomic<bool> autocasting{false};

struct Operator {
  std::string_view name;
  const BinaryKernel* kernel = nullptr;  // null for matmul
  unsigned reads_a = kReadsB, reads_b = kReadsA;
  PyObject *vjp = nullptr, *function = nullptr;  // of steep.ops

  bool takes(PyObject* a, PyObject* b) const {
    if (kernel) return (is_tensor(a) || is_python_number(a)) && (is_tensor(b) || is_python_number(b));
    return is_tensor(a) && is_tensor(b) && array_of(a).ndim() > 1 && array_of(b).ndim() > 1 &&
           !autocasting.load(std::memory_order_relaxed);
  }
  Array operator()(PyObject* a, PyObject* b) const {
    return kernel ? binary_forward(*kernel, a, b) : any_matmul(array_of(a), array_of(b));
  }
};

std::array operators{Operator{"add"}, Operator{"subtract"}, Operator{"multiply"}, Operator{"divide"},
                     Operator{"matmul"}};

template <int i>
PyObject* run(PyObject* a, PyObject* b) {
  const Operator& op = operators[i];
  if (!op.function) Py_RETURN_NOTIMPLEMENTED;
  if (op.takes(a, b)) {
    try {
      const auto out = py::reinterpret_steal<py::object>(wrap(op(a, b)));
      return record_binary(out.ptr(), op.vjp, a, b, op.reads_a, op.reads_b);
    } catch (const std::exception&) {  // the function raises it again, as Python's
    }
  }
  return PyObject_CallFunctionObjArgs(op.function, a, b, nullptr);
}

}  // namespace

bool is_autocasting() { return autocasting.load(std::memory_order_relaxed); }

std::array<PyType_Slot, 5> operator_slots() {
  return {{{Py_nb_add, reinterpret_cast<void*>(run<0>)},
           {Py_nb_subtract, reinterpret_cast<void*>(run<1>)},
           {Py_nb_multiply, reinterpret_cast<void*>(run<2>)},
           {Py_nb_true_divide, reinterpret_cast<void*>(run<3>)},
           {Py_nb_matrix_multiply, reinterpret_cast<void*>(run<4>)}}};
}

void register_operators(py::module_& m) {
  m.def(
      "set_operator",
      [](std::string_view name, py::function vjp, py::function function) {
        const auto op = std::ranges::find(operators, name, &Operator::name);
        if (op == operators.end())
          throw std::invalid_argument(message("set_operator: there is no operator for ", std::string(name)));
        if (name != "matmul") {
          op->kernel = &binary_operation(name);
          op->reads_a = op->kernel->reads_a, op->reads_b = op->kernel->reads_b;
        }
        op->vjp = vjp.release().ptr(), op->function = function.release().ptr();
      },
      "Says how an operator's result is recorded, and which function takes other operands.");
  m.def("set_autocasting", [](bool on) { autocasting = on; }, "Says whether a thread is in a block of steep.autocast.");
}

}  // namespace steep
