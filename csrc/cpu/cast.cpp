// Changes of dtype, and the choice between two arrays.
#include "../ops/cast.h"
#include "elementwise.h"

namespace steep::STEEP_ISA_NS {
void fill_cast(Kernels& k);

namespace {

template <class From, class To>
void cast(int64_t n, void* const* operands, unsigned, const double*) {
  const From* x = static_cast<const From*>(operands[0]);
  To* y = static_cast<To*>(operands[1]);
  if constexpr (std::is_same_v<From, To>) {
    __builtin_memmove(y, x, n * sizeof(To));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i] = convert<To>(x[i]);
  }
}

template <class T>
void where(int64_t n, void* const* operands, unsigned scalars, const double*) {
  const Input<uint8_t> condition(operands[0], scalars & 1);
  const Input<T> a(operands[1], scalars & 2), b(operands[2], scalars & 4);
  T* y = static_cast<T*>(operands[3]);
  each_vector<T>(n, [&](int64_t i, auto span) {
    store(span, y + i, select(load_mask<T>(span, condition.at(i)), span.load(a.at(i)), span.load(b.at(i))));
  });
}

}  // namespace

void fill_cast(Kernels& k) {
  each_type(
      [&]<class From>() {
        each_type([&]<class To>() { k.cast[int(dtype_of<From>())][int(dtype_of<To>())].loop = cast<From, To>; },
                  EveryType());
      },
      EveryType());
  each_computed_type([&]<class T>() { k.where[dtype_of<T>()].loop = where<Lane<T>>; });
}

}  // namespace steep::STEEP_ISA_NS
