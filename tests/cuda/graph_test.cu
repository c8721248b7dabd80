// CUDA graphs: capturing and launching them on the emulated device and on a GPU, what CUDA forbids meanwhile, and
// steep's own (csrc/cuda/graph.h): its memory, numbers that change from launch to launch, checks.
#include <numeric>
#include <thread>

#include "cuda/graph.h"
#include "cuda/launch.cuh"
#include "testing.h"

namespace steep::cuda {
void fill_optimizer(Table& table);
void fill_random(Table& table);
void fill_indexing(Table& table);
}  // namespace steep::cuda

using namespace steep;
using namespace steep::cuda;
using namespace steep::testing;

namespace {

__global__ void set(int* p, int value) { *p = value; }
__global__ void add(int* p, const int* q) { *p += *q; }
__global__ void multiply(int* p, int by) { *p *= by; }

template <class... Parameter, class... Argument>
void queue(void (*kernel)(Parameter...), cudaStream_t stream, const Argument&... arguments) {
#ifdef STEEP_CUDA_EMULATED
  emulator::launch("test", reinterpret_cast<const void*>(kernel), 1, 1, 0, stream,
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

// --- steep's ---------------------------------------------------------------------------------------------------------

const Table& table() {
  static const Table filled = [] {
    Table t{};
    fill_optimizer(t), fill_random(t), fill_indexing(t);
    return t;
  }();
  return filled;
}

std::string what(const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

TEST(memory_of_a_graph_is_its_own_until_it_is_gone) {
  DeviceArray<int> x(std::vector<int>{3});
  const MemoryStats before = memory_stats(0);
  auto graph = std::make_unique<Graph>(0);
  graph->begin(0);
  CHECK(recording() == graph.get());
  int* const first = static_cast<int*>(allocate(sizeof(int)));
  launch("set", set, 1, 1, 0, first, 1);
  deallocate(first);
  int* const second = static_cast<int*>(allocate(sizeof(int)));
  if (keeps_memory()) CHECK(second == first);  // within the graph one comes after the other
  launch("set", set, 1, 1, 0, second, 5);
  launch("add", add, 1, 1, 0, x.data(), second);
  deallocate(second);
  graph->end();
  CHECK(recording() == nullptr && graph->size() == 3);
  for (int i = 0; i < 4; ++i) {
    const DeviceArray<int> others(std::vector<int>{-1});
    CHECK(others.data() != first && others.data() != second);
    graph->launch(0, 0);
  }
  CHECK(x.host()[0] == 23);
  graph.reset();
  CHECK(memory_stats(0).in_use == before.in_use);
}

TEST(a_recording_that_fails_leaves_nothing) {
  DeviceArray<int> x(std::vector<int>{3});
  Graph graph(0);
  graph.begin(0);
  launch("set", set, 1, 1, 0, x.data(), 1);
  CHECK(what([&] { x.host(); }).starts_with("to: a step that is captured"));
  CHECK(what([&] { synchronize(0); }).starts_with("synchronize: a step that is captured"));
  CHECK(what([&] { DeviceArray<int> y(std::vector<int>{1}); }).starts_with("to: a step that is captured"));
  CHECK(what([&] { graph.begin(0); }).find("already") != std::string::npos);
  const Handle other = stream_create(0);
  const Handle stream = current_stream_of(0);
  set_stream(0, other);
  DeviceArray<int> scratch(1);
  CHECK(what([&] { launch("set", set, 1, 1, 0, scratch.data(), 1); }).find("wait_stream") != std::string::npos);
  set_stream(0, stream);
  graph.abandon();
  stream_destroy(0, other);
  CHECK(recording() == nullptr && current_stream_of(0) == 0);
  CHECK(x.host()[0] == 3);
}

TEST(steps_of_optimizers_change_from_launch_to_launch) {
  constexpr int64_t n = 5000;
  const std::vector<float> start = random_normal<float>(size_t(n), 1), gradient = random_normal<float>(size_t(n), 2);
  const std::vector<float> zeros(size_t(n), 0.0f);
  const auto step = [](int t) {
    return AdamStep{0.01 * t, 0.9, 0.999, 1e-8, 0.1, true, 1 - std::pow(0.9, t), 1 - std::pow(0.999, t)};
  };
  constexpr int kParameters = 70;  // two launches
  struct State {
    DeviceArray<float> p, g, m, v;
  };
  const auto run = [&](bool as_graph) {
    std::vector<std::unique_ptr<State>> states;
    std::vector<Update<float>> updates;
    for (int i = 0; i < kParameters; ++i) {
      states.push_back(std::unique_ptr<State>(new State{DeviceArray<float>(start), DeviceArray<float>(gradient),
                                                        DeviceArray<float>(zeros), DeviceArray<float>(zeros)}));
      const State& s = *states.back();
      updates.push_back({n - i, s.p.data(), s.g.data(), s.m.data(), s.v.data()});
    }
    std::vector<AdamStep> steps(kParameters);
    const auto set_steps = [&](int t) {
      for (int i = 0; i < kParameters; ++i) steps[size_t(i)] = step(t + i % 3);
    };
    Graph graph(0);
    for (int t = 1; t <= 4; ++t) {
      set_steps(t);
      if (!as_graph) {
        table().adam_f32(updates, steps);
        continue;
      }
      if (t == 1) {
        graph.begin(0);
        table().adam_f32(updates, steps);
        graph.end();
      }
      CHECK(graph.rewrites.size() == kParameters);
      for (size_t i = 0; i < graph.rewrites.size(); ++i) graph.rewrites[i].write(graph.rewrites[i].place, &steps[i]);
      graph.follow();
      graph.launch(0, 0);
    }
    std::vector<float> all;
    for (const auto& s : states)
      for (const float x : s->p.host()) all.push_back(x);
    return all;
  };
  CHECK(same_bits(run(true), run(false)));
}

TEST(random_numbers_go_on_from_launch_to_launch) {
  constexpr int64_t n = 1001;
  DeviceArray<float> a(n), b(n), expected_a(n), expected_b(n);
  Graph graph(0);
  graph.begin(100);
  table().uniform(DType::float32, a.data(), n, 0, 1, 7, 100);
  table().normal(DType::float32, b.data(), n, 0, 1, 7, 601);
  graph.end();
  for (uint64_t offset : {uint64_t(100), uint64_t(5000), uint64_t(1) << 40}) {
    graph.follow();
    graph.launch(9, offset);
    table().uniform(DType::float32, expected_a.data(), n, 0, 1, 9, offset);
    table().normal(DType::float32, expected_b.data(), n, 0, 1, 9, offset + 501);
    CHECK(same_bits(a.host(), expected_a.host()) && same_bits(b.host(), expected_b.host()));
  }
}

TEST(indices_are_checked_on_the_device) {
  const std::vector<int64_t> right{0, 2, -1, -3}, wrong{0, 3, INT64_MIN, 1};
  DeviceArray<int64_t> x(right), y(right.size());
  Graph graph(0);
  graph.begin(0);
  int64_t* const report = graph.add_check([](int64_t v) { throw std::out_of_range("index " + std::to_string(v)); });
  table().check_indices(int64_t(right.size()), 3, true, x.data(), y.data(), report);
  graph.end();
  graph.launch(0, 0);
  CHECK(y.host() == (std::vector<int64_t>{0, 2, 2, 0}));
  copy_to_device(x.data(), wrong.data(), wrong.size() * sizeof(int64_t));
  graph.launch(0, 0);
  const std::string text = what([] { synchronize(0); });
  CHECK(text == "index 3" || text == "index " + std::to_string(INT64_MIN + 1));
  CHECK(y.host() == (std::vector<int64_t>{0, 0, 0, 1}));  // it was told once
  graph.launch(0, 0);
  check("synchronize", cudaDeviceSynchronize());
  CHECK(!what([&] { graph.follow(); }).empty());
  graph.follow();
}

TEST(what_a_graph_uses_is_kept) {
  static int count = 0;
  int object = 0;
  std::atomic<uint32_t> version = 0;
  {
    Graph graph(0);
    graph.begin(0);
    for (int i = 0; i < 3; ++i) graph.keep(&object, version, [](void*) { ++count; }, [](void*) { --count; });
    ++version;  // a change in place
    graph.end();
    CHECK(count == 1);
    for (int i = 0; i < 3; ++i) graph.launch(0, 0);
    CHECK(version == 4);
  }
  CHECK(count == 0);
}

TEST(a_graph_may_be_dropped_while_another_is_recorded) {
  DeviceArray<int> x(std::vector<int>{0});
  auto first = std::make_unique<Graph>(0);
  first->begin(0);
  launch("set", set, 1, 1, 0, x.data(), 4);
  first->end();
  first->launch(0, 0);
  Graph second(0);
  second.begin(0);
  first.reset();
  launch("multiply", multiply, 1, 1, 0, x.data(), 2);
  second.end();
  second.launch(0, 0);
  CHECK(x.host()[0] == 8);
}

}  // namespace
