#include "reduce.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "../cuda/table.h"
#include "device.h"
#include "elementwise.h"
#include "errors.h"
#include "reduce_plan.h"
#include "scratch.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 32768;                  // elements a task reduces at least
constexpr int64_t kPieceBytes = 256 << 10;         // of a piece at least: then its merge costs little
constexpr int64_t kMaxPieces = 64;                 // partial results of one reduction
constexpr int kBlockBytes = 4096;                  // accumulators of a block of columns, and packed elements
constexpr int kWidest = 8;                         // bytes of an element, at most
constexpr int kWideBytes = kBlockBytes * kWidest;  // elements in the dtype that they are computed in

/// Some axes of an array; neighbours that are crossed in even steps are one.
struct Axes {
  Dims shape, strides;  // strides in bytes
  void add(int64_t extent, int64_t stride) {
    if (extent == 1) return;
    if (shape.n && strides[shape.n - 1] == stride * extent) {
      shape[shape.n - 1] *= extent;
      strides[shape.n - 1] = stride;
    } else {
      shape.push(extent);
      strides.push(stride);
    }
  }
  int64_t size() const { return product(shape); }
  Dims steps(int64_t item) const {  // the strides in elements
    Dims out = strides;
    for (int d = 0; d < out.n; ++d) out[d] /= item;
    return out;
  }
  int64_t offset(int64_t index) const {
    int64_t at = 0;
    for (int d = shape.n - 1; d >= 0; --d) {
      at += index % shape[d] * strides[d];
      index /= shape[d];
    }
    return at;
  }
  /// Removes the last axis: {extent, stride}, {1, 0} where there is none.
  std::pair<int64_t, int64_t> pop() {
    if (!shape.n) return {1, 0};
    const int last = shape.n - 1;
    const std::pair<int64_t, int64_t> axis{shape[last], strides[last]};
    shape.n = strides.n = last;
    return axis;
  }
};

/// One reduction as two nests of axes: `kept` × `reduced`, and how to walk the innermost.
struct Job {
  const ReduceLoops& loops;
  Loop widen;  // to the dtype that is computed in; null where it is the array's
  const char* data;
  int64_t item;
  Axes kept, reduced;            // the outer axes
  int64_t columns, column_step;  // the innermost kept axis
  int64_t run, run_step;         // the innermost reduced axis
  bool by_columns;
  DType computed;

  /// Accumulates outer reduced indices first…last for columns j…j + n of one outer kept index.
  void accumulate(int64_t kept_index, int64_t j, int64_t n, int64_t first, int64_t last, char* acc) const {
    const char* base = data + kept.offset(kept_index) + j * column_step;
    for (int64_t r = first; r < last; ++r) {
      const char* x = base + reduced.offset(r);
      if (by_columns && widen) {
        reduce_wide_columns(n, x, acc);
      } else if (by_columns) {
        loops.columns(run, run_step / item, n, x, acc);
      } else {
        for (int64_t i = 0; i < n; ++i) reduce_run(x + i * column_step, acc + i * loops.acc_size);
      }
    }
  }
  void reduce_run(const char* x, char* acc) const {
    const bool direct = run_step == item || run == 1;
    if (direct && !widen) return loops.run(run, x, acc);
    alignas(64) char packed[kBlockBytes], wide[kWideBytes];
    const int64_t block = std::min<int64_t>(kBlockBytes / item, kWideBytes / kWidest);
    for (int64_t begin = 0; begin < run; begin += block) {
      const int64_t n = std::min(block, run - begin);
      const char* from = x + begin * run_step;
      if (!direct) {
        for (int64_t i = 0; i < n; ++i) std::memcpy(packed + i * item, from + i * run_step, size_t(item));
        from = packed;
      }
      if (widen) converted(n, from, wide);
      loops.run(n, widen ? wide : from, acc);
    }
  }
  void reduce_wide_columns(int64_t n, const char* x, char* acc) const {
    alignas(64) char wide[kWideBytes];
    const int64_t wide_item = int64_t(item_size(computed)), most = std::max<int64_t>(1, kWideBytes / (n * kWidest));
    for (int64_t begin = 0; begin < run; begin += most) {
      const int64_t rows = std::min(most, run - begin);
      for (int64_t r = 0; r < rows; ++r) converted(n, x + (begin + r) * run_step, wide + r * n * wide_item);
      loops.columns(rows, n, n, wide, acc);
    }
  }
  void converted(int64_t n, const char* from, char* to) const {
    void* const operands[] = {const_cast<char*>(from), to};
    widen(n, operands, 0, nullptr);
  }
};

}  // namespace

const ReduceKernel& reduction(std::string_view name) {
  return *std::ranges::find(kernels().reduce, name, [](const ReduceKernel& k) { return std::string_view(k.name); });
}

DType result_of(const ReduceKernel& kernel, DType t) {
  const DType result = kernel.by_dtype[t].result;
  if (is_integer(result) && !kernel.needs_elements) return is_unsigned(t) ? DType::uint64 : DType::int64;
  return result == computed_in(t) ? t : result;
}

Array reduce(const ReduceKernel& kernel, const Array& a, unsigned mask, bool keepdims) {
  const ReduceLoops& loops = kernel.by_dtype[a.dtype];
  const DType computed = computed_in(a.dtype), result = result_of(kernel, a.dtype);
  if (computed != a.dtype && on_cuda(a)) return astype(reduce(kernel, astype(a, computed), mask, keepdims), result);
  if (!loops.run) throw TypeError(message(kernel.name, " is not defined for ", name(a.dtype), " tensors"));
  const int64_t item = int64_t(a.itemsize());
  Dims out_shape;
  Axes kept, reduced;
  int64_t count = 1;
  for (int d = 0; d < a.ndim(); ++d) {
    const bool is_reduced = mask >> d & 1;
    (is_reduced ? reduced : kept).add(a.shape[d], a.strides[d] * item);
    if (is_reduced) count *= a.shape[d];
    if (!is_reduced || keepdims) out_shape.push(is_reduced ? 1 : a.shape[d]);
  }
  Array out(loops.result, out_shape, a.device());
  if (out.size() == 0) return in_dtype(out, result);
  if (count == 0 && kernel.needs_elements)
    throw std::invalid_argument(message(kernel.name, ": the reduced axes of shape ", to_string(a.shape),
                                        " have no elements, and an empty ", kernel.name, " has no value"));
  if (on_cuda(a)) {
    const auto launch = kernel.launch[a.dtype];
    if (!launch) throw_no_kernel(kernel.name, a);
    const DeviceScope scope(kernel.name, {&a, &out});
    launch({a.data, out.data, kept.shape, kept.steps(item), reduced.shape, reduced.steps(item)});
    return out;
  }
  const auto [columns, column_step] = kept.pop();
  auto [run, run_step] = reduced.pop();
  const bool by_columns = run_step != item && column_step == item;
  // Few results over many elements: the reduced axis is cut in pieces, by its size alone, each with its own partial
  // results, which are merged in order.
  int64_t outer = reduced.size();
  const int64_t wanted = std::clamp<int64_t>(count * columns * item / kPieceBytes, 1, kMaxPieces);
  int64_t pieces = 1;
  if (kept.size() * columns < kMaxPieces * (by_columns ? 16 : 1) && wanted > 1) {
    if (outer < wanted && run >= wanted) {  // make the innermost reduced axis two: pieces × (run / pieces) and a rest
      pieces = wanted;
    } else {
      pieces = std::min(outer, wanted);
    }
  }
  const bool cut_run = pieces > 1 && outer < wanted && run >= wanted;
  const Loop widen = computed != a.dtype ? kernels().cast[int(a.dtype)][int(computed)].loop : nullptr;
  const Job job{loops, widen, a.data, item, kept, reduced, columns, column_step, run, run_step, by_columns, computed};
  const int64_t acc_size = loops.acc_size, block = std::max<int64_t>(1, kBlockBytes / acc_size);
  const int64_t blocks = (columns + block - 1) / block, kept_size = kept.size();
  const int64_t out_item = int64_t(out.itemsize());

  const auto piece_of = [&](int64_t kept_index, int64_t j, int64_t n, int64_t piece, char* acc) {
    loops.init(n, acc);
    if (count == 0) return;
    if (!cut_run) {
      job.accumulate(kept_index, j, n, outer * piece / pieces, outer * (piece + 1) / pieces, acc);
    } else {
      Job part = job;
      const int64_t begin = run * piece / pieces;
      part.run = run * (piece + 1) / pieces - begin;
      part.data += begin * run_step;
      part.accumulate(kept_index, j, n, 0, outer, acc);
    }
  };
  const auto place = [&](int64_t task, int64_t& kept_index, int64_t& j) {
    kept_index = task / blocks;
    j = task % blocks * block;
    return std::min(block, columns - j);
  };
  const auto finish = [&](int64_t kept_index, int64_t j, int64_t n, const char* acc) {
    loops.finish(n, acc, out.data + (kept_index * columns + j) * out_item);
  };
  const int64_t tasks = kept_size * blocks;
  if (pieces == 1) {
    const int64_t work = std::max<int64_t>(1, count * std::min(block, columns));
    parallel_range(tasks, std::max<int64_t>(1, kGrain / work), [&](int64_t begin, int64_t end) {
      alignas(64) char acc[kBlockBytes];
      for (int64_t t = begin; t < end; ++t) {
        int64_t kept_index, j;
        const int64_t n = place(t, kept_index, j);
        piece_of(kept_index, j, n, 0, acc);
        finish(kept_index, j, n, acc);
      }
    });
    return in_dtype(out, result);
  }
  char* const partial = static_cast<char*>(scratch(size_t(tasks * pieces * block * acc_size)));
  parallel_for(tasks * pieces, [&](int64_t t) {
    int64_t kept_index, j;
    const int64_t n = place(t / pieces, kept_index, j);
    piece_of(kept_index, j, n, t % pieces, partial + t * block * acc_size);
  });
  for (int64_t t = 0; t < tasks; ++t) {
    int64_t kept_index, j;
    const int64_t n = place(t, kept_index, j);
    char* acc = partial + t * pieces * block * acc_size;
    for (int64_t p = 1; p < pieces; ++p) loops.merge(n, acc + p * block * acc_size, acc);
    finish(kept_index, j, n, acc);
  }
  return in_dtype(out, result);
}

namespace {

/// The place of the first extreme of a contiguous row of a dtype that is computed in another: block by block.
int64_t arg_of_stored_row(const ArgReduceKernel& kernel, DType t, int64_t n, const char* x) {
  const bool largest = std::string_view(kernel.name) == "argmax";
  return visit_computed(computed_in(t), [&](auto best) {
    constexpr int64_t kBlock = kWideBytes / kWidest;
    decltype(best) wide[kBlock];
    int64_t place = -1;
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t block = std::min(kBlock, n - begin);
      void* const operands[] = {const_cast<char*>(x) + begin * int64_t(item_size(t)), wide};
      kernels().cast[int(t)][int(computed_in(t))].loop(block, operands, 0, nullptr);
      const int64_t i = kernel.run[t](block, wide);
      const auto found = wide[i];
      if (place >= 0 && found == found && !(largest ? found > best : found < best)) continue;
      best = found, place = begin + i;
      if (best != best) break;  // NaN wins
    }
    return place;
  });
}

}  // namespace

Array arg_reduce(const ArgReduceKernel& kernel, const Array& a, int axis, bool keepdims) {
  if (a.shape[axis] == 0)
    throw std::invalid_argument(message(kernel.name, ": axis ", axis, " of shape ", to_string(a.shape),
                                        " has no elements, and an empty ", kernel.name, " has no value"));
  const Array rows = on_cuda(a) ? rows_of(a, axis) : contiguous(move_axis(a, axis, a.ndim() - 1));
  Dims out_shape = a.shape;
  if (keepdims)
    out_shape[axis] = 1;
  else
    out_shape.erase(axis);
  Array out(DType::int64, out_shape, a.device());
  if (out.size() == 0) return out;
  if (on_cuda(a)) {
    const auto launch = kernel.launch[a.dtype];
    if (!launch) throw_no_kernel(kernel.name, a);
    const DeviceScope scope(kernel.name, {&rows, &out});
    launch(out.size(), a.shape[axis], rows.data, out.as<int64_t>());
    return out;
  }
  const int64_t n = a.shape[axis], step = n * int64_t(rows.itemsize());
  const bool stored = computed_in(a.dtype) != a.dtype;
  parallel_range(out.size(), std::max<int64_t>(1, kGrain / n), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out.as<int64_t>()[i] = stored ? arg_of_stored_row(kernel, a.dtype, n, rows.data + i * step)
                                    : kernel.run[a.dtype](n, rows.data + i * step);
  });
  return out;
}

Array sum_to_shape(const Array& a, const Dims& shape) {
  const int extra = a.ndim() - shape.n;
  unsigned mask = 0;
  for (int d = 0; d < a.ndim(); ++d)
    if (d < extra || (shape[d - extra] == 1 && a.shape[d] != 1)) mask |= 1u << d;
  static const ReduceKernel& sum = reduction("sum");
  return reshape(reduce(sum, a, mask, true), shape);
}

}  // namespace steep
