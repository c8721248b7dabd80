// Which devices there are, and if there are none, why.
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <sstream>

#include "../core/errors.h"
#include "runtime.h"

namespace steep::cuda {
namespace {

/// Machine code that this build has, as CMake lists it: "75 80 90a 80+ptx".
constexpr const char* kTargets = STEEP_CUDA_TARGETS;

/// Machine code runs on its major architecture from its minor one on, that of 90a on 9.0 only; PTX runs on anything
/// newer.
bool runs_on(const std::string& target, int capability) {
  const int built = std::stoi(target);
  if (target.ends_with("+ptx")) return capability >= built;
  if (target.ends_with("a")) return capability == built;
  return capability / 10 == built / 10 && capability >= built;
}

bool has_code_for(int capability) { return architecture_for(capability) > 0; }

struct Devices {
  int count = 0;
  std::string reason;
};

Devices find() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    const int driver = driver_version(), needed = runtime_version();
    if (driver == 0) return {0, "there is no NVIDIA driver"};
    return {0, message("the NVIDIA driver supports CUDA ", driver / 1000, ".", driver % 1000 / 10, ", older than the ",
                       needed / 1000, ".", needed % 1000 / 10, " that steep was built with")};
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && count == 0)) {
    cudaGetLastError();
    return {0, "there is no CUDA device (or CUDA_VISIBLE_DEVICES hides it)"};
  }
  if (status != cudaSuccess) {
    cudaGetLastError();
    return {0, message(cudaGetErrorString(status), " (", cudaGetErrorName(status), ")")};
  }
  count = std::min(count, kMaxDevices);
  for (int i = 0; i < count; ++i) {
    int major = 0, minor = 0;
    check("device count", cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, i));
    check("device count", cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, i));
    if (has_code_for(10 * major + minor)) continue;
    // Devices behind one that can't be used are reached by hiding that one.
    return {i, i ? ""
                 : message("device 0 has compute capability ", major, ".", minor, ", and this build has code for ",
                           kTargets, " only (CUDA_VISIBLE_DEVICES hides devices)")};
  }
  return {count, ""};
}

std::atomic<bool> initialized = false, forked = false;

const Devices& devices() {
  static const Devices all = [] {
    pthread_atfork(nullptr, nullptr, [] { forked = forked || initialized; });
    Devices found = find();
    initialized = found.count > 0;
    return found;
  }();
  return all;
}

const std::string kForked =
    "CUDA was used before this process was forked, and a forked process cannot use it: start processes with "
    "multiprocessing.get_context('spawn')";

}  // namespace

int architecture_for(int capability) {
  std::istringstream targets(kTargets);
  int newest = 0;
  for (std::string target; targets >> target;)
    if (runs_on(target, capability)) newest = std::max(newest, std::stoi(target));
  return newest;
}

bool is_target(std::string_view architecture) {
  std::istringstream targets(kTargets);
  for (std::string target; targets >> target;)
    if (target == architecture) return true;
  return false;
}

bool is_forked() { return forked; }

int device_count() { return forked ? 0 : devices().count; }

const std::string& unavailable_reason() { return forked ? kForked : devices().reason; }

bool is_built() { return true; }

bool is_emulated() {
#ifdef STEEP_CUDA_EMULATED
  return true;
#else
  return false;
#endif
}

int runtime_version() {
  int version = 0;
  check("runtime version", cudaRuntimeGetVersion(&version));
  return version;
}

int driver_version() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess) cudaGetLastError();
  return version;
}

}  // namespace steep::cuda
