// steep's graphs (csrc/cuda/graph.h): their memory, numbers that change from launch to launch, checks.
#include "cuda/graph.h"
#include "cuda/launch.cuh"
#include "testing.h"
//
#include <thread>

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

/// Frees a block that the recorded stream uses. An event that says when it is free would be recorded in the graph.
void check_freeing(const std::function<void(int*)>& free) {
  const int64_t before = memory_stats(0).in_use;
  {
    Graph graph(0);
    int* const p = static_cast<int*>(allocate(sizeof(int)));
    graph.begin(0);
    int* const own = static_cast<int*>(allocate(sizeof(int)));
    use_on_current_stream(p);
    free(p);
    launch("set", set, 1, 1, 0, own, 1);
    deallocate(own);
    graph.end();
    CHECK(graph.size() == 1);
    graph.launch(0, 0);
    synchronize(0);
    const DeviceArray<int> others(std::vector<int>{1, 2, 3});
    CHECK(cudaGetLastError() == cudaSuccess);
    CHECK(others.host() == (std::vector<int>{1, 2, 3}));
  }
  CHECK(memory_stats(0).in_use == before);
}

TEST(blocks_may_be_freed_while_a_graph_is_recorded) {
  check_freeing([](int* p) { deallocate(p); });
}

TEST(blocks_may_be_freed_by_another_thread_while_their_stream_is_recorded) {
  check_freeing([](int* p) {
    std::thread([p] {
      deallocate(p);
      const DeviceArray<int> others(std::vector<int>{1, 2, 3});  // looks for blocks that are free by now
      CHECK(others.host() == (std::vector<int>{1, 2, 3}));
    }).join();
  });
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
