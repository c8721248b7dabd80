// How tensor cores add. NVIDIA does not document it; measured (M. Fasi et al., Numerical behavior of NVIDIA tensor
// cores, 2021; X. Li et al., FTTN, 2024): products are exact, they and the accumulator are aligned to the largest
// exponent among them and cut off some bits below float32's last, and so is the sum. No step rounds to nearest.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace steep::cuda::emulator {

/// c + Σ a[i]·b[i], where products are exact in double: factors of at most 26 bits.
template <int n>
float tensor_core_sum(float c, const double* a, const double* b) {
  constexpr int kExtraBits = 2;  // those of Hopper
  double terms[n + 1], largest = 0;
  terms[n] = c;
  for (int i = 0; i < n; ++i) terms[i] = a[i] * b[i];
  bool finite = true;
  for (const double term : terms) {
    const double magnitude = std::fabs(term);
    largest = magnitude > largest ? magnitude : largest;
    finite &= magnitude <= 0x1p1000;
  }
  if (!finite) {
    double sum = 0;
    for (const double term : terms) sum += term;
    return float(sum);
  }
  if (largest == 0) return c + 0.0f;
  const int64_t exponent = int64_t(std::bit_cast<uint64_t>(largest) >> 52) - 1023 - 23 - kExtraBits;
  const double to_integer = std::bit_cast<double>(uint64_t(1023 - exponent) << 52);
  int64_t sum = 0;
  for (const double term : terms) sum += int32_t(term * to_integer);
  const uint64_t magnitude = uint64_t(sum < 0 ? -sum : sum);
  const int surplus = int(std::bit_width(magnitude)) - 24;
  const double kept = double(surplus > 0 ? magnitude >> surplus << surplus : magnitude) / to_integer;
  return float(sum < 0 ? -kept : kept);
}

}  // namespace steep::cuda::emulator
