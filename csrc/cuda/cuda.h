// What the bindings ask of the CUDA room beside the table: devices, streams, events, memory.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace steep::cuda {

/// Becomes Python's steep.cuda.CudaError, a RuntimeError.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool is_built();
bool is_emulated();
/// 0 where CUDA is not built, or has no driver or device.
int device_count();
/// Why there is no device, for people; empty where there is one.
const std::string& unavailable_reason();

// What follows throws CudaError, and std::invalid_argument for a device that doesn't exist.

int runtime_version();  // 13000 for 13.0
int driver_version();   // the newest CUDA it supports; 0 without a driver

struct Properties {
  std::string name;
  int major, minor;
  int64_t total_memory;
  int multi_processor_count;
  int64_t shared_memory_per_block, shared_memory_per_multiprocessor;
  int64_t l2_cache_size;
  int warp_size;
  int clock_rate_khz, memory_bus_width_bits;
};
Properties properties(int device);
void synchronize(int device);

struct MemoryStats {
  int64_t in_use, cached, peak;  // bytes, as in core/allocator.h
  int64_t device_allocations;    // blocks asked of the driver so far
  int64_t free, total;           // of the device, whoever uses it
};
MemoryStats memory_stats(int device);
void empty_cache();

// Streams and events by handle; 0 is the default stream.
using Handle = uintptr_t;
Handle stream_create(int device);
void stream_destroy(int device, Handle stream);
void stream_synchronize(int device, Handle stream);
bool stream_query(int device, Handle stream);  // is all done?
Handle current_stream_of(int device);          // the calling thread's
void set_stream(int device, Handle stream);
void stream_wait_event(int device, Handle stream, Handle event);
Handle event_create(int device, bool timing);
void event_destroy(int device, Handle event);
void event_record(int device, Handle event, Handle stream);
bool event_query(int device, Handle event);
void event_synchronize(int device, Handle event);
double event_elapsed(int device, Handle start, Handle end);  // milliseconds

// Graphs: what a thread queues between begin and end is launched as a whole, as often as wanted. See graph.h.
class Graph;
Graph* graph_create(int device);
void graph_destroy(Graph* graph) noexcept;
void graph_begin(Graph& graph, uint64_t offset);
void graph_end(Graph& graph);
void graph_abandon(Graph& graph) noexcept;
void graph_follow(Graph& graph);
void graph_launch(Graph& graph, uint64_t seed, uint64_t offset);
size_t graph_size(const Graph& graph);

}  // namespace steep::cuda
