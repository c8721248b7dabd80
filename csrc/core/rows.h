// Operations along one axis that need the whole row at once: softmax and its family, cross-entropy, layer norm.
#pragma once
#include <optional>

#include "array.h"

namespace steep {

Array softmax(const Array& x, int axis);
Array softmax_backward(const Array& g, const Array& y, int axis);
/// The same into `out`, of the result's shape and dtype; it may be an operand.
void softmax(const Array& x, int axis, Array& out);
void softmax_backward(const Array& g, const Array& y, int axis, Array& out);
Array log_softmax(const Array& x, int axis);
Array log_softmax_backward(const Array& g, const Array& y, int axis);
Array logsumexp(const Array& x, int axis);  // without the axis

struct CrossEntropy {
  Array loss, lse;
};
/// Per-row loss of logits (rows, classes) against valid int64 labels, or with a divisor their sum divided by it; keeps
/// logsumexp for the backward pass.
CrossEntropy cross_entropy(const Array& x, const Array& labels, std::optional<double> divisor);
Array cross_entropy_backward(const Array& g, const Array& x, const Array& labels, const Array& lse,
                             std::optional<double> divisor);

/// The sum of the losses and its gradient at once, for logits that are computed in their own dtype. Each row's loss is
/// multiplied by weights[row], unless that is null; the sum is divided by `divisor` and, unless null, by *total. The
/// targets are smoothed: (1 - smoothing) · one-hot + smoothing / classes.
struct CrossEntropyGradient {
  Array loss, dx;
};
CrossEntropyGradient cross_entropy_gradient(const Array& x, const Array& labels, const Array* weights,
                                            const Array* total, double divisor, double smoothing);

struct LayerNorm {
  Array y, mean, rstd;
};
/// Normalises the last `axes` axes of x; weight and bias have their shape, or are null.
LayerNorm layer_norm(const Array& x, int axes, const Array* weight, const Array* bias, double eps);
struct LayerNormGrads {
  Array dx, dweight, dbias;
};
LayerNormGrads layer_norm_backward(const Array& g, const Array& x, int axes, const Array* weight, const Array& mean,
                                   const Array& rstd);

struct RmsNorm {
  Array y, rstd;
};
/// Divides by the root of the mean square over the last `axes` axes of x; weight has their shape, or is null.
RmsNorm rms_norm(const Array& x, int axes, const Array* weight, double eps);
struct RmsNormGrads {
  Array dx, dweight;  // dweight is empty without a weight
};
RmsNormGrads rms_norm_backward(const Array& g, const Array& x, int axes, const Array* weight, const Array& rstd);

}  // namespace steep
