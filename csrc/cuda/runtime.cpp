#include "runtime.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

#include "../core/errors.h"
#include "graph.h"

namespace steep::cuda {
namespace {

/// Errors after which the device's context is of no use any more.
bool is_sticky(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorIllegalInstruction:
    case cudaErrorHardwareStackError:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
      return true;
    default:
      return false;
  }
}

/// Is an environment variable set, and not to 0?
bool is_set(const char* variable) {
  const char* text = std::getenv(variable);
  return text && *text && std::string_view(text) != "0";
}

/// False where a question was answered with "not yet": CUDA would report that again after the next launch.
bool is_ready(cudaError_t status) noexcept {
  if (status == cudaErrorNotReady) cudaGetLastError();
  return status != cudaErrorNotReady;
}

void check_device(int device) {
  if (device < 0 || device >= device_count())
    throw std::invalid_argument(message("there is no device cuda:", device, ": this machine has ", device_count()));
}

cudaStream_t as_stream(Handle h) { return reinterpret_cast<cudaStream_t>(h); }
cudaEvent_t as_event(Handle h) { return reinterpret_cast<cudaEvent_t>(h); }

thread_local cudaStream_t streams[kMaxDevices] = {};

}  // namespace

void check(const char* op, cudaError_t status) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that isn't sticky must not be reported again, by the next operation
  const std::string text = message(op, ": ", cudaGetErrorString(status), " (", cudaGetErrorName(status), ")");
  if (status == cudaErrorMemoryAllocation) throw MemoryError(text);
  if (is_sticky(status))
    throw CudaError(text +
                    ": an operation queued earlier may be the cause, and the device cannot be used any more by this "
                    "process: run it again with STEEP_CUDA_SYNC=1 to see which one fails");
  throw CudaError(text);
}

namespace {

/// What is queued elsewhere while a thread records would be done once, and with values that aren't there.
void check_recorded(const char* op) {
  cudaStreamCaptureStatus status;
  check(op, cudaStreamIsCapturing(current_stream(), &status));
  if (status != cudaStreamCaptureStatusActive)
    throw CudaError(message(op,
                            ": a step that is captured as a CUDA graph works on one device, and on other streams only "
                            "after stream.wait_stream(steep.cuda.current_stream())"));
}

}  // namespace

void wait_if_asked(const char* op) {
  static const bool waits = is_set("STEEP_CUDA_SYNC");
  if (recording()) return check_recorded(op);
  if (waits) check(op, cudaStreamSynchronize(current_stream()));
}

bool is_done(cudaEvent_t event) noexcept { return is_ready(cudaEventQuery(event)); }

bool keeps_memory() {
  static const bool keeps = !std::getenv("STEEP_CUDA_CACHE") || is_set("STEEP_CUDA_CACHE");
  return keeps;
}

int current_device() {
  if (is_forked()) throw CudaError(unavailable_reason());
  int device = 0;
  check("current device", cudaGetDevice(&device));
  return device;
}

cudaStream_t current_stream() { return streams[current_device()]; }

int set_device(int device) {
  const int before = current_device();
  if (device == before) return -1;
  check("set device", cudaSetDevice(device));
  return before;
}

void restore_device(int before) noexcept {
  if (before >= 0 && cudaSetDevice(before) != cudaSuccess) cudaGetLastError();
}

OnDevice::OnDevice(int device) : before_(-1) {
  check_device(device);
  before_ = set_device(device);
}

OnDevice::~OnDevice() { restore_device(before_); }

const DeviceLimits& device_limits() {
  static const DeviceLimits* const all = [] {
    auto* limits = new DeviceLimits[kMaxDevices];
    for (int i = 0; i < device_count(); ++i) {
      const auto get = [&](cudaDeviceAttr attribute) {
        int value = 0;
        check("device limits", cudaDeviceGetAttribute(&value, attribute, i));
        return value;
      };
      const int capability = 10 * get(cudaDevAttrComputeCapabilityMajor) + get(cudaDevAttrComputeCapabilityMinor);
      limits[i] = {get(cudaDevAttrMultiProcessorCount), get(cudaDevAttrMaxSharedMemoryPerBlockOptin),
                   get(cudaDevAttrMaxSharedMemoryPerMultiprocessor), capability, architecture_for(capability)};
    }
    return limits;
  }();
  return all[current_device()];
}

// --- what the bindings ask ------------------------------------------------------------------------------------------

Properties properties(int device) {
  const OnDevice on(device);
  cudaDeviceProp p;
  check("get_device_properties", cudaGetDeviceProperties(&p, device));
  const auto get = [&](cudaDeviceAttr attribute) {
    int value = 0;
    check("get_device_properties", cudaDeviceGetAttribute(&value, attribute, device));
    return value;
  };
  return {p.name,
          p.major,
          p.minor,
          int64_t(p.totalGlobalMem),
          p.multiProcessorCount,
          int64_t(p.sharedMemPerBlockOptin),
          int64_t(p.sharedMemPerMultiprocessor),
          p.l2CacheSize,
          p.warpSize,
          get(cudaDevAttrClockRate),
          get(cudaDevAttrGlobalMemoryBusWidth)};
}

void synchronize(int device) {
  refuse_to_read("synchronize");
  const OnDevice on(device);
  check("synchronize", cudaDeviceSynchronize());
  look_at_checks(device);
}

namespace {

/// Streams that nobody has any more. They are not destroyed: memory that was used on them still names them.
struct IdleStreams {
  std::mutex mutex;
  std::vector<Handle> of[kMaxDevices];
};
IdleStreams& idle_streams() {
  static IdleStreams& all = *new IdleStreams;
  return all;
}

}  // namespace

Handle stream_create(int device) {
  const OnDevice on(device);
  {
    IdleStreams& idle = idle_streams();
    const std::lock_guard lock(idle.mutex);
    if (!idle.of[device].empty()) {
      const Handle stream = idle.of[device].back();
      idle.of[device].pop_back();
      return stream;
    }
  }
  cudaStream_t stream = nullptr;
  check("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return reinterpret_cast<Handle>(stream);
}

void stream_destroy(int device, Handle stream) {
  check_device(device);
  IdleStreams& idle = idle_streams();
  const std::lock_guard lock(idle.mutex);
  idle.of[device].push_back(stream);
}

void stream_synchronize(int device, Handle stream) {
  const OnDevice on(device);
  refuse_to_read("stream.synchronize");
  check("stream.synchronize", cudaStreamSynchronize(as_stream(stream)));
  look_at_checks(device);
}

bool stream_query(int device, Handle stream) {
  const OnDevice on(device);
  refuse_to_read("stream.query");
  const cudaError_t status = cudaStreamQuery(as_stream(stream));
  if (!is_ready(status)) return false;
  check("stream.query", status);
  return true;
}

Handle current_stream_of(int device) {
  check_device(device);
  return reinterpret_cast<Handle>(streams[device]);
}

void set_stream(int device, Handle stream) {
  check_device(device);
  streams[device] = as_stream(stream);
}

void stream_wait_event(int device, Handle stream, Handle event) {
  const OnDevice on(device);
  check("stream.wait_event", cudaStreamWaitEvent(as_stream(stream), as_event(event), 0));
}

Handle event_create(int device, bool timing) {
  const OnDevice on(device);
  cudaEvent_t event = nullptr;
  check("event", cudaEventCreateWithFlags(&event, timing ? cudaEventDefault : cudaEventDisableTiming));
  return reinterpret_cast<Handle>(event);
}

void event_destroy(int device, Handle event) {
  const OnDevice on(device);
  check("event", cudaEventDestroy(as_event(event)));
}

void event_record(int device, Handle event, Handle stream) {
  const OnDevice on(device);
  check("event.record", cudaEventRecord(as_event(event), as_stream(stream)));
}

bool event_query(int device, Handle event) {
  const OnDevice on(device);
  refuse_to_read("event.query");
  const cudaError_t status = cudaEventQuery(as_event(event));
  if (!is_ready(status)) return false;
  check("event.query", status);
  return true;
}

void event_synchronize(int device, Handle event) {
  const OnDevice on(device);
  refuse_to_read("event.synchronize");
  check("event.synchronize", cudaEventSynchronize(as_event(event)));
  look_at_checks(device);
}

double event_elapsed(int device, Handle start, Handle end) {
  const OnDevice on(device);
  float milliseconds = 0;
  check("event.elapsed_time", cudaEventElapsedTime(&milliseconds, as_event(start), as_event(end)));
  return milliseconds;
}

// --- graphs ----------------------------------------------------------------------------------------------------------

Graph* graph_create(int device) { return new Graph(device); }
void graph_destroy(Graph* graph) noexcept { delete graph; }
void graph_begin(Graph& graph, uint64_t offset) { graph.begin(offset); }
void graph_end(Graph& graph) { graph.end(); }
void graph_abandon(Graph& graph) noexcept { graph.abandon(); }
void graph_follow(Graph& graph) { graph.follow(); }
void graph_launch(Graph& graph, uint64_t seed, uint64_t offset) { graph.launch(seed, offset); }
size_t graph_size(const Graph& graph) { return graph.size(); }

}  // namespace steep::cuda
