// Changes of dtype, and the choice between two arrays.
#include "../ops/cast.h"
#include "elementwise.h"

namespace steep::STEEP_ISA_NS {
void fill_cast(Kernels& k);

namespace {

template <class From, class To>
void cast(int64_t n, void* const* operands, unsigned marks, const double*) {
  const From* x = static_cast<const From*>(operands[0]);
  To* y = static_cast<To*>(operands[1]);
  if constexpr (std::is_same_v<From, To>) {
    const int64_t bytes = n * int64_t(sizeof(To));
    if (marks & kPastCaches) return copy_past_caches(bytes, x, y);
    __builtin_memmove(y, x, bytes);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
  }
}

template <class T>
void where(int64_t n, void* const* operands, unsigned marks, const double*) {
  const Input<uint8_t> condition(operands[0], marks & 1);
  const Input<T> a(operands[1], marks & 2), b(operands[2], marks & 4);
  T* y = static_cast<T*>(operands[3]);
  each_output<T>(n, marks, [&](int64_t i, auto span) {
    store(span, y + i, select(load_mask<T>(span, condition.at(i)), span.load(a.at(i)), span.load(b.at(i))));
  });
}

}  // namespace

void fill_cast(Kernels& k) {
  each_type(
      [&]<class From>() {
        each_type(
            [&]<class To>() {
              k.cast[int(dtype_of<From>())][int(dtype_of<To>())] = {cast<From, To>, nullptr, std::is_same_v<From, To>};
            },
            EveryType());
      },
      EveryType());
  each_computed_type([&]<class T>() { k.where[dtype_of<T>()] = {where<Lane<T>>, nullptr, true}; });
}

}  // namespace steep::STEEP_ISA_NS
