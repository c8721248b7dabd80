// Faults of kernels (bad addresses, division by zero) are caught and become errors of the device.
#pragma once
#include <csignal>

namespace steep::cuda::emulator {

/// While it lives, faults of the calling thread inside a kernel end the kernel; all others go where they went before.
class CatchFaults {
 public:
  CatchFaults();
  CatchFaults(const CatchFaults&) = delete;
  ~CatchFaults();

  /// Whose memory kernels may use from now on.
  static void set_device(int device);

 private:
  stack_t stack_before_;
};

}  // namespace steep::cuda::emulator
