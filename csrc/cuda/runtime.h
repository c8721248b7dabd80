// The CUDA runtime as steep uses it: errors, devices, streams, memory, copies. A thread has a current device and, on
// each device, a current stream (the legacy default stream at first); whatever is queued goes there.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <string_view>

#include "cuda.h"

namespace steep::cuda {

/// Throws CudaError naming `op` unless the status is success; MemoryError where memory ran out.
void check(const char* op, cudaError_t status);
/// After a launch. With STEEP_CUDA_SYNC=1 it waits for the kernel, so that an error in it is reported under its name.
void wait_if_asked(const char* op);
/// Has the device done what was queued before the event? Also where it is lost, and there is nothing to wait for.
bool is_done(cudaEvent_t event) noexcept;

inline constexpr int kMaxDevices = 16;

int current_device();
cudaStream_t current_stream();

/// Makes a device the current one, and returns the one before for `restore_device`; -1 if it was that already.
int set_device(int device);
void restore_device(int before) noexcept;

/// Makes a device the current one for a block.
class OnDevice {
 public:
  explicit OnDevice(int device);
  OnDevice(const OnDevice&) = delete;
  ~OnDevice();

 private:
  int before_;
};

/// The newest architecture of the build's targets whose code runs on devices of a compute capability; 0: none.
int architecture_for(int capability);

/// Is an architecture, such as 90a, one of the build's targets?
bool is_target(std::string_view architecture);

/// Did this process begin as a fork of one that had used CUDA? Then it cannot.
bool is_forked();

/// What kernels choose their launches by; of the current device.
struct DeviceLimits {
  int multiprocessors;
  int shared_bytes_per_block;  // the most a block can have, after cudaFuncSetAttribute
  int shared_bytes_per_multiprocessor;
  int capability;    // 10·major + minor
  int architecture;  // of this build's code for it: a target of CMake's, without its letter
  bool has_wgmma;    // as sm_90a does, if the build has code for that
};
const DeviceLimits& device_limits();

/// Is freed memory kept for the next that asks? With STEEP_CUDA_CACHE=0 every allocation is the driver's own, so that
/// compute-sanitizer, or the emulated device, sees an access beyond its end.
bool keeps_memory();
/// At least `bytes` bytes of the current device, aligned to 256, for use on the current stream. Throws MemoryError.
void* allocate(size_t bytes);
/// Gives memory back; it may be used again at once by what is queued on the same stream afterwards.
void deallocate(void* p) noexcept;

/// Memory that another stream allocated must not be given away before the current stream has come this far.
void use_on_current_stream(void* p);

// Copies on the current stream, as in table.h.
void copy_to_device(void* to, const void* from, size_t bytes);
void copy_to_host(void* to, const void* from, size_t bytes);
void copy_between(void* to, int to_device, const void* from, int from_device, size_t bytes);

/// Working memory for kernels that are launched while it lives.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : p_(bytes ? allocate(bytes) : nullptr) {}
  Workspace(const Workspace&) = delete;
  ~Workspace() {
    if (p_) deallocate(p_);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(p_);
  }

 private:
  void* p_;
};

}  // namespace steep::cuda
