// What the elementwise loops add to lanes.h: booleans, and inputs that are one element.
#pragma once
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// A whole vector that is stored past the caches if `streams`.
struct Marked : Whole {
  bool streams;
  template <class T>
  STEEP_INLINE void store(T* p, Vec<T> v) const {
    bool past = streams;
    asm("" : "+r"(past));  // one loop that asks, not two: they would double the code of all kernels
    past ? v.stream(p) : v.store(p);
  }
};

/// each_vector for an output that is marked.
template <class T, class F>
STEEP_INLINE void each_output(int64_t n, unsigned marks, F f) {
  constexpr int64_t L = Vec<T>::n;
  const Marked span{{}, (marks & kPastCaches) != 0};
  int64_t i = 0;
  for (; i + L <= n; i += L) f(i, span);
  if (i < n) f(i, Part{int(n - i)});
}

template <class T>
STEEP_INLINE void store(Marked span, T* p, Vec<T> v) {
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
