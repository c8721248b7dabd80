// The kernel table: what an instruction set (csrc/cpu, compiled once for each) offers to the engine (csrc/core).
// CPU kernels see plain contiguous runs; shapes, strides, broadcasting, dtypes and threads are the engine's business.
// Every member is filled by the function of its room, e.g. steep::avx2::fill_unary (see cpu/dispatch.cpp). The rows of
// elementwise operations and reductions also hold what launches them on CUDA, null where that isn't built.
#pragma once
#include <cstdint>
#include <span>

#include "dtype.h"

namespace steep {

/// One run of an elementwise kernel: n contiguous elements of each operand, inputs first, output last.
/// Bit i of `marks`: operand i is a single element that stands for all n (only where the kernel's row allows it).
/// kPastCaches: the output begins at a cache line and is stored past the caches (only where the kernel `streams`).
using Loop = void (*)(int64_t n, void* const* operands, unsigned marks, const double* params);
inline constexpr unsigned kPastCaches = 1u << 31;

/// The same on CUDA: queues the whole operation on the current stream. Operands may have any strides, and inputs may be
/// single elements, whatever the loop allows.
struct ElementwisePlan;
using Launch = void (*)(const ElementwisePlan& plan, const double* params);

/// One operation on elements of one dtype, on each kind of device.
struct ElementwiseKernel {
  Loop loop = nullptr;  // null where the operation is not defined
  Launch launch = nullptr;
  bool streams = false;
  explicit constexpr operator bool() const { return loop; }
};

/// Which values a derivative reads. The tape keeps only those; a loop's operand that isn't read may be any array.
/// kIsOne: it is 1 everywhere, and the gradient passes as it is.
enum Reads : unsigned { kReadsNothing = 0, kReadsA = 1, kReadsB = 2, kReadsY = 4, kReadsX = kReadsA, kIsOne = 8 };

struct UnaryKernel {
  const char* name;
  int params;                           // how many doubles follow the input, e.g. 1 for leaky_relu(x, negative_slope)
  bool to_bool;                         // the output is boolean (isnan)
  unsigned reads;                       // what `backward` reads: kReadsX, kReadsY
  ByDType<ElementwiseKernel> forward;   // by input dtype; operands x, y
  ByDType<ElementwiseKernel> backward;  // null where not differentiable; operands g, x, y, dx: dx = g · f'(x)
};

struct BinaryKernel {
  const char* name;
  bool to_bool;                           // comparisons
  unsigned reads_a, reads_b;              // what backward_a and backward_b read
  ByDType<ElementwiseKernel> forward;     // operands a, b, y; a or b may be a scalar
  ByDType<ElementwiseKernel> backward_a;  // operands g, a, b, y, da: da = g · ∂f/∂a
  ByDType<ElementwiseKernel> backward_b;  // operands g, a, b, y, db
};

/// A reduction keeps an accumulator of `acc_size` bytes per result. Long sums of float32 accumulate in float64.
struct ReduceLoops {
  int acc_size;
  DType result;  // of finish
  void (*init)(int64_t n, void* acc);
  void (*run)(int64_t n, const void* x, void* acc);  // acc[0] = combine(acc[0], x[0], …, x[n - 1])
  void (*columns)(int64_t rows, int64_t row_stride, int64_t n, const void* x,
                  void* acc);                             // acc[j] ⊕= x[i·row_stride + j]
  void (*merge)(int64_t n, const void* from, void* acc);  // acc[j] = combine(acc[j], from[j])
  void (*finish)(int64_t n, const void* acc, void* y);
};

struct ReducePlan;
struct ReduceKernel {
  const char* name;
  bool needs_elements;            // no identity: an empty reduction is an error (max, min)
  ByDType<ReduceLoops> by_dtype;  // run is null where not defined
  ByDType<void (*)(const ReducePlan& plan)> launch = {};
};

struct ArgReduceKernel {  // index of the first maximum or minimum; a NaN wins, as in NumPy
  const char* name;
  ByDType<int64_t (*)(int64_t n, const void* x)> run;
  ByDType<void (*)(int64_t rows, int64_t n, const void* x, int64_t* y)> launch = {};  // of contiguous rows, n ≥ 1
};

/// Kernels over the rows of a contiguous (rows, n) array, n ≥ 1. y may be x, and dx any input of its shape.
template <class T>
struct RowKernels {
  void (*softmax)(int64_t rows, int64_t n, const T* x, T* y);
  void (*softmax_backward)(int64_t rows, int64_t n, const T* g, const T* y, T* dx);  // y: softmax's result
  void (*log_softmax)(int64_t rows, int64_t n, const T* x, T* y);
  void (*log_softmax_backward)(int64_t rows, int64_t n, const T* g, const T* y, T* dx);  // y: log_softmax's result
  void (*logsumexp)(int64_t rows, int64_t n, const T* x, T* y);                          // y: one per row
  /// loss[i] = lse[i] - x[i, label[i]]. Labels have been validated.
  void (*cross_entropy)(int64_t rows, int64_t n, const T* x, const int64_t* label, T* loss, T* lse);
  /// dx[i, j] = g[i] · (exp(x[i, j] - lse[i]) - (j == label[i])); NaN where lse[i] is infinite: there is no softmax.
  void (*cross_entropy_backward)(int64_t rows, int64_t n, const T* g, const T* x, const int64_t* label, const T* lse,
                                 T* dx);
  /// For target[i, j] = (1 - smoothing) · (j == label[i]) + smoothing / n, and weight[i] = 1 where that is null:
  /// loss[i] = weight[i] · (lse[i] - Σ_j target[i, j] · x[i, j]), and 0 where weight[i] is;
  /// dx[i, j] = weight[i] / divisor · (softmax(x)[i, j] - target[i, j]), where *total divides too, if it isn't null and
  /// weight[i] isn't 0.
  void (*cross_entropy_gradient)(int64_t rows, int64_t n, const T* x, const int64_t* label, const T* weight,
                                 const T* total, double divisor, double smoothing, T* loss, T* dx);
  /// y = (x - mean) · rstd · weight + bias, with rstd = 1 / sqrt(var + eps); weight and bias may be null.
  void (*layer_norm)(int64_t rows, int64_t n, const T* x, const T* weight, const T* bias, double eps, T* y, T* mean,
                     T* rstd);
  /// dx only when not null; dweight[j] += Σ_i g·x̂ and dbias[j] += Σ_i g in row order, when not null.
  void (*layer_norm_backward)(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* mean,
                              const T* rstd, T* dx, double* dweight, double* dbias);
  /// y = x · rstd · weight, with rstd = 1 / sqrt(mean of x² + eps); weight may be null.
  void (*rms_norm)(int64_t rows, int64_t n, const T* x, const T* weight, double eps, T* y, T* rstd);
  /// dx; dweight[j] += Σ_i g·x·rstd in row order, when not null.
  void (*rms_norm_backward)(int64_t rows, int64_t n, const T* g, const T* x, const T* weight, const T* rstd, T* dx,
                            double* dweight);
};

/// Between n points a and m points b of d coordinates, rows of contiguous matrices; g and y have rows of m elements
/// that begin `row` apart.
template <class T>
struct DistanceKernels {
  int64_t panel;  // points of b that are computed together
  /// y[i, j] = (Σ_k |a[i, k] - b[j, k]|^p)^(1/p); for p = ∞ the largest |a - b|, for p = 0 how many are not 0.
  void (*forward)(int64_t n, int64_t m, int64_t d, const T* a, const T* b, double p, T* y, int64_t row);
  /// db[j, k] += Σ_i g[i, j] · ∂y[i, j]/∂b[j, k], in the order of i. The derivative between equal points is 0.
  void (*backward)(int64_t n, int64_t m, int64_t d, const T* a, const T* b, double p, const T* g, const T* y,
                   int64_t row, double* db);
};

/// What an item that is one word keeps of a key of 64 bits: (key - least) >> shift, above `places` bits for the place.
struct KeyCut {
  int64_t least = 0;
  int shift = 0, places = 0;
};

/// Sorts items that are made of a row's elements. They are handled in packs of `lanes` items and `bytes` bytes; the
/// last pack is filled up with items that come last.
struct SortKernel {
  int64_t lanes, bytes;
  /// Items of n elements, whose places count from `first` on. Whether some have a key that elements of other bits
  /// share: zeros, and NaNs.
  bool (*encode)(int64_t n, bool descending, const void* x, int64_t first, const KeyCut& cut, void* items);
  /// Leaves them in `items`; `other` is as large. Both have room for one pack more if their number is odd.
  void (*sort)(int64_t packs, void* items, void* other);
  /// Two sorted runs, one behind the other, the first of `first` packs: of both the smaller half of the packs, rounded
  /// down, the larger half, or both.
  void (*merge)(int64_t first, int64_t packs, const void* items, void* to, bool lower, bool upper);
  /// The elements (one of those that share a key) if y isn't null, and their places if items have them. Whether
  /// neighbours have the same cut key.
  bool (*decode)(int64_t n, bool descending, const void* items, const KeyCut& cut, void* y, int64_t* index);
  /// Extends least…largest to the keys of n elements. Null unless items have cut keys; these give no elements.
  void (*range)(int64_t n, bool descending, const void* x, int64_t& least, int64_t& largest);
};
/// By what an item is: a key alone; with its place; with one that may be 2³² or more; a cut key with its place.
struct SortKernels {
  SortKernel alone, placed, many_placed, cut;
};

/// Optimizer updates of one contiguous parameter in place.
struct SgdStep {
  double lr, momentum, dampening, weight_decay;
  bool nesterov, first;
};  // first: buf = gradient
struct AdamStep {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;
  double correction1, correction2;
};
template <class T>
struct OptimizerKernels {
  void (*sgd)(int64_t n, T* p, const T* g, T* buf, const SgdStep& s);        // buf null without momentum
  void (*adam)(int64_t n, T* p, const T* g, T* m, T* v, const AdamStep& s);  // correction = 1 - beta^t
};

struct NormPlan;
/// What is done to all gradients together, for a piece of one.
template <class T>
struct GradientKernels {
  double (*norm)(int64_t n, const T* x, const NormPlan& plan, double unit);  // what the elements are combined to
  void (*scale)(int64_t n, T* x, T factor);                                  // x *= factor
  void (*clip)(int64_t n, T* x, T limit);                                    // between -limit and limit; NaN stays
  bool (*unscale)(int64_t n, T* x, T factor);  // x *= factor; whether all results are finite
};

/// C(m×n) = alpha·A(m×k)·B(k×n) + beta·C [+ bias(n)] [+ residual(m×n)] [then relu]. Steps in elements, any sign, so
/// that transposes are free. C's rows are contiguous, and a residual is laid out as C; on CUDA it begins at a multiple
/// of 16 bytes from C. With beta == 0, C is not read; with a residual beta is 0.
template <class T>
struct Gemm {
  int64_t m, n, k;
  const T* a;
  int64_t a_row, a_col;
  const T* b;
  int64_t b_row, b_col;
  T* c;
  int64_t c_row;
  T alpha = T(1), beta = T(0);
  const T* bias = nullptr;
  bool relu = false;
  const T* residual = nullptr;
};
struct GemmRange {
  int64_t m0, m1, n0, n1;
};
template <class T>
struct GemmKernel {
  /// Computes one rectangle of C over all of K. Each element's bits don't depend on the rectangle it is computed in.
  void (*block)(const Gemm<T>&, const GemmRange&);
};

/// An output of more bytes than this, about what a core has of the last cache, goes past the caches: they could not
/// hold it until it is read, but would give up for it what they hold, and read every line of it before it is written.
inline constexpr int64_t kStreamedBytes = 4 << 20;

struct MemoryKernels {
  /// Copies past the caches, where the machine can. `to` is aligned to 64 bytes.
  void (*stream)(int64_t bytes, const void* from, void* to);
  /// To be called after the last of them, before another thread may read.
  void (*end_streams)();
};

struct Kernels {
  const char* isa;
  std::span<const UnaryKernel> unary;
  std::span<const BinaryKernel> binary;
  std::span<const ReduceKernel> reduce;
  std::span<const ArgReduceKernel> arg_reduce;
  ByDType<ElementwiseKernel> where;          // operands condition (boolean), a, b, y
  ElementwiseKernel cast[kDTypes][kDTypes];  // [from][to]; operands x, y
  RowKernels<float> rows_f32;
  RowKernels<double> rows_f64;
  ByDType<SortKernels> sort;
  DistanceKernels<float> distances_f32;
  DistanceKernels<double> distances_f64;
  OptimizerKernels<float> optimizer_f32;
  OptimizerKernels<double> optimizer_f64;
  GradientKernels<float> gradients_f32;
  GradientKernels<double> gradients_f64;
  GemmKernel<float> gemm_f32;
  GemmKernel<double> gemm_f64;
  GemmKernel<bfloat16> gemm_bf16;  // of alpha 1 and beta 0; null where the CPU has no instruction for it
  MemoryKernels memory;
  /// Independent multiply-adds of float32; returns the floating-point operations done. A yardstick for benchmarks.
  int64_t (*multiply_adds)(int64_t rounds);
};

/// The table of the instruction set in use: the best this CPU has, or what STEEP_ISA asks for.
const Kernels& kernels();
/// The names of the instruction sets that this CPU and this build have, best first.
std::span<const char* const> available_isas();

}  // namespace steep
