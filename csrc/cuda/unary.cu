#include "elementwise.cuh"
//
#include "../ops/lanewise.h"
#include "../ops/unary.h"

namespace steep::cuda {
void fill_unary(std::span<UnaryKernel> rows);

namespace {

template <class Op, class T>
struct Value {
  Op op;
  STEEP_FORMULA auto operator()(T x) const { return op.f(Vec<T>(x)); }
};

template <class Op, class T>
struct Derivative {
  Op op;
  template <class X, class Y>
  STEEP_FORMULA auto operator()(T g, X x, Y y) const {
    Vec<T> at = 0, value = 0;
    if constexpr (Op::reads & kReadsX) at = x;
    if constexpr (Op::reads & kReadsY) value = y;
    return Vec<T>(g) * op.df(at, value);
  }
};

template <class Op, class T>
void forward(const ElementwisePlan& plan, const double* params) {
  using Out = std::conditional_t<Op::to_bool, uint8_t, T>;
  launch_elementwise<Out, T>(Op::name, plan, Value<Op, T>{make<Op>(params)});
}

template <class Op, class T>
void backward(const ElementwisePlan& plan, const double* params) {
  using X = std::conditional_t<(Op::reads & kReadsX) != 0, T, Unread>;
  using Y = std::conditional_t<(Op::reads & kReadsY) != 0, T, Unread>;
  launch_elementwise<T, T, X, Y>(Op::name, plan, Derivative<Op, T>{make<Op>(params)});
}

template <class Op, class T>
void set_forward(UnaryKernel& row) {
  if constexpr (accepts<T>(Op::accepts)) row.forward[dtype_of<T>()].launch = forward<Op, Lane<T>>;
}

template <class Op>
void set(UnaryKernel& row) {
  each_computed_type([&]<class T>() { set_forward<Op, T>(row); });
  if constexpr (Op::differentiable) {
    row.backward[DType::float32].launch = backward<Op, float>;
    row.backward[DType::float64].launch = backward<Op, double>;
  }
}

template <class... Op>
void set_all(UnaryKernel* row, List<Op...>) {
  (set<Op>(*row++), ...);
}

}  // namespace

void fill_unary(std::span<UnaryKernel> rows) { set_all(rows.data(), UnaryOps()); }

}  // namespace steep::cuda
