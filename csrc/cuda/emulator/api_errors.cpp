#include <deque>
#include <string>

#include "state.h"

namespace steep::cuda::emulator {
namespace {

thread_local cudaError_t last = cudaSuccess;

struct Name {
  cudaError_t error;
  const char *name, *text;
};
// NVIDIA's texts.
constexpr Name kNames[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalState, "cudaErrorIllegalState", "the operation cannot be performed in the present state"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorHardwareStackError, "cudaErrorHardwareStackError", "hardware stack error"},
    {cudaErrorIllegalInstruction, "cudaErrorIllegalInstruction", "an illegal instruction was encountered"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge",
     "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

/// What was seen of kernels that failed. They are kept: cudaGetErrorString lends them out.
std::deque<std::pair<cudaError_t, std::string>>& seen() {
  static auto& all = *new std::deque<std::pair<cudaError_t, std::string>>;
  return all;
}

const Name* find(cudaError_t error) {
  for (const Name& name : kNames)
    if (name.error == error) return &name;
  return nullptr;
}

}  // namespace

cudaError_t report(cudaError_t error) {
  if (error != cudaSuccess) last = error;
  return error;
}

cudaError_t report(const Outcome& outcome) {
  if (outcome.error && !outcome.text.empty()) {
    const std::string text = std::string(find(outcome.error)->text) + ": " + outcome.text;
    if (seen().empty() || seen().back().second != text) seen().emplace_back(outcome.error, text);
  }
  return report(outcome.error);
}

void forget_last_error() { last = cudaSuccess; }

}  // namespace steep::cuda::emulator

using namespace steep::cuda::emulator;

const char* cudaGetErrorName(cudaError_t error) {
  const Name* name = find(error);
  return name ? name->name : "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  const std::lock_guard lock(state().mutex);
  for (auto it = seen().rbegin(); it != seen().rend(); ++it)
    if (it->first == error) return it->second.c_str();
  const Name* name = find(error);
  return name ? name->text : "unrecognized error code";
}

cudaError_t cudaPeekAtLastError() { return last; }

cudaError_t cudaGetLastError() {
  const cudaError_t error = last;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  const bool sticky = settings().devices && s.queues.lost(current_device()).error;
  last = sticky ? s.queues.lost(current_device()).error : cudaSuccess;
  return error;
}
