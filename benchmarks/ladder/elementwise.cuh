// y = max(x, 0), three times. 4 bytes are read and 4 written for each element, and that bounds it: an H200's arithmetic
// could do a hundred times as much in the time. So the question is only how memory is kept busy.
#pragma once
#include "ladder.h"

namespace steep::cuda::ladder {

/// NaN stays NaN.
static __device__ float relu(float x) { return x < 0 ? 0 : x; }

// Rung 1: one element a thread. A warp's load is 128 bytes, and a thread waits for 4 bytes at a time: the 2048 threads
// that a multiprocessor can hold have 8 KB under way.
namespace relu_scalar {

static __global__ void kernel(const Relu p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < p.n) p.y[i] = relu(p.x[i]);
}
inline void run(const Relu& p) {
  if (p.n) launch("relu_scalar", kernel, unsigned(ceil_div(p.n, int64_t(256))), 256, 0, p);
}

}  // namespace relu_scalar

// Rung 2: four elements by one access. A quarter of the instructions, and 32 KB under way.
namespace relu_vectors {

static __global__ void kernel(const Relu p) {
  const int64_t i = 4 * (int64_t(blockIdx.x) * blockDim.x + threadIdx.x);
  if (i >= p.n) return;
  const int valid = p.n - i < 4 ? int(p.n - i) : 4;
  const float4 v = load4(p.x + i, valid, takes_vectors(p.x, 0));
  store4(p.y + i, {relu(v.x), relu(v.y), relu(v.z), relu(v.w)}, valid, takes_vectors(p.y, 0));
}
inline void run(const Relu& p) {
  if (p.n) launch("relu_vectors", kernel, unsigned(ceil_div(p.n, int64_t(4 * 256))), 256, 0, p);
}

}  // namespace relu_vectors

// Rung 3: two such loads before the first store: 64 KB under way. How much is enough follows from Little's law: what is
// under way = bandwidth × latency. An H200 has 4.8 TB/s by its data sheet; with some 700 ns until an answer comes that
// is 3.4 MB, or 25 KB for each of 132 multiprocessors, and more where requests come in bursts.
namespace relu_in_flight {

constexpr int kThreads = 256, kLoads = 2;

static __global__ void kernel(const Relu p) {
  const int64_t first = 4 * (int64_t(blockIdx.x) * (kThreads * kLoads) + threadIdx.x);
  const bool x_vectors = takes_vectors(p.x, 0), y_vectors = takes_vectors(p.y, 0);
  float4 v[kLoads];
  int valid[kLoads];
#pragma unroll
  for (int j = 0; j < kLoads; ++j) {
    const int64_t i = first + j * 4 * kThreads, rest = p.n - i;
    valid[j] = rest < 0 ? 0 : rest < 4 ? int(rest) : 4;
    v[j] = load4(p.x + i, valid[j], x_vectors);
  }
#pragma unroll
  for (int j = 0; j < kLoads; ++j)
    store4(p.y + first + j * 4 * kThreads, {relu(v[j].x), relu(v[j].y), relu(v[j].z), relu(v[j].w)}, valid[j],
           y_vectors);
}
inline void run(const Relu& p) {
  if (p.n) launch("relu_in_flight", kernel, unsigned(ceil_div(p.n, int64_t(4 * kThreads * kLoads))), kThreads, 0, p);
}

}  // namespace relu_in_flight
}  // namespace steep::cuda::ladder
