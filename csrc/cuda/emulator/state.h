// What the functions of the runtime share.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "capture.h"
#include "memory.h"
#include "queues.h"

struct CUstream_st {
  std::shared_ptr<steep::cuda::emulator::Stream> stream;
};
struct CUevent_st {
  std::shared_ptr<steep::cuda::emulator::Event> event;
};

struct CUgraph_st {
  std::shared_ptr<steep::cuda::emulator::Graph> graph;
};
struct CUgraphExec_st {
  std::shared_ptr<steep::cuda::emulator::Graph> graph;
};

namespace steep::cuda::emulator {

struct State {
  std::mutex mutex;
  bool forked = false;  // the process was forked from one that used the runtime: it has no device
  Queues queues;
  Captures captures;
  std::unordered_map<const void*, std::unique_ptr<CUstream_st>> streams;
  std::unordered_map<const void*, std::unique_ptr<CUevent_st>> events;
  std::unordered_map<const void*, std::unique_ptr<CUgraph_st>> graphs;
  std::unordered_map<const void*, std::unique_ptr<CUgraphExec_st>> instances;
  std::map<uintptr_t, size_t> pinned;                   // host memory of cudaMallocHost
  std::unordered_map<const void*, size_t> most_shared;  // by kernel, from cudaFuncSetAttribute

  /// The stream of a handle on the current device; null if there is none.
  std::shared_ptr<Stream> find(cudaStream_t handle);
  std::shared_ptr<Event> find(cudaEvent_t handle);
  bool is_pinned(const void* p) const;
  /// Queues work, if that is allowed on the stream.
  cudaError_t queue(const std::shared_ptr<Stream>& stream, std::function<Outcome()> run, size_t held_bytes = 0);
};
State& state();

/// The calling thread's.
int& current_device();

/// Sets what cudaGetLastError gives, and returns it.
cudaError_t report(cudaError_t error);
cudaError_t report(const Outcome& outcome);
void forget_last_error();

/// Runs `f`, which returns a cudaError_t, with the lock held and if the current device is in order.
template <class F>
cudaError_t call(F f) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (s.forked) return report(cudaErrorInitializationError);
  if (settings().devices == 0) return report(cudaErrorNoDevice);
  if (const Outcome& lost = s.queues.lost(current_device()); lost.error) return report(lost);
  const cudaError_t error = f(s);
  if (const Outcome& lost = s.queues.lost(current_device()); lost.error) return report(lost);
  return report(error);
}

}  // namespace steep::cuda::emulator
