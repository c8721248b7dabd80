#include "queues.h"

#include <algorithm>
#include <optional>

#include "capture.h"
#include "fault.h"
#include "memory.h"

namespace steep::cuda::emulator {
namespace {

constexpr size_t kMostTasks = 256, kMostHeld = size_t(64) << 20;

/// A time during which tasks are done; may be nested.
class Working {
 public:
  Working() {
    if (depth_++ == 0) catch_.emplace();
  }
  Working(const Working&) = delete;
  ~Working() {
    if (--depth_ > 0) return;
    catch_.reset();
    device_memory().close_all();
  }

 private:
  static inline int depth_ = 0;
  static inline std::optional<CatchFaults> catch_;
};

}  // namespace

Queues::Queues() : lost_(size_t(settings().devices)) {
  for (int i = 0; i < settings().devices; ++i) defaults_.push_back(create(i, true));
}

std::shared_ptr<Stream> Queues::create(int device, bool blocking) {
  all_.push_back(std::make_shared<Stream>(Stream{device, blocking, {}, 0, nullptr, {}}));
  return all_.back();
}

void Queues::destroy(const std::shared_ptr<Stream>& stream) {
  finish(*stream);
  std::erase(all_, stream);
}

uint64_t Queues::push(const std::shared_ptr<Stream>& stream, std::function<Outcome()> run, size_t held_bytes) {
  if (stream->capture) return Captures::add(*stream, std::move(run)), number_;
  stream->tasks.push_back({++number_, std::move(run), held_bytes});
  stream->held_bytes += held_bytes;
  const uint64_t number = number_;
  if (settings().eager || stream->tasks.size() > kMostTasks || stream->held_bytes > kMostHeld) finish(*stream);
  if (schedule_.chance(4)) {
    Stream& other = *all_[(schedule_.draw() >> 8) % all_.size()];
    if (!other.tasks.empty()) run_until(other, other.tasks[(schedule_.draw() >> 8) % other.tasks.size()].number);
  }
  return number;
}

void Queues::launch(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Graph>& graph) {
  const auto task = [this, graph, before = graph->last, number = graph->number]() -> Outcome {
    if (before) run_until(*before, number);
    return run(*graph, schedule_);
  };
  graph->last = stream;
  graph->number = number_ + 1;
  push(stream, task);
}

void Queues::record(const std::shared_ptr<Event>& event, const std::shared_ptr<Stream>& stream) {
  event->capture = stream->capture;
  event->behind = stream->behind;
  if (stream->capture) return;
  event->stream = stream;
  event->recorded = number_ + 1;
  push(stream, [event, number = number_ + 1]() -> Outcome {
    event->done = std::max(event->done, number);
    event->time = std::chrono::steady_clock::now();
    return {};
  });
}

void Queues::wait(const std::shared_ptr<Stream>& stream, const std::shared_ptr<Event>& event) {
  if (!event->stream) return;  // never recorded
  push(stream, [this, from = event->stream, number = event->recorded]() -> Outcome {
    run_until(*from, number);
    return {};
  });
}

void Queues::finish(Stream& stream) { run_until(stream, number_); }
void Queues::finish(const Event& event) {
  if (event.stream) run_until(*event.stream, event.recorded);
}
void Queues::finish_device(int device) {
  for (const auto& stream : all_)
    if (stream->device == device) finish(*stream);
}
void Queues::progress(Stream& stream) {
  if (!stream.tasks.empty()) run_until(stream, stream.tasks.front().number);
}

void Queues::reset(int device) {
  for (const auto& stream : all_)
    if (stream->device == device) stream->tasks.clear(), stream->held_bytes = 0;
  lost_[size_t(device)] = {};
}

void Queues::run_until(Stream& stream, uint64_t number) {
  if (stream.tasks.empty() || stream.tasks.front().number > number) return;
  const Working working;
  while (!stream.tasks.empty() && stream.tasks.front().number <= number) {
    const Task task = std::move(stream.tasks.front());
    stream.tasks.pop_front();
    stream.held_bytes -= task.held_bytes;
    Stream& first = *defaults_[size_t(stream.device)];
    if (&stream == &first) {
      for (const auto& other : all_)
        if (other->device == stream.device && other->blocking && other.get() != &first) run_until(*other, task.number);
    } else if (stream.blocking) {
      run_until(first, task.number);
    }
    execute(stream, task);
  }
}

void Queues::execute(Stream& stream, const Task& task) {
  Outcome& lost = lost_[size_t(stream.device)];
  if (lost.error) return;
  const Outcome outcome = task.run();
  if (outcome.error && !lost.error) lost = outcome;
}

}  // namespace steep::cuda::emulator
