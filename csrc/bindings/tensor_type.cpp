#include "tensor_type.h"

#include <structmember.h>

#include <utility>
#include <vector>

#include "buffer.h"
#include "operators.h"
#include "python_type.h"
#include "register.h"

namespace py = pybind11;

namespace steep {
namespace {

PyTypeObject* tensor_base = nullptr;
PyTypeObject* tensor_class = nullptr;  // steep.Tensor: what results are instances of
PyObject* dtype_objects[kDTypes] = {};
std::vector<PyObject*> device_objects;  // the CPU, then the CUDA devices

// Neither type is tracked by the garbage collector, which would otherwise walk every tape. A graph has no cycles:
// `record` never lets a node hold its own output. Freeing a long chain alternates nodes and tuples, and CPython bounds
// the recursion of tuples.
void tensor_dealloc(PyObject* o) {
  if (tensor(o)->weak_references) PyObject_ClearWeakRefs(o);
  tensor(o)->array.~Array();
  Py_XDECREF(tensor(o)->node);
  Py_XDECREF(tensor(o)->grad);
  Py_XDECREF(tensor(o)->hooks);
  free_object(o);
}

PyObject* tensor_device(PyObject* o, void*) { return device_object(array_of(o).device()).release().ptr(); }

PyObject* get_grad(PyObject* o, void*) {
  note_gradient(o, true);
  return new_reference(tensor(o)->grad);
}

}  // namespace

int set_grad(PyObject* o, PyObject* value) {
  note_gradient(o, false);
  if (!value || value == Py_None) {
    Py_CLEAR(tensor(o)->grad);
    return 0;
  }
  if (!is_tensor(value) || array_of(value).shape != array_of(o).shape || array_of(value).dtype != array_of(o).dtype ||
      array_of(value).device() != array_of(o).device()) {
    PyErr_SetString(
        PyExc_ValueError,
        "grad must be None or a Tensor with the shape, dtype and device of the tensor (which may have been moved "
        "after the forward pass: then that must run again)");
    return -1;
  }
  Py_INCREF(value);
  Py_XSETREF(tensor(o)->grad, value);
  return 0;
}

namespace {

PyObject* get_requires_grad(PyObject* o, void*) { return PyBool_FromLong(tensor(o)->requires_grad); }

int set_requires_grad(PyObject* o, PyObject* value, void*) {
  const int on = value ? PyObject_IsTrue(value) : 0;
  if (on < 0) return -1;
  if (on && !is_floating(array_of(o).dtype)) {
    PyErr_Format(PyExc_TypeError,
                 "only floating-point tensors can require gradients, not %s: use x.astype(steep.float32)",
                 name(array_of(o).dtype));
    return -1;
  }
  if (!on && tensor(o)->node) {
    PyErr_SetString(
        PyExc_RuntimeError,
        "requires_grad of a computed tensor cannot be switched off: use x.detach() for a tensor without history");
    return -1;
  }
  tensor(o)->requires_grad = on;
  return 0;
}

void make_tensor_base() {
  static PyMemberDef members[] = {
      {"_node", T_OBJECT, offsetof(TensorObject, node), READONLY, nullptr},
      {"_hooks", T_OBJECT, offsetof(TensorObject, hooks), 0, nullptr},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak_references), READONLY, nullptr},
      {}};
  static PyGetSetDef properties[] = {
      property("shape", "tuple of the extents",
               [](PyObject* o, void*) { return to_tuple(array_of(o).shape).release().ptr(); }),
      property("strides", "steps between neighbours along each axis, in elements",
               [](PyObject* o, void*) { return to_tuple(array_of(o).strides).release().ptr(); }),
      property("ndim", "number of dimensions", [](PyObject* o, void*) { return PyLong_FromLong(array_of(o).ndim()); }),
      property("size", "number of elements",
               [](PyObject* o, void*) { return PyLong_FromLongLong(array_of(o).size()); }),
      property("dtype", "element type",
               [](PyObject* o, void*) { return dtype_object(array_of(o).dtype).release().ptr(); }),
      property("device", "where the elements are", tensor_device),
      property("_version", "how often the storage has been changed in place",
               [](PyObject* o, void*) { return PyLong_FromUnsignedLong(array_of(o).storage->version.load()); }),
      {"grad", get_grad, [](PyObject* o, PyObject* value, void*) { return set_grad(o, value); },
       "the gradient that backward accumulated here, or None", nullptr},
      {"requires_grad", get_requires_grad, set_requires_grad, "whether operations on it are recorded", nullptr},
      {}};
  const auto [add, subtract, multiply, divide, matmul] = operator_slots();
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
                         {Py_tp_members, members},
                         {Py_tp_getset, properties},
                         add,
                         subtract,
                         multiply,
                         divide,
                         matmul,
                         buffer_slot(),
                         release_buffer_slot(),
                         {0, nullptr}};
  tensor_base = tensor_class = make_type("steep._core.TensorBase", sizeof(TensorObject), slots);
}

}  // namespace

bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_class || PyType_IsSubtype(Py_TYPE(o), tensor_base); }

PyObject* wrap(Array&& a) {
  PyObject* o = tensor_class->tp_alloc(tensor_class, 0);  // zeroes the other fields; a null field reads as None
  if (!o) throw py::error_already_set();
  new (&array_of(o)) Array(std::move(a));
  return o;
}

py::object dtype_object(DType t) { return py::reinterpret_borrow<py::object>(dtype_objects[int(t)]); }

bool to_dtype(PyObject* o, DType& t) {
  for (int i = 0; i < kDTypes; ++i) {
    if (o != dtype_objects[i]) continue;
    t = DType(i);
    return true;
  }
  return false;
}

py::object device_object(Device d) {
  const size_t i = d.type == DeviceType::cpu ? 0 : size_t(d.index) + 1;
  return py::reinterpret_borrow<py::object>(device_objects[i]);
}

bool to_device(PyObject* o, Device& d) {
  for (size_t i = 0; i < device_objects.size(); ++i) {
    if (o != device_objects[i]) continue;
    d = i == 0 ? Device() : Device{DeviceType::cuda, int8_t(i - 1)};
    return true;
  }
  return false;
}

py::tuple to_tuple(const Dims& d) {
  py::tuple t(d.n);
  for (int i = 0; i < d.n; ++i) PyTuple_SET_ITEM(t.ptr(), i, PyLong_FromLongLong(d[i]));
  return t;
}

void register_tensor_type(py::module_& m) {
  make_tensor_base();
  m.attr("TensorBase") = py::handle(reinterpret_cast<PyObject*>(tensor_base));
  m.def("set_classes", [](py::type tensor, py::tuple dtypes, py::tuple devices) {
    tensor_class = reinterpret_cast<PyTypeObject*>(tensor.release().ptr());
    for (int i = 0; i < kDTypes; ++i) dtype_objects[i] = py::object(dtypes[size_t(i)]).release().ptr();
    for (py::handle device : devices) device_objects.push_back(device.inc_ref().ptr());
  });
  m.def("alias", [](const Array& a) { return a; }, "The same memory as a tensor without history.");
  m.def("alias_as", [](const Array& a, py::type type) {
    auto* t = reinterpret_cast<PyTypeObject*>(type.ptr());
    if (!PyType_IsSubtype(t, tensor_base)) throw py::type_error("alias_as: not a subclass of Tensor");
    PyObject* o = t->tp_alloc(t, 0);
    if (!o) throw py::error_already_set();
    new (&array_of(o)) Array(a);
    return py::reinterpret_steal<py::object>(o);
  });
  m.def(
      "move_",
      [](py::handle to, const Array& from) {
        if (!is_tensor(to.ptr()) || tensor(to.ptr())->node) throw py::type_error("move_: expected a leaf Tensor");
        const uint32_t version = array_of(to.ptr()).storage->version;
        array_of(to.ptr()) = from;
        from.storage->version = version + 1;  // a graph that has saved it must not go on with this
        Py_CLEAR(tensor(to.ptr())->grad);
      },
      "Gives a leaf the memory, dtype and device of another tensor; its gradient is forgotten.");
  m.def(
      "shares_memory", [](const Array& a, const Array& b) { return a.storage.get() == b.storage.get(); },
      "Are both views of one storage?");
}

}  // namespace steep
