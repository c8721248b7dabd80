// Matrix products for the table: which kernel computes one, in how many parts.
#include "gemm.h"

#include <cstdlib>
#include <stdexcept>

#include "runtime.h"

namespace steep::cuda {
void fill_gemm(Table& table);

namespace {

/// Axes of one matrix are left out, and axes that step alike through all operands are merged, the last ones first.
Batch merged(const GemmBatch& from) {
  Batch to{};
  to.matrices = 1;
  for (int i = 0; i < from.shape.n; ++i) {
    const int64_t n = from.shape[i];
    to.matrices *= n;
    if (n == 1) continue;
    const int last = to.axes - 1;
    const bool joins =
        last >= 0 && to.a[last] == n * from.a[i] && to.b[last] == n * from.b[i] && to.c[last] == n * from.c[i];
    const int at = joins ? last : to.axes++;
    to.shape[at] = joins ? to.shape[at] * n : n;
    to.a[at] = from.a[i], to.b[at] = from.b[i], to.c[at] = from.c[i];
  }
  return to;
}

/// Are vectors of T aligned at the start of an operand and at steps of `stride`, for all the matrices?
template <class T>
bool is_aligned(const T* data, int64_t stride, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  constexpr int64_t n = 16 / sizeof(T);
  bool aligned = reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % n == 0;
  for (int i = 0; i < batch.axes; ++i) aligned &= steps[i] % n == 0;
  return aligned;
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
Access access(const Operand<T>& x, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  if (x.stride == 1 && x.length % (16 / int64_t(sizeof(T))) == 0 && is_aligned(x.data, x.k_stride, batch, steps))
    return Access::vectors;
  return std::abs(x.k_stride) < std::abs(x.stride) ? Access::along_k : Access::along_mn;
}

/// The product of a matrix and a vector, for C of one column.
template <class T>
void multiply_vector(Product<T> g, int multiprocessors) {
  constexpr int64_t kVector = 16 / sizeof(T);
  constexpr int64_t kFewSteps = 16;  // of which lanes along k would be idle
  const bool along_k = g.k >= kFewSteps && (g.a.length == 1 || std::abs(g.a.k_stride) < std::abs(g.a.stride));
  const int64_t blocks = ceil_div(g.a.length, rows_of_vector(along_k)) * g.batch.matrices;
  const int64_t most = std::min(kMaxSplits, kMaxPartials / (g.a.length * g.batch.matrices));
  // About 8 blocks of 256 threads keep a multiprocessor's memory busy.
  g.split = cut_k(g.k, std::min(most, 8 * multiprocessors / blocks), along_k ? 2048 : 256, 128);
  if (along_k) {
    const bool contiguous = g.a.k_stride == 1 && g.b.k_stride == 1;
    const bool aligned = is_aligned(g.a.data, g.a.length > 1 ? g.a.stride : kVector, g.batch, g.batch.a) &&
                         is_aligned(g.b.data, kVector, g.batch, g.batch.b);
    g.a.access = contiguous && aligned ? Access::vectors : Access::along_k;
  }
  launch_vector(g, along_k);
}

/// A product of one row is the transpose of one of one column.
template <class T>
Product<T> transposed(Product<T> g) {
  std::swap(g.a, g.b);
  std::swap(g.batch.a, g.batch.b);
  g.c_row = g.epilogue.bias_row = 1;
  return g;
}

/// How tensor cores' kernels read an operand; Access::along_k or along_mn if they can't, and a copy is needed.
template <class T>
Access mma_access(const Operand<T>& x, const Batch& batch, const int64_t (&steps)[kMaxNdim]) {
  if (x.k_stride == 1 && is_aligned(x.data, x.stride, batch, steps)) return Access::vectors_along_k;
  if (x.stride == 1 && is_aligned(x.data, x.k_stride, batch, steps)) return Access::vectors;
  return x.length == 1 || std::abs(x.k_stride) <= std::abs(x.stride) ? Access::along_k : Access::along_mn;
}

bool is_read(Access access) { return access == Access::vectors || access == Access::vectors_along_k; }

/// An operand as tensor cores' kernels read it: itself, or a copy.
template <class T>
class Readable {
 public:
  Readable(Operand<T>& x, int64_t k, const Batch& batch, int64_t (&steps)[kMaxNdim])
      : copy_(is_read(x.access) ? 0 : size_t(matrices_of(batch, steps) * elements(x, k)) * sizeof(T)) {
    if (is_read(x.access)) return;
    const bool along_k = x.access == Access::along_k;
    const int64_t pitch = pitch_of(along_k ? k : x.length), lines = along_k ? x.length : k;
    Batch from = batch;
    std::copy(std::begin(steps), std::end(steps), from.a);
    from.matrices = matrices_of(batch, steps);
    launch_pack(x.data, from, lines, along_k ? x.stride : x.k_stride, along_k ? k : x.length,
                along_k ? x.k_stride : x.stride, copy_.as<T>(), pitch);
    int64_t step = from.matrices > 1 ? lines * pitch : 0;
    for (int i = batch.axes - 1; i >= 0; step *= batch.shape[i--]) steps[i] = step;
    x.data = copy_.as<T>();
    x.stride = along_k ? pitch : 1, x.k_stride = along_k ? 1 : pitch;
    x.access = along_k ? Access::vectors_along_k : Access::vectors;
  }

 private:
  static int64_t pitch_of(int64_t n) { return ceil_div(n, 16 / sizeof(T)) * (16 / sizeof(T)); }
  static int64_t elements(const Operand<T>& x, int64_t k) {
    return x.access == Access::along_k ? x.length * pitch_of(k) : k * pitch_of(x.length);
  }

  Workspace copy_;
};

template <class T>
Product<T> product_of(const Gemm<T>& g, const GemmBatch& matrices, Activation activation) {
  Product<T> p{};
  p.batch = merged(matrices);
  p.a = {g.a, g.m, g.a_row, g.a_col, {}};
  p.b = {g.b, g.n, g.b_col, g.b_row, {}};
  p.k = g.k;
  p.c = g.c, p.c_row = g.c_row;
  p.epilogue = {SumOf<T>(g.alpha), SumOf<T>(g.beta), g.bias, 0, activation};
  if (g.residual) p.epilogue.beta = 1, p.epilogue.to_addend = g.residual - g.c;
  return p;
}

/// The same, and how tensor cores' kernels could read it.
template <class T>
Product<T> readable_product(const Gemm<T>& g, const GemmBatch& matrices, Activation activation) {
  Product<T> p = product_of(g, matrices, activation);
  for (Operand<T>* x : {&p.a, &p.b}) {  // what is never stepped along may have any alignment
    if (x->length == 1) x->stride = 0;
    if (p.k == 1 && x->k_stride != 1) x->k_stride = 0;
  }
  p.a.access = mma_access(p.a, p.batch, p.batch.a), p.b.access = mma_access(p.b, p.batch, p.batch.b);
  return p;
}

template <class T>
bool is_empty(const Product<T>& p) {
  return p.a.length == 0 || p.b.length == 0 || p.batch.matrices == 0;
}

/// By the CUDA cores.
template <class T>
void multiply(const Gemm<T>& g, const GemmBatch& matrices, Activation activation) {
  Product<T> p = product_of(g, matrices, activation);
  if (is_empty(p)) return;
  const int multiprocessors = device_limits().multiprocessors;
  if constexpr (std::is_floating_point_v<T>) {
    if (g.n == 1) return multiply_vector(p, multiprocessors);
    if (g.m == 1) return multiply_vector(transposed(p), multiprocessors);
  }
  p.a.access = access(p.a, p.batch, p.batch.a);
  p.b.access = access(p.b, p.batch, p.batch.b);
  const GemmPlan plan = choose_tile(kTiles<T>, g.m, g.n, g.k, p.batch.matrices, multiprocessors);
  p.split = plan.split;
  launch_simt(p, plan.tile);
}

/// By the cores that are the fastest for it.
template <class T>
void multiply_by_tensor_cores(const Gemm<T>& g, const GemmBatch& matrices, Activation activation,
                              MmaOperands operands) {
  constexpr int64_t kLeastExtent = 64;  // of a product that is worth a warpgroup's tiles
  Product<T> p = readable_product(g, matrices, activation);
  if (is_empty(p)) return;
  const DeviceLimits& limits = device_limits();
  const GemmSizes sizes{g.m, g.n, g.k, p.batch.matrices};
  const double elements[] = {double(g.m) * double(g.k) * double(matrices_of(p.batch, p.batch.a)),
                             double(g.n) * double(g.k) * double(matrices_of(p.batch, p.batch.b))};
  const double copies[] = {is_read(p.a.access) ? 0 : elements[0], is_read(p.b.access) ? 0 : elements[1]};
  const bool takes = limits.has_wgmma && std::min({g.m, g.n, g.k}) >= kLeastExtent && wgmma_takes(p, operands);
  const double wgmma[] = {takes && wgmma_copies(p, operands, true) ? elements[0] : 0,
                          takes && wgmma_copies(p, operands, false) ? elements[1] : 0};
  switch (choose_cores(operands, sizes, copies, limits.multiprocessors, limits.architecture, takes ? wgmma : nullptr)) {
    case Cores::simt:
      if constexpr (std::is_same_v<T, float>) return multiply(g, matrices, activation);
      throw std::logic_error("matmul: 16-bit products need tensor cores");  // the engine asks has_tensor_cores first
    case Cores::mma:
      return multiply_by_mma(g, matrices, activation, operands);
    case Cores::wgmma:
      const GemmPlan plan = choose_wgmma_tile(operands, sizes, limits.multiprocessors);
      p.split = plan.split;
      launch_wgmma(p, operands, plan.tile);
  }
}

void multiply_float32(const Gemm<float>& g, const GemmBatch& matrices, Activation activation, Precision precision) {
  if (precision == Precision::highest || g.m == 1 || g.n == 1) return multiply(g, matrices, activation);
  const MmaOperands operands = precision == Precision::high ? MmaOperands::pieces : MmaOperands::tf32;
  multiply_by_tensor_cores(g, matrices, activation, operands);
}

template <class T>
void multiply_halves(const Gemm<T>& g, const GemmBatch& matrices, Activation activation) {
  multiply_by_tensor_cores(g, matrices, activation, MmaOperands::halves);
}

/// As unsigned ones, which wrap.
template <class T>
void multiply_integers(const Gemm<T>& g, const GemmBatch& matrices) {
  using U = std::make_unsigned_t<T>;
  const auto data = [](const T* x) { return reinterpret_cast<const U*>(x); };
  multiply<U>({g.m, g.n, g.k, data(g.a), g.a_row, g.a_col, data(g.b), g.b_row, g.b_col, reinterpret_cast<U*>(g.c),
               g.c_row, U(g.alpha), U(g.beta), data(g.bias), false, data(g.residual)},
              matrices, Activation::none);
}

}  // namespace

template <class T>
void multiply_by_mma(const Gemm<T>& g, const GemmBatch& matrices, Activation activation, MmaOperands operands) {
  Product<T> p = readable_product(g, matrices, activation);
  if (is_empty(p)) return;
  const DeviceLimits& limits = device_limits();
  const GemmPlan plan =
      choose_mma_tile(operands, {g.m, g.n, g.k, p.batch.matrices}, limits.multiprocessors, limits.architecture);
  p.split = plan.split;
  const Readable<T> a(p.a, p.k, p.batch, p.batch.a), b(p.b, p.k, p.batch, p.batch.b);
  launch_mma(p, operands, plan.tile);
}
template void multiply_by_mma(const Gemm<float>&, const GemmBatch&, Activation, MmaOperands);
template void multiply_by_mma(const Gemm<bfloat16>&, const GemmBatch&, Activation, MmaOperands);
template void multiply_by_mma(const Gemm<float16>&, const GemmBatch&, Activation, MmaOperands);

void fill_gemm(Table& table) {
  table.has_tensor_cores = [](int device) {
    const OnDevice on(device);
    return device_limits().architecture >= 80;
  };
  table.gemm_f32 = multiply_float32;
  table.gemm_f64 = multiply<double>;
  table.gemm_bf16 = multiply_halves<bfloat16>;
  table.gemm_f16 = multiply_halves<float16>;
  table.gemm_i32 = multiply_integers<int32_t>;
  table.gemm_i64 = multiply_integers<int64_t>;
}

}  // namespace steep::cuda
