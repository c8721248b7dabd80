// Random tensors from the counter-based generator: (seed, offset) name a stream position.
#include <pybind11/pybind11.h>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/random_kernels.h"
#include "../core/thread_pool.h"
#include "../cuda/table.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

constexpr int64_t kGrain = 8192;  // elements a thread draws at least

/// A new array, filled by cuda(elements, size) on CUDA and by cpu(begin, end) in pieces elsewhere.
template <class Cpu, class Cuda>
Array filled(const char* op, DType t, const Dims& shape, Device device, const Cpu& cpu, const Cuda& cuda) {
  Array out(t, shape, device);
  const int64_t n = out.size();
  const Unlocked unlocked(n);
  const DeviceScope scope(op, {&out});
  if (!on_cuda(out))
    parallel_range(n, kGrain, [&](int64_t begin, int64_t end) { cpu(out, begin, end); });
  else if (n > 0)
    cuda(out.data, n);
  return out;
}

}  // namespace

void register_random(py::module_& module) {
  py::module_ m = module.def_submodule("random");
  m.def("blocks", &random::blocks);
  m.def("uniform", [](DType t, const Dims& shape, double low, double high, uint64_t seed, uint64_t offset, Device d) {
    return filled(
        "random.uniform", t, shape, d,
        [&](const Array& out, int64_t begin, int64_t end) {
          if (t == DType::float32)
            random::uniform(out.as<float>(), begin, end, float(low), float(high), seed, offset);
          else
            random::uniform(out.as<double>(), begin, end, low, high, seed, offset);
        },
        [&](void* out, int64_t n) { cuda::table()->uniform(t, out, n, low, high, seed, offset); });
  });
  m.def("normal", [](DType t, const Dims& shape, double mean, double std, uint64_t seed, uint64_t offset, Device d) {
    return filled(
        "random.normal", t, shape, d,
        [&](const Array& out, int64_t begin, int64_t end) {
          if (t == DType::float32)
            random::normal(out.as<float>(), begin, end, float(mean), float(std), seed, offset);
          else
            random::normal(out.as<double>(), begin, end, mean, std, seed, offset);
        },
        [&](void* out, int64_t n) { cuda::table()->normal(t, out, n, mean, std, seed, offset); });
  });
  m.def("randint", [](DType t, const Dims& shape, int64_t low, int64_t high, uint64_t seed, uint64_t offset, Device d) {
    return filled(
        "random.randint", t, shape, d,
        [&](const Array& out, int64_t begin, int64_t end) {
          if (t == DType::int32)
            random::randint(out.as<int32_t>(), begin, end, low, high, seed, offset);
          else
            random::randint(out.as<int64_t>(), begin, end, low, high, seed, offset);
        },
        [&](void* out, int64_t n) { cuda::table()->randint(t, out, n, low, high, seed, offset); });
  });
  m.def("bernoulli", [](const Dims& shape, double p, uint64_t seed, uint64_t offset, Device d) {
    return filled(
        "random.bernoulli", DType::boolean, shape, d,
        [&](const Array& out, int64_t begin, int64_t end) {
          random::bernoulli(out.as<uint8_t>(), begin, end, p, seed, offset);
        },
        [&](void* out, int64_t n) { cuda::table()->bernoulli(static_cast<uint8_t*>(out), n, p, seed, offset); });
  });
  m.def("permutation", [](int64_t n, uint64_t seed, uint64_t offset) {
    Array out(DType::int64, {n}, Device());
    random::permutation(out.as<int64_t>(), n, seed, offset);
    return out;
  });
}

}  // namespace steep
