// An mbarrier: threads arrive at it, copies bring bytes, and whoever waits for a phase goes on when as many of both
// have come as it expects.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace steep::cuda::emulator {

class Mbarrier {
 public:
  static constexpr int kMost = (1 << 20) - 1;  // arrivals, and bytes

  explicit Mbarrier(int arrivals) : arrivals_(arrivals), pending_(arrivals) {}

  // What is wrong; null where nothing is.
  const char* arrive(int count) {
    if (count < 1 || count > pending_) return "more threads arrive at an mbarrier than it expects in a phase";
    pending_ -= count;
    return nullptr;
  }
  const char* expect(int64_t bytes) {
    bytes_ += bytes;
    if (bytes_ > kMost || bytes_ < -kMost) return "an mbarrier counts less than 2^20 bytes";
    return nullptr;
  }

  /// Ends the phase if nothing is missing.
  bool advance() {
    if (pending_ || bytes_) return false;
    ++phase_;
    pending_ = arrivals_;
    return true;
  }
  bool has_completed(unsigned parity) const { return phase_ % 2 != parity; }
  /// What stands for a phase in ThreadSanitizer's eyes.
  char* tag(unsigned parity) { return &tags_[parity]; }
  char* tag() { return &tags_[phase_ % 2]; }
  /// What the phase lacks, for people.
  std::string describe() const;

  std::vector<int> waiting;  // threads of the block, for the end of this phase

 private:
  int arrivals_, pending_;
  int64_t bytes_ = 0;  // expected, and not there yet
  unsigned phase_ = 0;
  char tags_[2];
};

}  // namespace steep::cuda::emulator
