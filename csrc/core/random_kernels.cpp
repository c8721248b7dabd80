// Compile with -ffp-contract=off (see philox.h), and with -fno-math-errno -fno-trapping-math, without which GCC
// does not vectorise sqrt and selections; these two change no result.
#include "random_kernels.h"

#include <algorithm>
#include <cstring>

#include "random_formulas.h"

namespace steep::random {
namespace {

constexpr int kLanes = 16;

/// Words of kLanes consecutive blocks, transposed so that the loops over them vectorise.
struct Batch {
  uint32_t w[4][kLanes];

  Batch(uint64_t seed, uint64_t index) {
    for (int l = 0; l < kLanes; ++l) {
      const philox::Words b = philox::block(seed, index + l);
      for (int k = 0; k < 4; ++k) w[k][l] = b.v[k];
    }
  }
  uint64_t wide(int k, int l) const { return philox::join(w[2 * k][l], w[2 * k + 1][l]); }
};

/// The elements begin…end of those that `make` makes of successive blocks.
template <class Make, class T = typename Make::Element>
void fill(T* out, int64_t begin, int64_t end, uint64_t seed, uint64_t offset, const Make& make) {
  constexpr int kPerBlock = Make::per_block, kSize = kPerBlock * kLanes;
  for (int64_t i = begin / kPerBlock * kPerBlock; i < end; i += kSize) {
    const Batch batch(seed, offset + uint64_t(i / kPerBlock));
    T y[kSize];
    for (int l = 0; l < kLanes; ++l)
      make({{batch.w[0][l], batch.w[1][l], batch.w[2][l], batch.w[3][l]}}, y + kPerBlock * l);
    const int64_t from = std::max(i, begin), to = std::min(i + kSize, end);
    memcpy(out + from, y + (from - i), size_t(to - from) * sizeof(T));
  }
}

}  // namespace

template <class T>
void uniform(T* out, int64_t begin, int64_t end, T lo, T hi, uint64_t seed, uint64_t offset) {
  fill(out, begin, end, seed, offset, Uniform<T>(lo, hi));
}

template <class T>
void normal(T* out, int64_t begin, int64_t end, T mean, T std, uint64_t seed, uint64_t offset) {
  fill(out, begin, end, seed, offset, Normal<T>{mean, std});
}

template <class T>
void randint(T* out, int64_t begin, int64_t end, int64_t lo, int64_t hi, uint64_t seed, uint64_t offset) {
  fill(out, begin, end, seed, offset, Integer<T>(lo, hi));
}

void bernoulli(uint8_t* out, int64_t begin, int64_t end, double p, uint64_t seed, uint64_t offset) {
  fill(out, begin, end, seed, offset, Bernoulli(p));
}

void permutation(int64_t* out, int64_t n, uint64_t seed, uint64_t offset) {
  for (int64_t i = 0; i < n; i += 2 * kLanes) {
    const Batch batch(seed, offset + uint64_t(i / 2));
    const int64_t end = std::min<int64_t>(i + 2 * kLanes, n);
    for (int64_t j = i; j < end; ++j) {  // Fisher and Yates, inside out: j enters a random place among the first j + 1
      const uint64_t word = batch.wide(int((j - i) % 2), int((j - i) / 2));
      const int64_t place = int64_t(philox::below(uint64_t(j) + 1, word));
      out[j] = out[place];
      out[place] = j;
    }
  }
}

#define STEEP_INSTANTIATE(T)                                             \
  template void uniform(T*, int64_t, int64_t, T, T, uint64_t, uint64_t); \
  template void normal(T*, int64_t, int64_t, T, T, uint64_t, uint64_t);
STEEP_INSTANTIATE(float)
STEEP_INSTANTIATE(double)
#undef STEEP_INSTANTIATE
template void randint(int32_t*, int64_t, int64_t, int64_t, int64_t, uint64_t, uint64_t);
template void randint(int64_t*, int64_t, int64_t, int64_t, int64_t, uint64_t, uint64_t);

}  // namespace steep::random
