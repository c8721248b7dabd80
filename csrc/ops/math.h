// Elementary functions over Vec<float> and Vec<double>: every lane alike, no branches, and no need of FMA, except
// in pow. They follow NumPy on NaN, infinities, signed zeros, overflow and gradual underflow. The polynomials are
// minimax fits (Remez) with rounded coefficients. Each function's error is the largest measured, float32 / float64, in
// ulp, over the whole domain with subnormal results, and with and without FMA. The reductions and rearrangements are
// those of W. Cody, W. Waite, Software Manual for the Elementary Functions; J.-M. Muller, Elementary Functions; FDLIBM
// (SunPro). Include the Vec of the CPU (cpu/simd.h) or of CUDA (cuda/vec.cuh) first.
#pragma once
#include "circular.h"
#include "exponential.h"
#include "hyperbolic.h"
#include "normal.h"
#include "power.h"
