#include "matmul.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "matmul_plan.h"
#include "reduce.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

const GemmKernel<float>& gemm_kernel(float) { return kernels().gemm_f32; }
const GemmKernel<double>& gemm_kernel(double) { return kernels().gemm_f64; }
const GemmKernel<bfloat16>& gemm_kernel(bfloat16) { return kernels().gemm_bf16; }

template <class T>
void multiply(const Gemm<T>& g) {
  if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, float16>) {
    return;  // matmul_shape refuses booleans, is_multiplied float16
  } else if constexpr (!std::is_integral_v<T>) {
    gemm(g, gemm_kernel(T{}), num_threads(), [](int64_t tasks, const auto& f) { parallel_for(tasks, f); });
  } else {  // integers wrap, and have no kernel of their own
    for (int64_t i = 0; i < g.m; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        uint64_t sum = 0;
        for (int64_t k = 0; k < g.k; ++k)
          sum += uint64_t(g.a[i * g.a_row + k * g.a_col]) * uint64_t(g.b[k * g.b_row + j * g.b_col]);
        g.c[i * g.c_row + j] = T(sum);
      }
  }
}

Dims matmul_shape(const Array& a, const Array& b) {
  const int p = a.ndim() - 2, q = b.ndim() - 2;
  if (a.shape[p + 1] != b.shape[q])
    throw std::invalid_argument(message("matmul: shapes ", to_string(a.shape), " and ", to_string(b.shape),
                                        " do not fit: the last axis of the first (", a.shape[p + 1],
                                        ") must equal the last but one of the second (", b.shape[q], ")"));
  if (a.dtype == DType::boolean) throw TypeError("matmul is not defined for bool tensors: use .astype(steep.float32)");
  Dims batch_a = a.shape, batch_b = b.shape;
  batch_a.n = p, batch_b.n = q;
  Dims shape = broadcast_shapes("matmul", batch_a, batch_b);
  shape.push(a.shape[p]), shape.push(b.shape[q + 1]);
  return shape;
}

void launch(const Gemm<float>& g, const cuda::GemmBatch& batch, cuda::Activation activation) {
  cuda::table()->gemm_f32(g, batch, activation, float32_precision());
}
void launch(const Gemm<double>& g, const cuda::GemmBatch& batch, cuda::Activation activation) {
  cuda::table()->gemm_f64(g, batch, activation);
}
void launch(const Gemm<bfloat16>& g, const cuda::GemmBatch& batch, cuda::Activation activation) {
  cuda::table()->gemm_bf16(g, batch, activation);
}
void launch(const Gemm<float16>& g, const cuda::GemmBatch& batch, cuda::Activation activation) {
  cuda::table()->gemm_f16(g, batch, activation);
}
void launch(const Gemm<int32_t>& g, const cuda::GemmBatch& batch, cuda::Activation) {
  cuda::table()->gemm_i32(g, batch);
}
void launch(const Gemm<int64_t>& g, const cuda::GemmBatch& batch, cuda::Activation) {
  cuda::table()->gemm_i64(g, batch);
}
/// As signed integers: the low bits of products and sums are the same.
void launch(const Gemm<uint64_t>& g, const cuda::GemmBatch& batch, cuda::Activation) {
  const auto bits = [](const uint64_t* x) { return reinterpret_cast<const int64_t*>(x); };
  cuda::table()->gemm_i64({g.m, g.n, g.k, bits(g.a), g.a_row, g.a_col, bits(g.b), g.b_row, g.b_col,
                           reinterpret_cast<int64_t*>(g.c), g.c_row, int64_t(g.alpha), int64_t(g.beta)},
                          batch);
}
void launch(const Gemm<bool>&, const cuda::GemmBatch&, cuda::Activation) {}  // matmul_shape refuses booleans

bool is_half(DType t) { return t == DType::bfloat16 || t == DType::float16; }

/// Are products of arrays like `a` computed in its dtype?
bool is_multiplied(const Array& a) {
  if (!is_half(a.dtype)) return computed_in(a.dtype) == a.dtype;
  if (on_cuda(a)) return cuda::table()->has_tensor_cores(a.device().index);
  return a.dtype == DType::bfloat16 && kernels().gemm_bf16.block;
}

/// f with a zero of such a dtype.
template <class F>
void visit_multiplied(DType t, const F& f) {
  if (t == DType::bfloat16) return f(bfloat16());
  if (t == DType::float16) return f(float16());
  visit_computed(t, f);
}

/// Are there elements in the way of one another? Of axes that interleave it says yes without looking closely.
bool overlaps_itself(const Array& a) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride and extent
  for (int d = 0; d < a.ndim(); ++d)
    if (a.shape[d] > 1) axes.emplace_back(std::abs(a.strides[d]), a.shape[d]);
  std::ranges::sort(axes);
  int64_t span = 1;  // of the inner axes
  for (const auto& [stride, extent] : axes) {
    if (stride < span) return true;
    span += stride * (extent - 1);
  }
  return false;
}

bool overlap(const Array& a, const Array& b) {
  const auto [a_begin, a_end] = extent(a);
  const auto [b_begin, b_end] = extent(b);
  return a_begin < b_end && b_begin < a_end;
}

/// What CUDA's epilogue computes; the CPU's does relu.
cuda::Activation fused_activation(const UnaryKernel* activation) {
  const std::string_view name = activation ? activation->name : "";
  if (name == "relu") return cuda::Activation::relu;
  if (name == "sigmoid") return cuda::Activation::sigmoid;
  return name == "tanh" ? cuda::Activation::tanh : cuda::Activation::none;
}

std::atomic<cuda::Precision> precision_of_float32{cuda::Precision::highest};

}  // namespace

cuda::Precision float32_precision() { return precision_of_float32.load(std::memory_order_relaxed); }
void set_float32_precision(cuda::Precision precision) { precision_of_float32 = precision; }

Array matmul(const Array& a, const Array& b) {
  check_same_device("matmul", {&a, &b});
  Array out(a.dtype, matmul_shape(a, b), a.device());
  matmul(a, b, out);
  return out;
}

void matmul(const Array& a, const Array& b, Array& out, double alpha, double beta) {
  const Dims shape = matmul_shape(a, b);
  const int p = a.ndim() - 2, q = b.ndim() - 2, d = shape.n - 2;
  if (out.shape != shape)
    throw std::invalid_argument(
        message("matmul: 'out' has shape ", to_string(out.shape), ", the result ", to_string(shape)));
  if (out.size() == 0) return;
  if (out.strides[d + 1] != 1 && shape[d + 1] > 1)
    throw std::invalid_argument("matmul: the rows of 'out' must be contiguous");
  check_writable("matmul", out);
  if (overlaps_itself(out)) throw std::invalid_argument("matmul: the rows of 'out' overlap");
  if (is_integer(a.dtype) && (alpha != 1 || beta != 0))
    throw TypeError("matmul: of integers alpha must be 1 and beta 0");
  if (overlap(out, a) || overlap(out, b))
    throw std::invalid_argument("matmul: 'out' shares memory with an operand, which is read after it is written");
  if (!is_multiplied(a) || (is_half(a.dtype) && (alpha != 1 || beta != 0))) {
    const DType t = computed_in(a.dtype);
    Array wide = beta != 0 ? astype(out, t) : Array(t, shape, out.device());
    matmul(astype(a, t), astype(b, t), wide, alpha, beta);
    return assign(out, wide);
  }
  if (q == 0 && p > 0 && a.size() > 0 && a.is_contiguous() && out.is_contiguous()) {
    Array flat = reshape(out, {-1, shape[d + 1]});  // one matrix for the whole batch: a single tall product
    return matmul(reshape(a, {-1, a.shape[p + 1]}), b, flat, alpha, beta);
  }
  Dims batch = shape, shape_a = shape, shape_b = shape;
  batch.n = d;
  shape_a[d + 1] = a.shape[p + 1];
  shape_b[d] = b.shape[q];
  const Array x = broadcast_to(a, shape_a), y = broadcast_to(b, shape_b);
  const DeviceScope scope("matmul", {&a, &b, &out});
  visit_multiplied(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    Gemm<T> g{};
    g.m = shape[d], g.n = shape[d + 1], g.k = shape_a[d + 1];
    g.a = x.as<T>(), g.a_row = x.strides[d], g.a_col = x.strides[d + 1];
    g.b = y.as<T>(), g.b_row = y.strides[d], g.b_col = y.strides[d + 1];
    g.c = out.as<T>(), g.c_row = out.strides[d];
    g.alpha = T(alpha), g.beta = T(beta);
    if (on_cuda(out)) {
      const auto outer = [&](Dims strides) {
        strides.n = d;
        return strides;
      };
      return launch(g, {batch, outer(x.strides), outer(y.strides), outer(out.strides)}, cuda::Activation::none);
    }
    const auto one = [&](int64_t index) {
      int64_t at_x = 0, at_y = 0, at_out = 0, rest = index;
      for (int i = d - 1; i >= 0; --i) {
        at_x += rest % batch[i] * x.strides[i];
        at_y += rest % batch[i] * y.strides[i];
        at_out += rest % batch[i] * out.strides[i];
        rest /= batch[i];
      }
      Gemm<T> at = g;
      at.a += at_x, at.b += at_y, at.c += at_out;
      multiply(at);
    };
    const int64_t products = product(batch);
    if (products < num_threads()) {  // each product on all threads
      for (int64_t i = 0; i < products; ++i) one(i);
    } else {
      const double work = double(shape[d]) * double(shape[d + 1]) * double(shape_a[d + 1] + 8);
      parallel_range(products, std::max<int64_t>(1, int64_t(kGemmSerialWork / work)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) one(i);
      });
    }
  });
}

namespace {

/// By one pass on CUDA, of a contiguous g: the gradient before the activation, to dz, and the sum of its rows.
Array bias_gradient(const Array& g, const Array& y, const UnaryKernel* activation, Array& dz) {
  const int64_t n = g.shape[g.ndim() - 1];
  const Array result = contiguous(y);
  Array sum(g.dtype, {n}, g.device());
  const DeviceScope scope("linear", {&g, &result, &dz, &sum});
  cuda::table()->bias_gradient(g.dtype, fused_activation(activation), g.size() / n, n, g.data, result.data, dz.data,
                               sum.data);
  return sum;
}

/// Its values from rows without gaps, where a kernel can add them to the elements of `out`.
Array addable(const Array& x, const Array& out) {
  Array rows = contiguous(x);
  return !on_cuda(out) || (rows.data - out.data) % 16 == 0 ? rows : copy(rows);
}

}  // namespace

Array linear(const Array& x, const Array& weight, const Array* bias, const Array* residual,
             const UnaryKernel* activation) {
  const int64_t in = weight.shape[1], features = weight.shape[0];
  Dims shape = x.shape;
  shape[shape.n - 1] = features;
  check_same_device("linear", {&x, &weight, bias, residual});
  if (!is_multiplied(x)) {
    const DType t = computed_in(x.dtype);
    const Array b = bias ? astype(*bias, t) : Array(), r = residual ? astype(*residual, t) : Array();
    const Array y = linear(astype(x, t), astype(weight, t), bias ? &b : nullptr, residual ? &r : nullptr, activation);
    return astype(y, x.dtype);
  }
  Array out(x.dtype, shape, x.device());
  if (out.size() == 0) return out;
  const cuda::Activation fused = fused_activation(activation);
  const bool relu = fused == cuda::Activation::relu;
  const Array rows = contiguous(x), b = bias ? contiguous(*bias) : Array(),
              r = residual ? addable(*residual, out) : Array();
  const DeviceScope scope("linear", {&rows, &weight, &b, &r, &out});
  visit_multiplied(x.dtype, [&](auto zero) {
    using T = decltype(zero);
    Gemm<T> g{};
    g.m = out.size() / features, g.n = features, g.k = in;
    g.a = rows.as<T>(), g.a_row = in, g.a_col = 1;
    g.b = weight.as<T>(), g.b_row = weight.strides[1], g.b_col = weight.strides[0];
    g.c = out.as<T>(), g.c_row = features;
    g.alpha = T(1), g.beta = T(0);
    g.bias = bias ? b.as<T>() : nullptr, g.relu = relu;
    g.residual = residual ? r.as<T>() : nullptr;
    on_cuda(out) ? launch(g, {}, fused) : multiply(g);
  });
  if (activation && !relu && !(on_cuda(out) && fused != cuda::Activation::none)) {
    const Array* inputs[] = {&out};
    elementwise("linear", activation->forward[out.dtype], inputs, out);
  }
  return out;
}

LinearGrads linear_backward(const Array& g, const Array* x, const Array* weight, LinearWants wants, const Array* y,
                            const UnaryKernel* activation) {
  const auto is_result = [&](const Array& a) {
    return a.shape == g.shape && a.dtype == g.dtype && a.device() == g.device();
  };
  const bool fits = g.ndim() > 0 && (!x || x->ndim() > 0) && (!weight || weight->ndim() == 2) && is_floating(g.dtype) &&
                    (!activation || (y && is_result(*y)));
  if (!fits)
    throw std::invalid_argument(message("linear: a gradient of shape ", to_string(g.shape), " and ", name(g.dtype),
                                        " with operands or a result of others"));
  LinearGrads out;
  Array dz = g;  // of x @ weightᵀ + bias + residual
  if (activation) {
    dz = Array(g.dtype, g.shape, g.device());
    if (wants.bias && on_cuda(g) && g.is_contiguous() && fused_activation(activation) != cuda::Activation::none &&
        g.size() > 0)
      out.dbias = bias_gradient(g, *y, activation, dz);
    else
      elementwise("linear", activation->backward[g.dtype], std::array{&g, y, y}, dz);
  }
  const auto rows = [](const Array& a) {
    Dims outer = a.shape;
    outer.n--;
    return a.ndim() == 2 ? a : reshape(a, {product(outer), a.shape[outer.n]});
  };
  if (wants.residual) out.dresidual = dz;
  dz = rows(dz);
  if (weight) {
    Dims shape = g.shape;
    shape[shape.n - 1] = weight->shape[1];
    out.dx = reshape(matmul(dz, *weight), shape);
  }
  if (x) out.dweight = matmul(permute(dz, {1, 0}), rows(*x));
  static const ReduceKernel& sum = reduction("sum");
  if (wants.bias && !out.dbias.data) out.dbias = reduce(sum, dz, 1, false);
  return out;
}

}  // namespace steep
