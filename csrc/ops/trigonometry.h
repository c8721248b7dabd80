// The trigonometric and hyperbolic operations, in the manner of unary.h.
#pragma once
#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

constexpr double kFar = 1e8;  // from here on 1 + x² is x², whose overflow must be avoided

struct Sin : Record<kFloats> {
  static constexpr const char* name = "sin";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return sin(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return cos(x);
  }
};

struct Cos : Record<kFloats> {
  static constexpr const char* name = "cos";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return cos(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return -sin(x);
  }
};

struct Tan : Record<kFloats> {
  static constexpr const char* name = "tan";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return tan(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return 1 + y * y;
  }
};

struct Asin : Record<kFloats> {
  static constexpr const char* name = "asin";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return asin(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1 / sqrt((1 - x) * (1 + x));
  }
};

struct Acos : Record<kFloats> {
  static constexpr const char* name = "acos";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return acos(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return -1 / sqrt((1 - x) * (1 + x));
  }
};

struct Atan : Record<kFloats> {
  static constexpr const char* name = "atan";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return atan(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    const V far = select(abs(x) > kFar, x, kFar), near = select(abs(x) > kFar, kFar, x);
    return select(abs(x) > kFar, 1 / far * (1 / far), 1 / (1 + near * near));
  }
};

struct Sinh : Record<kFloats> {
  static constexpr const char* name = "sinh";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return sinh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return cosh(x);
  }
};

struct Cosh : Record<kFloats> {
  static constexpr const char* name = "cosh";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return cosh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return sinh(x);
  }
};

struct Tanh : Record<kFloats> {
  static constexpr const char* name = "tanh";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return tanh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return 1 - y * y;
  }
};

struct Asinh : Record<kFloats> {
  static constexpr const char* name = "asinh";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return asinh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    const V far = select(abs(x) > kFar, x, kFar), near = select(abs(x) > kFar, kFar, x);
    return select(abs(x) > kFar, 1 / abs(far), 1 / sqrt(1 + near * near));
  }
};

struct Acosh : Record<kFloats> {
  static constexpr const char* name = "acosh";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return acosh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1 / (sqrt(x - 1) * sqrt(x + 1));
  }
};

struct Atanh : Record<kFloats> {
  static constexpr const char* name = "atanh";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return atanh(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1 / (1 - x) * (1 / (1 + x));
  }
};

using TrigonometricOps = List<Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh, Asinh, Acosh, Atanh>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
