#include "distances.h"

#include <algorithm>

#include "device.h"
#include "errors.h"
#include "kernels.h"
#include "reduce.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 1 << 15;  // differences that a thread forms at least
constexpr int64_t kPiece = 2048;     // points whose slopes are summed at a time, where there are few sums
constexpr int64_t kPieces = 32;

const DistanceKernels<float>& kernels_of(float) { return kernels().distances_f32; }
const DistanceKernels<double>& kernels_of(double) { return kernels().distances_f64; }

template <class F>
void visit_floating(DType t, const F& f) {
  t == DType::float32 ? f(float{}) : f(double{});
}

/// Sets of points as kernels read them, for each product of the batch.
struct Points {
  Array a, b;
  Dims batch;
  int64_t n, m, d, products;

  Points(const Array& first, const Array& second) : a(contiguous(first)), b(contiguous(second)) {
    check_same_device("cdist", {&a, &b});
    const bool fit = a.ndim() >= 2 && b.ndim() >= 2 && a.shape[a.ndim() - 1] == b.shape[b.ndim() - 1] &&
                     a.dtype == b.dtype && (a.dtype == DType::float32 || a.dtype == DType::float64);
    if (!fit)
      throw std::invalid_argument(message("cdist: points of shape ", to_string(a.shape), " and ", name(a.dtype),
                                          ", and ", to_string(b.shape), " and ", name(b.dtype),
                                          ": expected (…, n, d) and (…, m, d), both float32 or both float64"));
    Dims batch_a = a.shape, batch_b = b.shape;
    batch_a.n -= 2, batch_b.n -= 2;
    batch = broadcast_shapes("cdist", batch_a, batch_b);
    n = a.shape[a.ndim() - 2], m = b.shape[b.ndim() - 2], d = a.shape[a.ndim() - 1];
    products = product(batch);
    a = broadcast_to(a, shape(n, d)), b = broadcast_to(b, shape(m, d));
  }
  Dims shape(int64_t rows, int64_t columns) const {
    Dims s = batch;
    s.push(rows), s.push(columns);
    return s;
  }
  /// The offset of a product's matrix in a or b.
  int64_t at(const Array& points, int64_t product) const {
    int64_t offset = 0;
    for (int i = batch.n - 1; i >= 0; --i) offset += product % batch[i] * points.strides[i], product /= batch[i];
    return offset;
  }
};

}  // namespace

Array distances(const Array& first, const Array& second, double p) {
  const Points points(first, second);
  const auto& [a, b, batch, n, m, d, products] = points;
  Array y(a.dtype, points.shape(n, m), first.device());
  if (y.size() == 0) return y;
  visit_floating(a.dtype, [&](auto zero) {
    using T = decltype(zero);
    const int64_t rows = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, m * d));
    parallel_range(products * n, rows, [&](int64_t begin, int64_t end) {
      while (begin < end) {
        const int64_t product = begin / n, row = begin % n, count = std::min(n - row, end - begin);
        kernels_of(zero).forward(count, m, d, a.as<T>() + points.at(a, product) + row * d,
                                 b.as<T>() + points.at(b, product), p, y.as<T>() + begin * m, m);
        begin += count;
      }
    });
  });
  return y;
}

Array distances_backward(const Array& gradient, const Array& first, const Array& second, const Array& result,
                         double p) {
  const Points points(first, second);
  const auto& [a, b, batch, n, m, d, products] = points;
  const Array g = contiguous(gradient), y = contiguous(result);
  for (const Array* x : {&g, &y})
    if (x->shape != points.shape(n, m) || x->dtype != a.dtype)
      throw std::invalid_argument(message("cdist: a gradient and distances of shapes ", to_string(g.shape), " and ",
                                          to_string(y.shape), ": expected ", to_string(points.shape(n, m)), " and ",
                                          name(a.dtype)));
  // Sums over the points of a: in pieces by the sizes alone, added in order, so that they don't depend on the number of
  // threads.
  const int64_t panel = a.dtype == DType::float32 ? kernels().distances_f32.panel : kernels().distances_f64.panel,
                panels = (m + panel - 1) / panel,
                pieces = std::clamp<int64_t>(std::min(n / kPiece, kPieces / std::max<int64_t>(1, products * panels)), 1,
                                             kPieces);
  const Array sums = Array::full(DType::float64, {pieces, products * m * d}, 0, first.device());
  if (sums.size() > 0 && n > 0) {
    visit_floating(a.dtype, [&](auto zero) {
      using T = decltype(zero);
      parallel_for(pieces * products * panels, [&](int64_t task) {
        const int64_t j = task % panels * panel, product = task / panels % products, piece = task / panels / products,
                      i = n * piece / pieces, rows = n * (piece + 1) / pieces - i, at = (product * n + i) * m + j;
        kernels_of(zero).backward(rows, std::min(panel, m - j), d, a.as<T>() + points.at(a, product) + i * d,
                                  b.as<T>() + points.at(b, product) + j * d, p, g.as<T>() + at, y.as<T>() + at, m,
                                  sums.as<double>() + ((piece * products + product) * m + j) * d);
      });
    });
  }
  return reshape(astype(sum_to_shape(sums, {1, products * m * d}), a.dtype), points.shape(m, d));
}

}  // namespace steep
