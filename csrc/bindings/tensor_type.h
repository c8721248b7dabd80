// The two raw Python types of the tape, and the casters that let pybind11 functions take and return arrays.
// They are written against the C API because an instance costs a fifth of a pybind11 one, and a tape makes many.
#pragma once
#include <pybind11/pybind11.h>

#include <span>
#include <string>
#include <vector>

#include "../core/array.h"

namespace steep {

/// What steep.Tensor derives from: an array, and the fields that Python's tape uses.
struct TensorObject {
  PyObject_HEAD Array array;
  PyObject* node;   // NodeObject: how it was computed, or null
  PyObject* grad;   // Tensor, or null
  PyObject* hooks;  // dict: functions of a leaf's gradient; or null
  PyObject* weak_references;
  bool requires_grad;
};

/// One recorded operation. Ids only grow, so "newest first" is a valid order for backward.
struct NodeObject {
  PyObject_HEAD uint64_t id;
  PyObject* vjp;     // vjp(g, *saved) -> one gradient or None for each edge
  PyObject* edges;   // tuple: for each input its NodeObject, or the leaf TensorObject, or None
  PyObject* saved;   // tuple: what the vjp reads; or an object whose restore() brings it back (checkpoint)
  PyObject* hooks;   // dict: functions of the result's gradient; or null
  PyObject* origin;  // of steep.autograd.detect_anomaly: where it was recorded; or null
  Dims shape;        // of the output: what its gradient must have
  DType dtype;
  uint64_t versions;  // sum over the saved tensors when they were saved
  uint64_t outputs;   // bit i: saved[i] is the output, kept without history
  PyObject* weak_references;
};

bool is_tensor(PyObject* o);
inline Array& array_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->array; }
inline PyObject* grad_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->grad; }
/// Sets `grad` to a tensor of the same shape, dtype and device, or to None; −1, with an error set, for anything else.
int set_grad(PyObject* o, PyObject* value);
bool is_node(PyObject* o);
inline NodeObject& node_of(PyObject* o) { return *reinterpret_cast<NodeObject*>(o); }

/// While a thread records a CUDA graph: whose gradients are read or set, which is not repeated with a replay.
struct GradientNote {
  pybind11::object leaf, before;
  bool reads;  // what was there before
  pybind11::object after;
  const char* data = nullptr;  // the leaf's memory
  bool requires_grad = false;
};
extern thread_local std::vector<GradientNote>* gradient_notes;
void add_gradient_note(PyObject* leaf, bool reads);
inline void note_gradient(PyObject* leaf, bool reads) {
  if (gradient_notes) add_gradient_note(leaf, reads);
}

/// Where a gradient of a tensor goes: the node it was computed by, or the leaf itself.
inline PyObject* edge_to(PyObject* tensor) {
  PyObject* const node = reinterpret_cast<TensorObject*>(tensor)->node;
  return node ? node : tensor;
}
/// Has a gradient the shape and the dtype that the node or the leaf wants?
bool fits(const Array& gradient, PyObject* edge);
/// Node.saved, a new reference: null, with an error set, if one of the values has been changed in place since, or they
/// have been freed. Where operations are recorded (create_graph) a saved output gets its history back, so that the
/// vjp's result depends on it.
PyObject* node_saved(PyObject* node);
/// "matmul" for _matmul_vjp.
std::string node_operation(PyObject* node);

/// Switches recording in this thread for a block.
class Recording {
 public:
  explicit Recording(bool on);
  Recording(const Recording&) = delete;
  ~Recording();

 private:
  bool before_;
};

/// Are operations recorded in this thread?
bool is_recording();
using Objects = std::span<PyObject* const>;
/// Makes `out` differentiable if recording is on and an input needs a gradient, and returns it, as a new reference. The
/// vjp is called as vjp(g, *saved), and returns a gradient or None for each input. `out` may be among the first 64
/// saved values. Null stands for None.
PyObject* record(PyObject* out, PyObject* vjp, Objects inputs, Objects saved);
/// The same for two inputs. The vjp is called as vjp(g, needs_a, needs_b, a, b, out), with None for what the wanted
/// gradients don't read.
PyObject* record_binary(PyObject* out, PyObject* vjp, PyObject* a, PyObject* b, unsigned reads_a, unsigned reads_b);

/// For a vjp: a saved x times a number on its device, in x's memory if that is freed behind the vjp.
Array times_number(const Array& x, const Array& number);

/// A new steep.Tensor.
PyObject* wrap(Array&& a);

pybind11::object dtype_object(DType t);
/// The DType of one of steep's dtype objects; false for anything else.
bool to_dtype(PyObject* o, DType& t);

/// The same for steep's device objects.
pybind11::object device_object(Device d);
bool to_device(PyObject* o, Device& d);

pybind11::tuple to_tuple(const Dims& d);

}  // namespace steep

namespace pybind11::detail {

template <>
struct type_caster<steep::Array> {
  static constexpr auto name = const_name("Tensor");
  template <class T>
  using cast_op_type = detail::cast_op_type<T>;
  steep::Array* value = nullptr;
  bool load(handle h, bool) {
    if (!steep::is_tensor(h.ptr())) return false;
    value = &steep::array_of(h.ptr());
    return true;
  }
  static handle cast(steep::Array&& a, return_value_policy, handle) { return steep::wrap(std::move(a)); }
  static handle cast(const steep::Array& a, return_value_policy, handle) { return steep::wrap(steep::Array(a)); }
  operator steep::Array&() { return *value; }
  operator steep::Array*() { return value; }
};

template <>
struct type_caster<steep::DType> {
  PYBIND11_TYPE_CASTER(steep::DType, const_name("DType"));
  bool load(handle h, bool) { return steep::to_dtype(h.ptr(), value); }
  static handle cast(steep::DType t, return_value_policy, handle) { return steep::dtype_object(t).release(); }
};

template <>
struct type_caster<steep::Device> {
  PYBIND11_TYPE_CASTER(steep::Device, const_name("Device"));
  bool load(handle h, bool) { return steep::to_device(h.ptr(), value); }
  static handle cast(steep::Device d, return_value_policy, handle) { return steep::device_object(d).release(); }
};

/// A tuple or list of at most kMaxNdim Python integers.
template <>
struct type_caster<steep::Dims> {
  PYBIND11_TYPE_CASTER(steep::Dims, const_name("tuple[int, ...]"));
  bool load(handle h, bool) {
    if (!PyTuple_Check(h.ptr()) && !PyList_Check(h.ptr())) return false;
    value.n = 0;
    for (handle item : reinterpret_borrow<sequence>(h)) {
      const object index = reinterpret_steal<object>(PyNumber_Index(item.ptr()));
      if (!index) {
        PyErr_Clear();
        return false;
      }
      const int64_t x = PyLong_AsLongLong(index.ptr());
      if (x == -1 && PyErr_Occurred()) throw error_already_set();
      value.push(x);
    }
    return true;
  }
  static handle cast(const steep::Dims& d, return_value_policy, handle) { return steep::to_tuple(d).release(); }
};

}  // namespace pybind11::detail
