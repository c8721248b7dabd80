// Reductions of contiguous runs, and of the columns of a matrix.
#include "../core/kernels.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class Op, class T>
void init(int64_t n, void* acc) {
  using A = typename Op::template Acc<T>;
  for (int64_t j = 0; j < n; ++j) static_cast<A*>(acc)[j] = Op::template init<A>();
}

/// Any order gives the same result for integers and truth values, so the compiler vectorises this loop.
template <class Op, class T>
void run(int64_t n, const void* x_, void* acc) {
  using A = typename Op::template Acc<T>;
  const T* x = static_cast<const T*>(x_);
  A a = *static_cast<A*>(acc);
  for (int64_t i = 0; i < n; ++i) a = Op::combine(a, Op::template take<A>(x[i]));
  *static_cast<A*>(acc) = a;
}

template <class Op, class T>
void columns(int64_t rows, int64_t row_stride, int64_t n, const void* x_, void* acc) {
  using A = typename Op::template Acc<T>;
  A* __restrict a = static_cast<A*>(acc);
  for (int64_t i = 0; i < rows; ++i) {
    const T* __restrict x = static_cast<const T*>(x_) + i * row_stride;
    for (int64_t j = 0; j < n; ++j) a[j] = Op::combine(a[j], Op::template take<A>(x[j]));
  }
}

template <class Op, class T>
void merge(int64_t n, const void* from, void* acc) {
  using A = typename Op::template Acc<T>;
  A* a = static_cast<A*>(acc);
  for (int64_t j = 0; j < n; ++j) a[j] = Op::combine(a[j], static_cast<const A*>(from)[j]);
}

template <class Op, class T>
void finish(int64_t n, const void* acc, void* y) {
  using A = typename Op::template Acc<T>;
  using R = typename Op::template Result<T>;
  for (int64_t j = 0; j < n; ++j) static_cast<R*>(y)[j] = Op::template finish<R>(static_cast<const A*>(acc)[j]);
}

template <class T>
void run_sum(int64_t n, const void* x_, void* acc) {
  const T* x = static_cast<const T*>(x_);
  constexpr int64_t kAhead = 2048 / sizeof(T);  // what follows is often the next row, or the next block
  *static_cast<double*>(acc) += sum_of<T>(n, [&](int64_t i, auto span) {
    __builtin_prefetch(x + i + kAhead);
    return span.load(x + i);
  });
}

/// Blocks of kRows, or of twice as many that don't compete for the same places in L1, are summed in T.
template <class T>
void columns_sum(int64_t rows, int64_t row_stride, int64_t n, const void* x_, void* acc) {
  const T* x = static_cast<const T*>(x_);
  const bool widens = sizeof(T) < sizeof(double);  // else each block costs the sum a rounding more
  const int64_t most = widens && row_stride * int64_t(sizeof(T)) % 1024 != 0 ? 2 * kRows : kRows;
  for (int64_t i = 0; i < rows; i += most, x += most * row_stride) {
    const int64_t block = rows - i < most ? rows - i : most;
    each_strip<T, 4>(n, [&](int64_t j, auto span, auto count) {
      Vec<T> s[count] = {};
      for (int64_t r = 0; r < block; ++r)
        for (int q = 0; q < count; ++q) s[q] = s[q] + span.load(x + r * row_stride + j + q * Vec<T>::n);
      for (int q = 0; q < count; ++q) accumulate(static_cast<double*>(acc) + j + q * Vec<T>::n, s[q], span);
    });
  }
}

/// Several products in turn, because one multiplication waits for the last.
template <class T>
void run_prod(int64_t n, const void* x_, void* acc) {
  constexpr int kStreams = 8;
  const T* x = static_cast<const T*>(x_);
  double a[kStreams] = {*static_cast<double*>(acc), 1, 1, 1, 1, 1, 1, 1};
  int64_t i = 0;
  for (; i + kStreams <= n; i += kStreams)
    for (int k = 0; k < kStreams; ++k) a[k] *= double(x[i + k]);
  for (; i < n; ++i) a[0] *= double(x[i]);
  *static_cast<double*>(acc) = ((a[0] * a[1]) * (a[2] * a[3])) * ((a[4] * a[5]) * (a[6] * a[7]));
}

template <class Op, class T>
void run_extreme(int64_t n, const void* x, void* acc) {
  T& a = *static_cast<T*>(acc);
  a = Op::combine(a, extreme<Op>(n, static_cast<const T*>(x)));
}

template <class Op, class T>
constexpr ReduceLoops loops() {
  constexpr bool floating = std::is_floating_point_v<T>;
  ReduceLoops l{};
  l.acc_size = sizeof(typename Op::template Acc<T>);
  l.result = dtype_of<typename Op::template Result<T>>();
  l.init = init<Op, T>;
  l.run = run<Op, T>;
  l.columns = columns<Op, T>;
  l.merge = merge<Op, T>;
  l.finish = finish<Op, T>;
  if constexpr (floating && std::is_same_v<Op, Sum>) l.run = run_sum<T>, l.columns = columns_sum<T>;
  if constexpr (floating && std::is_same_v<Op, Prod>) l.run = run_prod<T>;
  if constexpr (floating && Op::needs_elements) l.run = run_extreme<Op, T>;
  return l;
}

template <class Op>
constexpr ReduceKernel kernel() {
  ReduceKernel k{Op::name, Op::needs_elements, {}};
  each_computed_type([&]<class T>() { k.by_dtype[dtype_of<T>()] = loops<Op, T>(); });
  return k;
}

template <class... Op>
std::span<const ReduceKernel> kernels(List<Op...>) {
  static constexpr ReduceKernel all[] = {kernel<Op>()...};
  return all;
}

/// The block with the first extreme, then the place in it. A NaN ends the search: nothing replaces it.
template <class Op, class T>
int64_t arg(int64_t n, const void* x_) {
  constexpr int64_t kBlock = 1024;
  const T* x = static_cast<const T*>(x_);
  T best = Op::template init<T>();
  int64_t place = 0;
  for (int64_t i = 0; i < n && best == best; i += kBlock) {
    T acc = best;
    loops<Op, T>().run(n - i < kBlock ? n - i : kBlock, x + i, &acc);
    if (acc != best) best = acc, place = i;
  }
  while (best == best ? x[place] != best : x[place] == x[place]) ++place;
  return place;
}

template <class Op>
constexpr ArgReduceKernel arg_kernel(const char* name) {
  ArgReduceKernel k{name, {}};
  each_computed_type([&]<class T>() { k.run[dtype_of<T>()] = arg<Op, T>; });
  return k;
}

constexpr ArgReduceKernel kArgReduce[] = {arg_kernel<Max>("argmax"), arg_kernel<Min>("argmin")};

}  // namespace

void fill_reduce(Kernels& k) {
  k.reduce = kernels(Reductions());
  k.arg_reduce = kArgReduce;
}

}  // namespace steep::STEEP_ISA_NS
