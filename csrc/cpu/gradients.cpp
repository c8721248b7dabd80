// What is done to all gradients between the backward pass and the optimizer's step, for a piece of one.
#include "../core/kernels.h"
#include "../core/norm.h"
#include "lanes.h"
//
#include "../ops/math.h"

namespace steep::STEEP_ISA_NS {
namespace {

template <class F>
STEEP_INLINE void each_double(Vec<float> x, F f) {
  Vec<double> low, high;
  widen(x, low, high);
  f(low, 0), f(high, 1);
}
template <class F>
STEEP_INLINE void each_double(Vec<double> x, F f) {
  f(x, 0);
}

/// combine of f(x), in double precision; f(fill) must be what combine starts with, or leave it as it is.
template <class T, class F, class C>
STEEP_INLINE double combined(int64_t n, const T* x, T fill, double start, F f, C combine) {
  Vec<double> all[2] = {start, start};
  each_vector<T>(n, [&](int64_t i, auto span) {
    each_double(span.load(x + i, fill), [&](Vec<double> v, int k) { all[k] = combine(all[k], f(v)); });
  });
  return reduce(combine(all[0], all[1]), combine);
}
template <class T, class F>
STEEP_INLINE double summed(int64_t n, const T* x, T fill, F f) {
  return combined(n, x, fill, 0., f, [](Vec<double> a, Vec<double> b) { return a + b; });
}

template <class T>
double norm(int64_t n, const T* x, const NormPlan& plan, double unit) {
  using D = Vec<double>;
  constexpr T inf = std::numeric_limits<T>::infinity();
  const auto size = [](D v) { return abs(v); };
  switch (plan.norm) {
    case Norm::squares:
      return summed(n, x, T(0), [](D v) { return v * v; });
    case Norm::sizes:
      return summed(n, x, T(0), size);
    case Norm::nonzeros:
      return summed(n, x, T(0), [](D v) { return select(v != 0, D(1), D(0)); });
    case Norm::largest:
      return combined(n, x, T(0), 0., size, [](D a, D b) { return Max::combine(a, b); });
    case Norm::smallest:
      return combined(n, x, inf, double(inf), size, [](D a, D b) { return Min::combine(a, b); });
    case Norm::powers:
      break;
  }
  const auto ratio = [=](D v) { return abs(v) / unit; };
  if (plan.ord == 2) return summed(n, x, T(0), [=](D v) { return ratio(v) * ratio(v); });
  return summed(n, x, plan.ord > 0 ? T(0) : inf, [=](D v) { return pow(ratio(v), D(plan.ord)); });
}

template <class T>
void scale(int64_t n, T* x, T factor) {
  each_vector<T>(n, [&](int64_t i, auto span) { span.store(x + i, span.load(x + i) * factor); });
}

template <class T>
void clip(int64_t n, T* x, T limit) {
  const Vec<T> high = limit, low = -limit;
  each_vector<T>(n, [&](int64_t i, auto span) { span.store(x + i, min(high, max(low, span.load(x + i)))); });
}

/// A product of 0 and what is infinite or NaN is NaN, and added to the others'; of what is finite it is 0.
template <class T>
bool unscale(int64_t n, T* x, T factor) {
  Vec<T> odd = T(0);
  each_vector<T>(n, [&](int64_t i, auto span) {
    const Vec<T> v = span.load(x + i) * factor;
    span.store(x + i, v);
    odd = odd + v * T(0);
  });
  return reduce_add(odd) == 0;
}

template <class T>
void fill(GradientKernels<T>& k) {
  k.norm = norm<T>;
  k.scale = scale<T>;
  k.clip = clip<T>;
  k.unscale = unscale<T>;
}

}  // namespace

void fill_gradients(Kernels& k) {
  fill(k.gradients_f32);
  fill(k.gradients_f64);
}

}  // namespace steep::STEEP_ISA_NS
