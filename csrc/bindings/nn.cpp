// Matrix products, row operations, losses and distances.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "../core/device.h"
#include "../core/distances.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/reduce.h"
#include "../core/rows.h"
#include "../core/views.h"
#include "operators.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

const Array* optional_array(py::handle h) {
  if (h.is_none()) return nullptr;
  if (!is_tensor(h.ptr())) throw TypeError(message("expected a Tensor or None, not ", Py_TYPE(h.ptr())->tp_name));
  return &array_of(h.ptr());
}

template <class F>
auto along(const char* op, const F& f) {
  return [op, f](const Array& a, int64_t axis) {
    const int i = normalize_axis(op, axis, a.ndim());
    if (!is_floating(a.dtype))
      throw TypeError(
          message(op, " needs a floating-point tensor, not ", name(a.dtype), ": use .astype(steep.float32)"));
    const Unlocked unlocked(a.size() * 4);
    return f(a, i);
  };
}

template <class F>
auto along_backward(const char* op, const F& f) {
  return [op, f](const Array& g, const Array& y, int64_t axis) {
    const int i = normalize_axis(op, axis, y.ndim());
    if (g.dtype != y.dtype || g.shape != y.shape)
      throw std::invalid_argument(
          message(op, ": gradient of shape ", to_string(g.shape), " for a result of shape ", to_string(y.shape)));
    const Unlocked unlocked(g.size() * 2);
    return f(g, y, i);
  };
}

}  // namespace

Array any_matmul(const Array& a, const Array& b) {
  if (a.ndim() == 0 || b.ndim() == 0)
    throw std::invalid_argument(message("matmul: shapes ", to_string(a.shape), " and ", to_string(b.shape),
                                        ": operands need at least one dimension; use * to multiply by a number"));
  if (a.dtype != b.dtype) {
    const DType t = promote_types(a.dtype, b.dtype);
    return any_matmul(in_dtype(a, t), in_dtype(b, t));
  }
  // A vector is a row on the left and a column on the right; the axis it gets is taken off the result.
  const Array x = a.ndim() == 1 ? expand_dims(a, 0) : a, y = b.ndim() == 1 ? expand_dims(b, 1) : b;
  const Unlocked unlocked(work_of(x, y.shape[y.ndim() - 1]));
  Array out = matmul(x, y);
  Dims gone;
  if (a.ndim() == 1) gone.push(-2);
  if (b.ndim() == 1) gone.push(-1);
  return gone.n ? squeeze(out, gone) : out;
}

void register_nn(py::module_& m) {
  m.def("matmul", &any_matmul);
  m.def("softmax", along("softmax", [](const Array& x, int axis) { return softmax(x, axis); }));
  m.def("log_softmax", along("log_softmax", log_softmax));
  m.def("logsumexp", along("logsumexp", logsumexp));
  m.def("softmax_backward", along_backward("softmax", [](const Array& g, const Array& y, int axis) {
          return softmax_backward(g, y, axis);
        }));
  m.def("log_softmax_backward", along_backward("log_softmax", log_softmax_backward));

  m.def("checked_labels", [](const std::string& op, const Array& labels, int64_t classes) {
    const Unlocked unlocked(labels, labels.size());
    return checked_labels(op.c_str(), labels, classes);
  });
  m.def("cross_entropy", [](const Array& x, const Array& labels, std::optional<double> divisor) {
    const Unlocked unlocked(x.size() * 4);
    CrossEntropy out = cross_entropy(x, labels, divisor);
    return std::pair(std::move(out.loss), std::move(out.lse));
  });
  m.def("cross_entropy_backward",
        [](const Array& g, const Array& x, const Array& labels, const Array& lse, std::optional<double> divisor) {
          const Unlocked unlocked(x.size() * 4);
          return cross_entropy_backward(g, x, labels, lse, divisor);
        });
  m.def("cross_entropy_gradient", [](const Array& x, const Array& labels, py::object weights, py::object total,
                                     double divisor, double smoothing) {
    const Array *w = optional_array(weights), *by = optional_array(total);
    const Unlocked unlocked(x.size() * 4);
    CrossEntropyGradient out = cross_entropy_gradient(x, labels, w, by, divisor, smoothing);
    return std::pair(std::move(out.loss), std::move(out.dx));
  });
  m.def("layer_norm", [](const Array& x, int axes, py::object weight, py::object bias, double eps) {
    const Array *w = optional_array(weight), *b = optional_array(bias);
    const Unlocked unlocked(x.size());
    LayerNorm out = layer_norm(x, axes, w, b, eps);
    return std::tuple(std::move(out.y), std::move(out.mean), std::move(out.rstd));
  });
  m.def("layer_norm_backward",
        [](const Array& g, const Array& x, int axes, py::object weight, const Array& mean, const Array& rstd) {
          const Array* w = optional_array(weight);
          const Unlocked unlocked(x.size());
          LayerNormGrads out = layer_norm_backward(g, x, axes, w, mean, rstd);
          return std::tuple(std::move(out.dx), std::move(out.dweight), std::move(out.dbias));
        });
  m.def("rms_norm", [](const Array& x, int axes, py::object weight, double eps) {
    const Array* w = optional_array(weight);
    const Unlocked unlocked(x.size());
    RmsNorm out = rms_norm(x, axes, w, eps);
    return std::pair(std::move(out.y), std::move(out.rstd));
  });
  m.def("rms_norm_backward", [](const Array& g, const Array& x, int axes, py::object weight, const Array& rstd) {
    const RmsNormGrads out = [&] {
      const Array* w = optional_array(weight);
      const Unlocked unlocked(x.size());
      return rms_norm_backward(g, x, axes, w, rstd);
    }();
    return std::pair(out.dx, out.dweight.data ? py::cast(out.dweight) : py::object(py::none()));
  });
  m.def("cdist", [](const Array& a, const Array& b, double p) {
    const Unlocked unlocked(work_of(a, b.size()));
    return distances(a, b, p);
  });
  m.def("cdist_backward", [](const Array& g, const Array& a, const Array& b, const Array& y, double p) {
    const Unlocked unlocked(work_of(a, b.size()));
    return distances_backward(g, a, b, y, p);
  });
}

}  // namespace steep
