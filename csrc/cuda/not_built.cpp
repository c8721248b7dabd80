// Stands in for the CUDA room where it is not built.
#include "cuda.h"
#include "table.h"

namespace steep::cuda {
namespace {

[[noreturn]] void fail() { throw CudaError(unavailable_reason()); }

}  // namespace

bool is_built() { return false; }
bool is_emulated() { return false; }
int device_count() { return 0; }

const std::string& unavailable_reason() {
  static const std::string reason =
      "this installation has CPU kernels only; to build CUDA's, reinstall with -Ccmake.define.STEEP_CUDA=on";
  return reason;
}

int runtime_version() { return 0; }
int driver_version() { return 0; }

const Table* table() { return nullptr; }
void fill_launches(std::span<UnaryKernel>, std::span<BinaryKernel>, std::span<ReduceKernel>, std::span<ArgReduceKernel>,
                   Kernels&) {}

void empty_cache() {}
Properties properties(int) { fail(); }
void synchronize(int) { fail(); }
MemoryStats memory_stats(int) { fail(); }
Handle stream_create(int) { fail(); }
void stream_destroy(int, Handle) { fail(); }
void stream_synchronize(int, Handle) { fail(); }
bool stream_query(int, Handle) { fail(); }
Handle current_stream_of(int) { fail(); }
void set_stream(int, Handle) { fail(); }
void stream_wait_event(int, Handle, Handle) { fail(); }
Handle event_create(int, bool) { fail(); }
void event_destroy(int, Handle) { fail(); }
void event_record(int, Handle, Handle) { fail(); }
bool event_query(int, Handle) { fail(); }
void event_synchronize(int, Handle) { fail(); }
double event_elapsed(int, Handle, Handle) { fail(); }
Graph* graph_create(int) { fail(); }
void graph_destroy(Graph*) noexcept {}
void graph_begin(Graph&, uint64_t) { fail(); }
void graph_end(Graph&) { fail(); }
void graph_abandon(Graph&) noexcept {}
void graph_follow(Graph&) { fail(); }
void graph_launch(Graph&, uint64_t, uint64_t) { fail(); }
size_t graph_size(const Graph&) { fail(); }

}  // namespace steep::cuda
