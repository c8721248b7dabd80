#include "gradients.h"

#include <algorithm>
#include <atomic>

#include "../cuda/table.h"
#include "device.h"
#include "errors.h"
#include "kernels.h"
#include "norm.h"
#include "scratch.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

/// Elements a thread takes at a time, of float32 numbers a first cache full. Partial norms are of so many: what they
/// are doesn't depend on the number of threads.
constexpr int64_t kPiece = 8192;

void check(const char* op, const std::vector<Array>& arrays) {
  for (const Array& a : arrays)
    if (!is_floating(a.dtype)) throw TypeError(message(op, ": gradients are floating-point, not ", name(a.dtype)));
}

void check_number(const char* op, const Array& number) {
  if (number.size() != 1 || (number.dtype != DType::float32 && number.dtype != DType::float64))
    throw std::invalid_argument(message(op, ": expected one float32 or float64 number, not ", name(number.dtype),
                                        " of shape ", to_string(number.shape)));
}

/// Around the work on the arrays and one more, or null.
class Scope : public DeviceScope {
 public:
  Scope(const char* op, const std::vector<Array>& arrays, const Array* other = nullptr)
      : DeviceScope(op, pointers(arrays, other)) {}

 private:
  static std::vector<const Array*> pointers(const std::vector<Array>& arrays, const Array* other) {
    std::vector<const Array*> out{other};
    for (const Array& a : arrays) out.push_back(&a);
    return out;
  }
};

std::vector<Elements> elements_of(const std::vector<Array>& arrays) {
  std::vector<Elements> out;
  for (const Array& a : arrays) out.push_back({a.dtype, a.data, a.size()});
  return out;
}

bool are_on_cuda(const std::vector<Array>& arrays) { return !arrays.empty() && on_cuda(arrays[0]); }

const GradientKernels<float>& gradient_kernels(const float*) { return kernels().gradients_f32; }
const GradientKernels<double>& gradient_kernels(const double*) { return kernels().gradients_f64; }

/// Calls f(n, x, number) for pieces of all elements, numbered from 0, on all threads: n numbers x in the dtype that
/// they are computed in. With `writes`, what f leaves there is brought back.
template <class F>
void each_piece(const std::vector<Elements>& arrays, bool writes, const F& f) {
  struct Piece {
    DType dtype;
    char* data;
    int64_t n;
  };
  std::vector<Piece> pieces;
  for (const Elements& e : arrays)
    for (int64_t i = 0; i < e.n; i += kPiece)
      pieces.push_back(
          {e.dtype, static_cast<char*>(e.data) + i * int64_t(item_size(e.dtype)), std::min(kPiece, e.n - i)});
  parallel_range(int64_t(pieces.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Piece& piece = pieces[size_t(i)];
      if (piece.dtype == DType::float64) {
        f(piece.n, reinterpret_cast<double*>(piece.data), i);
        continue;
      }
      const bool converts = piece.dtype != DType::float32;
      void* const x = converts ? scratch(kPiece * sizeof(float)) : piece.data;
      const auto cast = [&](DType from, void* source, DType to, void* target) {
        void* const operands[] = {source, target};
        kernels().cast[int(from)][int(to)].loop(piece.n, operands, 0, nullptr);
      };
      if (converts) cast(piece.dtype, piece.data, DType::float32, x);
      f(piece.n, static_cast<float*>(x), i);
      if (converts && writes) cast(DType::float32, x, piece.dtype, piece.data);
    }
  });
}

/// change(elements) on the arrays, or, for those whose elements lie apart, on copies that are brought back.
template <class F>
void change(const char* op, const std::vector<Array>& arrays, const Array* other, const F& f) {
  check(op, arrays);
  for (const Array& a : arrays) check_writable(op, a);
  std::vector<Array> packed;
  for (const Array& a : arrays) packed.push_back(contiguous(a));
  const Scope scope(op, packed, other);
  f(elements_of(packed));
  for (size_t i = 0; i < arrays.size(); ++i) {
    Array to = arrays[i];
    if (packed[i].data != to.data)
      assign(to, packed[i]);
    else
      to.storage->version++;
  }
}

double host_norm(const std::vector<Elements>& arrays, const NormPlan& plan, double unit) {
  int64_t pieces = 0;
  for (const Elements& e : arrays) pieces += (e.n + kPiece - 1) / kPiece;
  std::vector<double> partial(static_cast<size_t>(pieces));
  each_piece(arrays, false, [&](int64_t n, const auto* x, int64_t i) {
    partial[size_t(i)] = gradient_kernels(x).norm(n, x, plan, unit);
  });
  double total = plan.identity();
  for (const double p : partial) total = plan.combine(total, p);
  return plan.finish(total, unit);
}

}  // namespace

Array total_norm(const std::vector<Array>& arrays, double ord) {
  constexpr const char* op = "total_norm";
  check(op, arrays);
  if (arrays.empty()) throw std::invalid_argument(message(op, ": there are no arrays"));
  const bool wide = std::ranges::any_of(arrays, [](const Array& a) { return a.dtype == DType::float64; });
  const NormPlan plan = NormPlan::of(ord, wide);
  std::vector<Array> packed;
  for (const Array& a : arrays) packed.push_back(contiguous(a));
  const std::vector<Elements> elements = elements_of(packed);
  const Scope scope(op, packed);
  const DType dtype = wide ? DType::float64 : DType::float32;
  if (!are_on_cuda(packed)) {
    const double unit = plan.needs_unit() ? host_norm(elements, plan.unit(), 1) : 1;
    return Array::full(dtype, {}, host_norm(elements, plan, unit), packed[0].device());
  }
  Array out(dtype, {}, packed[0].device());
  cuda::table()->total_norm(elements, plan, dtype, out.data);
  return out;
}

namespace {

/// x *= factor_of(number), for a number that is where the arrays are.
template <class F>
void multiply(const std::vector<Elements>& elements, const Array& number, const F& factor_of) {
  const double factor = factor_of(number.dtype == DType::float64 ? *number.as<double>() : double(*number.as<float>()));
  if (factor == 1) return;
  each_piece(elements, true, [&]<class T>(int64_t n, T* x, int64_t) { gradient_kernels(x).scale(n, x, T(factor)); });
}

}  // namespace

void clip_norm(const std::vector<Array>& arrays, const Array& norm, double max_norm) {
  check_number("clip_grad_norm_", norm);
  change("clip_grad_norm_", arrays, &norm, [&](const std::vector<Elements>& elements) {
    if (on_cuda(norm)) return cuda::table()->clip_norm(elements, norm.dtype, norm.data, max_norm);
    multiply(elements, norm, [=](double x) { return clip_factor(x, max_norm); });
  });
}

void scale(const std::vector<Array>& arrays, const Array& factor) {
  check_number("backward", factor);
  change("backward", arrays, &factor, [&](const std::vector<Elements>& elements) {
    if (on_cuda(factor)) return cuda::table()->scale(elements, factor.dtype, factor.data);
    multiply(elements, factor, [](double x) { return x; });
  });
}

void clip_values(const std::vector<Array>& arrays, double limit) {
  change("clip_grad_value_", arrays, nullptr, [&](const std::vector<Elements>& elements) {
    if (are_on_cuda(arrays)) return cuda::table()->clip_values(elements, limit);
    each_piece(elements, true, [&]<class T>(int64_t n, T* x, int64_t) { gradient_kernels(x).clip(n, x, T(limit)); });
  });
}

Array unscale(const std::vector<Array>& arrays, double factor) {
  Array found = Array::full(DType::int32, {}, 0, arrays.empty() ? Device() : arrays[0].device());
  change("unscale_", arrays, &found, [&](const std::vector<Elements>& elements) {
    if (are_on_cuda(arrays)) return cuda::table()->unscale(elements, factor, found.as<int32_t>());
    std::atomic<bool> finite = true;
    each_piece(elements, true, [&]<class T>(int64_t n, T* x, int64_t) {
      if (!gradient_kernels(x).unscale(n, x, T(factor))) finite = false;
    });
    *found.as<int32_t>() = !finite;
  });
  return found;
}

}  // namespace steep
