// Lets other Python threads run while a kernel works, where it works long enough for that to pay.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>

#include "../core/device.h"

namespace steep {

class Unlocked {
 public:
  static constexpr int64_t kAlways = INT64_MAX;  // of work that waits for a device

  explicit Unlocked(int64_t work) {
    if (work >= kWork) release_.emplace();
  }
  /// Around what waits for the device if `a` is on one, and else works on as many elements.
  Unlocked(const Array& a, int64_t work) : Unlocked(on_cuda(a) ? kAlways : work) {}

 private:
  static constexpr int64_t kWork = 32768;  // elements: some ten microseconds
  std::optional<pybind11::gil_scoped_release> release_;
};

}  // namespace steep
