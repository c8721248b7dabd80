// A caching allocator of device memory. cudaMalloc waits for the device, so freed blocks are kept by size class, device
// and stream, and handed out again on the same stream at once: what is queued there already comes first. What is asked
// for while a graph is recorded (graph.h) stays with the graph, which uses it in every launch.
#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../core/errors.h"
#include "graph.h"
#include "runtime.h"

namespace steep::cuda {
namespace {

constexpr size_t kAlignment = 256, kSmallest = 512;
constexpr size_t kSegment = size_t(2) << 20;  // small blocks are cut from segments of this size
constexpr size_t kLargestSmall = kSegment / 4;

/// Four size classes per power of two waste at most a quarter of a block.
size_t class_bytes(size_t bytes) {
  if (!keeps_memory()) return std::max<size_t>(bytes, 1);
  if (bytes <= kSmallest) return kSmallest;
  const size_t step = std::max(kAlignment, std::bit_floor(bytes - 1) / 4);
  return (bytes + step - 1) / step * step;
}

/// Device, stream, and the id of the graph that the memory belongs to, or 0.
using Pool = std::tuple<int, cudaStream_t, uint64_t>;
bool has_graph(const Pool& pool) { return std::get<uint64_t>(pool) != 0; }

/// What is asked of the driver in one piece.
struct Segment {
  char* base;
  size_t bytes;
  Pool pool;
  size_t used = 0;  // cut off so far
  int live = 0;     // blocks that aren't free
};

struct Block {
  size_t bytes;
  Pool pool;
  Segment* segment;
  std::vector<cudaStream_t> users;  // other streams
};

bool is_captured(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  const cudaError_t error = cudaStreamIsCapturing(stream, &status);
  if (error == cudaSuccess) return status != cudaStreamCaptureStatusNone;
  cudaGetLastError();
  return error == cudaErrorStreamCaptureImplicit;  // and else another library's, which it has destroyed
}

/// A freed block that other streams may still use.
struct Pending {
  void* block;
  std::vector<cudaEvent_t> events;
};

class Allocator {
 public:
  void* allocate(size_t bytes) {
    const int device = current_device();
    const cudaStream_t stream = current_stream();
    const size_t size = class_bytes(bytes);
    const Graph* const graph = recording();
    const Pool pool{device, stream, graph && graph->device() == device ? graph->id() : 0};
    const std::lock_guard lock(mutex_);
    reclaim();
    std::vector<void*>& free = free_[pool][size];
    void* p;
    if (free.empty() || !keeps_memory()) {
      p = cut(pool, size);
    } else {
      p = free.back();
      free.pop_back();
      stats_[device].cached -= int64_t(size);
    }
    blocks_.at(p).segment->live++;
    MemoryStats& stats = stats_[device];
    stats.in_use += int64_t(size);
    stats.peak = std::max(stats.peak, stats.in_use);
    return p;
  }

  void deallocate(void* p) noexcept {
    if (is_forked()) return;  // the device's memory is the parent's
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(p);
    if (found == blocks_.end()) return;
    Block& block = found->second;
    stats_[std::get<int>(block.pool)].in_use -= int64_t(block.bytes);
    if (block.users.empty()) return keep(p);
    if (has_graph(block.pool)) return set_aside_.push_back(p);  // no event could tell when it is free in a replay
    if (recording()) return freed_meanwhile_.push_back(p);      // an event would become a part of the graph
    await_users(p);
  }

  void use(void* p, cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(p);
    if (found == blocks_.end()) return;  // lent by another library
    std::vector<cudaStream_t>& users = found->second.users;
    if (std::ranges::find(users, stream) == users.end()) users.push_back(stream);
  }

  bool is_of_graph(uint64_t id, const void* p) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(const_cast<void*>(p));
    return found != blocks_.end() && std::get<uint64_t>(found->second.pool) == id;
  }

  /// From now on its blocks are like all others.
  void release_graph(uint64_t id) {
    const std::lock_guard lock(mutex_);
    std::erase_if(set_aside_, [&](void* p) {
      Block& block = blocks_.at(p);
      if (std::get<uint64_t>(block.pool) != id) return false;
      block.users.clear();
      keep(p);
      return true;
    });
    release_unused(id);
    for (auto& [base, segment] : segments_) forget(id, segment.pool);
    for (auto& [p, block] : blocks_) forget(id, block.pool);
    for (auto at = free_.begin(); at != free_.end();) {
      Pool pool = at->first;
      if (std::get<uint64_t>(pool) != id) {
        ++at;
        continue;
      }
      forget(id, pool);
      for (auto& [size, blocks] : at->second) {
        std::vector<void*>& others = free_[pool][size];
        others.insert(others.end(), blocks.begin(), blocks.end());
      }
      at = free_.erase(at);
    }
    std::erase_if(open_, [&](const auto& entry) { return std::get<uint64_t>(entry.first) == id; });
  }

  MemoryStats stats(int device) {
    const std::lock_guard lock(mutex_);
    reclaim();
    return stats_[device];
  }

  void empty() {
    const std::lock_guard lock(mutex_);
    release_unused();
  }

 private:
  /// Records events, after which a freed block is free for all; later, if one of its streams is part of a recording, by
  /// another thread.
  void await_users(void* p) {
    Block& block = blocks_.at(p);
    if (std::ranges::any_of(block.users, is_captured)) return freed_meanwhile_.push_back(p);
    int before = 0;
    cudaGetDevice(&before);
    cudaSetDevice(std::get<int>(block.pool));  // an event is recorded in streams of the device that it was created on
    Pending pending{p, {}};
    for (cudaStream_t user : block.users) {
      cudaEvent_t event;
      if (cudaEventCreateWithFlags(&event, cudaEventDisableTiming) != cudaSuccess) continue;  // the device is lost
      if (cudaEventRecord(event, user) == cudaSuccess) {
        pending.events.push_back(event);
      } else {  // another library's stream, which it has destroyed
        cudaGetLastError();
        cudaEventDestroy(event);
        cudaDeviceSynchronize();
      }
    }
    cudaSetDevice(before);
    block.users.clear();
    pending_.push_back(std::move(pending));
  }

  void keep(void* p) {
    Block& block = blocks_.at(p);
    block.segment->live--;
    if (!keeps_memory() && !has_graph(block.pool)) {
      segments_.erase(static_cast<char*>(p));
      blocks_.erase(p);
      cudaFree(p);  // waits for the device
      return;
    }
    free_[block.pool][block.bytes].push_back(p);
    stats_[std::get<int>(block.pool)].cached += int64_t(block.bytes);
  }

  /// Blocks that the last of their streams has done with.
  void reclaim() {
    if (recording()) return;
    for (void* p : std::exchange(freed_meanwhile_, {})) await_users(p);
    std::erase_if(pending_, [&](Pending& pending) {
      if (!std::ranges::all_of(pending.events, is_done)) return false;
      for (cudaEvent_t event : pending.events) cudaEventDestroy(event);
      keep(pending.block);
      return true;
    });
  }

  void* cut(const Pool& pool, size_t size) {
    const bool small = size <= kLargestSmall && keeps_memory();
    Segment* segment = small ? open_[pool] : nullptr;
    if (!segment || segment->used + size > segment->bytes) {
      const size_t bytes = small ? kSegment : size;
      char* const base = ask(std::get<int>(pool), bytes);
      segment = &segments_.emplace(base, Segment{base, bytes, pool}).first->second;
      if (small) open_[pool] = segment;
    }
    char* p = segment->base + segment->used;
    segment->used += size;
    blocks_[p] = {size, pool, segment, {}};
    return p;
  }

  char* ask(int device, size_t bytes) {
    void* p = nullptr;
    cudaError_t status = cudaMalloc(&p, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      release_unused();
      status = cudaMalloc(&p, bytes);
    }
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw MemoryError(message("out of memory: cannot allocate ", (bytes + (1 << 20) - 1) >> 20,
                                " MiB on cuda:", device, " (it has ", total >> 20, " MiB, ", free >> 20,
                                " MiB free; steep's tensors take ", stats_[device].in_use >> 20,
                                " MiB): use a smaller batch or model, or free tensors you no longer need"));
    }
    check("allocate", status);
    stats_[device].device_allocations++;
    return static_cast<char*>(p);
  }

  static void forget(uint64_t graph, Pool& pool) {
    if (std::get<uint64_t>(pool) == graph) std::get<uint64_t>(pool) = 0;
  }

  /// Gives the segments of a graph, or of none, that hold no live block back to the driver.
  void release_unused(uint64_t graph = 0) {
    const auto is_wanted = [&](const Pool& pool) { return std::get<uint64_t>(pool) == graph; };
    for (const Pending& pending : pending_)
      for (cudaEvent_t event : pending.events) cudaEventSynchronize(event);
    reclaim();
    for (auto& [pool, sizes] : free_) {
      if (!is_wanted(pool)) continue;
      for (auto& [size, blocks] : sizes) {
        std::erase_if(blocks, [&](void* p) {
          if (blocks_.at(p).segment->live) return false;
          stats_[std::get<int>(pool)].cached -= int64_t(size);
          blocks_.erase(p);
          return true;
        });
      }
    }
    std::erase_if(open_,
                  [&](const auto& entry) { return is_wanted(entry.first) && (!entry.second || !entry.second->live); });
    std::erase_if(segments_, [&](const auto& entry) {
      if (entry.second.live || !is_wanted(entry.second.pool)) return false;
      cudaFree(entry.first);  // waits for the device
      return true;
    });
  }

  std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
  std::unordered_map<char*, Segment> segments_;  // by base
  std::map<Pool, Segment*> open_;                // from which small blocks are cut
  std::map<Pool, std::unordered_map<size_t, std::vector<void*>>> free_;
  std::vector<Pending> pending_;
  std::vector<void*> freed_meanwhile_;  // used by several streams, when a graph was recorded on one or by the thread
  std::vector<void*> set_aside_;        // of graphs: free, but used by several streams in them
  MemoryStats stats_[kMaxDevices] = {};
};

Allocator& allocator() {
  static Allocator& a = *new Allocator;  // never destroyed: tensors may outlive every static object
  return a;
}

}  // namespace

void* allocate(size_t bytes) { return allocator().allocate(bytes); }
void deallocate(void* p) noexcept { allocator().deallocate(p); }
bool is_of_graph(uint64_t id, const void* p) { return allocator().is_of_graph(id, p); }
void release_pool(uint64_t id) noexcept { allocator().release_graph(id); }
void use_on_current_stream(void* p) { allocator().use(p, current_stream()); }
void empty_cache() {
  if (device_count()) allocator().empty();
}

MemoryStats memory_stats(int device) {
  const OnDevice on(device);
  MemoryStats stats = allocator().stats(device);
  size_t free = 0, total = 0;
  check("memory_stats", cudaMemGetInfo(&free, &total));
  stats.free = int64_t(free), stats.total = int64_t(total);
  return stats;
}

}  // namespace steep::cuda
