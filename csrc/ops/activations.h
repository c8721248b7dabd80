// The activations of layers, in the manner of unary.h.
#pragma once
#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

struct Sigmoid : Record<kFloats> {
  static constexpr const char* name = "sigmoid";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return sigmoid(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return y * (1 - y);
  }
};

struct LogSigmoid : Record<kFloats> {
  static constexpr const char* name = "log_sigmoid";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return min(V(0), x) - log1p(exp(-abs(x)));
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return sigmoid(-x);
  }
};

struct Softplus : Record<kFloats> {
  static constexpr const char* name = "softplus";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return max(V(0), x) + log1p(exp(-abs(x)));
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return sigmoid(x);
  }
};

struct Relu : Record<kNumbers> {
  static constexpr const char* name = "relu";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return max(V(0), x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return select(y <= 0, V(0), V(1));
  }
};

struct LeakyRelu : Record<kFloats, 1> {
  static constexpr const char* name = "leaky_relu";
  static constexpr unsigned reads = kReadsX;
  double negative_slope;
  STEEP_FORMULA explicit LeakyRelu(const double* params) : negative_slope(params[0]) {}
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return select(x < 0, negative_slope * x, x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return select(x > 0, V(1), V(negative_slope));
  }
};

/// D.-A. Clevert, T. Unterthiner, S. Hochreiter (2016), arXiv:1511.07289
struct Elu : Record<kFloats, 1> {
  static constexpr const char* name = "elu";
  static constexpr unsigned reads = kReadsX;
  double alpha;
  STEEP_FORMULA explicit Elu(const double* params) : alpha(params[0]) {}
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return select(x < 0, alpha * expm1(x), x);
  }
  /// exp sees no x > 0: where it overflowed, its own derivative would be 0·∞.
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return select(x > 0, V(1), alpha * exp(select(x > 0, 0, x)));
  }
};

/// x·Φ(x): D. Hendrycks, K. Gimpel (2016), arXiv:1606.08415. Within 4 ulp until Φ itself is subnormal.
struct Gelu : Record<kFloats> {
  static constexpr const char* name = "gelu";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return gelu(x);
  }
  /// Φ(x) + x·φ(x)
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return gelu_slope(bounded(x, 40));
  }
};

/// Its approximation by tanh: ½·(1 + tanh(u)) = sigmoid(2u), which doesn't cancel. In the far negative tail the
/// rounding of 2u counts 2u times: 200 ulp (float32) where y is about 1e-35.
struct GeluTanh : Record<kFloats> {
  static constexpr const char* name = "gelu_tanh";
  static constexpr unsigned reads = kReadsX;
  static constexpr double kSlope = 1.5957691216057308, kCubic = 0.044715;  // 2·√(2/π)
  template <class V>
  STEEP_FORMULA V f(V x) const {
    const V t = max(V(-40), x);
    return t * sigmoid(kSlope * (t + kCubic * t * t * t));
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    const V t = bounded(x, 40), u = kSlope * (t + kCubic * t * t * t);
    return sigmoid(u) * (1 + t * sigmoid(-u) * (kSlope * (1 + 3 * kCubic * t * t)));
  }
};

/// x·sigmoid(x), within 3.2 ulp until the sigmoid itself is subnormal.
struct Silu : Record<kFloats> {
  static constexpr const char* name = "silu";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return max(V(-800), x) * sigmoid(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    const V t = bounded(x, 800);
    return sigmoid(t) * (1 + t * sigmoid(-t));
  }
};

using Activations = List<Sigmoid, LogSigmoid, Softplus, Relu, LeakyRelu, Elu, Gelu, GeluTanh, Silu>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
