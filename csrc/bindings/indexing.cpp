// Index arrays, masks, scatters and diagonals.
#include <pybind11/stl.h>

#include "../core/device.h"
#include "../core/gather.h"
#include "../core/indexing.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

int64_t places(const std::vector<Array>& indices) { return indices.empty() ? 0 : indices[0].size(); }

/// A copy of x, changed by write(copy).
template <class F>
Array changed(const Array& x, const Array& values, const F& write) {
  const Unlocked unlocked(x, std::max(x.size(), values.size()));
  Array out = copy(x);
  write(out);
  return out;
}

}  // namespace

void register_indexing(py::module_& m) {
  m.def("gather", [](const Array& a, std::vector<Array> indices, int axis, std::vector<int> names, bool distinct) {
    const Unlocked unlocked(a, places(indices));
    return gather(a, {"indexing", std::move(indices), axis, std::move(names), distinct});
  });
  m.def("gather_backward", [](const Array& g, std::vector<Array> indices, int axis, const Dims& shape, bool distinct) {
    const Unlocked unlocked(g, g.size());
    Array out = Array::full(g.dtype, shape, 0, g.device());
    const Selection s{"indexing", std::move(indices), axis, {}, distinct};
    distinct ? scatter(out, s, g) : scatter_add(out, s, g);
    return out;
  });
  m.def("scatter_", [](Array& to, std::vector<Array> indices, int axis, std::vector<int> names, bool distinct,
                       const Array& values) {
    const Unlocked unlocked(to.device() == values.device() ? places(indices) : Unlocked::kAlways);
    scatter(to, {"assignment", std::move(indices), axis, std::move(names), distinct}, to_device(values, to.device()));
  });
  m.def("index_add", [](const Array& x, const Array& index, int axis, const Array& source) {
    return changed(x, source, [&](Array& out) { scatter_add(out, {"index_add", {index}, axis, {}}, source); });
  });
  m.def("index_copy", [](const Array& x, const Array& index, int axis, const Array& source) {
    return changed(x, source, [&](Array& out) { scatter(out, {"index_copy", {index}, axis, {}}, source); });
  });

  m.def("gather_along_axis", [](const Array& x, const Array& index, int axis) {
    const Unlocked unlocked(x, index.size());
    return gather_along_axis("gather", x, index, axis);
  });
  m.def("scatter_along_axis", [](const Array& x, const Array& index, int axis, const Array& values) {
    return changed(x, index, [&](Array& out) { scatter_along_axis("scatter", out, index, axis, values); });
  });
  m.def("scatter_add_along_axis", [](const Array& x, const Array& index, int axis, const Array& values) {
    return changed(x, index, [&](Array& out) { scatter_add_along_axis("scatter_add", out, index, axis, values); });
  });

  m.def("nonzero", [](const Array& x) {
    const Unlocked unlocked(x, x.size());
    return nonzero(x);
  });
  m.def("flat_nonzero", [](const Array& x) {
    const Unlocked unlocked(x, x.size());
    return flat_nonzero(x);
  });

  m.def("diagonal", &diagonal);
  m.def("diagonal_backward", [](const Array& g, int64_t offset, int axis1, int axis2, const Dims& shape) {
    Array out = Array::full(g.dtype, shape, 0, g.device());
    Array view = diagonal(out, offset, axis1, axis2);
    assign(view, g);
    return out;
  });
}

}  // namespace steep
