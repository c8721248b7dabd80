// What is done to all gradients at once, between the backward pass and the optimizer's step.
#include "../core/gradients.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

int64_t elements(const std::vector<Array>& arrays) {
  int64_t n = 0;
  for (const Array& a : arrays) n += a.size();
  return n;
}

}  // namespace

void register_gradients(py::module_& m) {
  m.def("total_norm", [](const std::vector<Array>& gradients, double ord) {
    const Unlocked unlocked(elements(gradients));
    return total_norm(gradients, ord);
  });
  m.def("clip_norm_", [](const std::vector<Array>& gradients, const Array& norm, double max_norm) {
    const Unlocked unlocked(elements(gradients));
    clip_norm(gradients, norm, max_norm);
  });
  m.def("clip_values_", [](const std::vector<Array>& gradients, double limit) {
    const Unlocked unlocked(elements(gradients));
    clip_values(gradients, limit);
  });
  m.def("unscale_", [](const std::vector<Array>& gradients, double factor) {
    const Unlocked unlocked(elements(gradients));
    return unscale(gradients, factor);
  });
}

}  // namespace steep
