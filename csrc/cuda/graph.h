// CUDA graphs: what a thread queues while it records becomes one graph, which is launched again and again. What a
// replay must not repeat as it was (the learning rate, the place in the random stream) is read from device memory,
// where every launch brings it; memory that is asked for meanwhile is the graph's own, and stays so until the graph is
// gone.
#pragma once
#include <cuda_runtime.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include "table.h"

namespace steep::cuda {

/// In the place of a check that has found nothing.
inline constexpr int64_t kNothingWrong = INT64_MIN;

class Graph {
 public:
  /// Numbers of a kernel: it reads them on the device; the host writes them before a launch.
  struct Numbers {
    void* host;
    const void* device;
    template <class T>
    void write(const T& value) const {
      *static_cast<T*>(host) = value;
    }
  };

  explicit Graph(int device);
  Graph(const Graph&) = delete;
  ~Graph();

  /// The calling thread's work is recorded from now on, on a stream of the graph's. The random stream is at `offset`.
  /// Throws CudaError if the thread records already.
  void begin(uint64_t offset);
  /// Throws CudaError if it cannot be launched; then, and after `abandon`, nothing of it has happened.
  void end();
  void abandon() noexcept;
  /// The current stream goes on behind the last launch, so that what the graph reads may be changed. Throws what a
  /// check of values has found in an earlier launch, if the device has come so far.
  void follow();
  /// Queues all of it on the current stream, with the random stream at (seed, offset).
  void launch(uint64_t seed, uint64_t offset);

  int device() const { return device_; }
  uint64_t id() const { return id_; }
  /// The nodes: kernels and copies.
  size_t size() const { return nodes_; }

  // While it records:
  Numbers numbers(size_t bytes);
  /// The device's memory with the seed and the offset of the random stream; `offset` becomes the distance from there.
  const uint64_t* random(uint64_t& offset);
  /// What others own and the graph uses lives as long as the graph. A version that the recording changes is counted up
  /// by every launch.
  void keep(void* object, std::atomic<uint32_t>& version, void (*retain)(void*), void (*release)(void*));
  /// A place in the host's memory for a kernel to write a value to that must not be; `fail` throws an error about it.
  int64_t* add_check(std::function<void(int64_t)> fail);
  /// Throws what a check has found.
  void look();
  /// The steps of optimizers, in the order in which they were recorded.
  std::vector<Rewrite> rewrites;

 private:
  struct Chunk {
    std::unique_ptr<char[]> host, sent;  // what the device will have, and what it has
    char* device;
    size_t bytes, used;
    bool fresh;  // nothing was sent
  };
  struct Check {
    int64_t* place;
    std::function<void(int64_t)> fail;
  };
  void leave() noexcept;
  void add_chunk(size_t bytes);

  const int device_;
  const uint64_t id_;
  cudaStream_t stream_ = nullptr, stream_before_ = nullptr;
  cudaGraphExec_t exec_ = nullptr;
  size_t nodes_ = 0;
  cudaStream_t launched_on_ = nullptr;
  bool launched_ = false, draws_ = false;
  uint64_t offset_ = 0;  // of the random stream, at the beginning of the recording
  Numbers random_;
  std::vector<Chunk> chunks_;
  std::vector<Check> checks_;
  std::unordered_set<void*> kept_;
  std::vector<std::pair<std::atomic<uint32_t>*, uint32_t>> versions_;  // as they were; of those that change, at last
  void (*release_)(void*) = nullptr;
};

/// What the calling thread records; null almost always.
Graph* recording() noexcept;

/// Throws CudaError, naming `op`, if the thread records: the operation reads values, which aren't there yet.
void refuse_to_read(const char* op);
/// Likewise, of a copy that isn't the device's own: what is copied would be the same in all replays.
void refuse_copies(const char* what);
/// Throws what a check in any graph of the device has found. Called after the host has waited for the device.
void look_at_checks(int device);

// Of the allocator:
/// Whether a block is one of those that were asked for while the graph of this id recorded.
bool is_of_graph(uint64_t id, const void* p);
/// The graph is gone, and the device has done with it: its memory is freed, or will be by those who still have some.
void release_pool(uint64_t id) noexcept;

}  // namespace steep::cuda
