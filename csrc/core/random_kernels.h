// Random fills. Each writes out[begin], …, out[end - 1] of one large array; element i depends on (seed, offset, i)
// only, so that pieces can be filled in any order, by any number of threads, with the same values.
//
// `seed` selects a stream of Philox blocks of four 32-bit words (philox.h) and `offset` is the array's first block.
// A float, and a boolean, takes one word: element i reads block offset + i/4. All other types take two: block
// offset + i/2. A generator advances its offset by blocks(n) after n elements of any type.
#pragma once
#include <cstdint>

namespace steep::random {

constexpr uint64_t blocks(int64_t n) { return uint64_t(n) / 2 + uint64_t(n) % 2; }

/// Uniform on [lo, hi); lo where that is empty. hi - lo must be finite. T: float, double.
template <class T>
void uniform(T* out, int64_t begin, int64_t end, T lo, T hi, uint64_t seed, uint64_t offset);

/// mean + std·z, z standard normal. T: float, double.
template <class T>
void normal(T* out, int64_t begin, int64_t end, T mean, T std, uint64_t seed, uint64_t offset);

/// Uniform on {lo, …, hi - 1}, lo < hi; both types draw the same integers. T: int32_t, int64_t.
template <class T>
void randint(T* out, int64_t begin, int64_t end, int64_t lo, int64_t hi, uint64_t seed, uint64_t offset);

/// 1 with probability p (rounded to a multiple of 2^-32), else 0.
void bernoulli(uint8_t* out, int64_t begin, int64_t end, double p, uint64_t seed, uint64_t offset);

/// A random order of 0, …, n - 1.
void permutation(int64_t* out, int64_t n, uint64_t seed, uint64_t offset);

}  // namespace steep::random
