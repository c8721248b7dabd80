// Matrix products of arrays: shapes, batches and transposes in front of the GEMM kernels.
#pragma once
#include "../cuda/table.h"
#include "array.h"
#include "kernels.h"

namespace steep {

/// NumPy's matmul for operands of at least two dimensions and equal dtype: (…, m, k) by (…, k, n), batches broadcast.
Array matmul(const Array& a, const Array& b);
/// out = alpha·a@b + beta·out, where integers take only 1 and 0. `out` has the result's shape and dtype, rows without
/// gaps, and no memory in common with a or b.
void matmul(const Array& a, const Array& b, Array& out, double alpha = 1, double beta = 0);

/// activation(x @ weightᵀ + bias + residual) for x (…, in), weight (out, in), bias (out) or null, and a residual of the
/// result's shape or null. The activation may be null.
Array linear(const Array& x, const Array& weight, const Array* bias, const Array* residual,
             const UnaryKernel* activation);

/// How exact products of float32 are on CUDA; the CPU's are as exact as can be. Of the whole process.
cuda::Precision float32_precision();
void set_float32_precision(cuda::Precision precision);

struct LinearGrads {
  Array dx, dweight, dbias, dresidual;  // without data where not asked for
};
/// What of them is wanted, besides dx and dweight.
struct LinearWants {
  bool bias, residual;
};
/// From the gradient of linear's result y: dweight if x is given, dx if weight is. The activation's derivative must
/// read nothing but y.
LinearGrads linear_backward(const Array& g, const Array* x, const Array* weight, LinearWants wants, const Array* y,
                            const UnaryKernel* activation);

}  // namespace steep
