#include "dlpack.h"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "../core/device.h"
#include "../core/errors.h"
#include "../core/views.h"
#include "../cuda/table.h"
#include "dlpack_capsule.h"
#include "tensor_type.h"

namespace nb = nanobind;

namespace steep {
namespace {

using Readable = nb::ndarray<nb::ro>;
using Writable = nb::ndarray<>;

nb::dlpack::dtype dlpack_dtype(DType t) {
  using Code = nb::dlpack::dtype_code;
  const Code code = t == DType::boolean    ? Code::Bool
                    : t == DType::bfloat16 ? Code::Bfloat
                    : is_floating(t)       ? Code::Float
                    : is_unsigned(t)       ? Code::UInt
                                           : Code::Int;
  return {uint8_t(code), uint8_t(8 * item_size(t)), 1};
}

std::optional<DType> steep_dtype(nb::dlpack::dtype t) {
  for (int i = 0; i < kDTypes; ++i)
    if (t == dlpack_dtype(DType(i))) return DType(i);
  return std::nullopt;
}

/// Where an array is. Pinned memory is the CPU's as well, managed memory the device's.
Device device_of(const char* what, int type, int index) {
  if (type == nb::device::cpu::value || type == nb::device::cuda_host::value) return Device();
  if (type != nb::device::cuda::value && type != nb::device::cuda_managed::value)
    throw TypeError(message(what, " is on a device that is neither the CPU nor CUDA's"));
  if (index < 0 || index >= cuda::device_count()) {
    const std::string& reason = cuda::unavailable_reason();
    throw std::invalid_argument(message(
        what, " is on cuda:", index,
        ", which steep cannot use: ", reason.empty() ? message("it has ", cuda::device_count(), " devices") : reason));
  }
  return {DeviceType::cuda, int8_t(index)};
}

/// An Array over somebody else's memory, which `release` gives back. If it throws, the memory is still the caller's.
template <class NdArray>
Array lend(const std::string& what, const NdArray& x, void (*release)(void*), void* owner, bool writable) {
  const std::optional<DType> dtype = steep_dtype(x.dtype());
  if (!dtype)
    throw TypeError(message(what, ": the array's dtype has no steep counterpart: convert it to a real number's first"));
  const Device device = device_of(what.c_str(), x.device_type(), x.device_id());
  Array out;
  out.dtype = *dtype;
  int64_t elements = 1;
  bool valid = true;
  for (size_t i = 0; i < x.ndim(); ++i) {
    const auto extent = int64_t(x.shape(i));
    out.shape.push(extent);
    out.strides.push(x.stride(i));
    valid = valid && extent >= 0 && !__builtin_mul_overflow(elements, extent, &elements);
  }
  if (!valid || (elements > 0 && !x.data()))
    throw std::invalid_argument(message(what, " of shape ", to_string(out.shape),
                                        " cannot be: ", valid ? "it has no memory" : "no array has these extents"));
  out.data = const_cast<char*>(static_cast<const char*>(static_cast<const void*>(x.data())));
  if (reinterpret_cast<uintptr_t>(out.data) % out.itemsize() != 0 && elements > 0)
    throw std::invalid_argument(message(what, " begins at an address that is no multiple of its elements' ",
                                        out.itemsize(), " bytes: copy the array first"));
  out.storage = StorageRef(Storage::lend(out.data, 0, device, [](void*) {}, nullptr, writable));
  if (out.dtype == DType::boolean && !on_cuda(out)) check_truth_values(what.c_str(), out);
  out.storage->release = release, out.storage->owner = owner;  // only now: a failure leaves it to the caller
  return out;
}

/// The stream that the array's library queues its work on: the current one of PyTorch and CuPy, for others steep's.
cuda::Handle stream_of(nb::handle x, int device) {
  const std::string module = nb::cast<std::string>(nb::handle(Py_TYPE(x.ptr())).attr("__module__"));
  const auto is_of = [&](std::string_view library) {
    return module == library || module.starts_with(std::string(library) + ".");
  };
  if (is_of("torch"))
    return nb::cast<cuda::Handle>(
        nb::module_::import_("torch.cuda").attr("current_stream")(device).attr("cuda_stream"));
  if (is_of("cupy"))
    return nb::cast<cuda::Handle>(nb::module_::import_("cupy.cuda").attr("get_current_stream")().attr("ptr"));
  return cuda::current_stream_of(device);
}

/// A stream as DLPack writes it: 1 is the legacy default stream.
nb::object dlpack_stream(cuda::Handle stream) { return nb::cast(stream ? stream : cuda::Handle(1)); }

/// The number of the CUDA device that an array says it is on; -1 if it doesn't, or is on the CPU.
int cuda_index(const char* what, nb::handle x) {
  const nb::object ask = nb::getattr(x, "__dlpack_device__", nb::none());
  if (ask.is_none()) return -1;
  const nb::object answer = ask();
  int place[2];  // type and number
  for (int i = 0; i < 2; ++i) {
    const nb::object part = nb::steal(PySequence_GetItem(answer.ptr(), i));
    const nb::object number = part.is_valid() ? nb::steal(PyNumber_Long(part.ptr())) : part;
    if (!number.is_valid() || !nb::try_cast(number, place[i])) {
      PyErr_Clear();
      throw TypeError(message(what, " must say by __dlpack_device__ where it is: a pair of integers, not ",
                              nb::cast<std::string>(nb::repr(answer))));
    }
  }
  const Device device = device_of(what, place[0], place[1]);
  return device.type == DeviceType::cuda ? device.index : -1;
}

/// An integer, or TypeError.
int64_t integer(const char* what, nb::handle x) {
  const int64_t value = PyLong_Check(x.ptr()) ? PyLong_AsLongLong(x.ptr()) : -1;
  if (!PyLong_Check(x.ptr())) throw TypeError(message("__dlpack__: ", what, " must be an int"));
  if (value == -1 && PyErr_Occurred()) throw nb::python_error();
  return value;
}

/// Lets a consumer's stream wait for what is queued on the array; -1 asks for nothing, None for the default stream.
void hand_over(const Array& a, nb::handle stream) {
  const int64_t number = stream.is_none() ? 1 : integer("stream", stream);
  if (number == -1) return;
  const int device = a.device().index;
  const cuda::Handle ours = cuda::current_stream_of(device), theirs = number == 1 ? 0 : cuda::Handle(number);
  if (ours != theirs) {
    const auto destroy = [device](void* event) { cuda::event_destroy(device, cuda::Handle(event)); };
    const std::unique_ptr<void, decltype(destroy)> event(reinterpret_cast<void*>(cuda::event_create(device, false)),
                                                         destroy);
    cuda::event_record(device, cuda::Handle(event.get()), ours);
    cuda::stream_wait_event(device, theirs, cuda::Handle(event.get()));
  }
  const OnStream on(device, theirs);
  const DeviceScope uses("to_dlpack", {&a});
}

/// A tensor of steep's whose memory may be shared.
bool is_own(nb::handle x) { return is_tensor(x.ptr()) && !reinterpret_cast<TensorObject*>(x.ptr())->requires_grad; }

/// The array's capsule, and on CUDA the promise that what its library has queued comes before later work on `stream`.
/// It is asked for once, and whoever takes it marks it as used.
nb::object export_of(nb::handle x, int cuda, cuda::Handle stream) {
  if (is_own(x)) {  // as it is: __dlpack__ copies what other libraries cannot read
    if (cuda >= 0) hand_over(array_of(x.ptr()), dlpack_stream(stream));
    return dlpack_capsule(array_of(x.ptr()), dlpack_dtype(array_of(x.ptr()).dtype), true, false);
  }
  nb::dict options;
  if (cuda >= 0) options["stream"] = dlpack_stream(stream);
  nb::dict with_version(options);
  with_version["max_version"] = nb::make_tuple(nb::dlpack::major_version, nb::dlpack::minor_version);
  const nb::object method = x.attr("__dlpack__");
  try {
    return method(**with_version);
  } catch (nb::python_error& e) {
    if (!e.matches(PyExc_TypeError)) throw;  // producers from before 2023 don't know versions
  }
  return method(**options);
}

template <class NdArray>
NdArray import_argument(const char* op, const char* argument, nb::handle x, int cuda, cuda::Handle stream) {
  NdArray out;
  const bool exported = cuda >= 0 || is_own(x);
  if (exported ? nb::try_cast(export_of(x, cuda, stream), out) : nb::try_cast(x, out)) return out;
  Readable readable;
  if (cuda < 0 && nb::try_cast(x, readable)) throw TypeError(message(op, ": '", argument, "' is read-only"));
  throw TypeError(message(
      op, ": '", argument, "' must be an array of NumPy, PyTorch, CuPy or another library with ", "__dlpack__, not ",
      is_tensor(x.ptr()) ? "a tensor that requires a gradient (pass x.detach())" : Py_TYPE(x.ptr())->tp_name));
}

std::string described(const char* op, const char* argument) { return message(op, ": '", argument, "'"); }

// --- exchange of tensors

/// A tensor over the array's memory, which the array's handle keeps alive.
template <class NdArray>
nb::object adopt(NdArray x, bool writable) {
  auto keep = std::make_unique<NdArray>(std::move(x));
  const auto release = [](void* p) {
    const nb::gil_scoped_acquire gil;
    delete static_cast<NdArray*>(p);
  };
  Array out = lend("from_dlpack", *keep, release, keep.get(), writable);
  if (on_cuda(out)) out.storage->stream = reinterpret_cast<void*>(cuda::current_stream_of(out.device().index));
  keep.release();  // the array's storage owns it now
  return nb::steal(wrap(std::move(out)));
}

nb::object from_dlpack(nb::handle x) {
  const int cuda = cuda_index("from_dlpack: the array", x);
  const nb::object source =
      nb::hasattr(x, "__dlpack__") ? export_of(x, cuda, cuda >= 0 ? cuda::current_stream_of(cuda) : 0) : nb::borrow(x);
  Writable writable;
  if (nb::try_cast(source, writable)) return adopt(std::move(writable), true);
  Readable readable;
  if (nb::try_cast(source, readable)) return adopt(std::move(readable), false);
  throw TypeError(message("from_dlpack: expected an array with __dlpack__, not ", Py_TYPE(x.ptr())->tp_name));
}

nb::object to_dlpack(nb::handle tensor, nb::handle stream, nb::handle max_version, nb::handle device,
                     nb::handle copy_wanted) {
  if (!is_tensor(tensor.ptr())) throw TypeError("to_dlpack: expected a Tensor");
  const auto refuse = [](const char* why) {
    PyErr_SetString(PyExc_BufferError, why);
    return nb::python_error();
  };
  const auto pair_of = [](const char* what, nb::handle x) {
    if (!PyTuple_Check(x.ptr()) || PyTuple_GET_SIZE(x.ptr()) != 2)
      throw TypeError(message("__dlpack__: ", what, " must be a pair of integers"));
    return std::pair(integer(what, x[0]), integer(what, x[1]));
  };
  Array a = array_of(tensor.ptr());
  const bool versioned = !max_version.is_none() && pair_of("max_version", max_version).first >= 1;
  const bool may_copy = copy_wanted.is_none() || PyObject_IsTrue(copy_wanted.ptr()) == 1;
  bool must_copy = !copy_wanted.is_none() && may_copy;
  if (std::ranges::any_of(a.strides, [](int64_t s) { return s < 0; })) {  // PyTorch aborts on them
    if (!may_copy) throw refuse("a tensor with negative strides cannot be exported as it is: pass copy=None");
    must_copy = true;
  }
  bool copied = false;
  if (!device.is_none()) {
    const auto [type, index] = pair_of("dl_device", device);
    const Device wanted = device_of("__dlpack__: the array asked for", int(type), int(index));
    if (wanted != a.device()) {
      if (!may_copy) throw refuse("the tensor is on another device: pass copy=None or copy=True");
      a = to_device(a, wanted);
      copied = true;
    }
  }
  if (must_copy && !copied) a = copy(a), copied = true;
  if (!a.storage->writable && !versioned)
    throw refuse("read-only memory cannot be exported by DLPack before version 1: pass copy=True");
  if (on_cuda(a)) hand_over(a, stream);
  return dlpack_capsule(a, dlpack_dtype(a.dtype), versioned, copied);
}

}  // namespace

Call::Call(const char* op, nb::handle x) : op_(op) {
  const int cuda = cuda_index(described(op, "out").c_str(), x);
  const cuda::Handle stream = cuda >= 0 ? stream_of(x, cuda) : 0;
  if (cuda >= 0) stream_.emplace(cuda, stream);
  const Writable array = import_argument<Writable>(op, "out", x, cuda, stream);
  out_ = lend(described(op, "out"), array, [](void*) {}, nullptr, true);
  out_.storage->stream = reinterpret_cast<void*>(stream);
  arrays_.emplace_back(array);
  if (is_tensor(x.ptr())) tensor_ = &array_of(x.ptr());
}

Call::~Call() {
  if (tensor_ && std::uncaught_exceptions() == exceptions_) tensor_->storage->version++;
}

Array Call::in(const char* argument, nb::handle x) {
  const int cuda = cuda_index(described(op_, argument).c_str(), x);
  const auto stream = reinterpret_cast<cuda::Handle>(out_.storage->stream);
  Readable array = import_argument<Readable>(op_, argument, x, cuda, stream);
  Array out = lend(described(op_, argument), array, [](void*) {}, nullptr, true);
  out.storage->stream = out_.storage->stream;
  arrays_.push_back(std::move(array));
  return out;
}

void register_dlpack(nb::module_& m) {
  m.def("to_dlpack", &to_dlpack, nb::arg("tensor"), nb::arg("stream") = nb::none(), nb::arg("max_version") = nb::none(),
        nb::arg("dl_device") = nb::none(), nb::arg("copy") = nb::none());
  m.def("from_dlpack", &from_dlpack);
}

}  // namespace steep
