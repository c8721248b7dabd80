// Sums that lose little: pairwise over a few elements, and in double precision over many of those.
#pragma once
#include "vec.cuh"

namespace steep::cuda {
namespace {

/// A sum of a thread's partial sums in double precision.
template <class T>
struct Total;

template <>
struct Total<float> {
  double sum = 0;

  __device__ void add(float v) { sum += double(v); }
  __device__ void scale(float factor) { sum *= double(factor); }
  __device__ double value() const { return sum; }
};

/// Compensated: Knuth's two-sum gives the exact error of every addition. Where the sum is infinite that is NaN.
template <>
struct Total<double> {
  double sum = 0, error = 0;

  __device__ void add(double v) {
    const double t = sum + v, b = t - sum;
    error += (sum - (t - b)) + (v - b);
    sum = t;
  }
  __device__ void scale(double factor) { sum *= factor, error *= factor; }
  __device__ double value() const { return error == error ? sum + error : sum; }
};

/// The sum of an array.
template <class T>
STEEP_INLINE T pairwise(const T (&v)[2]) {
  return v[0] + v[1];
}
template <class T>
STEEP_INLINE T pairwise(const T (&v)[4]) {
  return (v[0] + v[1]) + (v[2] + v[3]);
}

}  // namespace
}  // namespace steep::cuda
