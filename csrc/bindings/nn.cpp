// Matrix products, row operations, losses and optimizer steps.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string_view>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/kernels.h"
#include "../core/matmul.h"
#include "../core/reduce.h"
#include "../core/rows.h"
#include "../core/thread_pool.h"
#include "../core/views.h"
#include "../cuda/table.h"
#include "operators.h"
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

const UnaryKernel* optional_kernel(const py::object& name) {
  return name.is_none() ? nullptr : &unary_kernel(name.cast<std::string_view>());
}

int64_t work_of(const Array& a, int64_t columns) { return a.size() * std::max<int64_t>(columns / 16, 1); }

Array linear_checked(const Array& x, const Array& weight, const Array* bias, const py::object& activation) {
  const bool fits = weight.ndim() == 2 && x.ndim() >= 1 && x.shape[x.ndim() - 1] == weight.shape[1] &&
                    (!bias || (bias->ndim() == 1 && bias->shape[0] == weight.shape[0]));
  if (!fits)
    throw std::invalid_argument(message("linear: input of shape ", to_string(x.shape), ", weight ",
                                        to_string(weight.shape), ", bias ", bias ? to_string(bias->shape) : "None",
                                        ": expected (…, in), (out, in) and (out,)"));
  if (!is_floating(x.dtype) || x.dtype != weight.dtype || (bias && bias->dtype != x.dtype))
    throw TypeError(message("linear: input, weight and bias must have one floating-point dtype, not ", name(x.dtype),
                            ", ", name(weight.dtype), bias ? std::string(" and ") + name(bias->dtype) : ""));
  const UnaryKernel* k = optional_kernel(activation);
  const Unlocked unlocked(work_of(x, weight.shape[0]));
  return linear(x, weight, bias, k);
}

const Array* optional_array(py::handle h) {
  if (h.is_none()) return nullptr;
  if (!is_tensor(h.ptr())) throw TypeError(message("expected a Tensor or None, not ", Py_TYPE(h.ptr())->tp_name));
  return &array_of(h.ptr());
}

py::object or_none(Array a) { return a.data ? py::cast(std::move(a)) : py::none(); }

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

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

/// What an optimizer updates: a parameter, its gradient, and up to two state tensors of its shape, in the dtype that
/// they are computed in; `stored` are the parameter and the state themselves.
struct Update {
  size_t index;
  Array parameter, gradient, state[2], stored[3];

  void add(Array& computed, Array& kept, const Array& a) {
    kept = a;
    computed = in_dtype(a, computed_in(a.dtype));
  }
  /// After the update.
  void finish() {
    const Array* const computed[] = {&parameter, &state[0], &state[1]};
    for (int i = 0; i < 3; ++i)
      if (stored[i].data && stored[i].dtype != computed[i]->dtype) assign(stored[i], *computed[i]);
    stored[0].storage->version++;
  }
};

/// The parameters that have a gradient. All is checked here, so that an error leaves every parameter as it was.
std::vector<Update> updates(const char* op, const py::list& params, std::initializer_list<const py::list*> states) {
  std::vector<Update> out;
  for (size_t i = 0; i < params.size(); ++i) {
    py::handle item = params[i];
    if (!is_tensor(item.ptr())) throw TypeError(message(op, ": parameter ", i, " is not a tensor"));
    auto* t = reinterpret_cast<TensorObject*>(item.ptr());
    if (!t->grad || t->grad == Py_None) continue;
    const Array &p = t->array, &g = array_of(t->grad);
    Update u;
    u.index = i;
    u.add(u.parameter, u.stored[0], p);
    u.gradient = contiguous(in_dtype(g, u.parameter.dtype));
    if (!p.is_contiguous() || !is_floating(p.dtype))
      throw std::invalid_argument(message(op, ": parameter ", i, " must be a contiguous floating-point tensor"));
    check_writable(op, p);
    check_same_device(op, {&p, &g});
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
      check_same_device(op, {&p, &s});
      u.add(u.state[count], u.stored[count + 1], s);
      ++count;
    }
    out.push_back(std::move(u));
  }
  return out;
}

/// Those of one dtype and device.
std::vector<Update> select(const std::vector<Update>& all, DType dtype, Device device) {
  std::vector<Update> out;
  for (const Update& u : all)
    if (u.parameter.dtype == dtype && u.parameter.device() == device) out.push_back(u);
  return out;
}

/// One step of all the parameters: on the CPU one after another, in pieces on all threads by cpu(n, p, g, state…,
/// step); on CUDA in one launch for each dtype and device, by cuda(updates, steps). `step_of(i)` makes parameter i's
/// step.
template <class Step, class StepOf, class Cpu, class Cuda>
void run_updates(const char* op, std::vector<Update> all, const StepOf& step_of, const Cpu& cpu, const Cuda& cuda) {
  int64_t elements = 0;
  std::set<Device> devices;
  for (const Update& u : all) elements += u.parameter.size(), devices.insert(u.parameter.device());
  const Unlocked unlocked(elements);
  const auto run = [&](auto zero, Device device) {
    using T = decltype(zero);
    std::vector<cuda::Update<T>> updates;
    std::vector<Step> steps;
    std::vector<const Array*> arrays;
    const std::vector<Update> chosen = select(all, dtype_of<T>(), device);
    for (const Update& u : chosen) {
      const auto data = [](const Array& state) { return state.data ? state.as<T>() : nullptr; };
      updates.push_back(
          {u.parameter.size(), u.parameter.as<T>(), u.gradient.as<T>(), data(u.state[0]), data(u.state[1])});
      steps.push_back(step_of(u.index));
      for (const Array* a : {&u.parameter, &u.gradient, &u.state[0], &u.state[1]}) arrays.push_back(a);
    }
    const DeviceScope scope(op, arrays);
    if (device.type == DeviceType::cuda) {
      if (!updates.empty()) cuda(std::span<const cuda::Update<T>>(updates), std::span<const Step>(steps));
    } else {
      constexpr int64_t kGrain = 32768;
      for (size_t i = 0; i < updates.size(); ++i)
        parallel_range(updates[i].n, kGrain, [&](int64_t begin, int64_t end) {
          const cuda::Update<T>& u = updates[i];
          cpu(end - begin, u.p + begin, u.g + begin, u.m ? u.m + begin : nullptr, u.v ? u.v + begin : nullptr,
              steps[i]);
        });
    }
  };
  for (const Device device : devices) run(float{}, device), run(double{}, device);
  for (Update& u : all) u.finish();
}

const OptimizerKernels<float>& optimizer_kernels(const float*) { return kernels().optimizer_f32; }
const OptimizerKernels<double>& optimizer_kernels(const double*) { return kernels().optimizer_f64; }

void sgd(const py::list& params, const py::list& momenta, const std::vector<bool>& first, double lr, double momentum,
         double dampening, double weight_decay, bool nesterov) {
  run_updates<SgdStep>(
      "SGD", updates("SGD", params, {&momenta}),
      [&](size_t i) { return SgdStep{lr, momentum, dampening, weight_decay, nesterov, !first.empty() && first[i]}; },
      [](int64_t n, auto* p, const auto* g, auto* buffer, auto*, const SgdStep& s) {
        optimizer_kernels(p).sgd(n, p, g, buffer, s);
      },
      Overloaded{
          [](std::span<const cuda::Update<float>> u, auto steps) { cuda::table()->sgd_f32(u, steps); },
          [](std::span<const cuda::Update<double>> u, auto steps) { cuda::table()->sgd_f64(u, steps); },
      });
}

void adam(const py::list& params, const py::list& means, const py::list& squares, const std::vector<int64_t>& steps,
          double lr, double beta1, double beta2, double eps, double weight_decay, bool decoupled) {
  run_updates<AdamStep>(
      "Adam", updates("Adam", params, {&means, &squares}),
      [&](size_t i) {
        const double t = double(steps[i]);
        return AdamStep{lr, beta1, beta2, eps, weight_decay, decoupled, 1 - std::pow(beta1, t), 1 - std::pow(beta2, t)};
      },
      [](int64_t n, auto* p, const auto* g, auto* m, auto* v, const AdamStep& s) {
        optimizer_kernels(p).adam(n, p, g, m, v, s);
      },
      Overloaded{
          [](std::span<const cuda::Update<float>> u, auto steps) { cuda::table()->adam_f32(u, steps); },
          [](std::span<const cuda::Update<double>> u, auto steps) { cuda::table()->adam_f64(u, steps); },
      });
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
  m.def("linear", [](const Array& x, const Array& weight, py::object bias, py::object activation) {
    return linear_checked(x, weight, optional_array(bias), activation);
  });
  m.def("linear_backward",
        [](const Array& g, py::object x, py::object weight, bool bias, py::object y, py::object activation) {
          const LinearGrads out = [&] {
            const Array *inputs = optional_array(x), *w = optional_array(weight), *result = optional_array(y);
            const UnaryKernel* k = optional_kernel(activation);
            const Unlocked unlocked(work_of(g, w ? w->shape[1] : inputs ? inputs->shape[inputs->ndim() - 1] : 1));
            return linear_backward(g, inputs, w, bias, result, k);
          }();
          return std::tuple(or_none(out.dx), or_none(out.dweight), or_none(out.dbias));
        });
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
    return std::pair(out.dx, or_none(out.dweight));
  });
  m.def("sgd", &sgd);
  m.def("adam", &adam);
}

}  // namespace steep
