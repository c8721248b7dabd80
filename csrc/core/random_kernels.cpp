// Compile with -ffp-contract=off (see philox.h), and with -fno-math-errno -fno-trapping-math, without which GCC
// does not vectorise sqrt and selections; these two change no result.
#include "random_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "philox.h"

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

/// make(batch, l, y) writes the kPerBlock elements of block l.
template <int kPerBlock, class T, class Make>
void fill(T* out, int64_t begin, int64_t end, uint64_t seed, uint64_t offset, Make make) {
  constexpr int kSize = kPerBlock * kLanes;
  for (int64_t i = begin / kPerBlock * kPerBlock; i < end; i += kSize) {
    const Batch batch(seed, offset + uint64_t(i / kPerBlock));
    T y[kSize];
    for (int l = 0; l < kLanes; ++l) make(batch, l, y + kPerBlock * l);
    const int64_t from = std::max(i, begin), to = std::min(i + kSize, end);
    memcpy(out + from, y + (from - i), size_t(to - from) * sizeof(T));
  }
}

template <class T>
constexpr int kPerBlock = sizeof(T) == 4 ? 4 : 2;

}  // namespace

template <class T>
void uniform(T* out, int64_t begin, int64_t end, T lo, T hi, uint64_t seed, uint64_t offset) {
  const T under = std::nextafter(hi, lo);
  fill<kPerBlock<T>>(out, begin, end, seed, offset, [=](const Batch& b, int l, T* y) {
    for (int k = 0; k < kPerBlock<T>; ++k) {
      const T u = sizeof(T) == 4 ? philox::unit<T>(b.w[k][l], 0) : philox::unit<T>(b.w[2 * k][l], b.w[2 * k + 1][l]);
      y[k] = philox::between(u, lo, hi, under);
    }
  });
}

template <class T>
void normal(T* out, int64_t begin, int64_t end, T mean, T std, uint64_t seed, uint64_t offset) {
  fill<kPerBlock<T>>(out, begin, end, seed, offset, [=](const Batch& b, int l, T* y) {
    for (int k = 0; k < kPerBlock<T>; k += 2)
      philox::normal_pair(b.w[k][l], b.w[k + 1][l], b.w[2][l], b.w[3][l], y[k], y[k + 1]);
    for (int k = 0; k < kPerBlock<T>; ++k) y[k] = mean + std * y[k];
  });
}

template <class T>
void randint(T* out, int64_t begin, int64_t end, int64_t lo, int64_t hi, uint64_t seed, uint64_t offset) {
  const uint64_t range = uint64_t(hi) - uint64_t(lo);
  fill<2>(out, begin, end, seed, offset, [=](const Batch& b, int l, T* y) {
    for (int k = 0; k < 2; ++k) y[k] = T(uint64_t(lo) + philox::below(range, b.wide(k, l)));
  });
}

void bernoulli(uint8_t* out, int64_t begin, int64_t end, double p, uint64_t seed, uint64_t offset) {
  const uint64_t threshold = uint64_t(p * 0x1p32 + 0.5);
  fill<4>(out, begin, end, seed, offset, [=](const Batch& b, int l, uint8_t* y) {
    for (int k = 0; k < 4; ++k) y[k] = b.w[k][l] < threshold;
  });
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
