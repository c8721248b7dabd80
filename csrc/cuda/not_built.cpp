// Stands in for the CUDA room where it is not built.
#include "cuda.h"

namespace steep::cuda {

int device_count() { return 0; }
const char* unavailable_reason() { return "not built: this version of steep has CPU kernels only"; }

}  // namespace steep::cuda
