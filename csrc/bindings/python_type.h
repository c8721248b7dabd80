// What the raw Python types of the tape are made of.
#pragma once
#include <pybind11/pybind11.h>

#include "tensor_type.h"

namespace steep {

inline TensorObject* tensor(PyObject* o) { return reinterpret_cast<TensorObject*>(o); }
inline NodeObject* node(PyObject* o) { return reinterpret_cast<NodeObject*>(o); }

inline PyObject* new_reference(PyObject* o) {
  if (!o) o = Py_None;
  Py_INCREF(o);
  return o;
}

/// Instances of heap types own a reference to their type.
inline void free_object(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  type->tp_free(o);
  Py_DECREF(reinterpret_cast<PyObject*>(type));
}

template <class F>
PyGetSetDef property(const char* name, const char* doc, F get) {
  return {name, get, nullptr, doc, nullptr};
}

inline PyTypeObject* make_type(const char* name, size_t size, PyType_Slot* slots) {
  PyType_Spec spec{name, int(size), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                   slots};
  PyObject* type = PyType_FromSpec(&spec);
  if (!type) throw pybind11::error_already_set();
  return reinterpret_cast<PyTypeObject*>(type);
}

}  // namespace steep
