// CUDA's functions on numbers that the C++ library lacks. The approximate ones (__expf, …) are as exact as the library:
// what their errors do shows only on a GPU.
#pragma once
#include <cmath>
#include <cstring>
#include <limits>

#include "types.h"

// --- bits ------------------------------------------------------------------------------------------------------------

namespace steep::cuda::emulator {

template <class To, class From>
To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  std::memcpy(&y, &x, sizeof y);
  return y;
}

}  // namespace steep::cuda::emulator

inline int __float_as_int(float x) { return steep::cuda::emulator::same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return steep::cuda::emulator::same_bits<unsigned>(x); }
inline float __int_as_float(int x) { return steep::cuda::emulator::same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return steep::cuda::emulator::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return steep::cuda::emulator::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return steep::cuda::emulator::same_bits<double>(x); }
inline double __hiloint2double(int high, int low) {
  return __longlong_as_double((long long)(uint64_t(unsigned(high)) << 32 | unsigned(low)));
}
inline int __double2hiint(double x) { return int(__double_as_longlong(x) >> 32); }
inline int __double2loint(double x) { return int(__double_as_longlong(x)); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned long long __brevll(unsigned long long x) {
  return (unsigned long long)(__brev(unsigned(x))) << 32 | __brev(unsigned(x >> 32));
}
/// Bytes 0…7 of y:x by the four selectors in the low 16 bits; bit 3 of one takes the byte's sign.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selectors) {
  const uint64_t bytes = uint64_t(y) << 32 | x;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned selector = selectors >> (4 * i);
    unsigned byte = unsigned(bytes >> (8 * (selector & 7))) & 0xff;
    if (selector & 8) byte = byte & 0x80 ? 0xff : 0;
    out |= byte << (8 * i);
  }
  return out;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return unsigned((uint64_t(high) << 32 | low) << (by & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return unsigned((uint64_t(high) << 32 | low) >> (by & 31));
}

inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// --- loads and stores that tell the caches something -----------------------------------------------------------------

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> value) {
  *p = value;
}
template <class T>
void __stcg(T* p, std::type_identity_t<T> value) {
  *p = value;
}

// --- arithmetic rounded to nearest, that no compiler fuses ----------------------------------------------------------

namespace steep::cuda::emulator {

template <class T>
T unfused(T x) {
  asm("" : "+m"(x));
  return x;
}

}  // namespace steep::cuda::emulator

inline float __fadd_rn(float a, float b) { return steep::cuda::emulator::unfused(a + b); }
inline float __fsub_rn(float a, float b) { return steep::cuda::emulator::unfused(a - b); }
inline float __fmul_rn(float a, float b) { return steep::cuda::emulator::unfused(a * b); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1 / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return steep::cuda::emulator::unfused(a + b); }
inline double __dsub_rn(double a, double b) { return steep::cuda::emulator::unfused(a - b); }
inline double __dmul_rn(double a, double b) { return steep::cuda::emulator::unfused(a * b); }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double x) { return 1 / x; }
inline double __dsqrt_rn(double x) { return std::sqrt(x); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

// --- conversions; out of range they saturate, and NaN gives 0 (as for floats on a GPU) ------------------------------

namespace steep::cuda::emulator {

template <class To, class From>
To saturate(From x) {
  if (std::isnan(x)) return 0;
  if (x <= From(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (x >= From(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return To(x);
}

}  // namespace steep::cuda::emulator

inline int __float2int_rn(float x) { return steep::cuda::emulator::saturate<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return steep::cuda::emulator::saturate<int>(x); }
inline int __float2int_rd(float x) { return steep::cuda::emulator::saturate<int>(std::floor(x)); }
inline unsigned __float2uint_rn(float x) { return steep::cuda::emulator::saturate<unsigned>(std::nearbyint(x)); }
inline unsigned __float2uint_rz(float x) { return steep::cuda::emulator::saturate<unsigned>(x); }
inline int __double2int_rn(double x) { return steep::cuda::emulator::saturate<int>(std::nearbyint(x)); }
inline int __double2int_rz(double x) { return steep::cuda::emulator::saturate<int>(x); }
inline long long __double2ll_rn(double x) { return steep::cuda::emulator::saturate<long long>(std::nearbyint(x)); }
inline long long __double2ll_rz(double x) { return steep::cuda::emulator::saturate<long long>(x); }
inline float __int2float_rn(int x) { return float(x); }
inline float __uint2float_rn(unsigned x) { return float(x); }
inline float __ll2float_rn(long long x) { return float(x); }
inline float __ull2float_rn(unsigned long long x) { return float(x); }
inline double __ll2double_rn(long long x) { return double(x); }
inline double __ull2double_rn(unsigned long long x) { return double(x); }
inline float __double2float_rn(double x) { return float(x); }

// --- functions -------------------------------------------------------------------------------------------------------

inline float __expf(float x) { return std::exp(x); }
inline float __exp10f(float x) { return std::pow(10.0f, x); }
inline float __logf(float x) { return std::log(x); }
inline float __log2f(float x) { return std::log2(x); }
inline float __log10f(float x) { return std::log10(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __tanf(float x) { return std::tan(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0 ? x < 1 ? x : 1 : 0; }
inline float __frsqrt_rn(float x) { return float(1 / std::sqrt(double(x))); }
inline float fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return float(1 / std::sqrt(double(x))); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rcbrtf(float x) { return 1 / std::cbrt(x); }

// sin(πx), cos(πx): the argument is reduced exactly.
inline double sinpi(double x) {
  const double r = std::remainder(x, 2.0);
  if (std::fabs(r) <= 0.25) return std::sin(r * M_PI);
  if (std::fabs(r) >= 0.75) return std::sin((std::copysign(1.0, r) - r) * M_PI);
  return std::copysign(std::cos((0.5 - std::fabs(r)) * M_PI), r);
}
inline double cospi(double x) {
  const double r = std::fabs(std::remainder(x, 2.0));
  if (r <= 0.25) return std::cos(r * M_PI);
  if (r >= 0.75) return -std::cos((1 - r) * M_PI);
  return std::sin((0.5 - r) * M_PI);
}
inline float sinpif(float x) { return float(sinpi(x)); }
inline float cospif(float x) { return float(cospi(x)); }
inline void sincospi(double x, double* s, double* c) { *s = sinpi(x), *c = cospi(x); }
inline void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }

// min and max; of mixed operands as CUDA converts them.
#define EMULATOR_MIN_MAX(T, A, B)                              \
  inline T min(A a, B b) { return (T)b < (T)a ? (T)b : (T)a; } \
  inline T max(A a, B b) { return (T)a < (T)b ? (T)b : (T)a; }
#define EMULATOR_MIN_MAX_OF(S, U) \
  EMULATOR_MIN_MAX(S, S, S)       \
  EMULATOR_MIN_MAX(U, U, U)       \
  EMULATOR_MIN_MAX(U, S, U)       \
  EMULATOR_MIN_MAX(U, U, S)
EMULATOR_MIN_MAX_OF(int, unsigned)
EMULATOR_MIN_MAX_OF(long, unsigned long)
EMULATOR_MIN_MAX_OF(long long, unsigned long long)
#undef EMULATOR_MIN_MAX_OF
#undef EMULATOR_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
inline double min(float a, double b) { return std::fmin(double(a), b); }
inline double max(float a, double b) { return std::fmax(double(a), b); }
inline double min(double a, float b) { return std::fmin(a, double(b)); }
inline double max(double a, float b) { return std::fmax(a, double(b)); }
inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }
inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }
