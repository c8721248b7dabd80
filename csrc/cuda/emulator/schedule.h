// Which of several threads or blocks comes next: always the first, always the last, or any.
#pragma once
#include <bit>
#include <numeric>

#include "settings.h"

namespace steep::cuda::emulator {

class Schedule {
 public:
  Order order() const { return order_; }

  /// The position of a bit that is set.
  int pick(uint32_t bits) {
    switch (order_) {
      case Order::forward:
        return std::countr_zero(bits) & 31;
      case Order::reverse:
        return (31 - std::countl_zero(bits)) & 31;
      default:
        const int by = int(draw() >> 59);
        return (std::countr_zero(std::rotr(bits, by)) + by) & 31;
    }
  }

  /// True once in `n` times of the random schedule.
  bool chance(unsigned n) { return order_ == Order::random && (draw() >> 32) % n == 0; }

  uint64_t draw() {  // G. Marsaglia, Xorshift RNGs (2003), with the multiplication of S. Vigna's xorshift64*
    state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1D;
  }

 private:
  Order order_ = settings().order;
  uint64_t state_ = settings().seed * 0x9E3779B97F4A7C15 + 1;
};

/// The order of a grid's n blocks. Any order is (first + i·step) mod n, so that none of 2^31 numbers is stored.
class BlockOrder {
 public:
  BlockOrder(Schedule& schedule, uint64_t n) : n_(n) {
    if (schedule.order() == Order::reverse) {
      first_ = n - 1, step_ = n - 1;
    } else if (schedule.order() == Order::random) {
      first_ = (schedule.draw() >> 8) % n;
      do step_ = (schedule.draw() >> 8) % n + 1;
      while (std::gcd(step_, n) != 1);
    }
  }
  uint64_t operator[](uint64_t i) const { return uint64_t((unsigned __int128)step_ * i % n_ + first_) % n_; }

 private:
  uint64_t n_, first_ = 0, step_ = 1;
};

}  // namespace steep::cuda::emulator
