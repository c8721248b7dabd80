// Vec<T> for CUDA: one element, with the interface of csrc/cpu/simd.h, so that the formulas of csrc/ops, math.h
// included, are the CPU's, and so is their accuracy.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#ifdef __CUDACC__
#define STEEP_INLINE __host__ __device__ __forceinline__
#define STEEP_NOINLINE __host__ __device__ __noinline__
#else
#define STEEP_INLINE inline __attribute__((always_inline))
#define STEEP_NOINLINE [[gnu::noinline]] inline
#endif
#define STEEP_LIBM(function) ::function

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
struct Lanes {
  using Integer = std::conditional_t<sizeof(T) == 1, int8_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
  using Unsigned = std::make_unsigned_t<Integer>;
};

/// n elements that are loaded and stored by one access.
template <class T, int n>
struct alignas(sizeof(T) * n) Aligned {
  T v[n];
};

template <class T>
struct Vec;

template <class T>
struct Mask {
  bool v;
  STEEP_INLINE bool any() const { return v; }
  STEEP_INLINE bool all() const { return v; }
  friend STEEP_INLINE Mask operator&(Mask a, Mask b) { return {a.v && b.v}; }
  friend STEEP_INLINE Mask operator|(Mask a, Mask b) { return {a.v || b.v}; }
  friend STEEP_INLINE Mask operator^(Mask a, Mask b) { return {a.v != b.v}; }
  friend STEEP_INLINE Mask operator!(Mask a) { return {!a.v}; }
  friend STEEP_INLINE Vec<T> select(Mask m, Vec<T> yes, Vec<T> no) { return m.v ? yes : no; }
};

/// The bits of x as another type of the same size.
template <class To, class From>
STEEP_INLINE To bit_cast(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof y);
  return y;
}

/// Signed integers wrap on overflow: the arithmetic is done on unsigned numbers.
template <class T>
struct Vec {
  using Elem = T;
  using Integer = typename Lanes<T>::Integer;
  using Unsigned = typename Lanes<T>::Unsigned;
  using Arithmetic = std::conditional_t<std::is_integral_v<T>, Unsigned, T>;
  static constexpr int n = 1;

  T v;

  Vec() = default;
  template <class S>
    requires std::is_arithmetic_v<S>
  STEEP_INLINE Vec(S s) : v(T(s)) {}
  STEEP_INLINE T operator[](int) const { return v; }
  STEEP_INLINE void set(int, T x) { v = x; }

  friend STEEP_INLINE Vec operator+(Vec a, Vec b) { return T(Arithmetic(a.v) + Arithmetic(b.v)); }
  friend STEEP_INLINE Vec operator-(Vec a, Vec b) { return T(Arithmetic(a.v) - Arithmetic(b.v)); }
  friend STEEP_INLINE Vec operator*(Vec a, Vec b) { return T(Arithmetic(a.v) * Arithmetic(b.v)); }
  friend STEEP_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend STEEP_INLINE Vec operator-(Vec a) {
    if constexpr (std::is_integral_v<T>)
      return T(Unsigned(0) - Unsigned(a.v));
    else
      return -a.v;
  }
  STEEP_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  STEEP_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  STEEP_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }

  friend STEEP_INLINE Vec operator&(Vec a, Vec b) { return from(a.bits() & b.bits()); }
  friend STEEP_INLINE Vec operator|(Vec a, Vec b) { return from(a.bits() | b.bits()); }
  friend STEEP_INLINE Vec operator^(Vec a, Vec b) { return from(a.bits() ^ b.bits()); }
  friend STEEP_INLINE Vec operator~(Vec a) { return from(~a.bits()); }
  friend STEEP_INLINE Vec operator<<(Vec a, int by) { return from(a.bits() << by); }
  friend STEEP_INLINE Vec shift_right_logical(Vec a, int by) { return from(a.bits() >> by); }

  friend STEEP_INLINE Mask<T> operator<(Vec a, Vec b) { return {a.v < b.v}; }
  friend STEEP_INLINE Mask<T> operator<=(Vec a, Vec b) { return {a.v <= b.v}; }
  friend STEEP_INLINE Mask<T> operator>(Vec a, Vec b) { return {a.v > b.v}; }
  friend STEEP_INLINE Mask<T> operator>=(Vec a, Vec b) { return {a.v >= b.v}; }
  friend STEEP_INLINE Mask<T> operator==(Vec a, Vec b) { return {a.v == b.v}; }
  friend STEEP_INLINE Mask<T> operator!=(Vec a, Vec b) { return {a.v != b.v}; }

  /// a·b + c, one rounding where the hardware has it: nvcc contracts it.
  friend STEEP_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
  /// b where either is NaN or both are zeros. So min(bound, x) keeps a NaN in x.
  friend STEEP_INLINE Vec min(Vec a, Vec b) { return a.v < b.v ? a : b; }
  friend STEEP_INLINE Vec max(Vec a, Vec b) { return a.v > b.v ? a : b; }
  friend STEEP_INLINE Vec abs(Vec x) {
    if constexpr (std::is_floating_point_v<T>)
      return x & ~sign_bit();
    else
      return select(x < 0, -x, x);
  }
  friend STEEP_INLINE Vec copysign(Vec magnitude, Vec sign) { return (magnitude & ~sign_bit()) | (sign & sign_bit()); }

 private:
  STEEP_INLINE Unsigned bits() const { return bit_cast<Unsigned>(v); }
  static STEEP_INLINE Vec from(Unsigned b) { return bit_cast<T>(b); }
  static STEEP_INLINE Vec sign_bit() { return from(Unsigned(1) << (8 * sizeof(T) - 1)); }
};

template <class U, class T>
STEEP_INLINE Vec<U> as(Vec<T> x) {
  return bit_cast<U>(x.v);
}
/// All bits set where it is true.
template <class U, class T>
STEEP_INLINE Mask<U> as(Mask<T> m) {
  return {m.v};
}

STEEP_INLINE Vec<float> sqrt(Vec<float> x) { return ::sqrtf(x.v); }
STEEP_INLINE Vec<double> sqrt(Vec<double> x) { return ::sqrt(x.v); }
STEEP_INLINE Vec<float> floor(Vec<float> x) { return ::floorf(x.v); }
STEEP_INLINE Vec<double> floor(Vec<double> x) { return ::floor(x.v); }
STEEP_INLINE Vec<float> trunc(Vec<float> x) { return ::truncf(x.v); }
STEEP_INLINE Vec<double> trunc(Vec<double> x) { return ::trunc(x.v); }
STEEP_INLINE Vec<float> round(Vec<float> x) { return ::rintf(x.v); }
STEEP_INLINE Vec<double> round(Vec<double> x) { return ::rint(x.v); }

// math.h computes these in double precision, of which most GPUs have little. CUDA's have errors of at most 2, 2, 4 and
// 4 ulp.
STEEP_INLINE Vec<float> sin(Vec<float> x) { return ::sinf(x.v); }
STEEP_INLINE Vec<float> cos(Vec<float> x) { return ::cosf(x.v); }
STEEP_INLINE Vec<float> tan(Vec<float> x) { return ::tanf(x.v); }
STEEP_INLINE Vec<float> pow(Vec<float> x, Vec<float> y) { return ::powf(x.v, y.v); }

/// A vector of floats fills two of doubles; here the second one has no element.
STEEP_INLINE void widen(Vec<float> x, Vec<double>& low, Vec<double>& high) { low = high = double(x.v); }
STEEP_INLINE Vec<float> narrow(Vec<double> low, Vec<double>) { return float(low.v); }

}  // namespace
}  // namespace steep::STEEP_ISA_NS
