#include "watch.h"

#include <stdexcept>
#include <string>

#include "register.h"
#include "tensor_type.h"

namespace py = pybind11;

namespace steep {

std::atomic<bool> watching{false};

namespace {

PyObject *result_function = nullptr, *vjp_function = nullptr;  // of steep.autograd.anomaly

/// `item` itself, or over its memory a tensor computed by the node that `same` has for its node's id.
py::object with_history_of(py::handle item, const py::dict& same) {
  PyObject* const before = is_tensor(item.ptr()) ? reinterpret_cast<TensorObject*>(item.ptr())->node : nullptr;
  if (!before) return py::reinterpret_borrow<py::object>(item);
  const py::int_ id(node_of(before).id);
  PyObject* const after = PyDict_GetItemWithError(same.ptr(), id.ptr());
  if (!after || !is_node(after)) return py::reinterpret_borrow<py::object>(item);
  auto out = py::reinterpret_steal<py::object>(wrap(Array(array_of(item.ptr()))));
  auto* const tensor = reinterpret_cast<TensorObject*>(out.ptr());
  Py_INCREF(after);
  tensor->node = after;
  tensor->requires_grad = true;
  return out;
}

/// A postponed node takes the saved values of `again`, the same operation run a second time; `same` has the nodes that
/// stand for the second run's.
void restore_saved(py::handle to, py::handle again, const py::dict& same) {
  if (!is_node(to.ptr()) || !is_node(again.ptr())) throw py::type_error("restore_saved: expected two Nodes");
  NodeObject &node = node_of(to.ptr()), &from = node_of(again.ptr());
  if (from.versions != node.versions)
    throw std::runtime_error("checkpoint: a tensor that '" + node_operation(to.ptr()) +
                             "' reads has been changed in place since the forward pass: do it after backward");
  auto saved = py::reinterpret_borrow<py::object>(from.saved);
  if (saved && PyTuple_Check(saved.ptr())) {
    py::list items;
    for (py::handle item : saved) items.append(with_history_of(item, same));
    saved = py::tuple(items);
  }
  node.outputs = from.outputs;
  Py_XSETREF(node.saved, saved.release().ptr());
}

}  // namespace

PyObject* watch_result(PyObject* out, PyObject* vjp, PyObject* inputs) {
  return PyObject_CallFunctionObjArgs(result_function, out, vjp, inputs, nullptr);
}

PyObject* vjp_watcher() { return watching.load(std::memory_order_relaxed) ? vjp_function : nullptr; }

void register_watch(py::module_& m) {
  m.def("set_watchers", [](py::function result, py::function vjp) {
    result_function = result.release().ptr(), vjp_function = vjp.release().ptr();
  });
  m.def("watch", [](bool on) { watching = on && result_function; }, "Switches the watchers on or off.");
  m.def("restore_saved", &restore_saved);
}

}  // namespace steep
