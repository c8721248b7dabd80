// Capturing streams as CUDA graphs, launching these, and what CUDA forbids meanwhile: the emulated device must do what
// a GPU does.
#include <thread>

#include "cuda/launch.cuh"
#include "testing.h"

using namespace steep::cuda;
using namespace steep::testing;

namespace {

__global__ void set(int* p, int value) { *p = value; }
__global__ void add(int* p, const int* q) { *p += *q; }
__global__ void multiply(int* p, int by) { *p *= by; }

template <class... Parameter, class... Argument>
void queue(void (*kernel)(Parameter...), cudaStream_t stream, const Argument&... arguments) {
#ifdef STEEP_CUDA_EMULATED
  emulator::launch("test", reinterpret_cast<const void*>(kernel), 1, 1, 1, 0, stream,
                   [=] { kernel(Parameter(arguments)...); });
#else
  kernel<<<1, 1, 0, stream>>>(Parameter(arguments)...);
#endif
}

struct Stream {
  cudaStream_t handle;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    check("stream", cudaStreamCreateWithFlags(&handle, flags));
  }
  Stream(const Stream&) = delete;
  ~Stream() { cudaStreamDestroy(handle); }
  operator cudaStream_t() const { return handle; }
};
struct Event {
  cudaEvent_t handle;
  Event() { check("event", cudaEventCreateWithFlags(&handle, cudaEventDisableTiming)); }
  Event(const Event&) = delete;
  ~Event() { cudaEventDestroy(handle); }
  operator cudaEvent_t() const { return handle; }
};

int read(const int* p) {
  int value = 0;
  check("synchronize", cudaDeviceSynchronize());
  check("copy", cudaMemcpy(&value, p, sizeof value, cudaMemcpyDeviceToHost));
  return value;
}

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status;
  check("status", cudaStreamIsCapturing(stream, &status));
  return status;
}

/// The error of a call, which is forgotten.
cudaError_t error(cudaError_t status) {
  cudaGetLastError();
  return status;
}

/// The error with which a capture ends; there is no graph then.
cudaError_t end_of(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t status = error(cudaStreamEndCapture(stream, &graph));
  CHECK((status == cudaSuccess) == (graph != nullptr));
  if (graph) cudaGraphDestroy(graph);
  return status;
}

TEST(a_graph_does_what_was_captured_as_often_as_it_is_launched) {
  DeviceArray<int> x(std::vector<int>{1}), y(std::vector<int>{0}), z(std::vector<int>{5});
  synchronize(0);
  Stream stream, other;
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  CHECK(status_of(stream) == cudaStreamCaptureStatusActive);
  queue(multiply, stream, x.data(), 3);
  check("copy", cudaMemcpyAsync(y.data(), x.data(), sizeof(int), cudaMemcpyDeviceToDevice, stream));
  check("set", cudaMemsetAsync(z.data(), 0, sizeof(int), stream));
  queue(add, stream, z.data(), y.data());
  cudaGraph_t graph = nullptr;
  check("end", cudaStreamEndCapture(stream, &graph));
  CHECK(status_of(stream) == cudaStreamCaptureStatusNone);
  CHECK(read(x.data()) == 1 && read(z.data()) == 5);  // nothing was done
  size_t nodes = 0;
  check("nodes", cudaGraphGetNodes(graph, nullptr, &nodes));
  CHECK(nodes == 4);
  cudaGraphExec_t exec = nullptr;
  check("instantiate", cudaGraphInstantiate(&exec, graph, 0));
  check("destroy", cudaGraphDestroy(graph));
  check("launch", cudaGraphLaunch(exec, stream));
  CHECK(read(x.data()) == 3 && read(z.data()) == 3);
  for (cudaStream_t s : {stream.handle, other.handle, cudaStream_t(nullptr), stream.handle})
    check("launch", cudaGraphLaunch(exec, s));  // they come one after another, whatever the streams
  CHECK(read(x.data()) == 243 && read(z.data()) == 243);
  check("destroy", cudaGraphExecDestroy(exec));
}

TEST(what_the_host_changes_is_seen_by_the_next_launch) {
  DeviceArray<int> x(1);
  synchronize(0);
  int* pinned = nullptr;
  check("pinned", cudaMallocHost(reinterpret_cast<void**>(&pinned), 2 * sizeof(int)));
  Stream stream;
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  check("copy", cudaMemcpyAsync(x.data(), pinned, sizeof(int), cudaMemcpyHostToDevice, stream));
  queue(multiply, stream, x.data(), 2);
  check("copy", cudaMemcpyAsync(pinned + 1, x.data(), sizeof(int), cudaMemcpyDeviceToHost, stream));
  cudaGraph_t graph = nullptr;
  check("end", cudaStreamEndCapture(stream, &graph));
  cudaGraphExec_t exec = nullptr;
  check("instantiate", cudaGraphInstantiate(&exec, graph, 0));
  for (int value : {4, 7}) {
    pinned[0] = value;
    check("launch", cudaGraphLaunch(exec, stream));
    check("synchronize", cudaStreamSynchronize(stream));
    CHECK(pinned[1] == 2 * value);
  }
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
  check("pinned", cudaFreeHost(pinned));
}

/// x = 2; then x ·= 5 on one branch and y = 3 on another; then x += y.
TEST(streams_fork_and_join_by_events) {
  DeviceArray<int> x(std::vector<int>{0}), y(std::vector<int>{0});
  synchronize(0);
  Stream a, b;
  Event forked, joined, never;
  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  queue(set, a, x.data(), 2);
  check("record", cudaEventRecord(forked, a));
  check("wait", cudaStreamWaitEvent(b, forked, 0));
  CHECK(status_of(b) == cudaStreamCaptureStatusActive);
  check("wait", cudaStreamWaitEvent(b, never, 0));  // never recorded: nothing to wait for
  queue(multiply, a, x.data(), 5);
  queue(set, b, y.data(), 3);
  check("record", cudaEventRecord(joined, b));
  CHECK(error(cudaEventQuery(joined)) == cudaErrorCapturedEvent);
  check("wait", cudaStreamWaitEvent(a, joined, 0));
  queue(add, a, x.data(), y.data());
  cudaGraph_t graph = nullptr;
  check("end", cudaStreamEndCapture(a, &graph));
  CHECK(status_of(b) == cudaStreamCaptureStatusNone);
  cudaGraphExec_t exec = nullptr;
  check("instantiate", cudaGraphInstantiate(&exec, graph, 0));
  for (int i = 0; i < 3; ++i) {
    check("launch", cudaGraphLaunch(exec, a));
    CHECK(read(x.data()) == 13);
  }
  CHECK(error(cudaEventSynchronize(joined)) == cudaErrorCapturedEvent);
  check("record", cudaEventRecord(joined, b));
  check("synchronize", cudaEventSynchronize(joined));
  cudaGraphExecDestroy(exec), cudaGraphDestroy(graph);
}

TEST(what_waits_for_a_capturing_stream_makes_the_capture_invalid) {
  DeviceArray<int> x(std::vector<int>{1});
  synchronize(0);
  Stream stream;
  const std::vector<std::function<cudaError_t()>> forbidden = {
      [&] { return cudaStreamSynchronize(stream); },
      [&] { return cudaStreamQuery(stream); },
      [&] { return cudaDeviceSynchronize(); },
  };
  for (const auto& call : forbidden) {
    check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    CHECK(error(call()) == cudaErrorStreamCaptureUnsupported);
    CHECK(status_of(stream) == cudaStreamCaptureStatusInvalidated);
    CHECK(error(cudaMemsetAsync(x.data(), 0, sizeof(int), stream)) == cudaErrorStreamCaptureInvalidated);
    CHECK(end_of(stream) == cudaErrorStreamCaptureInvalidated);
    CHECK(status_of(stream) == cudaStreamCaptureStatusNone);
    CHECK(read(x.data()) == 1);
  }
}

TEST(memory_is_asked_for_in_the_relaxed_mode_only) {
  Stream stream;
  void* p = nullptr;
  for (auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
    check("begin", cudaStreamBeginCapture(stream, mode));
    CHECK(error(cudaMalloc(&p, 64)) == cudaErrorStreamCaptureUnsupported);
    CHECK(end_of(stream) == cudaErrorStreamCaptureInvalidated);
  }
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  check("malloc", cudaMalloc(&p, 64));
  check("free", cudaFree(p));
  CHECK(end_of(stream) == cudaSuccess);
  // A thread may say that it knows what it does.
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  check("exchange", cudaThreadExchangeStreamCaptureMode(&mode));
  CHECK(mode == cudaStreamCaptureModeGlobal);
  check("malloc", cudaMalloc(&p, 64));
  check("exchange", cudaThreadExchangeStreamCaptureMode(&mode));
  check("free", end_of(stream));
  check("free", cudaFree(p));
}

TEST(other_threads_are_stopped_by_a_global_capture_only) {
  Stream stream;
  const auto elsewhere = [] {
    cudaError_t status = cudaErrorUnknown;
    std::thread([&] {
      void* p = nullptr;
      status = error(cudaMalloc(&p, 64));
      if (status == cudaSuccess) cudaFree(p);
    }).join();
    return status;
  };
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  CHECK(elsewhere() == cudaSuccess);
  CHECK(end_of(stream) == cudaSuccess);
  check("begin", cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  CHECK(elsewhere() == cudaErrorStreamCaptureUnsupported);
  CHECK(end_of(stream) == cudaErrorStreamCaptureInvalidated);
}

TEST(captures_that_begin_or_end_wrongly) {
  Stream a, b;
  Event event;
  CHECK(error(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed)) == cudaErrorStreamCaptureUnsupported);
  CHECK(end_of(a) == cudaErrorIllegalState);
  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
  CHECK(error(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal)) == cudaErrorIllegalState);
  std::thread([&] { CHECK(end_of(a) == cudaErrorStreamCaptureWrongThread); }).join();
  CHECK(end_of(a) == cudaErrorStreamCaptureInvalidated);

  DeviceArray<int> x(std::vector<int>{0});
  synchronize(0);
  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  check("record", cudaEventRecord(event, a));
  check("wait", cudaStreamWaitEvent(b, event, 0));
  queue(set, b, x.data(), 1);
  CHECK(end_of(b) == cudaErrorStreamCaptureUnmatched);
  CHECK(end_of(a) == cudaErrorStreamCaptureInvalidated);

  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  check("record", cudaEventRecord(event, a));
  check("wait", cudaStreamWaitEvent(b, event, 0));
  queue(set, b, x.data(), 1);
  CHECK(end_of(a) == cudaErrorStreamCaptureUnjoined);
  CHECK(read(x.data()) == 0);
}

TEST(events_do_not_lead_in_or_out_of_a_capture) {
  Stream a, b;
  Event event;
  check("record", cudaEventRecord(event, b));
  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  CHECK(error(cudaStreamWaitEvent(a, event, 0)) == cudaErrorStreamCaptureIsolation);
  CHECK(end_of(a) == cudaErrorStreamCaptureInvalidated);
  check("begin", cudaStreamBeginCapture(a, cudaStreamCaptureModeRelaxed));
  check("begin", cudaStreamBeginCapture(b, cudaStreamCaptureModeRelaxed));
  check("record", cudaEventRecord(event, b));
  CHECK(error(cudaStreamWaitEvent(a, event, 0)) == cudaErrorStreamCaptureMerge);
  CHECK(end_of(a) == cudaErrorStreamCaptureInvalidated);
  CHECK(end_of(b) == cudaErrorStreamCaptureInvalidated);
}

TEST(the_legacy_stream_would_depend_on_a_blocking_one) {
  DeviceArray<int> x(std::vector<int>{0});
  synchronize(0);
  Stream blocking(cudaStreamDefault), other;
  check("begin", cudaStreamBeginCapture(blocking, cudaStreamCaptureModeRelaxed));
  CHECK(error(cudaMemsetAsync(x.data(), 1, sizeof(int), nullptr)) == cudaErrorStreamCaptureImplicit);
  CHECK(end_of(blocking) == cudaErrorStreamCaptureInvalidated);
  check("begin", cudaStreamBeginCapture(other, cudaStreamCaptureModeRelaxed));
  check("set", cudaMemsetAsync(x.data(), 0, sizeof(int), nullptr));
  CHECK(end_of(other) == cudaSuccess);
}

}  // namespace
