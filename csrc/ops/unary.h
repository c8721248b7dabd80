// Every elementwise operation of one argument: f is its value y, df its derivative at x. `reads` says which of the two
// df uses; the tape keeps only that. At kinks the derivatives follow PyTorch. Include the math of V first.
#pragma once
#include "activations.h"
#include "record.h"
#include "trigonometry.h"

namespace steep::STEEP_ISA_NS {
namespace {

struct Neg : Record<kNumbers> {
  static constexpr const char* name = "neg";
  static constexpr unsigned reads = kReadsNothing;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return -x;
  }
  template <class V>
  STEEP_FORMULA V df(V, V) const {
    return V(-1);
  }
};

struct Abs : Record<kNumbers> {
  static constexpr const char* name = "abs";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return abs(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return select(x > 0, V(1), select(x < 0, V(-1), V(0)));
  }
};

struct Square : Record<kNumbers> {
  static constexpr const char* name = "square";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return x * x;
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 2 * x;
  }
};

struct Sqrt : Record<kFloats> {
  static constexpr const char* name = "sqrt";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return sqrt(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return 0.5 / y;
  }
};

struct Reciprocal : Record<kFloats> {
  static constexpr const char* name = "reciprocal";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return 1 / x;
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return -(y * y);
  }
};

struct Exp : Record<kFloats> {
  static constexpr const char* name = "exp";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return exp(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return y;
  }
};

/// exp(x) and not y + 1, which cancels for x far below 0.
struct Expm1 : Record<kFloats> {
  static constexpr const char* name = "expm1";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return expm1(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return exp(x);
  }
};

struct Log : Record<kFloats> {
  static constexpr const char* name = "log";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return log(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1 / x;
  }
};

struct Log1p : Record<kFloats> {
  static constexpr const char* name = "log1p";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return log1p(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1 / (1 + x);
  }
};

struct Exp2 : Record<kFloats> {
  static constexpr const char* name = "exp2";
  static constexpr unsigned reads = kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return exp2(x);
  }
  template <class V>
  STEEP_FORMULA V df(V, V y) const {
    return 0.69314718055994531 * y;
  }
};

struct Log2 : Record<kFloats> {
  static constexpr const char* name = "log2";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return log2(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1.4426950408889634 / x;
  }
};

struct Log10 : Record<kFloats> {
  static constexpr const char* name = "log10";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return log10(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 0.43429448190325183 / x;
  }
};

struct Rsqrt : Record<kFloats> {
  static constexpr const char* name = "rsqrt";
  static constexpr unsigned reads = kReadsX | kReadsY;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return 1 / sqrt(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V y) const {
    return -0.5 * y / x;
  }
};

struct Erf : Record<kFloats> {
  static constexpr const char* name = "erf";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return erf(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return 1.1283791670955126 * exp(-(x * x));
  }  // 2/√π
};

struct Erfc : Record<kFloats> {
  static constexpr const char* name = "erfc";
  static constexpr unsigned reads = kReadsX;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return erfc(x);
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return -1.1283791670955126 * exp(-(x * x));
  }
};

struct Clip : Record<kNumbers, 2> {
  static constexpr const char* name = "clip";
  static constexpr unsigned reads = kReadsX;
  double low, high;
  STEEP_FORMULA explicit Clip(const double* params) : low(params[0]), high(params[1]) {}
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return min(saturate<V>(high), max(saturate<V>(low), x));
  }
  template <class V>
  STEEP_FORMULA V df(V x, V) const {
    return select(x >= low, select(x <= high, V(1), V(0)), V(0));
  }
};

struct Sign : Record<kNumbers> {
  static constexpr const char* name = "sign";
  static constexpr unsigned reads = kReadsNothing;
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return select(x > 0, 1, select(x < 0, -1, select(x == 0, 0, x)));
  }
  template <class V>
  STEEP_FORMULA V df(V, V) const {
    return V(0);
  }
};

/// To integers: the derivative is 0, and integers stay as they are.
struct Rounding : Record<kNumbers> {
  static constexpr unsigned reads = kReadsNothing;
  template <class V>
  STEEP_FORMULA V df(V, V) const {
    return V(0);
  }
};
struct Floor : Rounding {
  static constexpr const char* name = "floor";
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return floor(x);
  }
};

struct Ceil : Rounding {
  static constexpr const char* name = "ceil";
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return -floor(-x);
  }
};

struct Trunc : Rounding {
  static constexpr const char* name = "trunc";
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return trunc(x);
  }
};

/// Halves to the even neighbour.
struct Round : Rounding {
  static constexpr const char* name = "round";
  template <class V>
  STEEP_FORMULA V f(V x) const {
    return round(x);
  }
};

struct IsNan : Predicate<kFloats> {
  static constexpr const char* name = "isnan";
  template <class V>
  STEEP_FORMULA auto f(V x) const {
    return x != x;
  }
};

struct IsFinite : Predicate<kFloats> {
  static constexpr const char* name = "isfinite";
  template <class V>
  STEEP_FORMULA auto f(V x) const {
    return x - x == 0;
  }
};

struct IsInf : Predicate<kFloats> {
  static constexpr const char* name = "isinf";
  template <class V>
  STEEP_FORMULA auto f(V x) const {
    return (x == x) & (x - x != 0);
  }
};

struct SignBit : Predicate<kFloats> {
  static constexpr const char* name = "signbit";
  template <class V>
  STEEP_FORMULA auto f(V x) const {
    return copysign(V(1), x) < 0;
  }
};

struct LogicalNot : Predicate<kBool> {
  static constexpr const char* name = "logical_not";
  template <class V>
  STEEP_FORMULA auto f(V x) const {
    return x == 0;
  }
};

struct BitwiseInvert : Step<kIntegers | kBool> {
  static constexpr const char* name = "bitwise_invert";
  template <class V>
  STEEP_FORMULA V f(V x) const {
    if constexpr (std::is_same_v<typename V::Elem, uint8_t>)
      return x ^ V(1);  // a boolean
    else
      return ~x;
  }
};

using UnaryOps =
    Join<List<Neg, Abs, Square, Sqrt, Rsqrt, Reciprocal, Exp, Exp2, Expm1, Log, Log1p, Log2, Log10, Erf, Erfc, Clip,
              Sign, Floor, Ceil, Trunc, Round, IsNan, IsInf, IsFinite, SignBit, LogicalNot, BitwiseInvert>,
         TrigonometricOps, Activations>::type;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
