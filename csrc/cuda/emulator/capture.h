// Capturing: what is queued on a stream becomes a node of a graph and is done when the graph is launched. What CUDA
// forbids meanwhile fails with its codes, and mostly makes the capture invalid, as there. Everything here is called
// with the runtime's lock held (state.h).
#pragma once
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "queues.h"

namespace steep::cuda::emulator {

struct Node {
  std::function<Outcome()> run;
  std::vector<size_t> after;  // nodes that come first: their places, all smaller than this one's
};

/// Also one that is instantiated; `last` and `number` say where it was launched last.
struct Graph {
  std::vector<Node> nodes;
  std::shared_ptr<Stream> last;
  uint64_t number = 0;
};

struct Capture {
  uint64_t id;
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  std::shared_ptr<Graph> graph;
  std::vector<std::shared_ptr<Stream>> streams;  // that take part; the first one began it
  bool invalid = false;
};

class Captures {
 public:
  cudaError_t begin(const std::shared_ptr<Stream>& stream, cudaStreamCaptureMode mode);
  /// `graph` is null where it fails; the capture is over all the same, unless stream or thread are wrong.
  cudaError_t end(const std::shared_ptr<Stream>& stream, std::shared_ptr<Graph>& graph);

  /// Whether something may be queued on the stream: not on the legacy one while a stream that it waits for captures.
  cudaError_t check(const Queues& queues, const std::shared_ptr<Stream>& stream) const;
  /// Of a call whose effect on a replay no capture can see, such as cudaMalloc.
  cudaError_t check_unsafe() const;
  /// Of a call that waits for the stream, or asks how far it is; of one that waits for the device.
  cudaError_t check_wait(const Queues& queues, const std::shared_ptr<Stream>& stream) const;
  cudaError_t check_wait(int device) const;

  /// A node behind all that the stream has so far.
  static void add(Stream& stream, std::function<Outcome()> run);
  /// The stream, which may join the event's capture thereby, goes on behind it.
  cudaError_t wait(const std::shared_ptr<Stream>& stream, const Event& event) const;

 private:
  std::vector<std::shared_ptr<Capture>> all_;  // that are going on
  uint64_t id_ = 0;
};

/// The calling thread's: see cudaThreadExchangeStreamCaptureMode.
cudaStreamCaptureMode& capture_mode();

/// Runs the nodes, in an order of the schedule's choice among those that the graph allows.
Outcome run(const Graph& graph, Schedule& schedule);

}  // namespace steep::cuda::emulator
