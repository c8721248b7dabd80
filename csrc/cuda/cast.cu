// Changes of dtype, copies, and the choice between two arrays.
#include "../ops/cast.h"

#include "transpose.cuh"

namespace steep::cuda {
void fill_cast(Kernels& kernels);

namespace {

template <class From, class To>
struct Convert {
  STEEP_FORMULA To operator()(From x) const { return convert<To>(x); }
};

template <class Word>
struct Same {
  STEEP_FORMULA Word operator()(Word x) const { return x; }
};

template <class Word>
struct Choose {
  STEEP_FORMULA Word operator()(uint8_t condition, Word a, Word b) const { return condition ? a : b; }
};

/// Bytes that are moved only: elements of one size share a kernel.
template <class T>
using Word = std::conditional_t<sizeof(T) == 1, uint8_t, std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;

template <class From, class To>
void cast(const ElementwisePlan& plan, const double*) {
  if constexpr (std::is_same_v<From, To>) {
    using W = Word<To>;
    if (!launch_transpose<W>("copy", plan)) launch_elementwise<W, W>("copy", plan, Same<W>());
  } else {
    launch_elementwise<To, From>("astype", plan, Convert<From, To>());
  }
}

template <class Word>
void where(const ElementwisePlan& plan, const double*) {
  launch_elementwise<Word, uint8_t, Word, Word>("where", plan, Choose<Word>());
}

template <class From, class... To>
void fill_from(ElementwiseKernel* row, Types<To...>) {
  ((row[int(dtype_of<To>())].launch = cast<From, To>), ...);
}
template <class... T>
void fill_all(Kernels& kernels, Types<T...>) {
  (fill_from<T>(kernels.cast[int(dtype_of<T>())], EveryType()), ...);
  ((kernels.where[int(dtype_of<T>())].launch = where<Word<T>>), ...);
}

}  // namespace

void fill_cast(Kernels& kernels) { fill_all(kernels, EveryType()); }

}  // namespace steep::cuda
