#include "buffer.h"

#include <map>
#include <memory>
#include <string_view>

#include "../core/device.h"
#include "../core/errors.h"
#include "tensor_type.h"

namespace steep {
namespace {

/// A dtype as the struct module writes it, int64 as NumPy's; null for bfloat16, which it doesn't know.
const char* format_of(DType t) {
  static const std::map<std::string_view, const char*> formats = {
      {"bool", "?"},   {"int8", "b"},   {"int16", "h"},  {"int32", "i"},   {"int64", "l"},   {"uint8", "B"},
      {"uint16", "H"}, {"uint32", "I"}, {"uint64", "L"}, {"float16", "e"}, {"float32", "f"}, {"float64", "d"}};
  const auto found = formats.find(name(t));
  return found == formats.end() ? nullptr : found->second;
}

/// What a view points into, and the memory it keeps alive.
struct Exported {
  Array array;
  Py_ssize_t shape[kMaxNdim], strides[kMaxNdim];
};

bool is_fortran_contiguous(const Array& a) {
  int64_t expected = 1;
  for (int i = 0; i < a.ndim(); ++i) {
    if (a.shape[i] != 1 && a.strides[i] != expected) return a.size() == 0;
    expected *= a.shape[i];
  }
  return true;
}

/// Why a tensor cannot give what `flags` ask for, or null.
const char* refusal(PyObject* o, int flags) {
  const Array& a = array_of(o);
  if (on_cuda(a)) return "the memory of a CUDA tensor is not the CPU's: use x.cpu()";
  if (reinterpret_cast<TensorObject*>(o)->requires_grad)
    return "a tensor that requires a gradient has no buffer: use x.detach()";
  if (!format_of(a.dtype)) return "this dtype has no buffer format: use x.astype(steep.float32)";
  if ((flags & PyBUF_WRITABLE) && !a.storage->writable) return "this tensor's memory is read-only";
  int64_t bytes;
  if (__builtin_mul_overflow(a.size(), int64_t(a.itemsize()), &bytes))
    return "this tensor, which was broadcast, has more bytes than a buffer can";
  const bool c = a.is_contiguous(), fortran = is_fortran_contiguous(a);
  const auto asks = [flags](int wanted) { return (flags & wanted) == wanted; };
  const bool fits = asks(PyBUF_C_CONTIGUOUS)     ? c
                    : asks(PyBUF_F_CONTIGUOUS)   ? fortran
                    : asks(PyBUF_ANY_CONTIGUOUS) ? c || fortran
                                                 : asks(PyBUF_STRIDES) || c;
  return fits ? nullptr : "this tensor's elements are not in the order that was asked for: use x.contiguous()";
}

int get_buffer(PyObject* o, Py_buffer* view, int flags) {
  view->obj = nullptr;
  if (const char* why = refusal(o, flags)) {
    PyErr_SetString(PyExc_BufferError, why);
    return -1;
  }
  const Array& a = array_of(o);
  auto exported = std::make_unique<Exported>();
  exported->array = a;
  const auto item = Py_ssize_t(a.itemsize());
  for (int i = 0; i < a.ndim(); ++i) exported->shape[i] = a.shape[i], exported->strides[i] = a.strides[i] * item;
  view->buf = a.data;
  view->len = a.size() * item;
  view->itemsize = item;
  view->readonly = !a.storage->writable;
  view->ndim = a.ndim();
  view->format = flags & PyBUF_FORMAT ? const_cast<char*>(format_of(a.dtype)) : nullptr;
  view->shape = flags & PyBUF_ND ? exported->shape : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? exported->strides : nullptr;
  view->suboffsets = nullptr;
  view->internal = exported.release();
  Py_INCREF(o);
  view->obj = o;
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Exported*>(view->internal); }

}  // namespace

PyType_Slot buffer_slot() { return {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)}; }
PyType_Slot release_buffer_slot() { return {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)}; }

}  // namespace steep
