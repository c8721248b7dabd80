// Threads, instruction sets and devices.
#include <pybind11/pybind11.h>

#include "../core/kernels.h"
#include "../core/thread_pool.h"
#include "../cuda/cuda.h"
#include "register.h"

namespace py = pybind11;

namespace steep {

void register_runtime(py::module_& m) {
  m.attr("isa") = kernels().isa;
  m.def("available_isas", [] {
    py::list names;
    for (const char* name : available_isas()) names.append(name);
    return names;
  });
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads);
  num_threads();  // an invalid STEEP_NUM_THREADS is an error of the import, not of some later operation
  m.def("cuda_device_count", &cuda::device_count);
  m.def("cuda_unavailable_reason", &cuda::unavailable_reason);
  m.attr("version") = STEEP_VERSION;
  m.attr("compiler") = STEEP_COMPILER;
}

}  // namespace steep
