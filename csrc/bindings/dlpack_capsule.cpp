#include "dlpack_capsule.h"

#include <type_traits>

#include "../core/device.h"

namespace nb = nanobind;

namespace steep {
namespace {

constexpr uint64_t kReadOnly = 1, kCopied = 2;  // DLPACK_FLAG_BITMASK_…

// DLManagedTensor and DLManagedTensorVersioned of https://github.com/dmlc/dlpack/blob/main/include/dlpack/dlpack.h
struct Unversioned {
  nb::dlpack::dltensor tensor;
  void* context;
  void (*deleter)(Unversioned*);
  static constexpr const char* name = "dltensor";
};
struct Versioned {
  uint32_t major, minor;
  void* context;
  void (*deleter)(Versioned*);
  uint64_t flags;
  nb::dlpack::dltensor tensor;
  static constexpr const char* name = "dltensor_versioned";
};

/// What a capsule points to, with the array that it shows.
template <class Managed>
struct Exported {
  Managed managed{};  // at the front
  Array array;
};

template <class Managed>
nb::object capsule_of(const Array& a, nb::dlpack::dtype dtype, uint64_t flags) {
  auto* exported = new Exported<Managed>{{}, a};
  Array& kept = exported->array;
  Managed& managed = exported->managed;
  managed.tensor.data = kept.data;
  managed.tensor.device = {on_cuda(a) ? nb::device::cuda::value : nb::device::cpu::value, a.device().index};
  managed.tensor.ndim = a.ndim();
  managed.tensor.dtype = dtype;
  managed.tensor.shape = kept.shape.v;
  managed.tensor.strides = kept.strides.v;
  managed.tensor.byte_offset = 0;
  managed.context = exported;
  managed.deleter = [](Managed* m) { delete static_cast<Exported<Managed>*>(m->context); };
  if constexpr (std::is_same_v<Managed, Versioned>) managed.major = 1, managed.minor = 0, managed.flags = flags;
  const auto free_unused = [](PyObject* capsule) {  // a consumer has renamed it
    if (!PyCapsule_IsValid(capsule, Managed::name)) return;
    auto* m = static_cast<Managed*>(PyCapsule_GetPointer(capsule, Managed::name));
    m->deleter(m);
  };
  PyObject* const capsule = PyCapsule_New(&managed, Managed::name, free_unused);
  if (!capsule) {
    delete exported;
    throw nb::python_error();
  }
  return nb::steal(capsule);
}

}  // namespace

nb::object dlpack_capsule(const Array& a, nb::dlpack::dtype dtype, bool versioned, bool copied) {
  const uint64_t flags = (a.storage->writable ? 0 : kReadOnly) | (copied ? kCopied : 0);
  return versioned ? capsule_of<Versioned>(a, dtype, flags) : capsule_of<Unversioned>(a, dtype, flags);
}

}  // namespace steep
