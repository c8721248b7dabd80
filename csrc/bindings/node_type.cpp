// Recording, and the nodes of the tape.
#include <pybind11/pybind11.h>
#include <structmember.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "../core/kernels.h"
#include "python_type.h"
#include "register.h"
#include "watch.h"

namespace py = pybind11;

namespace steep {
namespace {

PyTypeObject* node_type = nullptr;

thread_local bool recording = true;
std::atomic<uint64_t> next_id{1};

void node_dealloc(PyObject* o) {
  if (node(o)->weak_references) PyObject_ClearWeakRefs(o);
  Py_XDECREF(node(o)->vjp);
  Py_XDECREF(node(o)->edges);
  Py_XDECREF(node(o)->saved);
  Py_XDECREF(node(o)->hooks);
  Py_XDECREF(node(o)->origin);
  free_object(o);
}

uint64_t versions(PyObject* saved) {
  uint64_t sum = 0;
  for (Py_ssize_t i = 0, n = PyTuple_GET_SIZE(saved); i < n; ++i) {
    PyObject* item = PyTuple_GET_ITEM(saved, i);
    if (is_tensor(item)) sum += array_of(item).storage->version.load(std::memory_order_relaxed);
  }
  return sum;
}

bool needs_grad(PyObject* o) { return o && is_tensor(o) && tensor(o)->requires_grad; }

PyObject* edge_of(PyObject* input) { return new_reference(needs_grad(input) ? edge_to(input) : nullptr); }

/// A tensor over the same memory with no history.
PyObject* alias(PyObject* o) { return wrap(Array(array_of(o))); }

/// Hangs a node on `out`. Bit i of `outputs`: saved[i] is an alias of `out`, without which the node would hold itself.
PyObject* attach(PyObject* out, PyObject* vjp, py::tuple edges, py::tuple saved, uint64_t outputs) {
  PyObject* o = node_type->tp_alloc(node_type, 0);
  if (!o) return nullptr;
  node(o)->id = next_id.fetch_add(1, std::memory_order_relaxed);
  node(o)->vjp = new_reference(vjp);
  node(o)->edges = edges.release().ptr();
  node(o)->versions = versions(saved.ptr());
  node(o)->saved = saved.release().ptr();
  node(o)->shape = array_of(out).shape;
  node(o)->dtype = array_of(out).dtype;
  node(o)->outputs = outputs;
  Py_XSETREF(tensor(out)->node, o);
  tensor(out)->requires_grad = true;
  return new_reference(out);
}

/// Shows the watcher a result before it is recorded by `record`, and keeps in the node what it says of the origin.
template <class Record>
PyObject* watched(PyObject* out, PyObject* vjp, PyObject* inputs, const Record& record) {
  const auto origin = py::reinterpret_steal<py::object>(watch_result(out, vjp, inputs));
  if (!origin) return nullptr;
  PyObject* const recorded = record();
  if (recorded && tensor(out)->node) Py_XSETREF(node(tensor(out)->node)->origin, new_reference(origin.ptr()));
  return recorded;
}

constexpr const char* kRecordUsage = "record(out, vjp, inputs[, saved]): out is a Tensor, inputs and saved are tuples";

PyObject* record_unwatched(PyObject* out, PyObject* vjp, Objects inputs, Objects values) {
  if (!recording || std::ranges::none_of(inputs, needs_grad) || !is_floating(array_of(out).dtype))
    return new_reference(out);
  py::tuple edges(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) PyTuple_SET_ITEM(edges.ptr(), i, edge_of(inputs[i]));
  py::tuple saved(values.size());
  uint64_t outputs = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == out) outputs |= uint64_t(1) << i;
    PyTuple_SET_ITEM(saved.ptr(), i, values[i] == out ? alias(out) : new_reference(values[i]));
  }
  return attach(out, vjp, std::move(edges), std::move(saved), outputs);
}

Objects items(PyObject* tuple) { return {PySequence_Fast_ITEMS(tuple), size_t(PyTuple_GET_SIZE(tuple))}; }

/// record(out, vjp, inputs, saved=()): makes `out` differentiable if recording is on and an input needs a gradient.
/// Among the first 64 saved values may be `out` itself.
PyObject* record(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n < 3 || n > 4 || !is_tensor(args[0]) || !PyTuple_Check(args[2]) || (n == 4 && !PyTuple_Check(args[3]))) {
    PyErr_SetString(PyExc_TypeError, kRecordUsage);
    return nullptr;
  }
  return steep::record(args[0], args[1], items(args[2]), n == 4 ? items(args[3]) : Objects());
}

PyObject* record_binary_unwatched(PyObject* out, PyObject* vjp, PyObject* a, PyObject* b, unsigned reads_a,
                                  unsigned reads_b) {
  const bool needs_a = needs_grad(a), needs_b = needs_grad(b);
  if (!recording || !(needs_a || needs_b) || !is_floating(array_of(out).dtype)) return new_reference(out);
  const unsigned reads = (needs_a ? reads_a : 0) | (needs_b ? reads_b : 0);
  py::tuple edges(2);
  PyTuple_SET_ITEM(edges.ptr(), 0, edge_of(a));
  PyTuple_SET_ITEM(edges.ptr(), 1, edge_of(b));
  py::tuple saved(5);
  PyTuple_SET_ITEM(saved.ptr(), 0, new_reference(needs_a ? Py_True : Py_False));
  PyTuple_SET_ITEM(saved.ptr(), 1, new_reference(needs_b ? Py_True : Py_False));
  PyTuple_SET_ITEM(saved.ptr(), 2, new_reference(reads & kReadsA ? a : nullptr));
  PyTuple_SET_ITEM(saved.ptr(), 3, new_reference(reads & kReadsB ? b : nullptr));
  PyTuple_SET_ITEM(saved.ptr(), 4, reads & kReadsY ? alias(out) : new_reference(nullptr));
  return attach(out, vjp, std::move(edges), std::move(saved), reads & kReadsY ? 1 << 4 : 0);
}

/// record_binary(out, vjp, a, b, reads_a, reads_b): the same for two inputs.
PyObject* record_binary(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 6 || !is_tensor(args[0])) {
    PyErr_SetString(PyExc_TypeError, "record_binary(out, vjp, a, b, reads_a, reads_b)");
    return nullptr;
  }
  const long reads_a = PyLong_AsLong(args[4]), reads_b = PyLong_AsLong(args[5]);
  if (PyErr_Occurred()) return nullptr;
  return steep::record_binary(args[0], args[1], args[2], args[3], unsigned(reads_a), unsigned(reads_b));
}

PyObject* set_recording(PyObject*, PyObject* on) {
  const bool before = recording;
  const int wanted = PyObject_IsTrue(on);
  if (wanted < 0) return nullptr;
  recording = wanted;
  return PyBool_FromLong(before);
}

PyObject* recording_state(PyObject*, PyObject*) { return PyBool_FromLong(recording); }

PyObject* node_name(PyObject* o) {
  const std::string name = node_operation(o);
  return PyUnicode_FromStringAndSize(name.data(), Py_ssize_t(name.size()));
}

/// A property's getter, guarded in the same way.
template <PyObject* (*get)(PyObject*)>
PyObject* guarded_getter(PyObject* o, void*) {
  try {
    return get(o);
  } catch (...) {
    return set_python_error();
  }
}

void make_node_type() {
  static PyMemberDef members[] = {
      {"id", T_ULONGLONG, offsetof(NodeObject, id), READONLY, nullptr},
      {"vjp", T_OBJECT, offsetof(NodeObject, vjp), READONLY, nullptr},
      {"edges", T_OBJECT, offsetof(NodeObject, edges), READONLY, nullptr},
      {"_hooks", T_OBJECT, offsetof(NodeObject, hooks), 0, nullptr},
      {"origin", T_OBJECT, offsetof(NodeObject, origin), READONLY, nullptr},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(NodeObject, weak_references), READONLY, nullptr},
      {}};
  static PyGetSetDef properties[] = {
      property("saved", "what the vjp reads", guarded_getter<node_saved>),
      property("postponed_by", "the object whose restore() brings back what the vjp reads, or None",
               [](PyObject* o, void*) {
                 PyObject* const saved = node(o)->saved;
                 return new_reference(saved && !PyTuple_Check(saved) ? saved : nullptr);
               }),
      property("name", "the operation's name", guarded_getter<node_name>),
      property("shape", "of the output", [](PyObject* o, void*) { return to_tuple(node(o)->shape).release().ptr(); }),
      property("dtype", "of the output",
               [](PyObject* o, void*) { return dtype_object(node(o)->dtype).release().ptr(); }),
      {}};
  static PyMethodDef methods[] = {
      {"release",
       [](PyObject* o, PyObject*) -> PyObject* {
         Py_CLEAR(node(o)->saved);
         return new_reference(nullptr);
       },
       METH_NOARGS, "Frees what the vjp reads: a second backward through this node raises."},
      {"postpone",
       [](PyObject* o, PyObject* by) -> PyObject* {
         Py_XSETREF(node(o)->saved, new_reference(by));
         return new_reference(nullptr);
       },
       METH_O, "Frees what the vjp reads until it is needed: then by.restore() has to bring it back."},
      {}};
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                         {Py_tp_members, members},
                         {Py_tp_getset, properties},
                         {Py_tp_methods, methods},
                         {0, nullptr}};
  node_type = make_type("steep._core.Node", sizeof(NodeObject), slots);
}

}  // namespace

std::string node_operation(PyObject* o) {
  const py::object name = py::getattr(node(o)->vjp, "__name__", py::none());
  std::string text =
      py::str(name.is_none() ? py::object(py::type::of(py::handle(node(o)->vjp)).attr("__name__")) : name);
  if (text.size() > 4 && text.ends_with("_vjp")) text.resize(text.size() - 4);
  return text.size() > 1 && text[0] == '_' ? text.substr(1) : text;
}

PyObject* node_saved(PyObject* o) {
  while (node(o)->saved && !PyTuple_Check(node(o)->saved)) {  // again for a checkpoint in a checkpoint
    const py::object postponed = py::reinterpret_borrow<py::object>(node(o)->saved);
    postponed.attr("restore")();
    if (node(o)->saved == postponed.ptr()) throw std::runtime_error("restore() did not bring back the saved values");
  }
  if (!node(o)->saved) {
    const std::string text = "backward a second time through '" + node_operation(o) +
                             "', whose saved values have been freed: pass retain_graph=True to the first backward, or "
                             "compute the loss again";
    PyErr_SetString(PyExc_RuntimeError, text.c_str());
    return nullptr;
  }
  if (versions(node(o)->saved) != node(o)->versions) {
    const std::string text =
        "backward through '" + node_operation(o) +
        "' needs a tensor that has been changed in place since: change a copy (x = x + 1 instead of "
        "x += 1), or do it after backward";
    PyErr_SetString(PyExc_RuntimeError, text.c_str());
    return nullptr;
  }
  if (!recording || !node(o)->outputs) return new_reference(node(o)->saved);
  const Py_ssize_t n = PyTuple_GET_SIZE(node(o)->saved);
  py::tuple saved(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = PyTuple_GET_ITEM(node(o)->saved, i);
    if (i >= 64 || !(node(o)->outputs >> i & 1)) {
      PyTuple_SET_ITEM(saved.ptr(), i, new_reference(item));
      continue;
    }
    PyObject* output = alias(item);
    tensor(output)->node = new_reference(o);
    tensor(output)->requires_grad = true;
    PyTuple_SET_ITEM(saved.ptr(), i, output);
  }
  return saved.release().ptr();
}

PyObject* record(PyObject* out, PyObject* vjp, Objects inputs, Objects saved) {
  const auto record = [&] { return record_unwatched(out, vjp, inputs, saved); };
  if (!watching.load(std::memory_order_relaxed)) return record();
  py::tuple all(inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i) PyTuple_SET_ITEM(all.ptr(), i, new_reference(inputs[i]));
  return watched(out, vjp, all.ptr(), record);
}

bool is_recording() { return recording; }

PyObject* record_binary(PyObject* out, PyObject* vjp, PyObject* a, PyObject* b, unsigned reads_a, unsigned reads_b) {
  const auto record = [&] { return record_binary_unwatched(out, vjp, a, b, reads_a, reads_b); };
  if (!watching.load(std::memory_order_relaxed)) return record();
  return watched(out, vjp, py::make_tuple(py::handle(a), py::handle(b)).ptr(), record);
}

bool is_node(PyObject* o) { return Py_TYPE(o) == node_type; }

bool fits(const Array& gradient, PyObject* edge) {
  if (is_node(edge)) return gradient.shape == node(edge)->shape && gradient.dtype == node(edge)->dtype;
  return gradient.shape == array_of(edge).shape && gradient.dtype == array_of(edge).dtype;
}

Recording::Recording(bool on) : before_(std::exchange(recording, on)) {}
Recording::~Recording() { recording = before_; }

void register_node_type(py::module_& m) {
  make_node_type();
  m.attr("Node") = py::handle(reinterpret_cast<PyObject*>(node_type));
  static PyMethodDef functions[] = {
      {"record", fast_function<record>(), METH_FASTCALL,
       "record(out, vjp, inputs, saved=()): makes `out` differentiable, if operations are recorded and an input needs "
       "a\n"
       "gradient, and returns it. vjp(g, *saved) must return a gradient or None for each input; `out` may be among "
       "the\n"
       "saved values."},
      {"record_binary", fast_function<record_binary>(), METH_FASTCALL,
       "record_binary(out, vjp, a, b, reads_a, reads_b): the same for two inputs, saving only what is read."},
      {"set_recording", set_recording, METH_O, nullptr},
      {"is_recording", recording_state, METH_NOARGS, nullptr},
      {"next_id", [](PyObject*, PyObject*) { return PyLong_FromUnsignedLongLong(next_id.load()); }, METH_NOARGS,
       "The id that the next recorded operation gets."},
      {}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace steep
