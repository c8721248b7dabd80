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

/// Where the terms of a row's sum wait until it is known: in the output, or beside it if that goes past the caches.
template <class T>
class Terms {
 public:
  Terms(const OutputRows<T>& out, int64_t n) : beside_(out.streams() && n <= kRow) {}
  STEEP_INLINE T* row(T* output) { return beside_ ? row_ : output; }

 private:
  static constexpr int64_t kRow = 32768 / sizeof(T);  // in L1
  const bool beside_;
  alignas(64) T row_[kRow];
};

/// f(first, count) for blocks of rows, small enough to stay in L1, whose logarithms are taken at once.
constexpr int kBlock = 64;
template <class F>
STEEP_INLINE void each_block(int64_t rows, int64_t n, F f) {
  const int64_t most = n < 64 ? kBlock : n < 4096 ? 4096 / n : 1;
  for (int64_t i = 0; i < rows; i += most) f(i, rows - i < most ? rows - i : most);
}

/// In vectors: one at a time they take longer than the rest of a short row.
STEEP_INLINE void logarithms(int64_t count, double* x) {
  each_vector<double>(count, [&](int64_t i, auto span) { span.store(x + i, log(span.load(x + i, 1.0))); });
}

/// max + log Σ exp(x - max). An infinite maximum is the answer: x - max would be NaN. A NaN is, too.
template <class T>
STEEP_INLINE T log_sum_exp(T max, double log_sum) {
  return max - max == 0 ? T(max + log_sum) : max;
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
