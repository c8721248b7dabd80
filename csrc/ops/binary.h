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
    return b * pow(a, select(b == 0, 1, b) - 1);
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

struct Comparison : Record<kNumbers | kBool> {
  static constexpr bool to_bool = true;
};
struct Equal : Comparison {
  static constexpr const char* name = "equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a == b;
  }
};
struct NotEqual : Comparison {
  static constexpr const char* name = "not_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a != b;
  }
};
struct Less : Comparison {
  static constexpr const char* name = "less";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a < b;
  }
};
struct LessEqual : Comparison {
  static constexpr const char* name = "less_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a <= b;
  }
};
struct Greater : Comparison {
  static constexpr const char* name = "greater";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a > b;
  }
};
struct GreaterEqual : Comparison {
  static constexpr const char* name = "greater_equal";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a >= b;
  }
};

struct Logical : Record<kBool> {
  static constexpr bool to_bool = true;
};
struct LogicalAnd : Logical {
  static constexpr const char* name = "logical_and";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return (a & b) != 0;
  }
};
struct LogicalOr : Logical {
  static constexpr const char* name = "logical_or";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return (a | b) != 0;
  }
};
struct LogicalXor : Logical {
  static constexpr const char* name = "logical_xor";
  template <class V>
  STEEP_FORMULA auto f(V a, V b) const {
    return a != b;
  }
};

using BinaryOps = List<Add, Subtract, Multiply, Divide, Pow, Maximum, Minimum, Equal, NotEqual, Less, LessEqual,
                       Greater, GreaterEqual, LogicalAnd, LogicalOr, LogicalXor>;

}  // namespace
}  // namespace steep::STEEP_ISA_NS
