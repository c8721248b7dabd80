#include "state.h"

using namespace steep::cuda::emulator;

namespace {

/// call() with the stream or event of a handle.
template <class Handle, class F>
cudaError_t call_with(Handle handle, F f) {
  return call([&](State& s) {
    const auto found = s.find(handle);
    return found ? f(s, found) : cudaErrorInvalidResourceHandle;
  });
}

}  // namespace

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([=](State& s) {
    if (flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    auto handle =
        std::make_unique<CUstream_st>(CUstream_st{s.queues.create(current_device(), flags != cudaStreamNonBlocking)});
    *stream = handle.get();
    s.streams[*stream] = std::move(handle);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return report(cudaErrorInvalidResourceHandle);
  return call_with(handle, [=](State& s, const auto& stream) {
    if (const cudaError_t error = s.captures.check_wait(s.queues, stream)) return error;
    s.queues.destroy(stream);
    s.streams.erase(handle);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call_with(handle, [](State& s, const auto& stream) {
    if (const cudaError_t error = s.captures.check_wait(s.queues, stream)) return error;
    s.queues.finish(*stream);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call_with(handle, [](State& s, const auto& stream) {
    if (const cudaError_t error = s.captures.check_wait(s.queues, stream)) return error;
    if (stream->tasks.empty()) return cudaSuccess;
    s.queues.progress(*stream);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return call_with(handle, [=](State& s, const auto& stream) {
    const auto found = s.find(event);
    if (!found) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = s.captures.check(s.queues, stream)) return error;
    if (stream->capture || found->capture) return s.captures.wait(stream, *found);
    s.queues.wait(stream, found);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([=](State& s) {
    auto handle = std::make_unique<CUevent_st>();
    handle->event = std::make_shared<Event>();
    handle->event->device = current_device();
    handle->event->timing = !(flags & cudaEventDisableTiming);
    *event = handle.get();
    s.events[*event] = std::move(handle);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return call_with(handle, [=](State& s, const auto&) {
    s.events.erase(handle);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream) {
  return call_with(handle, [=](State& s, const auto& event) {
    const auto found = s.find(stream);
    if (!found || found->device != event->device) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = s.captures.check(s.queues, found)) return error;
    s.queues.record(event, found);
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return call_with(handle, [](State& s, const auto& event) {
    if (event->capture) return cudaErrorCapturedEvent;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    if (event->done >= event->recorded) return cudaSuccess;
    s.queues.progress(*event->stream);
    return cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return call_with(handle, [](State& s, const auto& event) {
    if (event->capture) return cudaErrorCapturedEvent;
    if (const cudaError_t error = s.captures.check_unsafe()) return error;
    s.queues.finish(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call_with(start, [=](State& s, const auto& first) {
    const auto last = s.find(end);
    if (!last || !first->timing || !last->timing || !first->recorded || !last->recorded)
      return cudaErrorInvalidResourceHandle;
    if (first->done < first->recorded || last->done < last->recorded) return cudaErrorNotReady;
    *milliseconds = std::chrono::duration<float, std::milli>(last->time - first->time).count();
    return cudaSuccess;
  });
}
