// Lets other Python threads run while a kernel works, where it works long enough for that to pay.
#pragma once
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>

#include "../core/device.h"

namespace steep {

class Unlocked {
 public:
  static constexpr int64_t kAlways = INT64_MAX;  // of work that waits for a device

  explicit Unlocked(int64_t work) : thread_(work >= kWork ? PyEval_SaveThread() : nullptr) {}
  /// Around what waits for the device if `a` is on one, and else works on as many elements.
  Unlocked(const Array& a, int64_t work) : Unlocked(on_cuda(a) ? kAlways : work) {}
  Unlocked(const Unlocked&) = delete;
  /// While the interpreter exits, Python before 3.14 ends a daemon thread here, by an unwinding that must not be
  /// stopped.
  ~Unlocked() noexcept(false) {
    if (thread_) PyEval_RestoreThread(thread_);
  }

 private:
  static constexpr int64_t kWork = 32768;  // elements: some ten microseconds
  PyThreadState* thread_;
};

/// Of a product of `a` and a matrix with so many columns.
inline int64_t work_of(const Array& a, int64_t columns) { return a.size() * std::max<int64_t>(columns / 16, 1); }

}  // namespace steep
