#include "state.h"

using namespace steep::cuda::emulator;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return call([=](State& s) {
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (stream == s.queues.default_stream(stream->device)) return cudaErrorStreamCaptureUnsupported;
    return s.captures.begin(stream, mode);
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return call([=](State& s) {
    *graph = nullptr;
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    auto made = std::make_unique<CUgraph_st>();
    const cudaError_t error = s.captures.end(stream, made->graph);
    if (error == cudaSuccess) {
      *graph = made.get();
      s.graphs[*graph] = std::move(made);
    }
    return error;
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id) {
  return call([=](State& s) {
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    *status = cudaStreamCaptureStatusNone;
    if (!stream->capture) return s.captures.check(s.queues, stream);
    *status = stream->capture->invalid ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
    if (id) *id = stream->capture->id;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr);
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  if (*mode < cudaStreamCaptureModeGlobal || *mode > cudaStreamCaptureModeRelaxed) return report(cudaErrorInvalidValue);
  std::swap(*mode, capture_mode());
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return call([=](State& s) {
    const auto found = s.graphs.find(graph);
    if (found == s.graphs.end()) return cudaErrorInvalidValue;
    // The nodes are copied: the graph may be destroyed.
    auto made = std::make_unique<CUgraphExec_st>(std::make_shared<Graph>(*found->second->graph));
    *exec = made.get();
    s.instances[*exec] = std::move(made);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return call([=](State& s) {
    const auto found = s.graphs.find(graph);
    if (found == s.graphs.end() || nodes) return cudaErrorInvalidValue;  // they are counted only
    *count = found->second->graph->nodes.size();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  return call([=](State& s) {
    const auto found = s.instances.find(exec);
    const auto stream = s.find(handle);
    if (!stream) return cudaErrorInvalidResourceHandle;
    if (found == s.instances.end()) return cudaErrorInvalidValue;
    if (const cudaError_t error = s.captures.check_wait(s.queues, stream)) return error;
    s.queues.launch(stream, found->second->graph);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return call([=](State& s) { return s.graphs.erase(graph) ? cudaSuccess : cudaErrorInvalidValue; });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return call([=](State& s) { return s.instances.erase(exec) ? cudaSuccess : cudaErrorInvalidValue; });
}
