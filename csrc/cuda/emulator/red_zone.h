// Red zones: bytes beside an allocation that nobody may write. Each holds NaNs made of its own address, so that a
// kernel that copies from one red zone to another is noticed as well.
#pragma once
#include <cstdint>
#include <cstring>

namespace steep::cuda::emulator {

/// What memory holds before it is written: a NaN as float, and two of it as double; negative as integer.
inline constexpr uint32_t kPoison = 0xfff8dead;

inline uint32_t red_zone_word(uintptr_t address) { return 0xfff80000 | uint32_t(address / 4) * 0x9E3779B1u >> 16; }
inline char red_zone_byte(const char* p) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  return char(red_zone_word(address) >> (8 * (address % 4)));
}

inline void mark_red_zone(char* begin, char* end) {
  for (char* p = begin; p < end; ++p) *p = red_zone_byte(p);
}

/// The first byte that was written; `end` if none was.
inline const char* first_damage(const char* begin, const char* end) {
  const char* p = begin;
  while (p < end) {
    const uintptr_t address = reinterpret_cast<uintptr_t>(p);
    uint32_t word;
    if (address % 4 == 0 && end - p >= 4 && (std::memcpy(&word, p, 4), word == red_zone_word(address)))
      p += 4;
    else if (*p == red_zone_byte(p))
      ++p;
    else
      break;
  }
  return p;
}

}  // namespace steep::cuda::emulator
