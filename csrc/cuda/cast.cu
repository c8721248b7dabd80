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

/// Elements that are only moved, as words: those of one size share a kernel.
template <class Item>
struct Same {
  STEEP_FORMULA Item operator()(Item x) const { return x; }
};

template <class Item>
struct Choose {
  STEEP_FORMULA Item operator()(uint8_t condition, Item a, Item b) const { return condition ? a : b; }
};

/// f with a value of T if t is its dtype and its size is that of an Item.
template <class Item, class T, class F>
__device__ void with_type(DType t, const F& f) {
  if constexpr (sizeof(T) == sizeof(Item))
    if (t == dtype_of<T>()) f(T());
}
template <class Item, class F, class... T>
__device__ void with_type_of_size(DType t, const F& f, Types<T...>) {
  (with_type<Item, T>(t, f), ...);
}

/// The conversions that few programs wait for: one kernel for each pair of sizes asks for the dtypes as it runs.
template <class In, class Out>
struct ConvertAny {
  DType from, to;
  __device__ Out operator()(In x) const {
    Out y = 0;
    with_type_of_size<In>(
        from,
        [&](auto source) {
          const auto value = bit_cast<decltype(source)>(x);
          with_type_of_size<Out>(
              to, [&](auto target) { y = bit_cast<Out>(convert<decltype(target)>(value)); }, EveryType());
        },
        EveryType());
    return y;
  }
};

template <class T>
constexpr bool is_half = std::is_same_v<T, float16> || std::is_same_v<T, bfloat16>;
template <class T>
constexpr bool is_computed = computed_in(dtype_of<T>()) == dtype_of<T>();
template <class From, class To>
constexpr bool has_own_kernel =
    (is_computed<From> && is_computed<To>) || (is_half<From> && std::is_same_v<To, float>) ||
    (std::is_same_v<From, float> && is_half<To>);

template <class From, class To>
void cast(const ElementwisePlan& plan, const double*) {
  using In = Word<sizeof(From)>;
  using Out = Word<sizeof(To)>;
  if constexpr (std::is_same_v<From, To>) {
    if (!launch_transpose<In>("copy", plan)) launch_elementwise<In, In>("copy", plan, Same<In>());
  } else if constexpr (has_own_kernel<From, To>) {
    launch_elementwise<To, From>("astype", plan, Convert<From, To>());
  } else {
    launch_elementwise<Out, In>("astype", plan, ConvertAny<In, Out>{dtype_of<From>(), dtype_of<To>()});
  }
}

template <class Item>
void where(const ElementwisePlan& plan, const double*) {
  launch_elementwise<Item, uint8_t, Item, Item>("where", plan, Choose<Item>());
}

}  // namespace

void fill_cast(Kernels& kernels) {
  each_type(
      [&]<class From>() {
        each_type([&]<class To>() { kernels.cast[int(dtype_of<From>())][int(dtype_of<To>())].launch = cast<From, To>; },
                  EveryType());
      },
      EveryType());
  each_computed_type([&]<class T>() { kernels.where[dtype_of<T>()].launch = where<Word<sizeof(T)>>; });
}

}  // namespace steep::cuda
