// What softmax, logsumexp and cross-entropy share.
#pragma once
#include "rows.cuh"
//
#include "../ops/math.h"

namespace steep::cuda {
namespace {

/// e^x for x ≤ 0, and 0 in place of subnormal numbers, which don't count in a sum that is at least 1.
template <class T>
__device__ Vec<T> exp_term(Vec<T> x) {
  using V = Vec<T>;
  x = max(V(-Format<T>::bias * T(0.69314718055994531)), x);
  const V k = exponent(x), r = remainder(x, k);
  return (1 + (r + r * r * exp_polynomial(r))) * power_of_two(k);
}

/// Σ exp(x - base), where base is the row's maximum, or 0 where that is -inf: by one sweep, in which the sum so far is
/// scaled whenever a tile has a new maximum, at an error of about an ulp each time. A NaN in the row makes the sum NaN.
template <class T>
class SumExp {
 public:
  static constexpr T kLowest = -std::numeric_limits<T>::infinity();
  T base = 0;
  double sum;

  /// Before a tile is added: a new base, if it has a new maximum.
  template <class Row>
  __device__ void rebase(Row& row) {
    T largest = kLowest;
    row.each([&](int k) { largest = T(fmax(largest, row.v[0][k])); });
    largest = row.all_max(largest);
    if (!(largest > max_)) return;
    total_.scale(exp_term(Vec<T>(max_ - largest)).v);
    base = max_ = largest;
  }
  /// Adds a tile of exp(x - base).
  template <class Row>
  __device__ void add_terms(Row& row, typename Row::At at) {
    T part[1];
    row.tile_sum(part, [&](int k, T(&term)[1]) { term[0] = row.v[0][k]; });
    total_.add(part[0]);
    if (at.is_last) finish(row);
  }
  /// The same, with terms that are 1 apart, as below.
  template <class Row>
  __device__ void add_terms_apart(Row& row, typename Row::At at) {
    T part[2];
    row.tile_sum(part, [&](int k, T(&terms)[2]) {
      const bool is_one = row.v[0][k] == 1;
      terms[0] = is_one ? T(0) : row.v[0][k];
      terms[1] = T(is_one);
    });
    total_.add(part[0]);
    total_.add(part[1]);
    if (at.is_last) finish(row);
  }
  /// Adds a tile of x. Terms that are 1 are counted apart: in a sum close to 1 the rest keeps its relative accuracy,
  /// down to the rounding of the sum to double. An infinite base counts as 1.
  template <class Row>
  __device__ void add(Row& row, typename Row::At at) {
    rebase(row);
    T part[2];
    row.tile_sum(part, [&](int k, T(&terms)[2]) {
      const bool is_base = row.v[0][k] == base;
      terms[0] = exp_term(Vec<T>(is_base ? kLowest : row.v[0][k] - base)).v;
      terms[1] = T(is_base);
    });
    total_.add(part[0]);
    total_.add(part[1]);
    if (at.is_last) finish(row);
  }

  /// log Σ exp(x - base); -inf for a row of -inf alone.
  __device__ T log() const { return log1p(Vec<T>(T(sum - 1))).v; }
  /// The same, NaN where the base is infinite.
  __device__ T log_of_finite() const { return log() + (base - base); }

 private:
  template <class Row>
  __device__ void finish(Row& row) {
    double all[1] = {total_.value()};
    row.all_sum(all);
    sum = all[0];
  }

  T max_ = kLowest;
  Total<T> total_;
};

}  // namespace
}  // namespace steep::cuda
