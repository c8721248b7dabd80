#include "rows.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "errors.h"
#include "kernels.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 4096;  // elements a thread takes at least: a row costs an exp an element

const RowKernels<float>& row_kernels(float) { return kernels().rows_f32; }
const RowKernels<double>& row_kernels(double) { return kernels().rows_f64; }

template <class F>
void visit_floating(const char* op, DType t, const F& f) {
  if (t == DType::float32) return f(float{});
  if (t == DType::float64) return f(double{});
  throw TypeError(message(op, " needs a floating-point tensor, not ", name(t), ": use .astype(steep.float32)"));
}

/// f(first row, number of rows), in pieces on all threads.
template <class F>
void over_rows(int64_t rows, int64_t n, const F& f) {
  parallel_range(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(n, 1)),
                 [&](int64_t begin, int64_t end) { f(begin, end - begin); });
}

Array move_axis(const Array& a, int from, int to) {
  Dims order;
  for (int d = 0; d < a.ndim(); ++d)
    if (d != from) order.push(d);
  order.insert(to, from);
  return permute(a, order);
}

/// Contiguous rows along `axis`: the array itself where they lie so.
Array rows_of(const Array& a, int axis) { return contiguous(move_axis(a, axis, a.ndim() - 1)); }

enum class Row { softmax, log_softmax };

/// kernel(row count, row length, first element of each operand…, of the output's) over the rows of `out` along `axis`.
template <class F>
void each_row(const char* op, int axis, Array& out, const F& kernel) {
  if (out.size() == 0) return;
  // Rows that lie otherwise in `out` are computed beside it.
  const bool direct = axis == out.ndim() - 1 && out.is_contiguous();
  Dims shape = out.shape;
  shape.erase(axis);
  const int64_t n = out.shape[axis];
  shape.push(n);
  const Array rows = direct ? out : Array(out.dtype, shape);
  visit_floating(op, out.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(rows.size() / n, n,
              [&](int64_t row, int64_t count) { kernel(zero, count, n, row * n, rows.as<T>() + row * n); });
  });
  if (!direct) assign(out, move_axis(rows, rows.ndim() - 1, axis));
}

void forward(const char* op, Row kind, const Array& a, int axis, Array& out) {
  const Array x = rows_of(a, axis);
  each_row(op, axis, out, [&](auto zero, int64_t rows, int64_t n, int64_t at, auto* y) {
    const auto& k = row_kernels(zero);
    (kind == Row::softmax ? k.softmax : k.log_softmax)(rows, n, x.as<decltype(zero)>() + at, y);
  });
}

void backward(const char* op, Row kind, const Array& gradient, const Array& result, int axis, Array& out) {
  const Array g = rows_of(gradient, axis), y = rows_of(result, axis);
  each_row(op, axis, out, [&](auto zero, int64_t rows, int64_t n, int64_t at, auto* dx) {
    using T = decltype(zero);
    const auto& k = row_kernels(zero);
    (kind == Row::softmax ? k.softmax_backward : k.log_softmax_backward)(rows, n, g.as<T>() + at, y.as<T>() + at, dx);
  });
}

template <class T>
T* data_or_null(const Array* a) {
  return a ? a->as<T>() : nullptr;
}

}  // namespace

void softmax(const Array& x, int axis, Array& out) { forward("softmax", Row::softmax, x, axis, out); }

void softmax_backward(const Array& g, const Array& y, int axis, Array& out) {
  backward("softmax", Row::softmax, g, y, axis, out);
}

Array softmax(const Array& x, int axis) {
  Array out(x.dtype, x.shape);
  softmax(x, axis, out);
  return out;
}

Array softmax_backward(const Array& g, const Array& y, int axis) {
  Array out(y.dtype, y.shape);
  softmax_backward(g, y, axis, out);
  return out;
}

Array log_softmax(const Array& x, int axis) {
  Array out(x.dtype, x.shape);
  forward("log_softmax", Row::log_softmax, x, axis, out);
  return out;
}

Array log_softmax_backward(const Array& g, const Array& y, int axis) {
  Array out(y.dtype, y.shape);
  backward("log_softmax", Row::log_softmax, g, y, axis, out);
  return out;
}

Array logsumexp(const Array& a, int axis) {
  const Array x = rows_of(a, axis);
  Dims shape = a.shape;
  shape.erase(axis);
  const int64_t n = a.shape[axis];
  if (n == 0) return Array::full(a.dtype, shape, -std::numeric_limits<double>::infinity());  // the log of an empty sum
  Array y(a.dtype, shape);
  visit_floating("logsumexp", a.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(y.size(), n, [&](int64_t row, int64_t rows) {
      row_kernels(zero).logsumexp(rows, n, x.as<T>() + row * n, y.as<T>() + row);
    });
  });
  return y;
}

CrossEntropy cross_entropy(const Array& logits, const Array& labels) {
  const Array x = contiguous(logits);
  const int64_t rows = x.shape[0], n = x.shape[1];
  CrossEntropy out{Array(x.dtype, {rows}), Array(x.dtype, {rows})};
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(rows, n, [&](int64_t row, int64_t count) {
      row_kernels(zero).cross_entropy(count, n, x.as<T>() + row * n, labels.as<int64_t>() + row, out.loss.as<T>() + row,
                                      out.lse.as<T>() + row);
    });
  });
  return out;
}

Array cross_entropy_backward(const Array& g, const Array& logits, const Array& labels, const Array& lse) {
  const Array x = contiguous(logits), gr = contiguous(broadcast_to(g, lse.shape));
  const int64_t rows = x.shape[0], n = x.shape[1];
  Array dx(x.dtype, x.shape);
  visit_floating("cross_entropy", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(rows, n, [&](int64_t row, int64_t count) {
      row_kernels(zero).cross_entropy_backward(count, n, gr.as<T>() + row, x.as<T>() + row * n,
                                               labels.as<int64_t>() + row, lse.as<T>() + row, dx.as<T>() + row * n);
    });
  });
  return dx;
}

LayerNorm layer_norm(const Array& a, int axes, const Array* weight, const Array* bias, double eps) {
  const Array x = contiguous(a);
  Dims outer = x.shape;
  outer.n -= axes;
  LayerNorm out{Array(x.dtype, x.shape), Array(x.dtype, outer), Array(x.dtype, outer)};
  if (x.size() == 0) return out;
  const int64_t rows = product(outer), n = x.size() / rows;
  visit_floating("layer_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    over_rows(rows, n, [&](int64_t row, int64_t count) {
      row_kernels(zero).layer_norm(count, n, x.as<T>() + row * n, data_or_null<T>(weight), data_or_null<T>(bias), eps,
                                   out.y.as<T>() + row * n, out.mean.as<T>() + row, out.rstd.as<T>() + row);
    });
  });
  return out;
}

LayerNormGrads layer_norm_backward(const Array& gradient, const Array& a, int axes, const Array* weight,
                                   const Array& mean, const Array& rstd) {
  const Array x = contiguous(a), g = contiguous(gradient);
  Dims inner;
  for (int d = x.ndim() - axes; d < x.ndim(); ++d) inner.push(x.shape[d]);
  LayerNormGrads out{Array(x.dtype, x.shape), Array::full(x.dtype, inner, 0), Array::full(x.dtype, inner, 0)};
  if (x.size() == 0) return out;
  const int64_t rows = mean.size(), n = x.size() / rows;
  // Sums over the rows: pieces by the size alone, merged in order, so that they don't depend on the number of threads.
  const int64_t pieces = std::clamp<int64_t>(x.size() / 65536, 1, std::min<int64_t>(rows, 32));
  const auto sums = std::make_unique<double[]>(size_t(pieces * 2 * n));
  visit_floating("layer_norm", x.dtype, [&](auto zero) {
    using T = decltype(zero);
    parallel_for(pieces, [&](int64_t piece) {
      const int64_t row = rows * piece / pieces, count = rows * (piece + 1) / pieces - row;
      double* sum = sums.get() + piece * 2 * n;
      row_kernels(zero).layer_norm_backward(count, n, g.as<T>() + row * n, x.as<T>() + row * n, data_or_null<T>(weight),
                                            mean.as<T>() + row, rstd.as<T>() + row, out.dx.as<T>() + row * n, sum,
                                            sum + n);
    });
    for (int64_t j = 0; j < n; ++j) {
      double dweight = 0, dbias = 0;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        dweight += sums[size_t((piece * 2) * n + j)];
        dbias += sums[size_t((piece * 2 + 1) * n + j)];
      }
      out.dweight.as<T>()[j] = T(dweight);
      out.dbias.as<T>()[j] = T(dbias);
    }
  });
  return out;
}

}  // namespace steep
