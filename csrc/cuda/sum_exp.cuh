// What softmax, logsumexp and cross-entropy share.
#pragma once
#include "rows.cuh"
//
#include "../ops/math.h"

namespace steep::cuda {
namespace {

/// Σ exp(x - base), where base is the row's maximum, or 0 in place of -inf. A NaN in the row makes the sum NaN.
template <class T>
struct SumExp {
  T base;
  double sum;

  /// log Σ exp(x - base): a sum is the maximum's 1 and a rest that may be tiny. -inf for a row of -inf alone.
  __device__ T log_sum() const { return log1p(Vec<T>(T(sum - 1))).v; }
  /// The same, NaN where the base is infinite.
  __device__ T log_sum_if_finite() const { return log_sum() + (base - base); }
};

/// e^x for x ≤ 0, and 0 in place of subnormal numbers, which don't count in a sum that is at least 1.
template <class T>
__device__ Vec<T> exp_term(Vec<T> x) {
  using V = Vec<T>;
  x = max(V(-Format<T>::bias * T(0.69314718055994531)), x);
  const V k = exponent(x), r = remainder(x, k);
  return (1 + (r + r * r * exp_polynomial(r))) * power_of_two(k);
}

/// One sweep. Where a tile has a new maximum, the sum so far is scaled to it.
/// Each term takes part in at most 5 additions in T and one scaling for each tile. Terms that are 1 are counted apart, so that in a
/// sum close to 1 the rest keeps its relative accuracy, up to the rounding of the sum to double. With kKeep the terms
/// are left in row.v, and the sum is as accurate as T.
template <bool kKeep, class T>
__device__ SumExp<T> sum_exp(Row<T, 1>& row) {
  constexpr T kLowest = -std::numeric_limits<T>::infinity();
  T max = kLowest, base = 0;
  Total<T> total;
  row.sweep([&](bool) {
    T largest = kLowest;
    row.each([&](int k) { largest = T(fmax(largest, row.v[0][k])); });
    largest = row.all_max(largest);
    if (largest > max) {
      total.scale(exp(Vec<T>(max - largest)).v);
      base = max = largest;
    }
    if constexpr (kKeep) {
      T sum[1];
      row.tile_sum(sum, [&](int k, T(&term)[1]) {
        term[0] = row.v[0][k] = exp(Vec<T>(row.v[0][k] - base)).v;
      });
      total.add(sum[0]);
    } else {
      T sum[2];
      row.tile_sum(sum, [&](int k, T(&terms)[2]) {
        const T d = row.v[0][k] - base, e = exp_term(Vec<T>(d)).v;
        const bool is_base = row.v[0][k] == base;
        terms[0] = is_base ? T(0) : e;
        terms[1] = is_base ? T(1) : T(0);
      });
      total.add(sum[0]);
      total.add(sum[1]);
    }
  });
  double sum[1] = {total.value()};
  row.all_sum(sum);
  return {base, sum[0]};
}

template <class T>
__device__ void start(Row<T, 1>& row, bool exists, const T* x) {
  row.start(exists, {x}, {-std::numeric_limits<T>::infinity()});
}

}  // namespace
}  // namespace steep::cuda
