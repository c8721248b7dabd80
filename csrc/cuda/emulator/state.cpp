#include "state.h"

#include <pthread.h>

namespace steep::cuda::emulator {

State& state() {
  static State& one = *[] {
    // A fork while another thread holds the lock would hold it for ever in the child.
    pthread_atfork([] { state().mutex.lock(); }, [] { state().mutex.unlock(); },
                   [] {
                     state().mutex.unlock();
                     state().forked = true;
                   });
    return new State;
  }();
  return one;
}

int& current_device() {
  thread_local int device = 0;
  return device;
}

std::shared_ptr<Stream> State::find(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return queues.default_stream(current_device());
  const auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second->stream;
}

std::shared_ptr<Event> State::find(cudaEvent_t handle) {
  const auto found = events.find(handle);
  return found == events.end() ? nullptr : found->second->event;
}

cudaError_t State::queue(const std::shared_ptr<Stream>& stream, std::function<Outcome()> run, size_t held_bytes) {
  const cudaError_t error = captures.check(queues, stream);
  if (error == cudaSuccess) queues.push(stream, std::move(run), held_bytes);
  return error;
}

bool State::is_pinned(const void* p) const {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  const auto after = pinned.upper_bound(address);
  return after != pinned.begin() && address < std::prev(after)->first + std::prev(after)->second;
}

}  // namespace steep::cuda::emulator
