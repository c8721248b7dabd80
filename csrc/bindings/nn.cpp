// Matrix products, row operations, losses and optimizer steps.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <string_view>

#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/rows.h"
#include "../core/thread_pool.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

const UnaryKernel& unary_kernel(std::string_view name) {
  for (const UnaryKernel& k : kernels().unary)
    if (name == k.name) return k;
  throw std::invalid_argument(message("there is no elementwise operation called '", name, "'"));
}

int64_t work_of(const Array& a, int64_t columns) { return a.size() * std::max<int64_t>(columns / 16, 1); }

Array matmul_any(const Array& a, const Array& b) {
  if (a.ndim() == 0 || b.ndim() == 0)
    throw std::invalid_argument(message("matmul: shapes ", to_string(a.shape), " and ", to_string(b.shape),
                                        ": operands need at least one dimension; use * to multiply by a number"));
  if (a.dtype != b.dtype) {
    const DType t = promote_types(a.dtype, b.dtype);
    return matmul_any(a.dtype == t ? a : astype(a, t), b.dtype == t ? b : astype(b, t));
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

Array linear_checked(const Array& x, const Array& weight, const Array* bias, py::object activation) {
  const bool fits = weight.ndim() == 2 && x.ndim() >= 1 && x.shape[x.ndim() - 1] == weight.shape[1] &&
                    (!bias || (bias->ndim() == 1 && bias->shape[0] == weight.shape[0]));
  if (!fits)
    throw std::invalid_argument(message("linear: input of shape ", to_string(x.shape), ", weight ",
                                        to_string(weight.shape), ", bias ", bias ? to_string(bias->shape) : "None",
                                        ": expected (…, in), (out, in) and (out,)"));
  if (!is_floating(x.dtype) || x.dtype != weight.dtype || (bias && bias->dtype != x.dtype))
    throw TypeError(message("linear: input, weight and bias must have one floating-point dtype, not ", name(x.dtype),
                            ", ", name(weight.dtype), bias ? std::string(" and ") + name(bias->dtype) : ""));
  const UnaryKernel* k = activation.is_none() ? nullptr : &unary_kernel(activation.cast<std::string>());
  const Unlocked unlocked(work_of(x, weight.shape[0]));
  return linear(x, weight, bias, k);
}

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

/// What an optimizer updates: a parameter, its gradient, and up to two state tensors of its shape.
struct Update {
  size_t index;
  Array parameter, gradient, state[2];
};

/// The parameters that have a gradient. All is checked here, so that an error leaves every parameter as it was.
std::vector<Update> updates(const char* op, const py::list& params, std::initializer_list<const py::list*> states) {
  std::vector<Update> out;
  for (size_t i = 0; i < params.size(); ++i) {
    py::handle item = params[i];
    if (!is_tensor(item.ptr())) throw TypeError(message(op, ": parameter ", i, " is not a tensor"));
    auto* t = reinterpret_cast<TensorObject*>(item.ptr());
    if (!t->grad || t->grad == Py_None) continue;
    Update u{i, t->array, contiguous(array_of(t->grad)), {}};
    const Array& p = u.parameter;
    if (!p.is_contiguous() || !is_floating(p.dtype))
      throw std::invalid_argument(message(op, ": parameter ", i, " must be a contiguous floating-point tensor"));
    check_writable(op, p);
    int count = 0;
    for (const py::list* list : states) {
      if (list->empty()) continue;
      py::handle state = (*list)[i];
      if (!is_tensor(state.ptr())) throw TypeError(message(op, ": the state of parameter ", i, " is not a tensor"));
      const Array& s = array_of(state.ptr());
      if (s.shape != p.shape || s.dtype != p.dtype || !s.is_contiguous())
        throw std::invalid_argument(message(op, ": the state of parameter ", i, " has shape ", to_string(s.shape),
                                            " and dtype ", name(s.dtype), ", the parameter ", to_string(p.shape),
                                            " and ", name(p.dtype)));
      u.state[count++] = s;
    }
    out.push_back(std::move(u));
  }
  return out;
}

/// f(parameter index, n, p, g, state…) for every update, in pieces on all threads.
template <class F>
void each_update(const std::vector<Update>& all, const F& f) {
  constexpr int64_t kGrain = 32768;
  int64_t elements = 0;
  for (const Update& u : all) elements += u.parameter.size();
  const Unlocked unlocked(elements);
  for (const Update& u : all) {
    const auto step = [&](auto zero) {
      using T = decltype(zero);
      parallel_range(u.parameter.size(), kGrain, [&](int64_t begin, int64_t end) {
        const auto at = [&](const Array& state) { return state.data ? state.as<T>() + begin : nullptr; };
        f(u.index, end - begin, u.parameter.as<T>() + begin, u.gradient.as<T>() + begin, at(u.state[0]),
          at(u.state[1]));
      });
    };
    u.parameter.dtype == DType::float32 ? step(float{}) : step(double{});
    u.parameter.storage->version++;
  }
}

const OptimizerKernels<float>& optimizer_kernels(const float*) { return kernels().optimizer_f32; }
const OptimizerKernels<double>& optimizer_kernels(const double*) { return kernels().optimizer_f64; }

void sgd(const py::list& params, const py::list& momenta, const std::vector<bool>& first, double lr, double momentum,
         double dampening, double weight_decay, bool nesterov) {
  each_update(updates("SGD", params, {&momenta}),
              [&](size_t i, int64_t n, auto* p, const auto* g, auto* buffer, auto*) {
                const SgdStep s{lr, momentum, dampening, weight_decay, nesterov, !first.empty() && first[i]};
                optimizer_kernels(p).sgd(n, p, g, buffer, s);
              });
}

void adam(const py::list& params, const py::list& means, const py::list& squares, const std::vector<int64_t>& steps,
          double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled) {
  each_update(updates("Adam", params, {&means, &squares}),
              [&](size_t i, int64_t n, auto* p, const auto* g, auto* m, auto* v) {
                const AdamStep s{lr,
                                 beta1,
                                 beta2,
                                 eps,
                                 weight_decay,
                                 decoupled,
                                 1 - std::pow(beta1, double(steps[i])),
                                 1 - std::pow(beta2, double(steps[i]))};
                optimizer_kernels(p).adam(n, p, g, m, v, s);
              });
}

}  // namespace

void register_nn(py::module_& m) {
  m.def("matmul", &matmul_any);
  m.def("linear", [](const Array& x, const Array& weight, py::object bias, py::object activation) {
    return linear_checked(x, weight, optional_array(bias), std::move(activation));
  });
  m.def("softmax", along("softmax", [](const Array& x, int axis) { return softmax(x, axis); }));
  m.def("log_softmax", along("log_softmax", log_softmax));
  m.def("logsumexp", along("logsumexp", logsumexp));
  m.def("softmax_backward", along_backward("softmax", [](const Array& g, const Array& y, int axis) {
          return softmax_backward(g, y, axis);
        }));
  m.def("log_softmax_backward", along_backward("log_softmax", log_softmax_backward));

  m.def("checked_labels", [](const std::string& op, const Array& labels, int64_t classes) {
    return checked_labels(op.c_str(), labels, classes);
  });
  m.def("cross_entropy", [](const Array& x, const Array& labels) {
    const Unlocked unlocked(x.size() * 4);
    CrossEntropy out = cross_entropy(x, labels);
    return std::pair(std::move(out.loss), std::move(out.lse));
  });
  m.def("cross_entropy_backward", [](const Array& g, const Array& x, const Array& labels, const Array& lse) {
    const Unlocked unlocked(x.size() * 4);
    return cross_entropy_backward(g, x, labels, lse);
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
  m.def("sgd", &sgd);
  m.def("adam", &adam);
}

}  // namespace steep
