// Optimizer steps, on the CPU, on CUDA, and in CUDA graphs.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cmath>
#include <set>
#include <span>
#include <vector>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/kernels.h"
#include "../core/thread_pool.h"
#include "../core/views.h"
#include "../cuda/table.h"
#include "python_type.h"
#include "register.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

/// What an optimizer updates: a parameter, its gradient, and up to two state tensors of its shape, in the dtype that
/// they are computed in. `stored` are the parameter and the state themselves where that is another one.
struct Update {
  size_t index;
  Array parameter, gradient, state[2], stored[3];

  const Array& computed(int i) const { return i == 0 ? parameter : state[i - 1]; }
  void finish() {
    for (int i = 0; i < 3; ++i)
      if (stored[i].data) assign(stored[i], computed(i));
    (stored[0].data ? stored[0] : parameter).storage->version++;
  }
};

/// `a` in the dtype that it is computed in, and `a` itself in `stored` if that is another one.
Array to_compute(const Array& a, Array& stored) {
  const DType t = computed_in(a.dtype);
  if (t == a.dtype) return a;
  stored = a;
  return in_dtype(a, t);
}

void check_count(const char* op, const py::list& params, size_t n) {
  if (n != params.size())
    throw std::invalid_argument(message(op, ": a list of ", n, " for ", params.size(), " parameters"));
}

/// The parameters that have a gradient. All is checked here, so that an error leaves every parameter as it was.
std::vector<Update> updates(const char* op, const py::list& params, std::initializer_list<const py::list*> states) {
  std::vector<Update> out;
  out.reserve(params.size());
  for (size_t i = 0; i < params.size(); ++i) {
    py::handle item = params[i];
    if (!is_tensor(item.ptr())) throw TypeError(message(op, ": parameter ", i, " is not a tensor"));
    PyObject* const gradient = grad_of(item.ptr());
    if (!gradient || gradient == Py_None) continue;
    const Array &p = array_of(item.ptr()), &g = array_of(gradient);
    if (!p.is_contiguous() || !is_floating(p.dtype))
      throw std::invalid_argument(message(op, ": parameter ", i, " must be a contiguous floating-point tensor"));
    check_writable(op, p);
    check_same_device(op, {&p, &g});
    Update& u = out.emplace_back();
    u.index = i;
    u.parameter = to_compute(p, u.stored[0]);
    u.gradient = contiguous(in_dtype(g, u.parameter.dtype));
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
      u.state[count] = to_compute(s, u.stored[count + 1]);
      ++count;
    }
  }
  return out;
}

template <class T>
cuda::Update<T> pointers(const Update& u) {
  const auto data = [](const Array& state) { return state.data ? state.as<T>() : nullptr; };
  return {u.parameter.size(), u.parameter.as<T>(), u.gradient.as<T>(), data(u.state[0]), data(u.state[1])};
}

/// An optimizer's step of parameter `index` in a CUDA graph.
struct RecordedStep {
  size_t index;
  cuda::Rewrite rewrite;
};
struct RecordedSteps {
  std::vector<RecordedStep> all;
};

/// Those of one dtype and CUDA device, in one launch.
template <class T, class Step, class StepOf, class Cuda>
void launch_updates(const char* op, const std::vector<Update>& all, Device device, StepOf& step_of, const Cuda& cuda,
                    RecordedSteps& recorded) {
  std::vector<cuda::Update<T>> updates;
  std::vector<Step> steps;
  std::vector<size_t> indices;
  std::vector<const Array*> arrays;
  for (const Update& u : all) {
    if (u.parameter.dtype != dtype_of<T>() || u.parameter.device() != device) continue;
    updates.push_back(pointers<T>(u));
    steps.push_back(step_of(u.index));
    indices.push_back(u.index);
    for (const Array* a : {&u.parameter, &u.gradient, &u.state[0], &u.state[1]}) arrays.push_back(a);
  }
  if (updates.empty()) return;
  const DeviceScope scope(op, arrays);
  const bool records = cuda::table()->is_recording();
  size_t next = records ? cuda::table()->rewrites().size() : 0;
  cuda(std::span<const cuda::Update<T>>(updates), std::span<const Step>(steps));
  if (!records) return;
  for (size_t i = 0; i < updates.size(); ++i)
    if (updates[i].n) recorded.all.push_back({indices[i], cuda::table()->rewrites()[next++]});
}

/// One step of all the parameters: on the CPU one after another, in pieces on all threads by cpu(n, p, g, state…,
/// step); on CUDA in one launch for each dtype and device, by cuda(updates, steps). `step_of(i)` makes parameter i's
/// step.
///
/// In a CUDA graph that is being recorded it returns where the steps of later launches are to be written.
template <class Step, class StepOf, class Cpu, class Cuda>
RecordedSteps run_updates(const char* op, std::vector<Update> all, StepOf& step_of, const Cpu& cpu, const Cuda& cuda) {
  RecordedSteps recorded;
  int64_t elements = 0;
  for (const Update& u : all) elements += u.parameter.size();
  const Unlocked unlocked(elements);
  std::set<Device> devices;  // of CUDA
  for (const Update& u : all) {
    if (on_cuda(u.parameter)) {
      devices.insert(u.parameter.device());
      continue;
    }
    visit_computed(u.parameter.dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (std::is_floating_point_v<T>) {
        constexpr int64_t kGrain = 32768;
        const cuda::Update<T> all_of_it = pointers<T>(u);
        const Step step = step_of(u.index);
        parallel_range(all_of_it.n, kGrain, [&](int64_t begin, int64_t end) {
          const auto& [n, p, g, m, v] = all_of_it;
          cpu(end - begin, p + begin, g + begin, m ? m + begin : nullptr, v ? v + begin : nullptr, step);
        });
      }
    });
  }
  for (const Device device : devices) {
    launch_updates<float, Step>(op, all, device, step_of, cuda, recorded);
    launch_updates<double, Step>(op, all, device, step_of, cuda, recorded);
  }
  for (Update& u : all) u.finish();
  return recorded;
}

/// For the next launch of a CUDA graph.
template <class StepOf>
void rewrite(const RecordedSteps& recorded, StepOf step_of) {
  for (const auto& [index, rewrite] : recorded.all) {
    const auto step = step_of(index);
    rewrite.write(rewrite.place, &step);
  }
}

const OptimizerKernels<float>& optimizer_kernels(const float*) { return kernels().optimizer_f32; }
const OptimizerKernels<double>& optimizer_kernels(const double*) { return kernels().optimizer_f64; }

struct SgdSteps {
  std::vector<bool> first;
  double lr, momentum, dampening, weight_decay;
  bool nesterov;

  SgdStep operator()(size_t i) const {
    return {lr, momentum, dampening, weight_decay, nesterov, !first.empty() && first[i]};
  }
};

RecordedSteps sgd(const py::list& params, const py::list& momenta, SgdSteps step_of) {
  for (const size_t n : {momenta.size(), step_of.first.size()})
    if (n) check_count("SGD", params, n);
  return run_updates<SgdStep>(
      "SGD", updates("SGD", params, {&momenta}), step_of,
      [](int64_t n, auto* p, const auto* g, auto* buffer, auto*, const SgdStep& s) {
        optimizer_kernels(p).sgd(n, p, g, buffer, s);
      },
      Overloaded{
          [](std::span<const cuda::Update<float>> u, auto steps) { cuda::table()->sgd_f32(u, steps); },
          [](std::span<const cuda::Update<double>> u, auto steps) { cuda::table()->sgd_f64(u, steps); },
      });
}

/// counted(params, steps): the numbers of updates, with one more for each parameter that has a gradient; None if none
/// has.
PyObject* counted(PyObject*, PyObject* const* args, Py_ssize_t n) {
  if (n != 2 || !PyList_Check(args[0]) || !PyList_Check(args[1]) ||
      PyList_GET_SIZE(args[0]) != PyList_GET_SIZE(args[1]))
    throw TypeError("counted(params, steps): two lists of one length");
  py::list out(size_t(PyList_GET_SIZE(args[1])));
  bool any = false;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(args[1]); ++i) {
    PyObject *parameter = PyList_GET_ITEM(args[0], i), *number = PyList_GET_ITEM(args[1], i);
    if (is_tensor(parameter)) note_gradient(parameter, true);
    const bool has = is_tensor(parameter) && grad_of(parameter) && grad_of(parameter) != Py_None;
    any |= has;
    const int64_t before = PyLong_AsLongLong(number);
    if (before == -1 && PyErr_Occurred()) return nullptr;
    PyList_SET_ITEM(out.ptr(), i, has ? PyLong_FromLongLong(before + 1) : new_reference(number));
  }
  return any ? out.release().ptr() : new_reference(nullptr);
}

struct AdamSteps {
  std::vector<int64_t> steps;
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  int64_t before = -1;  // most parameters have had as many steps as the one before them
  double correction1 = 0, correction2 = 0;

  AdamStep operator()(size_t i) {
    if (const int64_t t = steps[i]; t != before) {
      before = t;
      correction1 = 1 - std::pow(beta1, double(t)), correction2 = 1 - std::pow(beta2, double(t));
    }
    return {lr, beta1, beta2, eps, weight_decay, decoupled, correction1, correction2};
  }
};

RecordedSteps adam(const py::list& params, const py::list& means, const py::list& squares, AdamSteps step_of) {
  for (const size_t n : {means.size(), squares.size(), step_of.steps.size()}) check_count("Adam", params, n);
  return run_updates<AdamStep>(
      "Adam", updates("Adam", params, {&means, &squares}), step_of,
      [](int64_t n, auto* p, const auto* g, auto* m, auto* v, const AdamStep& s) {
        optimizer_kernels(p).adam(n, p, g, m, v, s);
      },
      Overloaded{
          [](std::span<const cuda::Update<float>> u, auto steps) { cuda::table()->adam_f32(u, steps); },
          [](std::span<const cuda::Update<double>> u, auto steps) { cuda::table()->adam_f64(u, steps); },
      });
}

}  // namespace

void register_optimizers(py::module_& m) {
  static PyMethodDef functions[] = {
      {"counted", fast_function<counted>(), METH_FASTCALL,
       "counted(params, steps): steps with one more for each parameter that has a gradient, or None if none has."},
      {}};
  if (PyModule_AddFunctions(m.ptr(), functions) != 0) throw py::error_already_set();
  // They return None, unless a CUDA graph is recorded: then what rewrite_… takes before the next launch.
  const auto or_none = [](RecordedSteps recorded) {
    return recorded.all.empty() ? py::object(py::none()) : py::cast(std::move(recorded));
  };
  using Counts = std::vector<int64_t>;
  using Flags = std::vector<bool>;
  py::class_<RecordedSteps>(m, "RecordedSteps");
  m.def("sgd", [=](const py::list& params, const py::list& momenta, Flags first, double lr, double momentum,
                   double dampening, double weight_decay, bool nesterov) {
    return or_none(sgd(params, momenta, {std::move(first), lr, momentum, dampening, weight_decay, nesterov}));
  });
  m.def("rewrite_sgd", [](const RecordedSteps& recorded, Flags first, double lr, double momentum, double dampening,
                          double weight_decay, bool nesterov) {
    rewrite(recorded, SgdSteps{std::move(first), lr, momentum, dampening, weight_decay, nesterov});
  });
  m.def("adam", [=](const py::list& params, const py::list& means, const py::list& squares, Counts steps, double lr,
                    double beta1, double beta2, double eps, double weight_decay, bool decoupled) {
    return or_none(adam(params, means, squares, {std::move(steps), lr, beta1, beta2, eps, weight_decay, decoupled}));
  });
  m.def("rewrite_adam", [](const RecordedSteps& recorded, Counts steps, double lr, double beta1, double beta2,
                           double eps, double weight_decay, bool decoupled) {
    rewrite(recorded, AdamSteps{std::move(steps), lr, beta1, beta2, eps, weight_decay, decoupled});
  });
}

}  // namespace steep
