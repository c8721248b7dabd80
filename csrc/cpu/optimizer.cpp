// Optimizer updates in place, with PyTorch's semantics.
#include "../core/kernels.h"
#include "lanes.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// g' = g + weight_decay·p; buf = momentum·buf + (1 - dampening)·g', or g' in the first step; p -= lr·(buf, or with
/// nesterov g' + momentum·buf). Sutskever et al., "On the importance of initialization and momentum", 2013.
template <class T>
void sgd(int64_t n, T* p, const T* g, T* buf, const SgdStep& step) {
  const T lr = T(step.lr), momentum = T(step.momentum), fresh = T(1 - step.dampening), decay = T(step.weight_decay);
  each_vector<T>(n, [&](int64_t i, auto span) {
    const Vec<T> old = span.load(p + i);
    Vec<T> d = span.load(g + i) + old * decay;
    if (buf) {
      const Vec<T> b = step.first ? d : span.load(buf + i) * momentum + d * fresh;
      span.store(buf + i, b);
      d = step.nesterov ? d + b * momentum : b;
    }
    span.store(p + i, old - d * lr);
  });
}

/// Kingma & Ba, "Adam", 2015. Decay is added to the gradient, or decoupled: Loshchilov & Hutter, "AdamW", 2019.
template <class T>
void adam(int64_t n, T* p, const T* g, T* m, T* v, const AdamStep& step) {
  const T keep = step.decoupled ? T(1 - step.lr * step.weight_decay) : T(1);
  const T decay = step.decoupled ? T(0) : T(step.weight_decay);
  const T new_m = T(1 - step.beta1), beta2 = T(step.beta2), new_v = T(1 - step.beta2), eps = T(step.eps);
  const T rate = T(step.lr / step.correction1), root2 = T(1 / __builtin_sqrt(step.correction2));
  each_vector<T>(n, [&](int64_t i, auto span) {
    const Vec<T> old = span.load(p + i), d = span.load(g + i) + old * decay;
    const Vec<T> m0 = span.load(m + i), m1 = m0 + (d - m0) * new_m;
    const Vec<T> v1 = span.load(v + i) * beta2 + d * d * new_v;
    span.store(m + i, m1);
    span.store(v + i, v1);
    span.store(p + i, old * keep - rate * m1 / (sqrt(v1) * root2 + eps));
  });
}

template <class T>
void fill(OptimizerKernels<T>& k) {
  k.sgd = sgd<T>;
  k.adam = adam<T>;
}

}  // namespace

void fill_optimizer(Kernels& k) {
  fill(k.optimizer_f32);
  fill(k.optimizer_f64);
}

}  // namespace steep::STEEP_ISA_NS
