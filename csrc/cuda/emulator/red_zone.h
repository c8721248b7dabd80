// Red zones: bytes beside an allocation that nobody may write. Each holds NaNs made of its own address, so that a kernel
// that copies from one red zone to another is noticed as well.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace steep::cuda::emulator {

/// What memory holds before it is written: a NaN as float, and two of it as double; negative as integer.
inline constexpr uint32_t kPoison = 0xfff8dead;

inline char red_zone_byte(const char* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  const uint32_t word = 0xfff80000 | uint32_t(address / 4) * 0x9E3779B1u >> 16;
  return char(word >> (8 * (address % 4)));
}

inline void mark_red_zone(char* begin, char* end) {
  for (char* p = begin; p < end; ++p) *p = red_zone_byte(p);
}

/// The first byte that was written; `end` if none was.
inline const char* first_damage(const char* begin, const char* end) {
  return std::find_if(begin, end, [](const char& c) { return c != red_zone_byte(&c); });
}

}  // namespace steep::cuda::emulator
