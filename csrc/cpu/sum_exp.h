// What softmax, logsumexp and cross-entropy share.
#pragma once
#include "lanes.h"
//
#include "../ops/math.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// Σ_j exp(x[j] - max), and stores the terms where y isn't null.
template <class T>
STEEP_INLINE double sum_exp(int64_t n, const T* x, T max, T* y) {
  return sum_of<T, 1>(n, [&](int64_t j, auto span) {
    const Vec<T> e = exp(span.load(x + j) - max);
    if (y) span.store(y + j, e);
    return e;
  });
}

/// max + log Σ exp(x - max). An infinite maximum is the answer: x - max would be NaN. A NaN is, too.
template <class T>
STEEP_INLINE T log_sum_exp(T max, double log_sum) {
  return max - max == 0 ? T(max + log_sum) : max;
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
