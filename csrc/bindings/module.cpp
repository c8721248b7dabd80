// The one extension module. pybind11 binds the engine, nanobind the edge (kernels on anybody's arrays, DLPack).
#include <pybind11/pybind11.h>

#include "../core/errors.h"
#include "register.h"

namespace py = pybind11;

// The tape's types and the pool belong to one interpreter: importing in a second one is an ImportError.
PYBIND11_MODULE(_core, m, py::mod_gil_not_used(), py::multiple_interpreters::not_supported()) {
  py::register_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const steep::TypeError& e) {
      py::set_error(PyExc_TypeError, e.what());
    } catch (const steep::MemoryError& e) {
      py::set_error(PyExc_MemoryError, e.what());
    }
  });
  steep::register_tensor_type(m);
  steep::register_node_type(m);
  steep::register_operators(m);
  steep::register_backward(m);
  steep::register_watch(m);
  steep::register_array(m);
  steep::register_indexing(m);
  steep::register_ops(m);
  steep::register_nn(m);
  steep::register_optimizers(m);
  steep::register_layers(m);
  steep::register_gradients(m);
  steep::register_training(m);
  steep::register_order(m);
  steep::register_random(m);
  steep::register_taped(m);
  steep::register_runtime(m);
  steep::register_graphs(m);
  steep::register_kernels(m);
}
