#include "elementwise.h"
//
#include "../ops/lanewise.h"
#include "../ops/unary.h"

namespace steep::STEEP_ISA_NS {
void fill_unary(Kernels& k);

namespace {

template <class Op, class T>
void forward(int64_t n, void* const* operands, unsigned marks, const double* params) {
  const Op op = make<Op>(params);
  const T* x = static_cast<const T*>(operands[0]);
  auto* y = static_cast<std::conditional_t<Op::to_bool, uint8_t, T>*>(operands[1]);
  each_output<T>(n, marks, [&](int64_t i, auto span) { store(span, y + i, op.f(span.load(x + i))); });
}

template <class Op, class T>
void backward(int64_t n, void* const* operands, unsigned marks, const double* params) {
  using V = Vec<T>;
  const Op op = make<Op>(params);
  const T *g = static_cast<const T*>(operands[0]), *x = static_cast<const T*>(operands[1]),
          *y = static_cast<const T*>(operands[2]);
  T* dx = static_cast<T*>(operands[3]);
  each_output<T>(n, marks, [&](int64_t i, auto span) {
    V at = 0, value = 0;
    if constexpr (Op::reads & kReadsX) at = span.load(x + i);
    if constexpr (Op::reads & kReadsY) value = span.load(y + i);
    store(span, dx + i, span.load(g + i) * op.df(at, value));
  });
}

template <class Op, class T>
constexpr Loop forward_row() {
  if constexpr (accepts<T>(Op::accepts))
    return forward<Op, Lane<T>>;
  else
    return nullptr;
}

template <class Op>
constexpr UnaryKernel row() {
  UnaryKernel k = {Op::name, Op::params, Op::to_bool, kReadsNothing, {}, {}};
  each_computed_type([&]<class T>() { k.forward[dtype_of<T>()] = {forward_row<Op, T>(), nullptr, !Op::to_bool}; });
  if constexpr (Op::differentiable) {
    k.reads = Op::reads;
    k.backward[DType::float32] = {backward<Op, float>, nullptr, true};
    k.backward[DType::float64] = {backward<Op, double>, nullptr, true};
  }
  return k;
}

template <class... Op>
std::span<const UnaryKernel> rows(List<Op...>) {
  static constexpr UnaryKernel all[] = {row<Op>()...};
  return all;
}

}  // namespace

void fill_unary(Kernels& k) { k.unary = rows(UnaryOps()); }

}  // namespace steep::STEEP_ISA_NS
