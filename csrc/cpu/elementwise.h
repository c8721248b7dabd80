// What the elementwise loops add to lanes.h: booleans, and inputs that are one element.
#pragma once
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
STEEP_INLINE void store(Whole span, T* p, Vec<T> v) {
  span.store(p, v);
}
template <class T>
STEEP_INLINE void store(Part span, T* p, Vec<T> v) {
  span.store(p, v);
}
template <class T>
STEEP_INLINE void store(Whole, uint8_t* p, Mask<T> m) {
  store_bytes(m, p);
}
template <class T>
STEEP_INLINE void store(Part span, uint8_t* p, Mask<T> m) {
  store_bytes_partial(m, p, span.k);
}
template <class T>
STEEP_INLINE Mask<T> load_mask(Whole, const uint8_t* p) {
  return load_bytes<T>(p);
}
template <class T>
STEEP_INLINE Mask<T> load_mask(Part span, const uint8_t* p) {
  return load_bytes_partial<T>(p, span.k);
}

/// An array, or one element that stands for all: then a vector of copies of it is read again and again.
template <class T>
class Input {
 public:
  STEEP_INLINE Input(const void* p, bool scalar) : data_(static_cast<const T*>(p)), index_mask_(scalar ? 0 : -1) {
    if (!scalar) return;
    Vec<T>(*data_).store(copies_);
    data_ = copies_;
  }
  Input(const Input&) = delete;
  STEEP_INLINE const T* at(int64_t i) const { return data_ + (i & index_mask_); }

 private:
  const T* data_;
  int64_t index_mask_;
  T copies_[Vec<T>::n];
};

}  // namespace
}  // namespace steep::STEEP_ISA_NS
