#include "elementwise.h"
//
#include "../ops/binary.h"
#include "../ops/lanewise.h"

namespace steep::STEEP_ISA_NS {
void fill_binary(Kernels& k);

namespace {

template <class Op, class T>
void forward(int64_t n, void* const* operands, unsigned marks, const double* params) {
  const Op op = make<Op>(params);
  const Input<T> a(operands[0], marks & 1), b(operands[1], marks & 2);
  auto* y = static_cast<std::conditional_t<Op::to_bool, uint8_t, T>*>(operands[2]);
  each_output<T>(n, marks,
                 [&](int64_t i, auto span) { store(span, y + i, op.f(span.load(a.at(i)), span.load(b.at(i)))); });
}

template <class Op, class T, bool by_a>
void backward(int64_t n, void* const* operands, unsigned marks, const double* params) {
  using V = Vec<T>;
  constexpr unsigned reads = by_a ? Op::reads_a : Op::reads_b;
  const Op op = make<Op>(params);
  const T *g = static_cast<const T*>(operands[0]), *a = static_cast<const T*>(operands[1]),
          *b = static_cast<const T*>(operands[2]), *y = static_cast<const T*>(operands[3]);
  T* d = static_cast<T*>(operands[4]);
  each_output<T>(n, marks, [&](int64_t i, auto span) {
    V left = 0, right = 0, value = 0;
    if constexpr (reads & kReadsA) left = span.load(a + i);
    if constexpr (reads & kReadsB) right = span.load(b + i);
    if constexpr (reads & kReadsY) value = span.load(y + i);
    store(span, d + i, span.load(g + i) * (by_a ? op.da(left, right, value) : op.db(left, right, value)));
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
constexpr BinaryKernel row() {
  BinaryKernel k = {Op::name, Op::to_bool, kReadsNothing, kReadsNothing, {}, {}, {}};
  each_computed_type([&]<class T>() { k.forward[dtype_of<T>()] = {forward_row<Op, T>(), nullptr, !Op::to_bool}; });
  if constexpr (Op::differentiable) {
    k.reads_a = Op::reads_a, k.reads_b = Op::reads_b;
    k.backward_a[DType::float32] = {backward<Op, float, true>, nullptr, true};
    k.backward_a[DType::float64] = {backward<Op, double, true>, nullptr, true};
    k.backward_b[DType::float32] = {backward<Op, float, false>, nullptr, true};
    k.backward_b[DType::float64] = {backward<Op, double, false>, nullptr, true};
  }
  return k;
}

template <class... Op>
std::span<const BinaryKernel> rows(List<Op...>) {
  static constexpr BinaryKernel all[] = {row<Op>()...};
  return all;
}

}  // namespace

void fill_binary(Kernels& k) { k.binary = rows(BinaryOps()); }

}  // namespace steep::STEEP_ISA_NS
