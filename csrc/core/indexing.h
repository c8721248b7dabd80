// Gathering, scattering and joining. Indices are integers, may count from the end, and are checked first.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

#include "array.h"

namespace steep {

/// a's elements at `indices` along `axis`: shape a.shape[:axis] + indices.shape + a.shape[axis + 1:].
Array take(const Array& a, const Array& indices, int axis);
/// The transpose of take: g's elements added at `indices` into zeros of `shape`.
Array take_backward(const Array& g, const Array& indices, int axis, const Dims& shape);

/// out[i, j] = a[i, indices[i, j]] for the last axis, and so on; the other axes of both must be equal.
Array take_along_axis(const Array& a, const Array& indices, int axis);
Array take_along_axis_backward(const Array& g, const Array& indices, int axis, const Dims& shape);

/// A new last axis of `classes` elements, one of them 1.
Array one_hot(const Array& indices, int64_t classes, DType dtype);
Array concat(std::span<const Array> arrays, int axis);

/// The smallest and the largest of contiguous int64 elements, of which there are some. On CUDA it waits for them.
std::pair<int64_t, int64_t> bounds(const Array& a);

/// In a CUDA graph that is being recorded: contiguous int64 indices in 0…extent - 1 as `bounds` would have them, where
/// the device looks in every replay. One that is out of range becomes 0, and `fail` throws an error about it later.
Array checked_later(const Array& index, int64_t extent, bool from_end, std::function<void(int64_t)> fail);

/// Contiguous int64 class labels in 0…classes - 1; throws naming `op` and the range found.
Array checked_labels(const char* op, const Array& labels, int64_t classes);

}  // namespace steep
