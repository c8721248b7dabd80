// What the rest of steep asks of the CUDA room.
#pragma once

namespace steep::cuda {

int device_count();
/// Why there is no device, for people; empty where there is one.
const char* unavailable_reason();

}  // namespace steep::cuda
