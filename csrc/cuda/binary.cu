#include "elementwise.cuh"
//
#include "../ops/binary.h"
#include "../ops/lanewise.h"

namespace steep::cuda {
void fill_binary(std::span<BinaryKernel> rows);

namespace {

template <class Op, class T>
struct Value {
  Op op;
  STEEP_FORMULA auto operator()(T a, T b) const { return op.f(Vec<T>(a), Vec<T>(b)); }
};

template <class Op, class T, bool by_a>
struct Derivative {
  static constexpr unsigned reads = by_a ? Op::reads_a : Op::reads_b;
  Op op;
  template <class A, class B, class Y>
  STEEP_FORMULA auto operator()(T g, A a, B b, Y y) const {
    Vec<T> left = 0, right = 0, value = 0;
    if constexpr (reads & kReadsA) left = a;
    if constexpr (reads & kReadsB) right = b;
    if constexpr (reads & kReadsY) value = y;
    return Vec<T>(g) * (by_a ? op.da(left, right, value) : op.db(left, right, value));
  }
};

template <class Op, class T>
void forward(const ElementwisePlan& plan, const double* params) {
  using Out = std::conditional_t<Op::to_bool, uint8_t, T>;
  launch_elementwise<Out, T, T>(Op::name, plan, Value<Op, T>{make<Op>(params)});
}

template <class Op, class T, bool by_a>
void backward(const ElementwisePlan& plan, const double* params) {
  using F = Derivative<Op, T, by_a>;
  using A = std::conditional_t<(F::reads & kReadsA) != 0, T, Unread>;
  using B = std::conditional_t<(F::reads & kReadsB) != 0, T, Unread>;
  using Y = std::conditional_t<(F::reads & kReadsY) != 0, T, Unread>;
  launch_elementwise<T, T, A, B, Y>(Op::name, plan, F{make<Op>(params)});
}

template <class Op, class T>
void set_forward(BinaryKernel& row) {
  if constexpr (accepts<T>(Op::accepts)) row.forward[dtype_of<T>()].launch = forward<Op, Lane<T>>;
}
template <class Op, class T>
void set_backward(BinaryKernel& row) {
  row.backward_a[dtype_of<T>()].launch = backward<Op, T, true>;
  row.backward_b[dtype_of<T>()].launch = backward<Op, T, false>;
}

template <class Op>
void set(BinaryKernel& row) {
  each_computed_type([&]<class T>() { set_forward<Op, T>(row); });
  if constexpr (Op::differentiable) {
    set_backward<Op, float>(row);
    set_backward<Op, double>(row);
  }
}

template <class... Op>
void set_all(BinaryKernel* row, List<Op...>) {
  (set<Op>(*row++), ...);
}

}  // namespace

void fill_binary(std::span<BinaryKernel> rows) { set_all(rows.data(), BinaryOps()); }

}  // namespace steep::cuda
