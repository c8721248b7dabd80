// What is done to many arrays as if they were one: their norm, and changes in place that leave no array out. They are
// floating-point and on one device. On CUDA nothing waits, and a launch takes as many arrays as it can describe.
#pragma once
#include <span>
#include <vector>

#include "array.h"

namespace steep {

/// (Σ |x|^ord)^(1/ord) over all elements; the largest and the smallest |x| for ±∞, the number of nonzeros for 0.
/// A float64 if one of the arrays is, else a float32. The same bits at any number of threads.
Array total_norm(const std::vector<Array>& arrays, double ord);
/// x *= max_norm / (norm + 1e-6) if that is below 1, where `norm` is a result of total_norm.
void clip_norm(const std::vector<Array>& arrays, const Array& norm, double max_norm);
/// x *= factor, a float32 or float64 number; nothing is touched where it is 1.
void scale(const std::vector<Array>& arrays, const Array& factor);
/// x = min(max(x, -limit), limit); NaN stays.
void clip_values(const std::vector<Array>& arrays, double limit);
/// x *= factor. Returns an int32 that is not 0 if a result is infinite or NaN.
Array unscale(const std::vector<Array>& arrays, double factor);

/// Contiguous elements of a floating-point dtype.
struct Elements {
  DType dtype;
  void* data;
  int64_t n;
};

}  // namespace steep
