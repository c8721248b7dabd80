// Arrays from and to Python: creation, NumPy, views, indexing.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "../core/allocator.h"
#include "../core/device.h"
#include "../core/errors.h"
#include "../core/indexing.h"
#include "../core/views.h"
#include "register.h"
#include "tensor_type.h"
#include "unlocked.h"

namespace py = pybind11;

namespace steep {
namespace {

py::dtype numpy_dtype(DType t) {
  if (t == DType::bfloat16)
    throw TypeError("NumPy has no bfloat16: convert the tensor first, with .astype(steep.float32)");
  return py::dtype(name(t));
}

DType from_numpy_dtype(const py::dtype& d) {
  if (d.byteorder() != '>') {
    for (int i = 0; i < kDTypes; ++i) {
      const DType t = DType(i);
      const char kind = t == DType::boolean ? 'b' : is_floating(t) ? 'f' : is_unsigned(t) ? 'u' : 'i';
      if (t != DType::bfloat16 && d.kind() == kind && size_t(d.itemsize()) == item_size(t)) return t;
    }
  }
  const char* advice = d.kind() == 'c'
                           ? "steep has no complex numbers: keep these in NumPy, or split them by .real and .imag"
                           : "convert it first, for example with .astype(numpy.float32)";
  throw TypeError(
      message("NumPy dtype '", std::string(py::str(py::object(d))), "' has no steep counterpart: ", advice));
}

/// The bytes of a bool array, which kernels expect to be 0 or 1, and NumPy doesn't: numpy.uint8(2).view(bool).
Array as_bytes(Array a) {
  a.dtype = DType::uint8;
  return a;
}

/// An array over NumPy's memory; std::nullopt-like empty storage where steep's strides cannot express it.
bool borrow_numpy(const py::array& x, Array& out) {
  out.dtype = from_numpy_dtype(x.dtype());
  const auto item = py::ssize_t(item_size(out.dtype));
  bool expressible = reinterpret_cast<uintptr_t>(x.data()) % size_t(item) == 0;
  for (int i = 0; i < x.ndim(); ++i) {
    out.shape.push(x.shape(i));
    out.strides.push(x.strides(i) / item);
    expressible = expressible && x.strides(i) % item == 0;
  }
  if (!expressible) return false;
  py::array owner = x;
  out.data = static_cast<char*>(const_cast<void*>(x.data()));
  out.storage = StorageRef(Storage::lend(
      out.data, size_t(x.nbytes()), Device(),
      [](void* o) {
        const py::gil_scoped_acquire gil;
        Py_DECREF(static_cast<PyObject*>(o));
      },
      owner.release().ptr(), x.writeable()));
  return true;
}

/// The same elements where the CPU can read them.
Array to_host(const char* op, const Array& a) {
  check_readable(op, a);
  const Unlocked unlocked(a, 0);
  return to_device(a, Device());
}

Array from_numpy(const py::array& x, bool share) {
  Array out;
  if (!borrow_numpy(x, out)) {
    if (share) throw std::invalid_argument("this NumPy array's strides or alignment cannot be shared: copy it first");
    const py::array packed = py::array::ensure(x.attr("copy")());
    out = Array();
    borrow_numpy(packed, out);
  }
  if (out.dtype != DType::boolean) return share ? out : copy(out);
  if (!share) return astype(as_bytes(out), DType::boolean);
  check_truth_values("this NumPy array", out);
  return out;
}

/// A NumPy array over the same memory, which it keeps alive, or over a copy of what is on a CUDA device.
py::array to_numpy(const Array& x, bool writable) {
  const Array a = to_host("numpy", x);
  py::capsule owner(new Array(a), [](void* p) { delete static_cast<Array*>(p); });
  std::vector<py::ssize_t> shape(a.shape.begin(), a.shape.end()), strides;
  for (int64_t s : a.strides) strides.push_back(py::ssize_t(s) * py::ssize_t(a.itemsize()));
  py::array out(numpy_dtype(a.dtype), std::move(shape), std::move(strides), a.data, owner);
  if (!writable || !a.storage->writable)
    py::detail::array_proxy(out.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return out;
}

py::object item(const Array& x) {
  const Array a = x.size() == 1 ? to_host("item", x) : x;
  if (a.size() != 1)
    throw std::invalid_argument(message("a tensor of shape ", to_string(a.shape), " has ", a.size(),
                                        " elements: only one of a single element is a Python number"));
  return visit(a.dtype, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const T x = *a.as<T>();
    if constexpr (std::is_same_v<T, bool>)
      return py::bool_(x);
    else if constexpr (std::is_integral_v<T>)
      return py::int_(x);
    else
      return py::float_(double(x));
  });
}

/// Basic indexing: integers, slices, None and ... in a tuple. Always a view.
Array basic_index(const Array& a, const py::tuple& key) {
  int consumed = 0;
  bool ellipsis = false;
  for (py::handle k : key) {
    if (k.is(py::ellipsis())) {
      if (ellipsis) throw std::out_of_range("an index can have only one ellipsis ('...')");
      ellipsis = true;
    } else if (!k.is_none()) {
      ++consumed;
    }
  }
  if (consumed > a.ndim())
    throw std::out_of_range(message("too many indices: ", consumed, " for a tensor of shape ", to_string(a.shape)));
  Array out = a;
  int axis = 0, source = 0;  // of `out` and of `a`
  for (py::handle k : key) {
    if (k.is_none()) {
      out = expand_dims(out, axis++);
    } else if (k.is(py::ellipsis())) {
      axis += a.ndim() - consumed, source += a.ndim() - consumed;
    } else if (PySlice_Check(k.ptr())) {
      Py_ssize_t start, stop, step;
      if (PySlice_Unpack(k.ptr(), &start, &stop, &step) != 0) throw py::error_already_set();
      const Py_ssize_t count = PySlice_AdjustIndices(out.shape[axis], &start, &stop, step);
      out = slice(out, axis++, start, step, count);
      ++source;
    } else {
      const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(k.ptr()));
      if (!number) throw py::error_already_set();
      int64_t i = PyLong_AsLongLong(number.ptr());
      if (i == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        throw std::out_of_range("an index does not fit in 64 bits");
      }
      const int64_t extent = out.shape[axis];
      if (i < -extent || i >= extent)
        throw std::out_of_range(message("index ", i, " is out of range for axis ", source, " of shape ",
                                        to_string(a.shape), ", which has ", extent,
                                        extent == 1 ? " element" : " elements"));
      out = select(out, axis, i < 0 ? i + extent : i);
      ++source;
    }
  }
  return out;
}

/// The transpose of basic_index: g in its place among zeros of `shape`.
Array basic_index_backward(const Array& g, const py::tuple& key, const Dims& shape) {
  Array out = Array::full(g.dtype, shape, 0, g.device());
  Array view = basic_index(out, key);
  assign(view, g);
  return out;
}

}  // namespace

void register_array(py::module_& m) {
  m.def("from_numpy", &from_numpy, py::arg("x"), py::arg("share"));
  m.def("to_numpy", &to_numpy, py::arg("a"), py::arg("writable"));
  m.def("item", &item);
  m.def("full", &Array::full, py::arg("dtype"), py::arg("shape"), py::arg("value"), py::arg("device"));
  m.def("empty", [](DType t, const Dims& shape, Device device) { return Array(t, shape, device); });
  m.def("to_device", [](const Array& a, Device device) {
    const Unlocked unlocked(a.device() == device ? 0 : Unlocked::kAlways);
    return to_device(a, device);
  });

  m.def("basic_index", &basic_index);
  m.def("basic_index_backward", &basic_index_backward);
  m.def("assign", [](Array& to, const Array& from) {
    const Unlocked unlocked(to.device() == from.device() ? to.size() : Unlocked::kAlways);
    assign(to, from);
  });
  m.def("check_writable", [](const std::string& op, const Array& a) { check_writable(op.c_str(), a); });
  m.def("copy", [](const Array& a) {
    const Unlocked unlocked(a.size());
    return copy(a);
  });
  m.def("astype", [](const Array& a, DType dtype) {
    const Unlocked unlocked(a.size());
    return astype(a, dtype);
  });
  m.def("is_contiguous", &Array::is_contiguous);

  m.def("broadcast_to", &broadcast_to);
  m.def("broadcast_shapes", [](const std::string& op, const std::vector<Dims>& shapes) {
    Dims all;
    for (const Dims& shape : shapes) all = broadcast_shapes(op.c_str(), all, shape);
    return all;
  });
  m.def("permute", &permute);
  m.def("squeeze", &squeeze);
  m.def("expand_dims", &expand_dims);
  m.def("reshape", [](const Array& a, const Dims& shape) { return reshape(a, shape); });

  m.def("take", [](const Array& a, const Array& indices, int axis) {
    const Unlocked unlocked(a, a.size());
    return take(a, indices, axis);
  });
  m.def("take_backward", [](const Array& g, const Array& indices, int axis, const Dims& shape) {
    const Unlocked unlocked(g, g.size());
    return take_backward(g, indices, axis, shape);
  });
  m.def("take_along_axis", [](const Array& a, const Array& indices, int axis) {
    const Unlocked unlocked(a, indices.size());
    return take_along_axis(a, indices, axis);
  });
  m.def("take_along_axis_backward", [](const Array& g, const Array& indices, int axis, const Dims& shape) {
    const Unlocked unlocked(g, g.size());
    return take_along_axis_backward(g, indices, axis, shape);
  });
  m.def("one_hot", [](const Array& labels, int64_t classes, DType dtype) {
    const Unlocked unlocked(labels, labels.size() * classes);
    return one_hot(labels, classes, dtype);
  });
  m.def("concat", [](const std::vector<Array>& arrays, int axis) {
    int64_t elements = 0;
    for (const Array& a : arrays) elements += a.size();
    const Unlocked unlocked(elements);
    return concat(arrays, axis);
  });

  m.def("memory_stats", [] {
    const MemoryStats s = memory_stats();
    py::dict d;
    d["in_use"] = s.in_use, d["cached"] = s.cached, d["peak"] = s.peak;
    d["system_allocations"] = s.system_allocations;
    return d;
  });
  m.def("empty_cache", &empty_cache);
}

}  // namespace steep
