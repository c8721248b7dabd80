// Every elementwise operation of two arguments: f is its value y, da and db its derivatives, reads_a and reads_b what
// those use. Include the math of V first.
#pragma once
#include "record.h"

namespace steep::STEEP_ISA_NS {
namespace {

struct Add : Record<kNumbers> {
  static constexpr const char* name = "add";
  static constexpr unsigned reads_a = kIsOne, reads_b = kIsOne;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a + b;
  }
  template <class V>
  STEEP_FORMULA V da(V, V, V) const {
    return V(1);
  }
  template <class V>
  STEEP_FORMULA V db(V, V, V) const {
    return V(1);
  }
};

struct Subtract : Record<kNumbers> {
  static constexpr const char* name = "subtract";
  static constexpr unsigned reads_a = kIsOne, reads_b = kReadsNothing;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a - b;
  }
  template <class V>
  STEEP_FORMULA V da(V, V, V) const {
    return V(1);
  }
  template <class V>
  STEEP_FORMULA V db(V, V, V) const {
    return V(-1);
  }
};

struct Multiply : Record<kNumbers> {
  static constexpr const char* name = "multiply";
  static constexpr unsigned reads_a = kReadsB, reads_b = kReadsA;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a * b;
  }
  template <class V>
  STEEP_FORMULA V da(V, V b, V) const {
    return b;
  }
  template <class V>
  STEEP_FORMULA V db(V a, V, V) const {
    return a;
  }
};

struct Divide : Record<kFloats> {
  static constexpr const char* name = "divide";
  static constexpr unsigned reads_a = kReadsB, reads_b = kReadsB | kReadsY;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a / b;
  }
  template <class V>
  STEEP_FORMULA V da(V, V b, V) const {
    return 1 / b;
  }
  template <class V>
  STEEP_FORMULA V db(V, V b, V y) const {
    return -y / b;
  }
};

/// The exponents of integers are not negative. The derivatives are 0 where a factor is, instead of 0·∞ = NaN:
/// by a for b = 0, by b for a = 0.
struct Pow : Record<kNumbers> {
  static constexpr const char* name = "pow";
  static constexpr unsigned reads_a = kReadsA | kReadsB, reads_b = kReadsA | kReadsY;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return pow(a, b);
  }
  template <class V>
  STEEP_FORMULA V da(V a, V b, V) const {
    return b * pow(select(b == 0, select(abs(a) > 0, a, 1), a), b - 1);
  }
  template <class V>
  STEEP_FORMULA V db(V a, V, V y) const {
    return y * log(select(a == 0, 1, a));
  }
};

/// NaN from either side. At a tie each side has half of the gradient.
struct Maximum : Record<kNumbers> {
  static constexpr const char* name = "maximum";
  static constexpr unsigned reads_a = kReadsA | kReadsB, reads_b = kReadsA | kReadsB;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return select(a > b, a, select(a != a, a, b));
  }
  template <class V>
  STEEP_FORMULA V da(V a, V b, V) const {
    return select(a == b, V(0.5), select(a < b, V(0), V(1)));
  }
  template <class V>
  STEEP_FORMULA V db(V a, V b, V y) const {
    return da(b, a, y);
  }
};

struct Minimum : Record<kNumbers> {
  static constexpr const char* name = "minimum";
  static constexpr unsigned reads_a = kReadsA | kReadsB, reads_b = kReadsA | kReadsB;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return select(a < b, a, select(a != a, a, b));
  }
  template <class V>
  STEEP_FORMULA V da(V a, V b, V) const {
    return select(a == b, V(0.5), select(a > b, V(0), V(1)));
  }
  template <class V>
  STEEP_FORMULA V db(V a, V b, V y) const {
    return da(b, a, y);
  }
};

struct Atan2 : Record<kFloats> {
  static constexpr const char* name = "atan2";
  static constexpr unsigned reads_a = kReadsA | kReadsB, reads_b = kReadsA | kReadsB;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return atan2(a, b);
  }
  template <class V>
  STEEP_FORMULA V da(V a, V b, V) const {
    return b / (a * a + b * b);
  }
  template <class V>
  STEEP_FORMULA V db(V a, V b, V) const {
    return -a / (a * a + b * b);
  }
};

/// √(a² + b²) without overflow. The derivatives at 0 are 0.
struct Hypot : Record<kFloats> {
  static constexpr const char* name = "hypot";
  static constexpr unsigned reads_a = kReadsA | kReadsY, reads_b = kReadsB | kReadsY;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return hypot(a, b);
  }
  template <class V>
  STEEP_FORMULA V da(V a, V, V y) const {
    return select(y == 0, 0, a / y);
  }
  template <class V>
  STEEP_FORMULA V db(V, V b, V y) const {
    return select(y == 0, 0, b / y);
  }
};

/// log(eᵃ + eᵇ) without overflow; of equal infinities the difference would be NaN.
struct LogAddExp : Record<kFloats> {
  static constexpr const char* name = "logaddexp";
  static constexpr unsigned reads_a = kReadsA | kReadsB, reads_b = kReadsA | kReadsB;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return select(a == b, a + 0.69314718055994531, max(a, b) + log1p(exp(-abs(a - b))));
  }
  template <class V>
  STEEP_FORMULA V da(V a, V b, V) const {
    const V d = a - b;  // NaN for equal infinities
    return select(d == d, sigmoid(d), select(a == b, 0.5, d));
  }
  template <class V>
  STEEP_FORMULA V db(V a, V b, V y) const {
    return da(b, a, y);
  }
};

struct CopySign : Record<kFloats> {
  static constexpr const char* name = "copysign";
  static constexpr unsigned reads_a = kReadsA | kReadsY, reads_b = kReadsNothing;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return copysign(a, b);
  }
  template <class V>
  STEEP_FORMULA V da(V a, V, V y) const {
    return select(a == 0, V(0), select(a > 0, V(1), V(-1)) * select(y > 0, V(1), V(-1)));
  }
  template <class V>
  STEEP_FORMULA V db(V, V, V) const {
    return V(0);
  }
};

/// a - b·⌊a/b⌋, which has the sign of b. Of integers 0 where b is 0, as in NumPy.
struct Remainder : Record<kNumbers> {
  static constexpr const char* name = "remainder";
  static constexpr unsigned reads_a = kIsOne, reads_b = kReadsA | kReadsB | kReadsY;
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return remainder_of(a, b);
  }
  template <class V>
  STEEP_FORMULA V da(V, V, V) const {
    return V(1);
  }
  template <class V>
  STEEP_FORMULA V db(V a, V b, V y) const {
    return (y - a) / b;
  }
};

/// ⌊a/b⌋. Of integers 0 where b is 0, as in NumPy.
struct FloorDivide : Step<kNumbers> {
  static constexpr const char* name = "floor_divide";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return floor_quotient(a, b);
  }
};

struct NextAfter : Step<kFloats> {
  static constexpr const char* name = "nextafter";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return nextafter(a, b);
  }
};

struct BitwiseAnd : Step<kIntegers | kBool> {
  static constexpr const char* name = "bitwise_and";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a & b;
  }
};

struct BitwiseOr : Step<kIntegers | kBool> {
  static constexpr const char* name = "bitwise_or";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a | b;
  }
};

struct BitwiseXor : Step<kIntegers | kBool> {
  static constexpr const char* name = "bitwise_xor";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return a ^ b;
  }
};

/// All bits are gone where b is negative or no less than their number, as in NumPy.
struct BitwiseLeftShift : Step<kIntegers> {
  static constexpr const char* name = "bitwise_left_shift";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return shifted_left(a, b);
  }
};

struct BitwiseRightShift : Step<kIntegers> {
  static constexpr const char* name = "bitwise_right_shift";
  template <class V>
  STEEP_FORMULA V f(V a, V b) const {
    return shifted_right(a, b);
  }
};

struct Equal : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a == b;
  }
};
struct NotEqual : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "not_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a != b;
  }
};
struct Less : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "less";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a < b;
  }
};
struct LessEqual : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "less_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a <= b;
  }
};
struct Greater : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "greater";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a > b;
  }
};
struct GreaterEqual : Predicate<kNumbers | kBool> {
  static constexpr const char* name = "greater_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a >= b;
  }
};

struct LogicalAnd : Predicate<kBool> {
  static constexpr const char* name = "logical_and";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return (a & b) != 0;
  }
};
struct LogicalOr : Predicate<kBool> {
  static constexpr const char* name = "logical_or";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return (a | b) != 0;
  }
};
struct LogicalXor : Predicate<kBool> {
  static constexpr const char* name = "logical_xor";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a != b;
  }
};

using BinaryOps =
    List<Add, Subtract, Multiply, Divide, Pow, Maximum, Minimum, Atan2, Hypot, LogAddExp, CopySign, Remainder,
         FloorDivide, NextAfter, BitwiseAnd, BitwiseOr, BitwiseXor, BitwiseLeftShift, BitwiseRightShift, Equal,
         NotEqual, Less, LessEqual, Greater, GreaterEqual, LogicalAnd, LogicalOr, LogicalXor>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
