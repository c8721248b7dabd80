#include "capture.h"

#include <algorithm>

namespace steep::cuda::emulator {
namespace {

/// The nodes that nothing in `nodes` comes behind: waiting for them is waiting for all.
std::vector<size_t> joined(std::vector<size_t> nodes, const std::vector<size_t>& others) {
  nodes.insert(nodes.end(), others.begin(), others.end());
  std::ranges::sort(nodes);
  const auto repeated = std::ranges::unique(nodes);
  nodes.erase(repeated.begin(), repeated.end());
  return nodes;
}

cudaError_t invalidate(Capture& capture, cudaError_t error) {
  capture.invalid = true;
  return error;
}

}  // namespace

cudaStreamCaptureMode& capture_mode() {
  thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

cudaError_t Captures::begin(const std::shared_ptr<Stream>& stream, cudaStreamCaptureMode mode) {
  if (stream->capture) return cudaErrorIllegalState;
  stream->capture =
      std::make_shared<Capture>(Capture{++id_, mode, std::this_thread::get_id(), std::make_shared<Graph>(), {stream}});
  stream->behind.clear();
  all_.push_back(stream->capture);
  return cudaSuccess;
}

cudaError_t Captures::end(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph) {
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return cudaErrorIllegalState;
  if (capture->streams[0] != stream) return invalidate(*capture, cudaErrorStreamCaptureUnmatched);
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
    return invalidate(*capture, cudaErrorStreamCaptureWrongThread);
  // What other streams have must come before what the first one has.
  std::vector<bool> before(capture->graph->nodes.size());
  for (size_t node : stream->behind) before[node] = true;
  for (size_t i = before.size(); i-- > 0;)
    if (before[i])
      for (size_t node : capture->graph->nodes[i].after) before[node] = true;
  const bool whole = std::ranges::all_of(capture->streams, [&](const auto& s) {
    return std::ranges::all_of(s->behind, [&](size_t i) { return before[i]; });
  });
  for (const auto& s : capture->streams) s->capture = nullptr, s->behind.clear();
  std::erase(all_, capture);
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!whole) return cudaErrorStreamCaptureUnjoined;
  graph = capture->graph;
  return cudaSuccess;
}

cudaError_t Captures::check(const Queues& queues, const std::shared_ptr<Stream>& stream) const {
  if (stream->capture) return stream->capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  if (stream != queues.default_stream(stream->device)) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const auto& capture : all_)
    for (const auto& s : capture->streams)
      if (s->device == stream->device && s->blocking) error = invalidate(*capture, cudaErrorStreamCaptureImplicit);
  return error;
}

cudaError_t Captures::check_unsafe() const {
  if (capture_mode() == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const auto& capture : all_) {
    const bool here = capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool anywhere = capture_mode() == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (here || anywhere) error = invalidate(*capture, cudaErrorStreamCaptureUnsupported);
  }
  return error;
}

cudaError_t Captures::check_wait(const Queues& queues, const std::shared_ptr<Stream>& stream) const {
  if (stream->capture) return invalidate(*stream->capture, cudaErrorStreamCaptureUnsupported);
  return check(queues, stream);
}

cudaError_t Captures::check_wait(int device) const {
  cudaError_t error = cudaSuccess;
  for (const auto& capture : all_)
    for (const auto& s : capture->streams)
      if (s->device == device) error = invalidate(*capture, cudaErrorStreamCaptureUnsupported);
  return error;
}

void Captures::add(Stream& stream, std::function<Outcome()> run) {
  std::vector<Node>& nodes = stream.capture->graph->nodes;
  nodes.push_back({std::move(run), std::move(stream.behind)});
  stream.behind = {nodes.size() - 1};
}

cudaError_t Captures::wait(const std::shared_ptr<Stream>& stream, const Event& event) const {
  if (stream->capture && stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!event.capture) return event.stream ? invalidate(*stream->capture, cudaErrorStreamCaptureIsolation) : cudaSuccess;
  const std::shared_ptr<Capture> capture = event.capture;
  if (std::ranges::find(all_, capture) == all_.end()) {  // it is over
    if (stream->capture) stream->capture->invalid = true;
    return cudaErrorCapturedEvent;
  }
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (!stream->capture) {
    stream->capture = capture;
    stream->behind.clear();
    capture->streams.push_back(stream);
  } else if (stream->capture != capture) {
    stream->capture->invalid = capture->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  stream->behind = joined(std::move(stream->behind), event.behind);
  return cudaSuccess;
}

Outcome run(const Graph& graph, Schedule& schedule) {
  const size_t count = graph.nodes.size();
  std::vector<size_t> missing(count);
  std::vector<std::vector<size_t>> followers(count);
  std::vector<size_t> ready;
  for (size_t i = 0; i < count; ++i) {
    missing[i] = graph.nodes[i].after.size();
    for (size_t before : graph.nodes[i].after) followers[before].push_back(i);
    if (!missing[i]) ready.push_back(i);
  }
  while (!ready.empty()) {
    std::ranges::sort(ready);
    const Order order = schedule.order();
    const size_t at = order == Order::forward   ? 0
                      : order == Order::reverse ? ready.size() - 1
                                                : size_t(schedule.draw() >> 8) % ready.size();
    const size_t node = ready[at];
    ready.erase(ready.begin() + ptrdiff_t(at));
    if (const Outcome outcome = graph.nodes[node].run(); outcome.error) return outcome;
    for (size_t next : followers[node])
      if (--missing[next] == 0) ready.push_back(next);
  }
  return {};
}

}  // namespace steep::cuda::emulator
