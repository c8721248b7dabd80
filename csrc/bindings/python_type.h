// What the raw Python types of the tape are made of.
#pragma once
#include <pybind11/pybind11.h>

#include <new>

#include "../core/errors.h"
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

/// The C++ exception being handled, as Python's.
inline PyObject* set_python_error() {
  try {
    throw;
  } catch (pybind11::error_already_set& e) {
    e.restore();
  } catch (const std::bad_alloc& e) {
    PyErr_SetString(PyExc_MemoryError, e.what());
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const std::invalid_argument& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
  return nullptr;
}

/// A METH_FASTCALL function whose C++ exceptions become Python's.
template <PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)>
PyCFunction fast_function() {
  const auto guarded = +[](PyObject* self, PyObject* const* args, Py_ssize_t n) -> PyObject* {
    try {
      return function(self, args, n);
    } catch (...) {
      return set_python_error();
    }
  };
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(guarded));
}

}  // namespace steep
