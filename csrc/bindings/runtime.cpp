// Threads, instruction sets and devices.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <atomic>
#include <chrono>
#include <cmath>

#include "../core/array.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/thread_pool.h"
#include "../cuda/cuda.h"
#include "register.h"

namespace py = pybind11;

namespace steep {
namespace {

void register_cuda(py::module_& module) {
  py::module_ m = module.def_submodule("cuda");
  py::register_exception<cuda::CudaError>(m, "CudaError", PyExc_RuntimeError);
  m.def("device_count", &cuda::device_count);
  m.def("unavailable_reason", &cuda::unavailable_reason);
  m.def("is_built", &cuda::is_built);
  m.def("is_emulated", &cuda::is_emulated);
  m.def("runtime_version", &cuda::runtime_version);
  m.def("driver_version", &cuda::driver_version);
  m.def("properties", [](int index) {
    const cuda::Properties p = cuda::properties(index);
    return py::dict(
        py::arg("name") = p.name, py::arg("major") = p.major, py::arg("minor") = p.minor,
        py::arg("total_memory") = p.total_memory, py::arg("multi_processor_count") = p.multi_processor_count,
        py::arg("shared_memory_per_block") = p.shared_memory_per_block,
        py::arg("shared_memory_per_multiprocessor") = p.shared_memory_per_multiprocessor,
        py::arg("l2_cache_size") = p.l2_cache_size, py::arg("warp_size") = p.warp_size,
        py::arg("clock_rate_khz") = p.clock_rate_khz, py::arg("memory_bus_width_bits") = p.memory_bus_width_bits);
  });
  m.def("synchronize", &cuda::synchronize, py::call_guard<py::gil_scoped_release>());
  m.def("memory_stats", [](int index) {
    const cuda::MemoryStats s = cuda::memory_stats(index);
    return py::dict(py::arg("in_use") = s.in_use, py::arg("cached") = s.cached, py::arg("peak") = s.peak,
                    py::arg("device_allocations") = s.device_allocations, py::arg("free") = s.free,
                    py::arg("total") = s.total);
  });
  m.def("empty_cache", &cuda::empty_cache, py::call_guard<py::gil_scoped_release>());

  m.def("stream_create", &cuda::stream_create);
  m.def("stream_destroy", &cuda::stream_destroy);
  m.def("stream_synchronize", &cuda::stream_synchronize, py::call_guard<py::gil_scoped_release>());
  m.def("stream_query", &cuda::stream_query);
  m.def("current_stream", &cuda::current_stream_of);
  m.def("set_stream", &cuda::set_stream);
  m.def("stream_wait_event", &cuda::stream_wait_event);
  m.def("event_create", &cuda::event_create);
  m.def("event_destroy", &cuda::event_destroy);
  m.def("event_record", &cuda::event_record);
  m.def("event_query", &cuda::event_query);
  m.def("event_synchronize", &cuda::event_synchronize, py::call_guard<py::gil_scoped_release>());
  m.def("event_elapsed", &cuda::event_elapsed);
}

/// The floating-point operations that all threads have done: independent multiply-adds of float32.
int64_t peak_multiply_adds(int64_t rounds) {
  std::atomic<int64_t> done{0};
  parallel_for(num_threads(), [&](int64_t) { done += kernels().multiply_adds(rounds); });
  return done;
}

/// Bytes read and written in a second, at best, when all threads copy `bytes` bytes.
double peak_bandwidth(int64_t bytes) {
  using Clock = std::chrono::steady_clock;
  const int64_t n = bytes / int64_t(sizeof(float));
  const Array from = Array::full(DType::float32, {n}, 1, {}), to = Array::full(DType::float32, {n}, 0, {});
  std::chrono::duration<double> best{INFINITY};
  for (int round = 0; round < 7; ++round) {
    const auto start = Clock::now();
    parallel_range(n, 1024, [&](int64_t begin, int64_t end) {
      kernels().memory.stream((end - begin) * int64_t(sizeof(float)), from.as<float>() + begin, to.as<float>() + begin);
      kernels().memory.end_streams();
    });
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start));
  }
  return 2 * double(n) * sizeof(float) / best.count();
}

}  // namespace

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
  m.def("float32_matmul_precision", [] { return int(float32_precision()); });
  m.def("set_float32_matmul_precision", [](int precision) { set_float32_precision(cuda::Precision(precision)); });
  m.def("peak_multiply_adds", &peak_multiply_adds, py::call_guard<py::gil_scoped_release>());
  m.def("peak_bandwidth", &peak_bandwidth, py::call_guard<py::gil_scoped_release>());
  m.attr("version") = STEEP_VERSION;
  m.attr("compiler") = STEEP_COMPILER;
  register_cuda(m);
}

}  // namespace steep
