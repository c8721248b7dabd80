// Distances between the points of two sets: (…, n, d) and (…, m, d), both float32 or both float64, batches
// broadcast. On the CPU.
#pragma once
#include "array.h"

namespace steep {

/// (Σ |a - b|^p)^(1/p), p ≥ 0, for all pairs: shape (…, n, m). For p = ∞ the largest |a - b|, for p = 0 how many are
/// not 0.
Array distances(const Array& a, const Array& b, double p);

/// Σ g · ∂y/∂b over the points of a, for y = distances(a, b, p): shape (…, m, d) with the batches of y.
Array distances_backward(const Array& g, const Array& a, const Array& b, const Array& y, double p);

}  // namespace steep
