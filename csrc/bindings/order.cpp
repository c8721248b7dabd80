// Scans, sorts and searches.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/scan.h"
#include "../core/sort.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

/// f of an array and an axis of it, without the lock if the work pays for it.
template <class F>
auto along(const char* op, const Array& a, int64_t axis, int64_t work, const F& f) {
  const int i = normalize_axis(op, axis, a.ndim());
  const Unlocked unlocked(work);
  return f(a, i);
}

template <Scan kind>
Array bound_scan(const Array& a, int64_t axis) {
  return along("scan", a, axis, a.size(), [](const Array& x, int i) { return scan(kind, x, i); });
}

template <bool largest>
std::pair<Array, Array> bound_extreme_scan(const Array& a, int64_t axis) {
  return along("scan", a, axis, a.size(), [](const Array& x, int i) { return extreme_scan(largest, x, i); });
}

Array bound_linear_scan(const Array& a, const Array& b, int64_t axis) {
  if (a.shape != b.shape || a.dtype != b.dtype || !is_floating(b.dtype))
    throw std::invalid_argument(message("linear_scan: factors of shape ", to_string(a.shape), " and dtype ",
                                        name(a.dtype), ", terms ", to_string(b.shape), " and ", name(b.dtype),
                                        ": both must be floats of one dtype and shape"));
  return along("linear_scan", b, axis, b.size(), [&](const Array& terms, int i) { return linear_scan(a, terms, i); });
}

/// The same of a sort, which takes longer than a pass over the elements.
template <class F>
auto sorting_call(const char* op, const Array& a, int64_t axis, const F& f) {
  return along(op, a, axis, a.size() * 16, f);
}

Array bound_searchsorted(const Array& sorted, const Array& values, bool right) {
  const DType t = promote_types(sorted.dtype, values.dtype);
  const Unlocked unlocked(values.size() * 16);
  return searchsorted(in_dtype(sorted, t), in_dtype(values, t), right);
}

}  // namespace

void register_order(py::module_& m) {
  m.def("cumulative_sum", &bound_scan<Scan::sum>);
  m.def("cumulative_prod", &bound_scan<Scan::prod>);
  m.def("logcumsumexp", &bound_scan<Scan::logsumexp>);
  m.def("linear_scan", &bound_linear_scan);
  m.def("cummax", &bound_extreme_scan<true>);
  m.def("cummin", &bound_extreme_scan<false>);
  m.def("sort", [](const Array& a, int64_t axis, bool descending) {
    return sorting_call("sort", a, axis, [&](const Array& x, int i) { return sort(x, i, descending); });
  });
  m.def("sort_with_indices", [](const Array& a, int64_t axis, bool descending) {
    return sorting_call("sort", a, axis, [&](const Array& x, int i) { return sort_with_indices(x, i, descending); });
  });
  m.def("argsort", [](const Array& a, int64_t axis, bool descending) {
    return sorting_call("argsort", a, axis, [&](const Array& x, int i) { return argsort(x, i, descending); });
  });
  m.def("topk", [](const Array& a, int64_t k, int64_t axis, bool largest) {
    return sorting_call("topk", a, axis, [&](const Array& x, int i) { return topk(x, k, i, largest); });
  });
  m.def("searchsorted", &bound_searchsorted);
}

}  // namespace steep
