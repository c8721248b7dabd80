// What matmul needs of a vector beyond Vec: partial loads and stores whose mask is made once, outside the loops over k.
#pragma once
#include "../simd.h"

namespace steep::STEEP_ISA_NS {
namespace {

/// The first `count` lanes, 0 ≤ count < n. Loads fill the others with zeros; no memory beyond the lanes is touched.
template <class T>
class Tail {
 public:
  using Register = Vec<T>;
#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
  STEEP_INLINE explicit Tail(int count) : mask_((1u << count) - 1) {}
  STEEP_INLINE Vec<T> load(const T* p) const {
    if constexpr (sizeof(T) == 4)
      return _mm512_maskz_loadu_ps(mask_, p);
    else
      return _mm512_maskz_loadu_pd(__mmask8(mask_), p);
  }
  STEEP_INLINE void store(T* p, Vec<T> x) const {
    if constexpr (sizeof(T) == 4)
      _mm512_mask_storeu_ps(p, mask_, x.v);
    else
      _mm512_mask_storeu_pd(p, __mmask8(mask_), x.v);
  }

 private:
  __mmask16 mask_;
#elif defined(__AVX2__) && STEEP_VECTOR_BYTES == 32
  STEEP_INLINE explicit Tail(int count) : mask_((__m256i)Vec<T>::first(count).v) {}
  STEEP_INLINE Vec<T> load(const T* p) const {
    if constexpr (sizeof(T) == 4)
      return _mm256_maskload_ps(p, mask_);
    else
      return _mm256_maskload_pd(p, mask_);
  }
  STEEP_INLINE void store(T* p, Vec<T> x) const {
    if constexpr (sizeof(T) == 4)
      _mm256_maskstore_ps(p, mask_, x.v);
    else
      _mm256_maskstore_pd(p, mask_, x.v);
  }

 private:
  __m256i mask_;
#else  // lane by lane: well predicted branches, where a memcpy of unknown length would be a call
  STEEP_INLINE explicit Tail(int count) : count_(count) {}
  STEEP_INLINE Vec<T> load(const T* p) const {
    Vec<T> x = 0;
    for (int i = 0; i < Vec<T>::n - 1; ++i)
      if (i < count_) x.v[i] = p[i];
    return x;
  }
  STEEP_INLINE void store(T* p, Vec<T> x) const {
    for (int i = 0; i < Vec<T>::n - 1; ++i)
      if (i < count_) p[i] = x[i];
  }

 private:
  int count_;
#endif
};

#if defined(__AVX512F__) && STEEP_VECTOR_BYTES == 64
#define STEEP_HALF_TAIL
/// The same for count ≤ n / 2, in vectors of half the width: on cores that run a 512-bit multiply-add in two steps they
/// take half the time, and on others no more.
template <class T>
class HalfTail {
 public:
  struct Register {
    using Raw = std::conditional_t<sizeof(T) == 4, __m256, __m256d>;
    Raw v;
    Register() = default;
    STEEP_INLINE Register(Raw raw) : v(raw) {}
    STEEP_INLINE Register(T x) {
      if constexpr (sizeof(T) == 4)
        v = _mm256_set1_ps(x);
      else
        v = _mm256_set1_pd(x);
    }
    friend STEEP_INLINE Register operator*(Register a, Register b) { return a.v * b.v; }
    STEEP_INLINE Register& operator+=(Register b) { return v += b.v, *this; }
    friend STEEP_INLINE Register max(Register a, Register b) { return a.v > b.v ? a.v : b.v; }
  };
  STEEP_INLINE explicit HalfTail(int count) : mask_(__mmask8((1u << count) - 1)) {}
  STEEP_INLINE Register load(const T* p) const {
    if constexpr (sizeof(T) == 4)
      return _mm256_maskz_loadu_ps(mask_, p);
    else
      return _mm256_maskz_loadu_pd(mask_, p);
  }
  STEEP_INLINE void store(T* p, Register x) const {
    if constexpr (sizeof(T) == 4)
      _mm256_mask_storeu_ps(p, mask_, x.v);
    else
      _mm256_mask_storeu_pd(p, mask_, x.v);
  }

 private:
  __mmask8 mask_;
};
#endif

/// All lanes, in the form of a tail.
template <class T>
struct AllLanes {
  using Register = Vec<T>;
  STEEP_INLINE explicit AllLanes(int) {}
  STEEP_INLINE Register load(const T* p) const { return Register::load(p); }
  STEEP_INLINE void store(T* p, Register x) const { x.store(p); }
};

/// A product that must not be contracted into the next addition: of x·y + z·w compilers may fuse either product, and
/// they choose differently in every instance of a template, so that equal elements would get different bits.
STEEP_INLINE auto rounded(auto x) {
#if defined(__clang__)  // contracts only within one expression
  return x;
#else
  return __builtin_assoc_barrier(x);
#endif
}

}  // namespace
}  // namespace steep::STEEP_ISA_NS
