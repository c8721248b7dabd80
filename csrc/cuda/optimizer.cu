// Optimizer updates in place, with PyTorch's semantics, of many parameters in a launch.
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "graph.h"
#include "multi_tensor.cuh"
#include "table.h"
#include "vec.cuh"

namespace steep::cuda {
void fill_optimizer(Table& table);

namespace {

constexpr int kMostUpdates = 64, kMostSteps = 8;  // of a launch

/// g' = g + weight_decay·p; buf = momentum·buf + (1 - dampening)·g', or g' in the first step; p -= lr·(buf, or with
/// nesterov g' + momentum·buf). Sutskever et al., "On the importance of initialization and momentum", 2013.
template <class T>
struct Sgd {
  static constexpr const char* name = "sgd";
  T lr, momentum, fresh, decay;
  int nesterov, first;

  explicit Sgd(const SgdStep& s)
      : lr(T(s.lr)),
        momentum(T(s.momentum)),
        fresh(T(1 - s.dampening)),
        decay(T(s.weight_decay)),
        nesterov(s.nesterov),
        first(s.first) {}
  Sgd() = default;

  /// With a buffer, m is it.
  __device__ void operator()(bool buffer, T& p, T g, T& m, T&) const {
    const T old = p;
    T d = g + old * decay;
    if (buffer) {
      m = first ? d : m * momentum + d * fresh;
      d = nesterov ? d + m * momentum : m;
    }
    p = old - d * lr;
  }
};

/// Kingma & Ba, "Adam", 2015. Decay is added to the gradient, or decoupled: Loshchilov & Hutter, "AdamW", 2019.
template <class T>
struct Adam {
  static constexpr const char* name = "adam";
  T keep, decay, new_m, beta2, new_v, eps, rate, root2;

  explicit Adam(const AdamStep& s)
      : keep(s.decoupled ? T(1 - s.lr * s.weight_decay) : T(1)),
        decay(s.decoupled ? T(0) : T(s.weight_decay)),
        new_m(T(1 - s.beta1)),
        beta2(T(s.beta2)),
        new_v(T(1 - s.beta2)),
        eps(T(s.eps)),
        rate(T(s.lr / s.correction1)),
        root2(T(1 / std::sqrt(s.correction2))) {}
  Adam() = default;

  __device__ void operator()(bool, T& p, T g, T& m, T& v) const {
    const T old = p, d = g + old * decay;
    m = m + (d - m) * new_m;
    v = v * beta2 + d * d * new_v;
    p = old * keep - rate * m / (sqrt(Vec<T>(v)).v * root2 + eps);
  }
};

/// What a launch updates.
template <class T, class Step>
struct Updates {
  Batch<Update<T>, kMostUpdates> batch;
  Step steps[kMostSteps];
  uint8_t step[kMostUpdates];  // of each update
  const Step* live;            // in a graph: for each update its step, as the host writes it before a launch; else null
};

/// Elements i … i + n - 1, which lie aligned.
template <int n, class T, class Step>
__device__ void update(const Update<T>& u, const Step& step, int64_t i) {
  using V = Aligned<T, n>;
  const auto at = [&](T* p) -> V& { return *reinterpret_cast<V*>(p + i); };
  V p = at(u.p), m = {}, v = {};
  const V g = *reinterpret_cast<const V*>(u.g + i);
  if (u.m) m = at(u.m);
  if (u.v) v = at(u.v);
#pragma unroll
  for (int j = 0; j < n; ++j) step(u.m, p.v[j], g.v[j], m.v[j], v.v[j]);
  at(u.p) = p;
  if (u.m) at(u.m) = m;
  if (u.v) at(u.v) = v;
}

template <class T, class Step>
__global__ void __launch_bounds__(kThreads) apply(const Updates<T, Step> updates) {
  constexpr int kWidth = 16 / int(sizeof(T));
  const auto [item, begin, count] = updates.batch.place();
  const Update<T> u = updates.batch.items[item];
  const Step step = updates.live ? updates.live[item] : updates.steps[updates.step[item]];
  const bool aligned = (reinterpret_cast<uintptr_t>(u.p) | reinterpret_cast<uintptr_t>(u.g) |
                        reinterpret_cast<uintptr_t>(u.m) | reinterpret_cast<uintptr_t>(u.v)) %
                           16 ==
                       0;
  const int whole = aligned ? count / kWidth * kWidth : 0;
#pragma unroll 1
  for (int i = int(threadIdx.x) * kWidth; i < whole; i += kThreads * kWidth) update<kWidth>(u, step, begin + i);
#pragma unroll 1
  for (int i = whole + int(threadIdx.x); i < count; i += kThreads) update<1>(u, step, begin + i);
}

/// The number of `step` among the steps, appended if it is new; -1 where there is no room.
template <class Step>
int number_of(const Step& step, Step (&steps)[kMostSteps], int& count) {
  for (int i = 0; i < count; ++i)
    if (!std::memcmp(&steps[i], &step, sizeof step)) return i;
  if (count == kMostSteps) return -1;
  steps[count] = step;
  return count++;
}

/// Steps on the device, which change from launch to launch of a graph. Equal ones are not shared: they may come to
/// differ.
template <class Step, class Options>
const Step* record_steps(Graph& graph, const std::vector<Step>& steps) {
  const Graph::Numbers numbers = graph.numbers(steps.size() * sizeof(Step));
  for (size_t i = 0; i < steps.size(); ++i) {
    Step* const place = static_cast<Step*>(numbers.host) + i;
    *place = steps[i];
    graph.rewrites.push_back(
        {[](void* to, const void* options) { *static_cast<Step*>(to) = Step(*static_cast<const Options*>(options)); },
         place});
  }
  return static_cast<const Step*>(numbers.device);
}

template <class T, class Step, class Options>
void launch_updates(std::span<const Update<T>> updates, std::span<const Options> options) {
  Updates<T, Step> launched{};
  static_assert(sizeof launched <= kMostParameters);
  auto& batch = launched.batch;
  batch.chunk = kChunk;
  int count = 0;  // of the steps
  Graph* const graph = recording();
  std::vector<Step> live;
  const auto flush = [&] {
    if (graph && batch.count) launched.live = record_steps<Step, Options>(*graph, std::exchange(live, {}));
    if (batch.count) launch(Step::name, apply<T, Step>, batch.blocks(), kThreads, 0, launched);
    batch.count = count = 0;
  };
  for (size_t i = 0; i < updates.size(); ++i) {
    if (updates[i].n == 0) continue;
    const Step step(options[i]);
    int number = graph ? 0 : number_of(step, launched.steps, count);
    if (number < 0 || !batch.add(updates[i])) {
      flush();
      number = graph ? 0 : number_of(step, launched.steps, count);
      batch.add(updates[i]);
    }
    if (graph) live.push_back(step);
    launched.step[batch.count - 1] = uint8_t(number);
  }
  flush();
}

}  // namespace

void fill_optimizer(Table& table) {
  table.sgd_f32 = launch_updates<float, Sgd<float>, SgdStep>;
  table.sgd_f64 = launch_updates<double, Sgd<double>, SgdStep>;
  table.adam_f32 = launch_updates<float, Adam<float>, AdamStep>;
  table.adam_f64 = launch_updates<double, Adam<double>, AdamStep>;
}

}  // namespace steep::cuda
