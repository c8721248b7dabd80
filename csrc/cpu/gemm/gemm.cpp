// Matrix products of one instruction set, for the kernel table.
#include "frame.h"

namespace steep::STEEP_ISA_NS {

void fill_gemm(Kernels& k) {
  k.gemm_f32.block = block<float>;
  k.gemm_f64.block = block<double>;
}

}  // namespace steep::STEEP_ISA_NS
