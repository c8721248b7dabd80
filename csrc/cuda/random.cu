// Random fills: a thread makes the elements of one Philox block, with the CPU's formulas. They give the CPU's bits only
// without fused multiply-adds: compile with -fmad=false.
#include <algorithm>

#include "../core/random_formulas.h"
#include "graph.h"
#include "launch.cuh"
#include "table.h"
#include "vec.cuh"

namespace steep::cuda {
namespace {

constexpr int kThreads = 256;

template <class Make>
__global__ void __launch_bounds__(kThreads)
    fill(Make make, typename Make::Element* out, int64_t n, uint64_t seed, uint64_t offset, const uint64_t* stream) {
  using T = typename Make::Element;
  constexpr int per = Make::per_block;
  if (stream) seed = stream[0], offset += stream[1];  // in a graph
  const int64_t begin = (int64_t(blockIdx.x) * kThreads + threadIdx.x) * per,
                step = int64_t(gridDim.x) * kThreads * per;
  const bool aligned = reinterpret_cast<uintptr_t>(out) % sizeof(Aligned<T, per>) == 0;
#pragma unroll 1
  for (int64_t i = begin; i < n; i += step) {
    Aligned<T, per> y;
    make(philox::block(seed, offset + uint64_t(i / per)), y.v);
    if (aligned && i + per <= n) {
      *reinterpret_cast<Aligned<T, per>*>(out + i) = y;
    } else {
#pragma unroll
      for (int k = 0; k < per; ++k)
        if (i + k < n) out[i + k] = y.v[k];
    }
  }
}

template <class Make>
void launch_fill(const char* op, const Make& make, void* out, int64_t n, uint64_t seed, uint64_t offset) {
  if (n <= 0) return;
  const int64_t blocks = ceil_div(n, int64_t(kThreads) * Make::per_block);
  const int64_t most = int64_t(device_limits().multiprocessors) * 64;
  Graph* const graph = recording();
  const uint64_t* const stream = graph ? graph->random(offset) : nullptr;
  launch(op, fill<Make>, unsigned(std::min(blocks, most)), kThreads, 0, make, static_cast<typename Make::Element*>(out),
         n, seed, offset, stream);
}

void uniform(DType t, void* out, int64_t n, double lo, double hi, uint64_t seed, uint64_t offset) {
  constexpr const char* op = "random.uniform";
  if (t == DType::float32)
    launch_fill(op, random::Uniform<float>(float(lo), float(hi)), out, n, seed, offset);
  else
    launch_fill(op, random::Uniform<double>(lo, hi), out, n, seed, offset);
}

void normal(DType t, void* out, int64_t n, double mean, double std, uint64_t seed, uint64_t offset) {
  constexpr const char* op = "random.normal";
  if (t == DType::float32)
    launch_fill(op, random::Normal<float>{float(mean), float(std)}, out, n, seed, offset);
  else
    launch_fill(op, random::Normal<double>{mean, std}, out, n, seed, offset);
}

void randint(DType t, void* out, int64_t n, int64_t lo, int64_t hi, uint64_t seed, uint64_t offset) {
  constexpr const char* op = "random.randint";
  if (t == DType::int32)
    launch_fill(op, random::Integer<int32_t>(lo, hi), out, n, seed, offset);
  else
    launch_fill(op, random::Integer<int64_t>(lo, hi), out, n, seed, offset);
}

void bernoulli(uint8_t* out, int64_t n, double p, uint64_t seed, uint64_t offset) {
  launch_fill("random.bernoulli", random::Bernoulli(p), out, n, seed, offset);
}

}  // namespace

void fill_random(Table& table) {
  table.uniform = uniform;
  table.normal = normal;
  table.randint = randint;
  table.bernoulli = bernoulli;
}

}  // namespace steep::cuda
