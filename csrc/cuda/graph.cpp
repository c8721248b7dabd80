#include "graph.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "../core/errors.h"
#include "runtime.h"

namespace steep::cuda {
namespace {

constexpr size_t kChunk = 4096;   // bytes of numbers, unless more are asked for at once
constexpr size_t kPlaces = 4096;  // of checks on a device, at most

thread_local Graph* current = nullptr;

/// A stream of each device that nothing but recordings use.
cudaStream_t recording_stream(int device) {
  static std::mutex mutex;
  static cudaStream_t streams[kMaxDevices] = {};
  const std::lock_guard lock(mutex);
  if (!streams[device]) check("graph", cudaStreamCreateWithFlags(&streams[device], cudaStreamNonBlocking));
  return streams[device];
}

/// Graphs with checks, and places for these in pinned memory, which kernels can write to.
struct Checked {
  std::mutex mutex;
  std::vector<Graph*> graphs;
  std::vector<int64_t*> free;
  bool made = false;

  int64_t* take() {
    if (!made) {
      void* p = nullptr;
      check("graph", cudaMallocHost(&p, kPlaces * sizeof(int64_t)));
      for (size_t i = 0; i < kPlaces; ++i) free.push_back(static_cast<int64_t*>(p) + i);
      made = true;
    }
    if (free.empty()) throw CudaError(message("graph: more than ", kPlaces, " checks of values in all graphs"));
    int64_t* const place = free.back();
    free.pop_back();
    *place = kNothingWrong;
    return place;
  }
};
Checked& checked() {
  static Checked& all = *new Checked;  // never destroyed, as graphs may outlive it
  return all;
}

/// What is left of graphs, until the device has done with them. It may stay for a while: to wait for the device while
/// something is recorded would end the recording.
struct Remains {
  uint64_t id;
  cudaGraphExec_t exec;
  std::vector<void*> memory;
  std::unordered_set<void*> kept;
  void (*release)(void*);
};
struct Dropped {
  std::mutex mutex;
  std::vector<Remains> waiting[kMaxDevices];
};
Dropped& dropped() {
  static Dropped& all = *new Dropped;
  return all;
}

void free_dropped(int device) noexcept {
  if (current || is_forked()) return;
  std::vector<Remains> all;
  {
    const std::lock_guard lock(dropped().mutex);
    all.swap(dropped().waiting[device]);
  }
  if (all.empty()) return;
  int before = -1;
  cudaGetDevice(&before);
  cudaSetDevice(device);
  if (cudaDeviceSynchronize() != cudaSuccess) cudaGetLastError();
  for (const Remains& graph : all) {
    if (graph.exec && cudaGraphExecDestroy(graph.exec) != cudaSuccess) cudaGetLastError();
    for (void* p : graph.memory) deallocate(p);
    release_pool(graph.id);
    for (void* object : graph.kept) graph.release(object);
  }
  cudaSetDevice(before);
}

}  // namespace

Graph* recording() noexcept { return current; }

void refuse_to_read(const char* op) {
  if (current)
    throw CudaError(message(op,
                            ": a step that is captured as a CUDA graph cannot read the values of tensors: they are "
                            "computed later, in its replays, which don't come by here. Return the tensor and read it "
                            "outside of the step, or don't capture this step"));
}

void refuse_copies(const char* what) {
  if (current)
    throw CudaError(message("to: a step that is captured as a CUDA graph cannot copy ", what,
                            ": make the tensor before the step, or pass it as an argument"));
}

void look_at_checks(int device) {
  const std::lock_guard lock(checked().mutex);
  for (Graph* graph : checked().graphs)
    if (graph->device() == device) graph->look();
}

Graph::Graph(int device)
    : device_(device), id_([] {
        static std::atomic<uint64_t> count = 0;
        return ++count;
      }()) {
  const OnDevice on(device);
  free_dropped(device);
  stream_ = recording_stream(device);
  add_chunk(kChunk);
  random_ = numbers(2 * sizeof(uint64_t));
}

Graph::~Graph() {
  if (current == this) abandon();
  std::vector<void*> memory;
  for (const Chunk& chunk : chunks_) memory.push_back(chunk.device);
  {
    const std::lock_guard lock(dropped().mutex);
    dropped().waiting[device_].push_back({id_, exec_, std::move(memory), std::move(kept_), release_});
  }
  free_dropped(device_);
  const std::lock_guard lock(checked().mutex);
  std::erase(checked().graphs, this);
  if (current) return;  // a launch may still write to the places
  for (const Check& c : checks_) checked().free.push_back(c.place);
}

void Graph::begin(uint64_t offset) {
  if (current) throw CudaError("graph: a step is being captured already, by this thread");
  const OnDevice on(device_);
  free_dropped(device_);
  stream_before_ = reinterpret_cast<cudaStream_t>(current_stream_of(device_));
  // Relaxed: the allocator may ask the driver for memory, which stays where it is. What must not happen meanwhile, such
  // as reading values, is refused before CUDA is asked.
  check("graph", cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed));
  set_stream(device_, reinterpret_cast<Handle>(stream_));
  current = this;
  offset_ = offset;
}

void Graph::leave() noexcept {
  current = nullptr;
  set_stream(device_, reinterpret_cast<Handle>(stream_before_));
}

void Graph::end() {
  const OnDevice on(device_);
  leave();
  cudaGraph_t graph = nullptr;
  check("graph", cudaStreamEndCapture(stream_, &graph));
  cudaError_t status = cudaGraphGetNodes(graph, nullptr, &nodes_);
  if (status == cudaSuccess) status = cudaGraphInstantiate(&exec_, graph, 0);
  cudaGraphDestroy(graph);
  check("graph", status);
  std::erase_if(versions_, [](const auto& entry) { return *entry.first == entry.second; });
}

void Graph::abandon() noexcept {
  leave();
  int before = -1;
  cudaGetDevice(&before);
  cudaSetDevice(device_);
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_, &graph) != cudaSuccess) cudaGetLastError();  // it was invalid
  if (graph) cudaGraphDestroy(graph);
  cudaSetDevice(before);
}

void Graph::follow() {
  const OnDevice on(device_);
  look();
  const cudaStream_t stream = current_stream();
  if (!launched_ || stream == launched_on_) return;
  cudaEvent_t event;
  check("graph", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  cudaError_t status = cudaEventRecord(event, launched_on_);
  if (status == cudaSuccess) status = cudaStreamWaitEvent(stream, event, 0);
  cudaEventDestroy(event);
  check("graph", status);
}

void Graph::launch(uint64_t seed, uint64_t offset) {
  const OnDevice on(device_);
  if (draws_) {
    auto* const random = static_cast<uint64_t*>(random_.host);
    random[0] = seed, random[1] = offset;
  }
  for (Chunk& chunk : chunks_) {
    if (!chunk.fresh && !std::memcmp(chunk.host.get(), chunk.sent.get(), chunk.used)) continue;
    copy_to_device(chunk.device, chunk.host.get(), chunk.used);
    std::memcpy(chunk.sent.get(), chunk.host.get(), chunk.used);
    chunk.fresh = false;
  }
  check("graph", cudaGraphLaunch(exec_, current_stream()));
  launched_ = true, launched_on_ = current_stream();
  for (const auto& [version, before] : versions_) ++*version;
  wait_if_asked("graph");
}

void Graph::add_chunk(size_t bytes) {
  Chunk chunk{std::make_unique<char[]>(bytes), std::make_unique<char[]>(bytes), nullptr, bytes, 0, true};
  chunk.device = static_cast<char*>(allocate(bytes));
  chunks_.push_back(std::move(chunk));
}

Graph::Numbers Graph::numbers(size_t bytes) {
  constexpr size_t kAlignment = 16;
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (chunks_.back().used + bytes > chunks_.back().bytes) add_chunk(std::max(bytes, kChunk));
  Chunk& chunk = chunks_.back();
  const size_t at = std::exchange(chunk.used, chunk.used + bytes);
  return {chunk.host.get() + at, chunk.device + at};
}

const uint64_t* Graph::random(uint64_t& offset) {
  offset -= offset_;
  draws_ = true;
  return static_cast<const uint64_t*>(random_.device);
}

void Graph::keep(void* object, std::atomic<uint32_t>& version, void (*retain)(void*), void (*release)(void*)) {
  release_ = release;
  if (!kept_.insert(object).second) return;
  retain(object);
  versions_.push_back({&version, version});
}

int64_t* Graph::add_check(std::function<void(int64_t)> fail) {
  const std::lock_guard lock(checked().mutex);
  int64_t* const place = checked().take();
  checks_.push_back({place, std::move(fail)});
  if (std::ranges::find(checked().graphs, this) == checked().graphs.end()) checked().graphs.push_back(this);
  return place;
}

void Graph::look() {
  for (const Check& c : checks_) {
    volatile int64_t* const place = c.place;
    const int64_t value = *place;
    if (value == kNothingWrong) continue;
    *place = kNothingWrong;
    c.fail(value);
  }
}

}  // namespace steep::cuda
