// Binary operations between Python and the engine.
#pragma once
#include <pybind11/pybind11.h>

#include <array>

#include "../core/array.h"
#include "../core/kernels.h"

namespace steep {

inline bool is_python_number(pybind11::handle h) {
  return PyBool_Check(h.ptr()) || PyLong_Check(h.ptr()) || PyFloat_Check(h.ptr());
}
/// a op b with broadcasting and promotion; each is a Tensor or a Python number.
Array binary_forward(const BinaryKernel& k, pybind11::handle a, pybind11::handle b);

/// The matrix product of operands of one dimension or more and any dtypes.
Array any_matmul(const Array& a, const Array& b);

/// Is a thread in a block of steep.autocast?
bool is_autocasting();

/// What the raw type of tensors needs for + - * / @.
std::array<PyType_Slot, 5> operator_slots();

}  // namespace steep
