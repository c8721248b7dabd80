// Advanced indexing: index arrays choose elements along some neighbouring axes, to be read, written or added to.
#pragma once
#include <vector>

#include "array.h"

namespace steep {

/// Index arrays in place of an array's axes `axis`, `axis` + 1, …, one for each: integers that may count from the end,
/// broadcast together. They are checked: what is out of range raises std::out_of_range.
struct Selection {
  const char* op;
  std::vector<Array> indices;
  int axis;
  std::vector<int> names;  // of the axes, in errors; empty: they are axis, axis + 1, …
  bool distinct = false;   // no two alike and none out of range or negative, as nonzero finds them: not checked
};

/// The elements chosen: shape a.shape[:axis] + the indices' shape + what is behind the axes.
Array gather(const Array& a, const Selection& s);
/// Writes `values`, broadcast and cast, to the elements chosen, in the order of the indices: of several values for one
/// element the last one stays. `to` may be any view. Counts as a change in place.
void scatter(Array& to, const Selection& s, const Array& values);
/// Adds them instead, in the order of the indices.
void scatter_add(Array& to, const Selection& s, const Array& values);

/// The same for an index for each element: to[i, index[i, j]] = values[i, j] for the last axis, and so on. `values` has
/// the shape of the index, and its other axes are those of `to`.
Array gather_along_axis(const char* op, const Array& a, const Array& index, int axis);
void scatter_along_axis(const char* op, Array& to, const Array& index, int axis, const Array& values);
void scatter_add_along_axis(const char* op, Array& to, const Array& index, int axis, const Array& values);

/// Contiguous int64 indices in 0…extent - 1, `index` itself where it is that. `axis` is for the error.
Array checked_indices(const char* op, const Array& index, int64_t extent, int axis);

/// Where the elements are not 0: a row of int64 coordinates for each axis, in C order of the elements.
Array nonzero(const Array& a);
/// The same as positions in the flattened array.
Array flat_nonzero(const Array& a);

}  // namespace steep
