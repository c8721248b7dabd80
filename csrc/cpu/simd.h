// Vec<T>: one SIMD vector of STEEP_VECTOR_BYTES bytes, and Mask<T>, what its comparisons give. Both are GCC vectors, so
// the same code serves SSE4, AVX2, AVX-512 and NEON; intrinsics only where the vector extensions don't reach.
#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define STEEP_INLINE inline __attribute__((always_inline))
#define STEEP_NOINLINE [[gnu::noinline]] inline
#define STEEP_LIBM(function) __builtin_##function
#if defined(__FMA__) || defined(__aarch64__)
#define STEEP_FMA  // fma rounds once
#endif

namespace steep::STEEP_ISA_NS {
namespace {

template <class T>
struct Lanes {
  static constexpr int n = STEEP_VECTOR_BYTES / sizeof(T);
  using Integer = std::conditional_t<sizeof(T) == 1, int8_t, std::conditional_t<sizeof(T) == 4, int32_t, int64_t>>;
  using Unsigned = std::make_unsigned_t<Integer>;
  typedef T Raw __attribute__((vector_size(STEEP_VECTOR_BYTES)));
  typedef T Unaligned __attribute__((vector_size(STEEP_VECTOR_BYTES), aligned(alignof(T)), may_alias));
  typedef Integer Bits __attribute__((vector_size(STEEP_VECTOR_BYTES)));
  typedef Unsigned UnsignedBits __attribute__((vector_size(STEEP_VECTOR_BYTES)));
  typedef uint8_t Bytes __attribute__((vector_size(n)));  // one byte for each lane
};

template <class T>
struct Vec;

/// All bits set in the lanes where it is true.
template <class T>
struct Mask {
  typename Lanes<T>::Bits v;

  STEEP_INLINE bool any() const { return !none(v); }
  STEEP_INLINE bool all() const { return none(~v); }

  friend STEEP_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
  friend STEEP_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
  friend STEEP_INLINE Mask operator^(Mask a, Mask b) { return {a.v ^ b.v}; }
  friend STEEP_INLINE Mask operator!(Mask a) { return {~a.v}; }
  friend STEEP_INLINE Vec<T> select(Mask m, Vec<T> yes, Vec<T> no) { return {m.v ? yes.v : no.v}; }

 private:
  static STEEP_INLINE bool none(typename Lanes<T>::Bits v) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    return _mm512_test_epi32_mask((__m512i)v, (__m512i)v) == 0;
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
    return _mm256_testz_si256((__m256i)v, (__m256i)v);
#elif defined(__SSE4_1__) && STEEP_VECTOR_BYTES == 16
    return _mm_testz_si128((__m128i)v, (__m128i)v);
#else
    uint64_t words[STEEP_VECTOR_BYTES / 8], set = 0;
    __builtin_memcpy(words, &v, sizeof v);
    for (const uint64_t w : words) set |= w;
    return set == 0;
#endif
  }
};

/// Signed integers wrap on overflow: the arithmetic is done on unsigned lanes. A scalar operand becomes a vector of its
/// value converted to T, so that `0.5 * x` keeps float.
template <class T>
struct Vec {
  using Elem = T;
  using Raw = typename Lanes<T>::Raw;
  using Bits = typename Lanes<T>::Bits;
  using Arithmetic = std::conditional_t<std::is_integral_v<T>, typename Lanes<T>::UnsignedBits, Raw>;
  static constexpr int n = Lanes<T>::n;

  Raw v;

  Vec() = default;
  STEEP_INLINE Vec(Raw raw) : v(raw) {}
  template <class S>
    requires std::is_arithmetic_v<S>
  STEEP_INLINE Vec(S s) : v(T(s) - Raw{}) {}  // x - 0 and not x + 0, which would turn -0 into 0

  STEEP_INLINE T operator[](int i) const { return v[i]; }
  STEEP_INLINE void set(int i, T x) { v[i] = x; }

  static STEEP_INLINE Vec load(const T* p) { return Raw(*reinterpret_cast<const typename Lanes<T>::Unaligned*>(p)); }
  STEEP_INLINE void store(T* p) const { *reinterpret_cast<typename Lanes<T>::Unaligned*>(p) = v; }

  /// Past the caches, where the machine can; p is aligned to the vector. Before another thread may read what has been
  /// stored, `streaming_ends` must be called.
  STEEP_INLINE void stream(T* p) const {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), (__m512i)v);
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)v);
#elif defined(__SSE2__) && STEEP_VECTOR_BYTES == 16
    _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)v);
#else
    store(p);
#endif
  }

  /// 0 < k < n elements. No memory beyond them is touched; the other lanes are `fill`.
  static STEEP_INLINE Vec load_partial(const T* p, int k, T fill = 0) {
#if defined(__AVX512F__) && defined(__AVX512BW__) && STEEP_VECTOR_BYTES == 64
    const __mmask64 lanes = (1ull << k) - 1;
    const Vec rest = fill;
    if constexpr (sizeof(T) == 1)
      return (Raw)_mm512_mask_loadu_epi8((__m512i)rest.v, lanes, p);
    else if constexpr (sizeof(T) == 4)
      return (Raw)_mm512_mask_loadu_epi32((__m512i)rest.v, __mmask16(lanes), p);
    else
      return (Raw)_mm512_mask_loadu_epi64((__m512i)rest.v, __mmask8(lanes), p);
#else
    Vec x = fill;
#if defined(__AVX2__) && STEEP_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4) {
      const Mask<T> m = first(k);
      return select(m, (Raw)_mm256_maskload_epi32(reinterpret_cast<const int*>(p), (__m256i)m.v), x);
    } else if constexpr (sizeof(T) == 8) {
      const Mask<T> m = first(k);
      return select(m, (Raw)_mm256_maskload_epi64(reinterpret_cast<const long long*>(p), (__m256i)m.v), x);
    }
#endif
    __builtin_memcpy(&x.v, p, k * sizeof(T));
    return x;
#endif
  }
  STEEP_INLINE void store_partial(T* p, int k) const {
#if defined(__AVX512F__) && defined(__AVX512BW__) && STEEP_VECTOR_BYTES == 64
    const __mmask64 lanes = (1ull << k) - 1;
    if constexpr (sizeof(T) == 1)
      _mm512_mask_storeu_epi8(p, lanes, (__m512i)v);
    else if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_epi32(p, __mmask16(lanes), (__m512i)v);
    else
      _mm512_mask_storeu_epi64(p, __mmask8(lanes), (__m512i)v);
#else
#if defined(__AVX2__) && STEEP_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
      return _mm256_maskstore_epi32(reinterpret_cast<int*>(p), (__m256i)first(k).v, (__m256i)v);
    else if constexpr (sizeof(T) == 8)
      return _mm256_maskstore_epi64(reinterpret_cast<long long*>(p), (__m256i)first(k).v, (__m256i)v);
#endif
    __builtin_memcpy(p, &v, k * sizeof(T));
#endif
  }

  /// 0, 1, 2, …
  static STEEP_INLINE Vec iota() {
    const auto numbers = []<int... i>(std::integer_sequence<int, i...>) { return Raw{T(i)...}; };
    return numbers(std::make_integer_sequence<int, n>());
  }
  /// True in the first k lanes.
  static STEEP_INLINE Mask<T> first(int k) {
    using I = typename Lanes<T>::Integer;
    return {Vec<I>::iota().v < Vec<I>(k).v};
  }

  friend STEEP_INLINE Vec operator+(Vec a, Vec b) { return (Raw)((Arithmetic)a.v + (Arithmetic)b.v); }
  friend STEEP_INLINE Vec operator-(Vec a, Vec b) { return (Raw)((Arithmetic)a.v - (Arithmetic)b.v); }
  friend STEEP_INLINE Vec operator*(Vec a, Vec b) { return (Raw)((Arithmetic)a.v * (Arithmetic)b.v); }
  friend STEEP_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  friend STEEP_INLINE Vec operator-(Vec a) { return (Raw)(-(Arithmetic)a.v); }
  STEEP_INLINE Vec& operator+=(Vec b) { return *this = *this + b; }
  STEEP_INLINE Vec& operator-=(Vec b) { return *this = *this - b; }
  STEEP_INLINE Vec& operator*=(Vec b) { return *this = *this * b; }

  friend STEEP_INLINE Vec operator&(Vec a, Vec b) { return (Raw)((Bits)a.v & (Bits)b.v); }
  friend STEEP_INLINE Vec operator|(Vec a, Vec b) { return (Raw)((Bits)a.v | (Bits)b.v); }
  friend STEEP_INLINE Vec operator^(Vec a, Vec b) { return (Raw)((Bits)a.v ^ (Bits)b.v); }
  friend STEEP_INLINE Vec operator~(Vec a) { return (Raw) ~(Bits)a.v; }
  friend STEEP_INLINE Vec operator<<(Vec a, int by) { return (Raw)((Bits)a.v << by); }
  friend STEEP_INLINE Vec operator>>(Vec a, int by) { return (Raw)((Bits)a.v >> by); }
  /// Shifts zeros in. AVX2 has no arithmetic shift of 64-bit lanes, so >> is slow there.
  friend STEEP_INLINE Vec shift_right_logical(Vec a, int by) {
    return (Raw)((typename Lanes<T>::UnsignedBits)a.v >> by);
  }

  friend STEEP_INLINE Mask<T> operator<(Vec a, Vec b) { return {(Bits)(a.v < b.v)}; }
  friend STEEP_INLINE Mask<T> operator<=(Vec a, Vec b) { return {(Bits)(a.v <= b.v)}; }
  friend STEEP_INLINE Mask<T> operator>(Vec a, Vec b) { return {(Bits)(a.v > b.v)}; }
  friend STEEP_INLINE Mask<T> operator>=(Vec a, Vec b) { return {(Bits)(a.v >= b.v)}; }
  friend STEEP_INLINE Mask<T> operator==(Vec a, Vec b) { return {(Bits)(a.v == b.v)}; }
  friend STEEP_INLINE Mask<T> operator!=(Vec a, Vec b) { return {(Bits)(a.v != b.v)}; }

  /// a·b + c, of floating-point numbers, with one rounding where the instruction set has it. Compilers make of a·b + c
  /// the same in most places, but not in all copies of a loop: where equal elements must get equal bits, this is to be
  /// used.
  friend STEEP_INLINE Vec fma(Vec a, Vec b, Vec c) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    if constexpr (sizeof(T) == 4)
      return _mm512_fmadd_ps(a.v, b.v, c.v);
    else
      return _mm512_fmadd_pd(a.v, b.v, c.v);
#elif defined(__FMA__) && STEEP_VECTOR_BYTES == 32
    if constexpr (sizeof(T) == 4)
      return _mm256_fmadd_ps(a.v, b.v, c.v);
    else
      return _mm256_fmadd_pd(a.v, b.v, c.v);
#elif defined(__aarch64__)
    if constexpr (sizeof(T) == 4)
      return vfmaq_f32(c.v, a.v, b.v);
    else
      return vfmaq_f64(c.v, a.v, b.v);
#else
    return a * b + c;
#endif
  }
  /// b where either is NaN or both are zeros, as the x86 instructions, which compilers don't make of a comparison of
  /// vectors. So min(bound, x) keeps a NaN in x. (Of the plain _mm512_min_ps GCC 12 says that it reads uninitialised
  /// memory.)
  friend STEEP_INLINE Vec min(Vec a, Vec b) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    if constexpr (std::is_same_v<T, float>) return _mm512_maskz_min_ps(-1, a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm512_maskz_min_pd(-1, a.v, b.v);
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
    if constexpr (std::is_same_v<T, float>) return _mm256_min_ps(a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm256_min_pd(a.v, b.v);
#elif defined(__SSE2__) && STEEP_VECTOR_BYTES == 16
    if constexpr (std::is_same_v<T, float>) return _mm_min_ps(a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm_min_pd(a.v, b.v);
#endif
    return a.v < b.v ? a.v : b.v;
  }
  friend STEEP_INLINE Vec max(Vec a, Vec b) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    if constexpr (std::is_same_v<T, float>) return _mm512_maskz_max_ps(-1, a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm512_maskz_max_pd(-1, a.v, b.v);
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
    if constexpr (std::is_same_v<T, float>) return _mm256_max_ps(a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm256_max_pd(a.v, b.v);
#elif defined(__SSE2__) && STEEP_VECTOR_BYTES == 16
    if constexpr (std::is_same_v<T, float>) return _mm_max_ps(a.v, b.v);
    if constexpr (std::is_same_v<T, double>) return _mm_max_pd(a.v, b.v);
#endif
    return a.v > b.v ? a.v : b.v;
  }
  friend STEEP_INLINE Mask<T> isnan(Vec x) { return x != x; }
  friend STEEP_INLINE Vec abs(Vec x) {
    if constexpr (std::is_floating_point_v<T>)
      return x & ~sign_bit();
    else
      return select(x < 0, -x, x);
  }
  friend STEEP_INLINE Vec copysign(Vec magnitude, Vec sign) { return (magnitude & ~sign_bit()) | (sign & sign_bit()); }

 private:
  static STEEP_INLINE Vec sign_bit() {
    return (Raw)Vec<typename Lanes<T>::Integer>(typename Lanes<T>::Unsigned(1) << (8 * sizeof(T) - 1)).v;
  }
};

STEEP_INLINE void streaming_ends() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// The bits of a vector read as lanes of another type of the same width.
template <class U, class T>
STEEP_INLINE Vec<U> as(Vec<T> x) {
  static_assert(sizeof(U) == sizeof(T));
  return (typename Lanes<U>::Raw)x.v;
}
template <class U, class T>
STEEP_INLINE Mask<U> as(Mask<T> m) {
  static_assert(sizeof(U) == sizeof(T));
  return {m.v};
}

/// Values, between types of the same width; to integers by truncation, of values in range.
template <class U, class T>
STEEP_INLINE Vec<U> convert(Vec<T> x) {
  return __builtin_convertvector(x.v, typename Lanes<U>::Raw);
}

// sqrt and rounding. A vector wider than the machine's goes through in parts.
template <class Part, class T, class F>
STEEP_INLINE Vec<T> by_parts(Vec<T> x, F f) {
  Part parts[sizeof x / sizeof(Part)];
  __builtin_memcpy(parts, &x, sizeof x);
  for (Part& p : parts) p = f(p);
  __builtin_memcpy(&x, parts, sizeof x);
  return x;
}

#define STEEP_BY_PARTS(name, part32, part64, f32, f64)        \
  STEEP_INLINE Vec<float> name(Vec<float> x) {                \
    return by_parts<part32>(x, [](part32 p) { return f32; }); \
  }                                                           \
  STEEP_INLINE Vec<double> name(Vec<double> x) {              \
    return by_parts<part64>(x, [](part64 p) { return f64; }); \
  }
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
// The forms with a mask of all lanes: GCC 12 warns about an uninitialised value inside the plain ones.
STEEP_BY_PARTS(sqrt, __m512, __m512d, _mm512_maskz_sqrt_ps(-1, p), _mm512_maskz_sqrt_pd(-1, p))
STEEP_BY_PARTS(round, __m512, __m512d, _mm512_maskz_roundscale_ps(-1, p, 8), _mm512_maskz_roundscale_pd(-1, p, 8))
STEEP_BY_PARTS(floor, __m512, __m512d, _mm512_maskz_roundscale_ps(-1, p, 9), _mm512_maskz_roundscale_pd(-1, p, 9))
STEEP_BY_PARTS(trunc, __m512, __m512d, _mm512_maskz_roundscale_ps(-1, p, 11), _mm512_maskz_roundscale_pd(-1, p, 11))
#elif defined(__AVX__) && STEEP_VECTOR_BYTES >= 32
STEEP_BY_PARTS(sqrt, __m256, __m256d, _mm256_sqrt_ps(p), _mm256_sqrt_pd(p))
STEEP_BY_PARTS(round, __m256, __m256d, _mm256_round_ps(p, 8), _mm256_round_pd(p, 8))
STEEP_BY_PARTS(floor, __m256, __m256d, _mm256_round_ps(p, 9), _mm256_round_pd(p, 9))
STEEP_BY_PARTS(trunc, __m256, __m256d, _mm256_round_ps(p, 11), _mm256_round_pd(p, 11))
#elif defined(__SSE4_1__)
STEEP_BY_PARTS(sqrt, __m128, __m128d, _mm_sqrt_ps(p), _mm_sqrt_pd(p))
STEEP_BY_PARTS(round, __m128, __m128d, _mm_round_ps(p, 8), _mm_round_pd(p, 8))
STEEP_BY_PARTS(floor, __m128, __m128d, _mm_round_ps(p, 9), _mm_round_pd(p, 9))
STEEP_BY_PARTS(trunc, __m128, __m128d, _mm_round_ps(p, 11), _mm_round_pd(p, 11))
#elif defined(__aarch64__)
STEEP_BY_PARTS(sqrt, float32x4_t, float64x2_t, vsqrtq_f32(p), vsqrtq_f64(p))
STEEP_BY_PARTS(round, float32x4_t, float64x2_t, vrndnq_f32(p), vrndnq_f64(p))
STEEP_BY_PARTS(floor, float32x4_t, float64x2_t, vrndmq_f32(p), vrndmq_f64(p))
STEEP_BY_PARTS(trunc, float32x4_t, float64x2_t, vrndq_f32(p), vrndq_f64(p))
#else
STEEP_BY_PARTS(sqrt, float, double, __builtin_sqrtf(p), __builtin_sqrt(p))
STEEP_BY_PARTS(round, float, double, __builtin_rintf(p), __builtin_rint(p))
STEEP_BY_PARTS(floor, float, double, __builtin_floorf(p), __builtin_floor(p))
STEEP_BY_PARTS(trunc, float, double, __builtin_truncf(p), __builtin_trunc(p))
#endif
#undef STEEP_BY_PARTS

#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
/// p·2^⌊k⌋, rounded once.
#define STEEP_SCALEF
STEEP_INLINE Vec<float> scalef(Vec<float> p, Vec<float> k) { return _mm512_maskz_scalef_ps(-1, p.v, k.v); }
STEEP_INLINE Vec<double> scalef(Vec<double> p, Vec<double> k) { return _mm512_maskz_scalef_pd(-1, p.v, k.v); }
#endif

/// The lanes combined by halves, so in the same order whatever the compiler. f takes vectors.
template <int width, class T, class F>
STEEP_INLINE T reduce_lanes(Vec<T> x, F f) {
  if constexpr (width == 0) {
    return x[0];
  } else {
    const Vec<T> upper = [&]<int... i>(std::integer_sequence<int, i...>) -> Vec<T> {
      return __builtin_shufflevector(x.v, x.v, (i + width) % Vec<T>::n...);
    }(std::make_integer_sequence<int, Vec<T>::n>());
    return reduce_lanes<width / 2>(f(x, upper), f);
  }
}
template <class T, class F>
STEEP_INLINE T reduce(Vec<T> x, F f) {
  return reduce_lanes<Vec<T>::n / 2>(x, f);
}
template <class T>
STEEP_INLINE T reduce_add(Vec<T> x) {
  return reduce(x, [](Vec<T> a, Vec<T> b) { return a + b; });
}

// Changes of width. GCC 12 takes generic vectors apart lane by lane here, hence the intrinsics.
STEEP_INLINE void widen(Vec<float> x, Vec<double>& low, Vec<double>& high) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
  low = _mm512_maskz_cvtps_pd(-1, (__m256)_mm512_maskz_extractf64x4_pd(-1, (__m512d)x.v, 0));
  high = _mm512_maskz_cvtps_pd(-1, (__m256)_mm512_maskz_extractf64x4_pd(-1, (__m512d)x.v, 1));
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
  low = _mm256_cvtps_pd(_mm256_castps256_ps128(x.v));
  high = _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1));
#elif defined(__SSE2__) && STEEP_VECTOR_BYTES == 16
  low = _mm_cvtps_pd(x.v);
  high = _mm_cvtps_pd(_mm_movehl_ps(x.v, x.v));
#elif defined(__aarch64__)
  low = vcvt_f64_f32(vget_low_f32(x.v));
  high = vcvt_high_f64_f32(x.v);
#else
  low = high = 0;
  constexpr int half = Vec<double>::n;
  for (int i = 0; i < half; ++i) low.v[i] = x.v[i], high.v[i] = x.v[half + i];
#endif
}
STEEP_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
  const __m512d bits = _mm512_castpd256_pd512((__m256d)_mm512_maskz_cvtpd_ps(-1, low.v));
  return (__m512)_mm512_maskz_insertf64x4(-1, bits, (__m256d)_mm512_maskz_cvtpd_ps(-1, high.v), 1);
#elif defined(__AVX__) && STEEP_VECTOR_BYTES == 32
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low.v)), _mm256_cvtpd_ps(high.v), 1);
#elif defined(__SSE2__) && STEEP_VECTOR_BYTES == 16
  return _mm_movelh_ps(_mm_cvtpd_ps(low.v), _mm_cvtpd_ps(high.v));
#elif defined(__aarch64__)
  return vcvt_high_f32_f64(vcvt_f32_f64(low.v), high.v);
#else
  Vec<float> x = 0;
  constexpr int half = Vec<double>::n;
  for (int i = 0; i < half; ++i) x.v[i] = float(low.v[i]), x.v[half + i] = float(high.v[i]);
  return x;
#endif
}

/// Booleans in memory are bytes 0 and 1: one for each lane of m, in the low bytes of the result.
template <class T>
STEEP_INLINE Vec<uint8_t> to_bytes(Mask<T> m) {
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
  if constexpr (sizeof(T) == 4)
    return (Vec<uint8_t>::Raw)_mm512_castsi128_si512(_mm512_maskz_cvtepi32_epi8(-1, (__m512i)m.v)) & 1;
  else if constexpr (sizeof(T) == 8)
    return (Vec<uint8_t>::Raw)_mm512_castsi128_si512(_mm512_maskz_cvtepi64_epi8(-1, (__m512i)m.v)) & 1;
#endif
  const auto bytes = (Vec<uint8_t>::Raw)m.v;
  return [&]<int... i>(std::integer_sequence<int, i...>) {
    return __builtin_shufflevector(bytes, bytes, i % Lanes<T>::n * int(sizeof(T))...) & 1;
  }(std::make_integer_sequence<int, STEEP_VECTOR_BYTES>());
}
template <class T>
STEEP_INLINE void store_bytes(Mask<T> m, uint8_t* p) {
  const Vec<uint8_t> bytes = to_bytes(m);
  __builtin_memcpy(p, &bytes, Vec<T>::n);
}
/// 0 < k < n lanes.
template <class T>
STEEP_INLINE void store_bytes_partial(Mask<T> m, uint8_t* p, int k) {
  const Vec<uint8_t> bytes = to_bytes(m);
  __builtin_memcpy(p, &bytes, k);
}

template <class T>
STEEP_INLINE Mask<T> from_bytes(typename Lanes<T>::Bytes bytes) {
  using Bits = typename Lanes<T>::Bits;
#if defined(__SSE4_1__)
  if constexpr (sizeof(T) > 1 && sizeof bytes <= 16) {
    __m128i b = {};
    __builtin_memcpy(&b, &bytes, sizeof bytes);
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
    return {(Bits)(sizeof(T) == 4 ? _mm512_maskz_cvtepu8_epi32(-1, b) : _mm512_maskz_cvtepu8_epi64(-1, b)) != 0};
#elif defined(__AVX2__) && STEEP_VECTOR_BYTES == 32
    return {(Bits)(sizeof(T) == 4 ? _mm256_cvtepu8_epi32(b) : _mm256_cvtepu8_epi64(b)) != 0};
#elif STEEP_VECTOR_BYTES == 16
    return {(Bits)(sizeof(T) == 4 ? _mm_cvtepu8_epi32(b) : _mm_cvtepu8_epi64(b)) != 0};
#endif
  }
#endif
  return {__builtin_convertvector(bytes, Bits) != 0};
}
template <class T>
STEEP_INLINE Mask<T> load_bytes(const uint8_t* p) {
  typename Lanes<T>::Bytes bytes;
  __builtin_memcpy(&bytes, p, sizeof bytes);
  return from_bytes<T>(bytes);
}
/// 0 < k < n lanes; the others are false.
template <class T>
STEEP_INLINE Mask<T> load_bytes_partial(const uint8_t* p, int k) {
  typename Lanes<T>::Bytes bytes = {};
  __builtin_memcpy(&bytes, p, k);
  return from_bytes<T>(bytes);
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
