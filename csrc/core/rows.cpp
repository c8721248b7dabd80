#include "rows.h"

#include <algorithm>
#include <array>
#include <limits>

#include "../cuda/table.h"
#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "kernels.h"
#include "reduce.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 4096;  // elements a thread takes at least: a row costs an exp an element

const RowKernels<float>& row_kernels(const Array& a, float) {
  return on_cuda(a) ? cuda::table()->rows_f32 : kernels().rows_f32;
}
const RowKernels<double>& row_kernels(const Array& a, double) {
  return on_cuda(a) ? cuda::table()->rows_f64 : kernels().rows_f64;
}

template <class F>
void visit_floating(const char* op, DType t, const F& f) {
  if (t == DType::float32) return f(float{});
  if (t == DType::float64) return f(double{});
  throw TypeError(message(op, " needs a floating-point tensor, not ", name(t), ": use .astype(steep.float32)"));
}

/// f(first row, number of rows): on the CPU in pieces on all threads, on CUDA for all the rows at once.
template <class F>
void over_rows(const Array& out, int64_t rows, int64_t n, const F& f) {
  if (on_cuda(out)) return f(int64_t(0), rows);
  parallel_range(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1)),
                 [&](int64_t begin, int64_t end) { f(begin, end - begin); });
}

/// The same of what may be null.
Array computable(const Array* a) { return a ? computable(*a) : Array(); }

enum class Row { softmax, log_softmax };

/// kernel(zero, row count, row length, offset of the first row, its output) over the rows of `out` along `axis`.
template <class F>
void each_row(const char* op, std::initializer_list<const Array*> inputs, int axis, Array& out, const F& kernel) {
  check_same_device(op, {*inputs.begin(), &out});
  if (out.size() == 0) return;
  const DeviceScope scope(op, inputs);
  // Rows that lie otherwise in `out` are computed beside it.
  const DType computed = computed_in(out.dtype);
  const bool direct = axis == out.ndim() - 1 && out.is_contiguous() && out.dtype == computed;
  Dims shape = out.shape;
  shape.erase(axis);
  const int64_t n = out.shape[axis];
  shape.push(n);
  const Array rows = direct ? out : Array(computed, shape, out.device());
  visit_floating(op, computed, [&](auto zero) {
    using T = decltype(zero);
    over_rows(rows, rows.size() / n, n,
              [&](int64_t row, int64_t count) { kernel(zero, count, n, row * n, rows.as<T>() + row * n); });
  });
  if (!direct) assign(out, move_axis(rows, rows.ndim() - 1, axis));
}

void forward(const char* op, Row kind, const Array& a, int axis, Array& out) {
  const Array x = rows_of(a, axis);
  each_row(op, {&x}, axis, out, [&](auto zero, int64_t rows, int64_t n, int64_t at, auto* y) {
    const auto& k = row_kernels(x, zero);
    (kind == Row::softmax ? k.softmax : k.log_softmax)(rows, n, x.as<decltype(zero)>() + at, y);
  });
}

void backward(const char* op, Row kind, const Array& gradient, const Array& result, int axis, Array& out) {
  const Array g = rows_of(gradient, axis), y = rows_of(result, axis);
  each_row(op, {&g, &y}, axis, out, [&](auto zero, int64_t rows, int64_t n, int64_t at, auto* dx) {
    using T = decltype(zero);
    const auto& k = row_kernels(y, zero);
    (kind == Row::softmax ? k.softmax_backward : k.log_softmax_backward)(rows, n, g.as<T>() + at, y.as<T>() + at, dx);
  });
}

}  // namespace

void softmax(const Array& x, int axis, Array& out) { forward("softmax", Row::softmax, x, axis, out); }

void softmax_backward(const Array& g, const Array& y, int axis, Array& out) {
  backward("softmax", Row::softmax, g, y, axis, out);
}

Array softmax(const Array& x, int axis) {
  Array out(x.dtype, x.shape, x.device());
  softmax(x, axis, out);
  return out;
}

Array softmax_backward(const Array& g, const Array& y, int axis) {
  Array out(y.dtype, y.shape, y.device());
  softmax_backward(g, y, axis, out);
  return out;
}

Array log_softmax(const Array& x, int axis) {
  Array out(x.dtype, x.shape, x.device());
  forward("log_softmax", Row::log_softmax, x, axis, out);
  return out;
}

Array log_softmax_backward(const Array& g, const Array& y, int axis) {
  Array out(y.dtype, y.shape, y.device());
  backward("log_softmax", Row::log_softmax, g, y, axis, out);
  return out;
}

Array logsumexp(const Array& a, int axis) {
  const Array x = rows_of(a, axis);
  Dims shape = a.shape;
  shape.erase(axis);
  const int64_t n = a.shape[axis];
  if (n == 0)
    return Array::full(a.dtype, shape, -std::numeric_limits<double>::infinity(),
                       a.device());  // the log of an empty sum
  Array y(x.dtype, shape, a.device());
  const DeviceScope scope("logsumexp", {&x, &y});
  visit_floating("logsumexp", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(y, y.size(), n, [&](int64_t row, int64_t rows) {
      row_kernels(x, zero).logsumexp(rows, n, x.as<T>() + row * n, y.as<T>() + row);
    });
  });
  return in_dtype(y, a.dtype);
}

namespace {

/// What is kept of each row, or given for it: as the kernels read it, in the dtype that x is computed in.
void check_kept(const char* op, const char* what, const Array& kept, const Array& x, const Dims& shape) {
  if (kept.shape != shape || kept.dtype != computed_in(x.dtype) || !kept.is_contiguous())
    throw std::invalid_argument(message(op, ": ", what, " must be contiguous, of shape ", to_string(shape), " and ",
                                        name(computed_in(x.dtype)), ", not of shape ", to_string(kept.shape), " and ",
                                        name(kept.dtype)));
}

void check_labels(const Array& x, const Array& labels) {
  if (!is_floating(x.dtype) || x.ndim() != 2 || labels.shape != Dims{x.shape[0]} || labels.dtype != DType::int64 ||
      !labels.is_contiguous() || (x.shape[0] > 0 && x.shape[1] == 0))
    throw std::invalid_argument(message("cross_entropy: logits of shape ", to_string(x.shape), " and ", name(x.dtype),
                                        " with labels of shape ", to_string(labels.shape), " and ", name(labels.dtype),
                                        ": expected floats (N, classes), and (N,) in contiguous int64"));
}

/// x / divisor, as the operation on tensors.
Array divided(const Array& x, const Array& divisor) {
  static const BinaryKernel& divide = binary_operation("divide");
  Array out(x.dtype, x.shape, x.device());
  elementwise("cross_entropy", divide.forward[x.dtype], std::array{&x, &divisor}, out, nullptr, kTakesScalars);
  return out;
}
Array divided(const Array& x, double divisor) { return divided(x, Array::full(x.dtype, {}, divisor, {})); }

}  // namespace

CrossEntropy cross_entropy(const Array& logits, const Array& labels, std::optional<double> divisor) {
  const Array x = computable(logits);
  check_labels(x, labels);
  const int64_t rows = x.shape[0], n = x.shape[1];
  CrossEntropy out{Array(x.dtype, {rows}, x.device()), Array(x.dtype, {rows}, x.device())};
  const DeviceScope scope("cross_entropy", {&x, &labels, &out.loss, &out.lse});
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(x, rows, n, [&](int64_t row, int64_t count) {
      row_kernels(x, zero).cross_entropy(count, n, x.as<T>() + row * n, labels.as<int64_t>() + row,
                                         out.loss.as<T>() + row, out.lse.as<T>() + row);
    });
  });
  if (divisor) {
    static const ReduceKernel& sum = reduction("sum");
    out.loss = divided(reduce(sum, out.loss, 1, false), *divisor);
  }
  out.loss = in_dtype(out.loss, logits.dtype);
  return out;
}

Array cross_entropy_backward(const Array& g, const Array& logits, const Array& labels, const Array& lse,
                             std::optional<double> divisor) {
  const Array x = computable(logits);
  check_labels(x, labels);
  const int64_t rows = x.shape[0], n = x.shape[1];
  check_kept("cross_entropy", "lse", lse, x, {rows});
  const Array per_row = in_dtype(g, x.dtype),
              gr = contiguous(broadcast_to(divisor ? divided(per_row, *divisor) : per_row, lse.shape));
  Array dx(x.dtype, x.shape, x.device());
  const DeviceScope scope("cross_entropy", {&gr, &x, &labels, &lse, &dx});
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(x, rows, n, [&](int64_t row, int64_t count) {
      row_kernels(x, zero).cross_entropy_backward(count, n, gr.as<T>() + row, x.as<T>() + row * n,
                                                  labels.as<int64_t>() + row, lse.as<T>() + row, dx.as<T>() + row * n);
    });
  });
  return in_dtype(dx, logits.dtype);
}

CrossEntropyGradient cross_entropy_gradient(const Array& logits, const Array& labels, const Array* weights,
                                            const Array* total, double divisor, double smoothing) {
  const Array x = contiguous(logits), own = computable(weights);
  check_labels(x, labels);
  const int64_t rows = x.shape[0], n = x.shape[1];
  if (weights) check_kept("cross_entropy", "the weights", own, x, {rows});
  if (total) check_kept("cross_entropy", "the total weight", *total, x, {});
  Array loss(x.dtype, {rows}, x.device()), dx(x.dtype, x.shape, x.device());
  {
    const DeviceScope scope("cross_entropy", {&x, &labels, &own, total, &loss, &dx});
    visit_floating("cross_entropy", x.dtype, [&](auto zero) {
      using T = decltype(zero);
      over_rows(x, rows, n, [&](int64_t row, int64_t count) {
        row_kernels(x, zero).cross_entropy_gradient(
            count, n, x.as<T>() + row * n, labels.as<int64_t>() + row, own.data ? own.as<T>() + row : nullptr,
            total ? total->as<T>() : nullptr, divisor, smoothing, loss.as<T>() + row, dx.as<T>() + row * n);
      });
    });
  }
  static const ReduceKernel& sum = reduction("sum");
  loss = divided(reduce(sum, loss, 1, false), divisor);
  return {total ? divided(loss, *total) : loss, dx};
}

namespace {

/// Pieces for sums over the rows: on the CPU by the size alone, to be merged in order, so that they don't depend on the
/// number of threads.
int64_t pieces_of_rows(const Array& x, int64_t rows) {
  return on_cuda(x) ? 1 : std::clamp<int64_t>(x.size() / 65536, 1, std::clamp<int64_t>(rows / 4, 1, 32));
}

void check_axes(const char* op, const Array& x, int axes) {
  if (axes < 0 || axes > x.ndim())
    throw std::invalid_argument(
        message(op, ": ", axes, " axes of a tensor of shape ", to_string(x.shape), ": there are ", x.ndim()));
}

/// The last axes, and those in front.
Dims inner_shape(const Array& x, int axes) {
  Dims inner;
  for (int d = x.ndim() - axes; d < x.ndim(); ++d) inner.push(x.shape[d]);
  return inner;
}
Dims outer_shape(const Array& x, int axes) {
  Dims outer = x.shape;
  outer.n -= axes;
  return outer;
}

}  // namespace

LayerNorm layer_norm(const Array& a, int axes, const Array* scale, const Array* shift, double eps) {
  const Array x = computable(a), weight = computable(scale), bias = computable(shift);
  check_axes("layer_norm", x, axes);
  const Dims outer = outer_shape(x, axes), inner = inner_shape(x, axes);
  if (scale) check_kept("layer_norm", "the weight", weight, x, inner);
  if (shift) check_kept("layer_norm", "the bias", bias, x, inner);
  const Device device = x.device();
  LayerNorm out{Array(x.dtype, x.shape, device), Array(x.dtype, outer, device), Array(x.dtype, outer, device)};
  const DeviceScope scope("layer_norm", {&x, &weight, &bias, &out.y, &out.mean, &out.rstd});
  if (x.size() == 0) return {in_dtype(out.y, a.dtype), out.mean, out.rstd};
  const int64_t rows = product(outer), n = x.size() / rows;
  visit_floating("layer_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(x, rows, n, [&](int64_t row, int64_t count) {
      row_kernels(x, zero).layer_norm(count, n, x.as<T>() + row * n, weight.as<T>(), bias.as<T>(), eps,
                                      out.y.as<T>() + row * n, out.mean.as<T>() + row, out.rstd.as<T>() + row);
    });
  });
  out.y = in_dtype(out.y, a.dtype);
  return out;
}

LayerNormGrads layer_norm_backward(const Array& gradient, const Array& a, int axes, const Array* scale,
                                   const Array& mean, const Array& rstd) {
  const Array x = computable(a), g = computable(gradient), weight = computable(scale);
  check_axes("layer_norm", x, axes);
  const Dims inner = inner_shape(x, axes), outer = outer_shape(x, axes);
  check_kept("layer_norm", "the gradient", g, x, x.shape);
  check_kept("layer_norm", "the mean", mean, x, outer);
  check_kept("layer_norm", "rstd", rstd, x, outer);
  if (scale) check_kept("layer_norm", "the weight", weight, x, inner);
  const int64_t rows = mean.size(), n = product(inner);
  const int64_t pieces = pieces_of_rows(x, rows);
  const Array sums = Array::full(DType::float64, {pieces, 2, n}, 0, x.device());
  Array dx(x.dtype, x.shape, x.device());
  const DeviceScope scope("layer_norm", {&g, &x, &weight, &mean, &rstd, &dx, &sums});
  if (x.size() > 0) {
    visit_floating("layer_norm", x.dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(pieces, [&](int64_t piece) {
        const int64_t row = rows * piece / pieces, count = rows * (piece + 1) / pieces - row;
        double* sum = sums.as<double>() + piece * 2 * n;
        row_kernels(x, zero).layer_norm_backward(count, n, g.as<T>() + row * n, x.as<T>() + row * n, weight.as<T>(),
                                                 mean.as<T>() + row, rstd.as<T>() + row, dx.as<T>() + row * n, sum,
                                                 sum + n);
      });
    });
  }
  const Array total = astype(sum_to_shape(sums, {1, 2, n}), a.dtype);
  const auto row_of = [&](int64_t which) { return reshape(select(select(total, 0, 0), 0, which), inner); };
  return {in_dtype(dx, a.dtype), row_of(0), row_of(1)};
}

RmsNorm rms_norm(const Array& a, int axes, const Array* scale, double eps) {
  const Array x = computable(a), weight = computable(scale);
  check_axes("rms_norm", x, axes);
  const Dims outer = outer_shape(x, axes);
  if (scale) check_kept("rms_norm", "the weight", weight, x, inner_shape(x, axes));
  RmsNorm out{Array(x.dtype, x.shape, x.device()), Array(x.dtype, outer, x.device())};
  const DeviceScope scope("rms_norm", {&x, &weight, &out.y, &out.rstd});
  if (x.size() > 0) {
    const int64_t rows = product(outer), n = x.size() / rows;
    visit_floating("rms_norm", x.dtype, [&](auto zero) {
      using T = decltype(zero);
      over_rows(x, rows, n, [&](int64_t row, int64_t count) {
        row_kernels(x, zero).rms_norm(count, n, x.as<T>() + row * n, weight.as<T>(), eps, out.y.as<T>() + row * n,
                                      out.rstd.as<T>() + row);
      });
    });
  }
  out.y = in_dtype(out.y, a.dtype);
  return out;
}

RmsNormGrads rms_norm_backward(const Array& gradient, const Array& a, int axes, const Array* scale, const Array& rstd) {
  const Array x = computable(a), g = computable(gradient), weight = computable(scale);
  check_axes("rms_norm", x, axes);
  const Dims inner = inner_shape(x, axes);
  check_kept("rms_norm", "the gradient", g, x, x.shape);
  check_kept("rms_norm", "rstd", rstd, x, outer_shape(x, axes));
  if (scale) check_kept("rms_norm", "the weight", weight, x, inner);
  const int64_t rows = rstd.size(), n = product(inner), pieces = scale ? pieces_of_rows(x, rows) : 1;
  const Array sums = scale ? Array::full(DType::float64, {pieces, n}, 0, x.device()) : Array();
  Array dx(x.dtype, x.shape, x.device());
  const DeviceScope scope("rms_norm", {&g, &x, &weight, &rstd, &dx, &sums});
  const auto run = [&](auto zero, int64_t row, int64_t count, double* sum) {
    using T = decltype(zero);
    row_kernels(x, zero).rms_norm_backward(count, n, g.as<T>() + row * n, x.as<T>() + row * n, weight.as<T>(),
                                           rstd.as<T>() + row, dx.as<T>() + row * n, sum);
  };
  if (x.size() > 0) {
    visit_floating("rms_norm", x.dtype, [&](auto zero) {
      if (!scale) return over_rows(x, rows, n, [&](int64_t row, int64_t count) { run(zero, row, count, nullptr); });
      parallel_for(pieces, [&](int64_t piece) {
        const int64_t row = rows * piece / pieces;
        run(zero, row, rows * (piece + 1) / pieces - row, sums.as<double>() + piece * n);
      });
    });
  }
  const Array dweight = scale ? reshape(astype(sum_to_shape(sums, {1, n}), a.dtype), inner) : Array();
  return {in_dtype(dx, a.dtype), dweight};
}

}  // namespace steep
