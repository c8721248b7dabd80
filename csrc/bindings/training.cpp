// What fit asks for with every batch, each by one call: several would take as long as a step of the optimizer.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "../core/device.h"
#include "../core/dtype.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/views.h"
#include "python_type.h"
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

/// accuracy(scores, labels): the share of rows whose largest score is the label's, for the most frequent operands:
/// (N, classes) of floats and (N,) of int64 on the CPU. None for others.
PyObject* accuracy_of_any(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2 || !is_tensor(args[0]) || !is_tensor(args[1])) throw TypeError("accuracy(scores, labels): two Tensors");
  const Array &scores = array_of(args[0]), &labels = array_of(args[1]);
  const bool usual = scores.ndim() == 2 && scores.shape[1] > 1 && labels.shape == Dims{scores.shape[0]} &&
                     (scores.dtype == DType::float32 || scores.dtype == DType::float64) &&
                     labels.dtype == DType::int64 && !on_cuda(scores) && !on_cuda(labels);
  if (!usual) return new_reference(nullptr);
  const double share = [&] {
    const Unlocked unlocked(scores.size());
    return scores.dtype == DType::float32 ? accuracy<float>(scores, labels) : accuracy<double>(scores, labels);
  }();
  return PyFloat_FromDouble(share);
}

/// The number that a batch gives for a name: a float, or a 1-element tensor on the CPU; none for anything else.
std::optional<double> number_of(PyObject* o) {
  if (!is_tensor(o)) return PyFloat_CheckExact(o) ? std::optional(PyFloat_AS_DOUBLE(o)) : std::nullopt;
  const Array& a = array_of(o);
  return !on_cuda(a) && a.size() == 1 ? std::optional(element(a)) : std::nullopt;
}

/// add_numbers(totals, numbers, samples): totals[name] += number · samples for the numbers of a batch. False, and
/// nothing is changed, if there is anything but numbers.
PyObject* add_numbers(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 3 || !PyDict_Check(args[0]) || !PyDict_Check(args[1]))
    throw TypeError("add_numbers(totals, numbers, samples)");
  PyObject* const totals = args[0];
  const double samples = PyFloat_AsDouble(args[2]);
  if (samples == -1 && PyErr_Occurred()) return nullptr;
  std::vector<std::pair<PyObject*, double>> sums;
  PyObject *name, *number;
  for (Py_ssize_t at = 0; PyDict_Next(args[1], &at, &name, &number);) {
    PyObject* const total = PyDict_GetItemWithError(totals, name);
    if (!total && PyErr_Occurred()) return nullptr;
    const std::optional<double> value = number_of(number);
    if (!value || (total && !PyFloat_CheckExact(total))) Py_RETURN_FALSE;
    sums.emplace_back(name, (total ? PyFloat_AS_DOUBLE(total) : 0.0) + *value * samples);
  }
  for (const auto& [key, sum] : sums)
    if (PyDict_SetItem(totals, key, py::float_(sum).ptr()) != 0) return nullptr;
  Py_RETURN_TRUE;
}

/// row_views(x, size): x in views of `size` rows each; the last one may have fewer.
PyObject* row_views(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2 || !is_tensor(args[0]) || array_of(args[0]).ndim() == 0)
    throw TypeError("row_views(x, size): a Tensor with rows, and how many of them");
  const int64_t size = PyLong_AsLongLong(args[1]);
  if (size == -1 && PyErr_Occurred()) return nullptr;
  if (size < 1) throw std::invalid_argument(message("row_views: size=", size, " must be positive"));
  const Array& x = array_of(args[0]);
  const int64_t rows = x.shape[0];
  py::list views;
  for (int64_t start = 0; start < rows; start += size)
    views.append(py::cast(slice(x, 0, start, 1, std::min(size, rows - start))));
  return views.release().ptr();
}

}  // namespace

void register_training(py::module_& m) {
  static PyMethodDef functions[] = {
      {"accuracy", fast_function<accuracy_of_any>(), METH_FASTCALL,
       "accuracy(scores, labels): of (N, classes) and (N,) on the CPU, or None."},
      {"add_numbers", fast_function<add_numbers>(), METH_FASTCALL,
       "add_numbers(totals, numbers, samples): adds the numbers of a batch; False if there is anything else."},
      {"row_views", fast_function<row_views>(), METH_FASTCALL,
       "row_views(x, size): a list of views of size rows each; the last one may have fewer."},
      {}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace steep
