// The buffer protocol: memoryview(tensor).
#pragma once
#include <pybind11/pybind11.h>

namespace steep {

PyType_Slot buffer_slot();
PyType_Slot release_buffer_slot();

}  // namespace steep
