// The CUDA table: what csrc/cuda offers to the engine (csrc/core) beside the launches in the rows of the kernel table.
// Every function queues its work on the current stream of the current device and returns; pointers are of device
// memory. Members are filled by the function of their file, e.g. fill_softmax in softmax.cu (see table.cpp).
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "../core/array.h"
#include "../core/gradients.h"
#include "../core/kernels.h"
#include "../core/norm.h"
#include "../core/scan.h"

namespace steep::cuda {

/// Matrices that one launch multiplies: Gemm's pointers are those of the first; steps to the others in elements.
struct GemmBatch {
  Dims shape, a, b, c;
};
enum class Activation : int { none, relu, sigmoid, tanh };
/// How exact products of float32 are: rounded as float32 arithmetic is; about as accurate, by tensor cores where these
/// are faster; or with the operands rounded to tf32, 11 bits.
enum class Precision : int { highest, high, medium };

/// One parameter of an optimizer's update: n contiguous elements. m and v are the optimizer's state, or null.
template <class T>
struct Update {
  int64_t n;
  T* p;
  const T* g;
  T *m, *v;
};

/// The sizes of an indexing operation: the axis of `extent` elements is replaced by one of `count`; `outer` and `inner`
/// are the products of the axes in front and behind.
struct IndexSizes {
  int64_t outer, extent, count, inner;
};

/// Contiguous lines of n elements along an axis; `outer` and `inner` are the products of the axes in front and behind.
struct ScanSizes {
  int64_t outer, n, inner;
};

/// Where the host writes an optimizer's step for the next launch of a graph: write(place, SgdStep or AdamStep).
struct Rewrite {
  void (*write)(void* place, const void* step);
  void* place;
};

struct Table {
  // Devices and memory. The current device and stream are the calling thread's.
  int (*set_device)(int index);  // and returns the one before for restore_device; -1 if it was that already
  void (*restore_device)(int before) noexcept;
  void* (*current_stream)();                // of the current device
  void* (*allocate)(size_t bytes);          // on the current device and stream; throws MemoryError
  void (*deallocate)(void* data) noexcept;  // what is queued on its stream already may still use it
  /// Memory that another stream allocated: it must not be given away before the current stream has come this far.
  void (*use_on_current_stream)(Storage& storage);
  /// Returns as soon as `from` may be overwritten; the copy is queued.
  void (*copy_to_device)(void* to, const void* from, size_t bytes);
  /// Waits for what is queued, and returns when the bytes are there.
  void (*copy_to_host)(void* to, const void* from, size_t bytes);
  void (*copy_between)(void* to, int to_device, const void* from, int from_device, size_t bytes);

  // Graphs: see graph.h. Does the calling thread record one?
  bool (*is_recording)();
  /// Then these are what graph.h says of them. Is it memory that is kept, and not the graph's own?
  bool (*keep)(Storage& storage, void (*retain)(void*), void (*release)(void*));
  void (*refuse_to_read)(const char* op);
  int64_t* (*add_check)(std::function<void(int64_t)> fail);
  std::vector<Rewrite>& (*rewrites)();

  /// As on the CPU, for all the rows at once. The backward kernels of norms add to dweight and dbias,
  /// deterministically.
  RowKernels<float> rows_f32;
  RowKernels<double> rows_f64;

  /// dz = g·f'(y) for contiguous rows of an activation that isn't `none`, and the sums of its columns. All in the
  /// dtype, which may be any floating-point one.
  void (*bias_gradient)(DType, Activation, int64_t rows, int64_t n, const void* g, const void* y, void* dz,
                        void* dbias);

  /// activation(alpha·A·B + beta·D + bias) for every matrix of the batch; Gemm::relu is not read. Integers wrap.
  void (*gemm_f32)(const Gemm<float>&, const GemmBatch&, Activation, Precision);
  void (*gemm_f64)(const Gemm<double>&, const GemmBatch&, Activation);
  /// Does a device have those of 16 bits? Their sums are float32's, rounded once at the end.
  bool (*has_tensor_cores)(int device);
  void (*gemm_bf16)(const Gemm<bfloat16>&, const GemmBatch&, Activation);
  void (*gemm_f16)(const Gemm<float16>&, const GemmBatch&, Activation);
  void (*gemm_i32)(const Gemm<int32_t>&, const GemmBatch&);
  void (*gemm_i64)(const Gemm<int64_t>&, const GemmBatch&);

  /// All the parameters in one launch (or in a few, for thousands). steps[i] belongs to updates[i].
  void (*sgd_f32)(std::span<const Update<float>> updates, std::span<const SgdStep> steps);
  void (*sgd_f64)(std::span<const Update<double>> updates, std::span<const SgdStep> steps);
  void (*adam_f32)(std::span<const Update<float>> updates, std::span<const AdamStep> steps);
  void (*adam_f64)(std::span<const Update<double>> updates, std::span<const AdamStep> steps);

  // As in core/gradients.h. `norm` and `factor` are one float32 or float64 number, and found is set to 1 or left as it
  // is.
  void (*total_norm)(std::span<const Elements>, const NormPlan&, DType, void* norm);
  void (*clip_norm)(std::span<const Elements>, DType, const void* norm, double max_norm);
  void (*scale)(std::span<const Elements>, DType, const void* factor);
  void (*clip_values)(std::span<const Elements>, double limit);
  void (*unscale)(std::span<const Elements>, double factor, int32_t* found);

  // Indices are int64, and have been checked. Elements of `item` bytes are copied; those of a dtype are added, in the
  // order of the indices, so that sums are the same every time.
  /// y[o, k, i] = x[o, index[k], i]
  void (*take)(int64_t item, const IndexSizes&, const void* x, const int64_t* index, void* y);
  /// y[o, index[k], i] += g[o, k, i]
  void (*take_backward)(DType, const IndexSizes&, const void* g, const int64_t* index, void* y);
  /// y[o, k, i] = x[o, index[o, k, i], i]
  void (*take_along_axis)(int64_t item, const IndexSizes&, const void* x, const int64_t* index, void* y);
  /// y[o, index[o, k, i], i] += g[o, k, i]
  void (*take_along_axis_backward)(DType, const IndexSizes&, const void* g, const int64_t* index, void* y);
  /// y[o, index[k], i] = x[o, k, i]; of several for one place the last one stays. `distinct`: there are none.
  void (*put)(int64_t item, const IndexSizes&, bool distinct, const void* x, const int64_t* index, void* y);
  /// y[o, index[o, k, i], i] = x[o, k, i], likewise
  void (*put_along_axis)(int64_t item, const IndexSizes&, const void* x, const int64_t* index, void* y);
  /// index[i] += extent where index[i] < 0
  void (*wrap_indices)(int64_t n, int64_t extent, int64_t* index);
  /// y[i] = x[i], or x[i] + extent for those from -extent to -1 if they count `from_end`. One that is out of range is
  /// written to `report`, and 0 in its place to y.
  void (*check_indices)(int64_t n, int64_t extent, bool from_end, const int64_t* x, int64_t* y, int64_t* report);
  /// y[i, label[i]] = 1, where y (n, classes) is zeros
  void (*one_hot)(DType, int64_t n, int64_t classes, const int64_t* label, void* y);

  // Where the n elements of a mask, 0 or 1, are 1.
  /// The mask is gone through in so many pieces.
  int64_t (*nonzero_blocks)(int64_t n);
  /// starts[b] = how many are 1 in front of piece b, for all pieces and the end.
  void (*count_true)(int64_t n, const uint8_t* mask, int64_t* starts);
  /// The coordinates of those, with the mask seen in a shape: a row of starts[blocks] for each axis.
  void (*nonzero)(int64_t n, const uint8_t* mask, const Dims& shape, const int64_t* starts, int64_t* out);
  // As in core/scan.h. There are elements.
  void (*scan)(Scan, DType, const ScanSizes&, const void* x, void* y);
  void (*linear_scan)(DType, const ScanSizes&, const void* a, const void* b, void* y);
  void (*extreme_scan)(bool largest, DType, const ScanSizes&, const void* x, void* y, int64_t* index);

  // Contiguous rows, of which there are some, in the order of core/sort_keys.h.
  /// index[r, :]: the places of the elements of row r in their order.
  void (*argsort)(DType, bool descending, int64_t rows, int64_t n, const void* x, int64_t* index);
  /// out[r, i]: the place of values[r, i] among the n elements of row r, in front of equal ones, or behind (`right`).
  void (*searchsorted)(DType, bool right, int64_t rows, int64_t n, int64_t count, const void* sorted,
                       const void* values, int64_t* out);

  // Fills of n elements with the CPU's numbers (core/random_kernels.h). T: float or double; int32 or int64.
  void (*uniform)(DType, void* out, int64_t n, double lo, double hi, uint64_t seed, uint64_t offset);
  void (*normal)(DType, void* out, int64_t n, double mean, double std, uint64_t seed, uint64_t offset);
  void (*randint)(DType, void* out, int64_t n, int64_t lo, int64_t hi, uint64_t seed, uint64_t offset);
  void (*bernoulli)(uint8_t* out, int64_t n, double p, uint64_t seed, uint64_t offset);
};

/// The table; null where the CUDA room is not built.
const Table* table();
/// Sets the launches in the rows of the kernel table.
void fill_launches(std::span<UnaryKernel> unary, std::span<BinaryKernel> binary, std::span<ReduceKernel> reduce,
                   std::span<ArgReduceKernel> arg_reduce, Kernels& kernels);

}  // namespace steep::cuda
