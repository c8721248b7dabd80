// What fit asks for with every batch, each by one call: several would take as long as a step of the optimizer.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "../core/device.h"
#include "../core/dtype.h"
#include "../core/indexing.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

/// Is x[label] the largest of n scores, the first of equals? A NaN counts as the largest.
template <class T>
bool is_first_largest(const T* x, int64_t n, int64_t label) {
  const T chosen = x[label];
  if (std::isnan(chosen)) return std::none_of(x, x + label, [](T v) { return std::isnan(v); });
  bool beaten = false;
  for (int64_t i = 0; i < label; ++i) beaten |= !(x[i] < chosen);
  for (int64_t i = label + 1; i < n; ++i) beaten |= !(x[i] <= chosen);
  return !beaten;
}

/// The share of rows of `scores` (N, classes) whose largest one, the first of equals, is that of the label (N,).
template <class T>
double accuracy(const Array& scores, const Array& labels) {
  const int64_t n = scores.shape[0], classes = scores.shape[1];
  const Array x = contiguous(scores), truth = contiguous(checked_labels("accuracy", labels, classes));
  const int64_t* label = truth.as<int64_t>();
  int64_t right = 0;
  for (int64_t i = 0; i < n; ++i) right += is_first_largest(x.as<T>() + i * classes, classes, label[i]);
  return double(right) / double(n);
}

double element(const Array& x) {
  double value = 0;
  visit(x.dtype, [&](auto zero) { value = double(*x.as<decltype(zero)>()); });
  return value;
}

/// totals[name] += number · samples for the numbers of a batch: floats, and 1-element tensors on the CPU. False, and
/// nothing is changed, if there is anything else.
bool add_numbers(py::dict& totals, const py::dict& numbers, double samples) {
  const auto is_number = [](py::handle h) {
    if (!is_tensor(h.ptr())) return bool(PyFloat_CheckExact(h.ptr()));
    const Array& a = array_of(h.ptr());
    return !on_cuda(a) && a.size() == 1;
  };
  for (const auto& [name, number] : numbers) {
    PyObject* const total = PyDict_GetItemWithError(totals.ptr(), name.ptr());
    if (!total && PyErr_Occurred()) throw py::error_already_set();
    if (!is_number(number) || (total && !PyFloat_CheckExact(total))) return false;
  }
  for (const auto& [name, number] : numbers) {
    const double value = is_tensor(number.ptr()) ? element(array_of(number.ptr())) : PyFloat_AS_DOUBLE(number.ptr());
    PyObject* const total = PyDict_GetItemWithError(totals.ptr(), name.ptr());
    totals[name] = py::float_((total ? PyFloat_AS_DOUBLE(total) : 0.0) + value * samples);
  }
  return true;
}

}  // namespace

void register_training(py::module_& m) {
  m.def("accuracy", [](const Array& scores, const Array& labels) -> std::optional<double> {
    const bool usual = scores.ndim() == 2 && scores.shape[1] > 1 && labels.shape == Dims{scores.shape[0]} &&
                       (scores.dtype == DType::float32 || scores.dtype == DType::float64) &&
                       labels.dtype == DType::int64 && !on_cuda(scores) && !on_cuda(labels);
    if (!usual) return std::nullopt;
    const Unlocked unlocked(labels, scores.size());
    return scores.dtype == DType::float32 ? accuracy<float>(scores, labels) : accuracy<double>(scores, labels);
  });
  m.def("add_numbers", &add_numbers);
}

}  // namespace steep
