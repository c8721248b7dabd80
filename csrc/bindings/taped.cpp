// Derivatives that can be differentiated again: the formulas of csrc/ops, run on taped tensors instead of vectors.
// A record's derivative is a template over its value type; here that type is a Python tensor whose operators record.
// So create_graph needs no second version of any formula.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string_view>
#include <type_traits>

#define STEEP_ISA_NS taped
#include "../core/errors.h"
#include "../ops/binary.h"
#include "../ops/unary.h"
#include "register.h"
#include "tensor_type.h"

namespace py = pybind11;

namespace steep::STEEP_ISA_NS {
namespace {

/// The operation of steep.ops of that name.
py::object operation(const char* name) { return py::module_::import("steep.ops").attr(name); }

/// A bool Tensor, or a Python bool where numbers were compared.
struct TapedMask {
  py::object t;
};

/// The dtype and the device of the derivative in work: what a choice between two numbers has to give.
thread_local DType working_dtype;
thread_local Device working_device;

/// Looks for them in a saved value.
void work_like(const py::object& saved) {
  if (!is_tensor(saved.ptr())) return;
  working_dtype = array_of(saved.ptr()).dtype;
  working_device = array_of(saved.ptr()).device();
}

/// A Tensor or a Python number.
struct Taped {
  py::object t;

  explicit Taped(py::object value) : t(std::move(value)) {}
  Taped(double constant) : t(py::float_(constant)) {}

  friend Taped operator+(const Taped& a, const Taped& b) { return Taped(a.t + b.t); }
  friend Taped operator-(const Taped& a, const Taped& b) { return Taped(a.t - b.t); }
  friend Taped operator*(const Taped& a, const Taped& b) { return Taped(a.t * b.t); }
  friend Taped operator/(const Taped& a, const Taped& b) {
    if (is_tensor(a.t.ptr()) || is_tensor(b.t.ptr())) return Taped(a.t / b.t);
    return Taped(a.t.cast<double>() / b.t.cast<double>());  // Python would raise where it is infinite
  }
  friend Taped operator-(const Taped& a) { return Taped(-a.t); }
  friend TapedMask operator<(const Taped& a, const Taped& b) { return compare(a, b, Py_LT); }
  friend TapedMask operator<=(const Taped& a, const Taped& b) { return compare(a, b, Py_LE); }
  friend TapedMask operator>(const Taped& a, const Taped& b) { return compare(a, b, Py_GT); }
  friend TapedMask operator>=(const Taped& a, const Taped& b) { return compare(a, b, Py_GE); }
  friend TapedMask operator==(const Taped& a, const Taped& b) { return compare(a, b, Py_EQ); }
  friend TapedMask operator!=(const Taped& a, const Taped& b) { return compare(a, b, Py_NE); }
  static TapedMask compare(const Taped& a, const Taped& b, int relation) {
    PyObject* result = PyObject_RichCompare(a.t.ptr(), b.t.ptr(), relation);
    if (!result) throw py::error_already_set();
    return {py::reinterpret_steal<py::object>(result)};
  }
  friend Taped select(const TapedMask& m, const Taped& a, const Taped& b) {
    const bool numbers = !is_tensor(a.t.ptr()) && !is_tensor(b.t.ptr());
    const py::object yes = numbers ? py::cast(Array::full(working_dtype, {}, a.t.cast<double>(), working_device)) : a.t;
    return Taped(operation("where")(m.t, yes, b.t));
  }
  friend Taped min(const Taped& a, const Taped& b) { return Taped(operation("minimum")(a.t, b.t)); }
  friend Taped max(const Taped& a, const Taped& b) { return Taped(operation("maximum")(a.t, b.t)); }
  friend Taped pow(const Taped& a, const Taped& b) { return Taped(operation("pow")(a.t, b.t)); }
#define STEEP_TAPED(name) \
  friend Taped name(const Taped& x) { return Taped(operation(#name)(x.t)); }
  STEEP_TAPED(abs)
  STEEP_TAPED(exp)
  STEEP_TAPED(log)
  STEEP_TAPED(sqrt)
  STEEP_TAPED(sin)
  STEEP_TAPED(cos)
  STEEP_TAPED(sinh)
  STEEP_TAPED(cosh)
  STEEP_TAPED(tanh)
  STEEP_TAPED(erf)
  friend Taped gelu_slope(const Taped& x) {
    return 0.5 * Taped(operation("erfc")((-0.70710678118654752 * x).t)) + 0.39894228040143268 * x * exp(-0.5 * x * x);
  }
  STEEP_TAPED(sigmoid)
#undef STEEP_TAPED
};

/// Calls f with the record called `name`, constructed from `params`.
template <class F, class... Op>
void with_record(List<Op...>, std::string_view name, const double* params, const F& f) {
  const auto attempt = [&](auto type) {
    using Record = typename decltype(type)::type;
    if constexpr (Record::differentiable) {
      if (name != Record::name) return false;
      f(make<Record>(params));
      return true;
    }
    return false;
  };
  if (!(attempt(std::type_identity<Op>()) || ...))
    throw std::invalid_argument(message("there is no differentiable operation called '", name, "'"));
}

enum class With { a, b };

template <With with>
py::object binary_derivative(const std::string& name, py::object a, py::object b, py::object y) {
  py::object out;
  for (const py::object& saved : {a, b, y}) work_like(saved);
  with_record(BinaryOps(), name, nullptr, [&](auto op) {
    const Taped x(a), z(b), value(y);
    out = (with == With::a ? op.da(x, z, value) : op.db(x, z, value)).t;
  });
  return out;
}

py::object unary_derivative(const std::string& name, py::object x, py::object y, const std::vector<double>& params) {
  py::object out;
  for (const py::object& saved : {x, y}) work_like(saved);
  with_record(UnaryOps(), name, params.data(), [&](auto op) { out = op.df(Taped(x), Taped(y)).t; });
  return out;
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS

namespace steep {

void register_taped(py::module_& m) {
  m.def("derivative", &taped::unary_derivative);
  m.def("derivative_a", &taped::binary_derivative<taped::With::a>);
  m.def("derivative_b", &taped::binary_derivative<taped::With::b>);
}

}  // namespace steep
