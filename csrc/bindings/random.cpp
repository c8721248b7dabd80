// Random tensors from the counter-based generator: (seed, offset) name a stream position.
#include <pybind11/pybind11.h>

#include "../core/errors.h"
#include "../core/random_kernels.h"
#include "../core/thread_pool.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

constexpr int64_t kGrain = 8192;  // elements a thread draws at least

/// f(begin, end) fills a new array's elements in pieces.
template <class F>
Array filled(DType t, const Dims& shape, const F& f) {
  Array out(t, shape);
  const Unlocked unlocked(out.size());
  parallel_range(out.size(), kGrain, [&](int64_t begin, int64_t end) { f(out, begin, end); });
  return out;
}

}  // namespace

void register_random(py::module_& module) {
  py::module_ m = module.def_submodule("random");
  m.def("blocks", &random::blocks);
  m.def("uniform", [](DType t, const Dims& shape, double low, double high, uint64_t seed, uint64_t offset) {
    return filled(t, shape, [&](const Array& out, int64_t begin, int64_t end) {
      if (t == DType::float32)
        random::uniform(out.as<float>(), begin, end, float(low), float(high), seed, offset);
      else
        random::uniform(out.as<double>(), begin, end, low, high, seed, offset);
    });
  });
  m.def("normal", [](DType t, const Dims& shape, double mean, double std, uint64_t seed, uint64_t offset) {
    return filled(t, shape, [&](const Array& out, int64_t begin, int64_t end) {
      if (t == DType::float32)
        random::normal(out.as<float>(), begin, end, float(mean), float(std), seed, offset);
      else
        random::normal(out.as<double>(), begin, end, mean, std, seed, offset);
    });
  });
  m.def("randint", [](DType t, const Dims& shape, int64_t low, int64_t high, uint64_t seed, uint64_t offset) {
    return filled(t, shape, [&](const Array& out, int64_t begin, int64_t end) {
      if (t == DType::int32)
        random::randint(out.as<int32_t>(), begin, end, low, high, seed, offset);
      else
        random::randint(out.as<int64_t>(), begin, end, low, high, seed, offset);
    });
  });
  m.def("bernoulli", [](const Dims& shape, double p, uint64_t seed, uint64_t offset) {
    return filled(DType::boolean, shape, [&](const Array& out, int64_t begin, int64_t end) {
      random::bernoulli(out.as<uint8_t>(), begin, end, p, seed, offset);
    });
  });
  m.def("permutation", [](int64_t n, uint64_t seed, uint64_t offset) {
    Array out(DType::int64, {n});
    random::permutation(out.as<int64_t>(), n, seed, offset);
    return out;
  });
}

}  // namespace steep
