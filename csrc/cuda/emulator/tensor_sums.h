// How tensor cores add.
#pragma once
#include <cstdint>

namespace steep::cuda::emulator {
namespace {

constexpr int kColumns = 8;

// A row of D, whose elements are computed together.
using Row = double __attribute__((vector_size(kColumns * sizeof(double))));
using Bits = int64_t __attribute__((vector_size(kColumns * sizeof(int64_t))));
using Integers = int32_t __attribute__((vector_size(kColumns * sizeof(int32_t))));

/// c += Σ a[i]·b[i] of `steps` terms, as tensor cores add. NVIDIA does not document it; measured (M. Fasi et al.,
/// Numerical behavior of NVIDIA tensor cores, 2021; X. Li et al., FTTN, 2024): products are exact; they and c are
/// aligned to the largest of them and cut off below `extra_bits` bits more than a float32 has, and the sum is cut off
/// to a float32. Nothing is rounded to nearest.
template <int steps, int extra_bits>
void add_products(Row& c, const double* a, const Row* b) {
  constexpr int kBias = 1023, kFraction = 52;
  static_assert((int64_t(steps + 1) << (24 + extra_bits)) < INT32_MAX);
  Row terms[steps + 1];
  Row largest{};
  for (int i = 0; i <= steps; ++i) {
    terms[i] = i < steps ? a[i] * b[i] : c;
    const Row magnitude = Row(Bits(terms[i]) & INT64_MAX);
    // As integers, so that NaN is the largest of all.
    largest = Row(Bits(magnitude) > Bits(largest) ? Bits(magnitude) : Bits(largest));
  }
  const Bits exponent = Bits(largest) >> kFraction;
  bool finite = true;
  for (int j = 0; j < kColumns; ++j) finite &= exponent[j] < 2 * kBias + 1;
  if (!finite) {
    for (int i = 0; i < steps; ++i) c += terms[i];
    return;
  }
  const Bits at_least_1 = exponent > 1 + 23 + extra_bits ? exponent : Bits{} + (1 + 23 + extra_bits);
  const Row unit = Row((at_least_1 - (23 + extra_bits)) << kFraction);
  const Row inverse = 1 / unit;
  Integers sum{};
  for (int i = 0; i <= steps; ++i) sum += __builtin_convertvector(terms[i] * inverse, Integers);
  const Row exact = __builtin_convertvector(sum, Row) * unit;
  c = Row(Bits(exact) & ~((int64_t(1) << 29) - 1));
}

}  // namespace
}  // namespace steep::cuda::emulator
