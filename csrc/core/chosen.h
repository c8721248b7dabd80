// What reads and writes chosen elements share: the places of an array's elements, and of values to be written.
#pragma once
#include <vector>

#include "array.h"
#include "device.h"
#include "errors.h"
#include "views.h"

namespace steep {

/// Some axes of an array, neighbours merged where one step can do for both.
struct Axes {
  Dims shape, steps;
  int64_t size = 1;

  Axes(const Array& a, int begin, int end) {
    for (int d = begin; d < end; ++d) {
      size *= a.shape[d];
      if (a.shape[d] == 1) continue;
      const int last = shape.n - 1;
      if (last >= 0 && steps[last] == a.strides[d] * a.shape[d]) {
        shape[last] *= a.shape[d], steps[last] = a.strides[d];
      } else {
        shape.push(a.shape[d]), steps.push(a.strides[d]);
      }
    }
  }
  /// The offset of element i.
  int64_t at(int64_t i) const {
    if (shape.n == 1) return i * steps[0];
    int64_t offset = 0;
    for (int d = shape.n - 1; d >= 0; --d) {
      offset += i % shape[d] * steps[d];
      i /= shape[d];
    }
    return offset;
  }
};

/// The axes behind those that are indexed: the elements of one line.
struct Line : Axes {
  int64_t step = 1;
  std::vector<int64_t> offsets;  // where one step cannot do

  Line(const Array& a, int begin) : Axes(a, begin, a.ndim()) {
    if (shape.n == 1) step = steps[0];
    if (shape.n < 2) return;
    offsets.resize(size_t(size));
    for (int64_t i = 0; i < size; ++i) offsets[size_t(i)] = Axes::at(i);
  }
  bool contiguous() const { return offsets.empty() && (step == 1 || size == 1); }
  /// f(offset in the array, i) for the elements of a line.
  template <class F>
  void each(const F& f) const {
    if (contiguous())
      for (int64_t i = 0; i < size; ++i) f(i, i);
    else if (offsets.empty())
      for (int64_t i = 0; i < size; ++i) f(i * step, i);
    else
      for (int64_t i = 0; i < size; ++i) f(offsets[size_t(i)], i);
  }
};

/// Can `Places` read these indices of an axis as they are?
inline bool are_places(const Array& index, int64_t extent) {
  return index.dtype == DType::int64 && index.is_contiguous() && extent > 0;
}

/// Indices on the CPU, each read once: the place it stands for, or 0 where it is out of range, as another thread, or
/// the owner of memory that is shared, may write at any time. Loops keep one of their own, in registers.
class Places {
 public:
  Places(const int64_t* index, int64_t extent) : index_(index), last_(uint64_t(extent) - 1) {}
  /// Of offsets, which nobody else writes.
  explicit Places(const int64_t* offsets) : index_(offsets), last_(UINT64_MAX) {}
  int64_t operator[](int64_t k) {
    const int64_t found = __atomic_load_n(index_ + k, __ATOMIC_RELAXED);
    if (__builtin_expect(uint64_t(found) <= last_, 1)) return found;
    const int64_t from_end = found + int64_t(last_) + 1;
    if (found < 0 && from_end >= 0) return from_end;
    all_inside_ = false;
    return 0;
  }
  bool all_inside() const { return all_inside_; }

 private:
  const int64_t* index_;
  uint64_t last_;
  bool all_inside_ = true;
};

/// `values` as they are written to `to`: of its dtype and the chosen shape, dense, in memory that `to` doesn't share.
inline Array dense_values(const char* op, const Array& to, const Array& values, const Dims& shape) {
  const bool number = values.ndim() == 0 && !on_cuda(values);
  const Array here = number ? to_device(values, to.device()) : values;
  bool fits = here.ndim() <= shape.n;
  for (int i = 1; fits && i <= here.ndim(); ++i) {
    const int64_t extent = here.shape[here.ndim() - i];
    fits = extent == 1 || extent == shape[shape.n - i];
  }
  if (!fits)
    throw std::invalid_argument(message(op, ": values of shape ", to_string(here.shape),
                                        " do not fit the chosen elements of shape ", to_string(shape)));
  const Array out = broadcast_to(in_dtype(here, to.dtype), shape);
  const auto [to_begin, to_end] = extent(to);
  const auto [from_begin, from_end] = extent(out);
  return to_begin < from_end && from_begin < to_end ? copy(out) : contiguous(out);
}

/// Runs write(contiguous array) on `to` or on a copy that is brought back.
template <class F>
void write_contiguous(Array& to, const F& write) {
  if (to.is_contiguous()) {
    write(to);
    to.storage->version++;
    return;
  }
  Array packed = copy(to);
  write(packed);
  assign(to, packed);
}

}  // namespace steep
