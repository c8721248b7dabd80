// Streams: what is queued is done as late as CUDA allows, when somebody waits for it, so that a program that forgets to
// wait reads old values. Everything here is called with the runtime's lock held (state.h).
#pragma once
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "block.h"

namespace steep::cuda::emulator {

struct Capture;  // capture.h
struct Graph;

struct Task {
  uint64_t number;  // in the order in which everything was queued
  std::function<Outcome()> run;
  size_t held_bytes;  // of host memory that the task keeps
};

struct Stream {
  int device;
  bool blocking;  // waits for the default stream, and it for this one
  std::deque<Task> tasks;
  size_t held_bytes = 0;
  std::shared_ptr<Capture> capture;  // that it takes part in; then `behind` are the nodes that the next one waits for
  std::vector<size_t> behind;
};

struct Event {
  int device;
  bool timing;
  std::shared_ptr<Stream> stream;   // where it was last recorded
  uint64_t recorded = 0, done = 0;  // numbers of tasks
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<Capture> capture;  // where it was last recorded in one: behind these nodes
  std::vector<size_t> behind;
};

class Queues {
 public:
  Queues();
  std::shared_ptr<Stream> create(int device, bool blocking);
  void destroy(const std::shared_ptr<Stream>& stream);
  const std::shared_ptr<Stream>& default_stream(int device) const { return defaults_[size_t(device)]; }

  /// On a stream that captures it becomes a node of the graph.
  uint64_t push(const std::shared_ptr<Stream>& stream, std::function<Outcome()> run, size_t held_bytes = 0);
  /// Queues all the nodes of a graph, behind those of its last launch.
  void launch(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Graph>& graph);
  void record(const std::shared_ptr<Event>& event, const std::shared_ptr<Stream>& stream);
  void wait(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event);

  // These do the work that has to be done.
  void finish(Stream& stream);
  void finish(const Event& event);
  void finish_device(int device);
  /// Does one task of it, as time passes for who asks whether it is done.
  void progress(Stream& stream);

  /// What made the device unusable; cudaSuccess while it is fine.
  const Outcome& lost(int device) const { return lost_[size_t(device)]; }
  void set_lost(int device, const Outcome& outcome) { lost_[size_t(device)] = outcome; }
  void reset(int device);

 private:
  void run_until(Stream& stream, uint64_t number);
  void execute(Stream& stream, const Task& task);

  std::vector<std::shared_ptr<Stream>> defaults_, all_;
  std::vector<Outcome> lost_;
  uint64_t number_ = 0;
  Schedule schedule_;
};

}  // namespace steep::cuda::emulator
