// What kernels see of the thread, block and grid they run in: indices, barriers, what the lanes of a warp tell each
// other, shared memory, asynchronous copies. And launch(), which stands for <<<…>>>.
#pragma once
#include <cstring>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

#include "api.h"

// Of the thread that runs: one kernel runs at a time, and switching to another thread changes them.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace steep::cuda::emulator {

using Site = std::source_location;

/// A kernel with its arguments.
struct Body {
  virtual ~Body() = default;
  virtual void operator()() const = 0;
};
template <class F>
struct BodyOf final : Body {
  explicit BodyOf(F f) : f(std::move(f)) {}
  void operator()() const override { f(); }
  F f;
};

/// Queues `body` for every thread of the grid. `kernel` is the function that cudaFuncSetAttribute knows; errors of the
/// configuration are cudaGetLastError's, what happens when the kernel runs is a later call's.
void launch(const char* op, const void* kernel, dim3 grid, dim3 block, dim3 cluster, size_t shared_bytes,
            cudaStream_t stream, std::unique_ptr<const Body> body);
template <class F>
void launch(const char* op, const void* kernel, dim3 grid, dim3 block, dim3 cluster, size_t shared_bytes,
            cudaStream_t stream, F body) {
  launch(op, kernel, grid, block, cluster, shared_bytes, stream,
         std::unique_ptr<const Body>(new BodyOf<F>(std::move(body))));
}

enum class Vote { none, count, all, any };  // what __syncthreads_… tells
int block_barrier(Vote vote, bool predicate, const Site& site);

/// What lanes do together, each with the same mask; lanes that end differently are an error.
enum class WarpOperation : uint8_t { barrier, shuffle, ballot, match, collective };
/// Gives a value and gets that of `source`; undefined bits if that one isn't in the mask.
uint64_t warp_exchange(unsigned mask, uint64_t value, int source, const Site& site);
unsigned warp_ballot(unsigned mask, bool predicate, const Site& site);
unsigned warp_match(unsigned mask, uint64_t value, const Site& site);
/// What all 32 lanes do with more than a number: the last to come runs it on everybody's.
struct Collective {
  void (*run)(Collective* const (&lanes)[warpSize]);
  int variant;  // the same for all
};
void warp_collective(Collective& mine, const Site& site);
void warp_barrier(unsigned mask, const Site& site);
unsigned warp_active();
int lane();

template <class T>
T shuffle(unsigned mask, T value, int source, const Site& site) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "CUDA shuffles 4 and 8 byte types");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_exchange(mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

/// A shared array of a kernel; where it lies is found when the first thread of a block, or a cluster, comes to it.
struct SharedSite {
  uint64_t cluster;  // the one that `offset` is for
  size_t offset;
};
extern uint64_t cluster_number;  // of all the clusters, or single blocks, run by this process
extern char* shared_data;        // the running block's shared memory
void place_shared(SharedSite& site, const char* name, size_t bytes, size_t alignment);
inline void* shared(SharedSite& site, const char* name, size_t bytes, size_t alignment) {
  if (site.cluster != cluster_number) place_shared(site, name, bytes, alignment);
  return shared_data + site.offset;
}

/// cp.async: `bytes` are copied from global to shared memory, those from `valid` on are zeros. They land at a time of
/// the emulator's choice before the wait for their group ends.
void copy_async(void* shared, const void* global, int bytes, int valid);
void commit_async();
void wait_async(int groups);  // until only that many of the newest groups are under way
template <int bytes>
void copy_async(void* shared, const void* global, int valid = bytes) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  copy_async(shared, global, bytes, valid);
}
template <int groups>
void wait_async() {
  wait_async(groups);
}

/// A place where the random schedule may go on with another thread.
void maybe_yield();
/// What the thread wrote before comes before what others do after their next fence; needed by ThreadSanitizer only.
void fence();
[[noreturn]] void trap();

}  // namespace steep::cuda::emulator

// In a kernel: `name` is an array of `count` elements that the block's threads share.
#define EMULATOR_SHARED(type, name, count)                                                         \
  static ::steep::cuda::emulator::SharedSite name##_site;                                          \
  auto& name = *static_cast<std::type_identity_t<type>(*)[count]>(::steep::cuda::emulator::shared( \
      name##_site, #name, sizeof(type) * (count), alignof(type) > 16 ? alignof(type) : 16))
// In a kernel: `name` points to the shared memory whose size the launch gave.
#define EMULATOR_DYNAMIC_SHARED(type, name) \
  type* const name = reinterpret_cast<type*>(::steep::cuda::emulator::shared_data)

using EmulatorSite = steep::cuda::emulator::Site;

inline void __syncthreads(EmulatorSite site = EmulatorSite::current()) {
  steep::cuda::emulator::block_barrier(steep::cuda::emulator::Vote::none, false, site);
}
inline int __syncthreads_count(int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::block_barrier(steep::cuda::emulator::Vote::count, predicate, site);
}
inline int __syncthreads_and(int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::block_barrier(steep::cuda::emulator::Vote::all, predicate, site);
}
inline int __syncthreads_or(int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::block_barrier(steep::cuda::emulator::Vote::any, predicate, site);
}
inline void __syncwarp(unsigned mask = ~0u, EmulatorSite site = EmulatorSite::current()) {
  steep::cuda::emulator::warp_barrier(mask, site);
}

// `width` cuts the warp into parts of 2, 4, 8, 16 or 32 lanes; a lane beyond its part is replaced by the lane itself.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, EmulatorSite site = EmulatorSite::current()) {
  const int part = steep::cuda::emulator::lane() & -width;
  return steep::cuda::emulator::shuffle(mask, value, part + (source & (width - 1)), site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                 EmulatorSite site = EmulatorSite::current()) {
  const int lane = steep::cuda::emulator::lane(), from = lane - int(by);
  return steep::cuda::emulator::shuffle(mask, value, from < (lane & -width) ? lane : from, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                   EmulatorSite site = EmulatorSite::current()) {
  const int lane = steep::cuda::emulator::lane(), from = lane + int(by);
  return steep::cuda::emulator::shuffle(mask, value, from >= (lane & -width) + width ? lane : from, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, EmulatorSite site = EmulatorSite::current()) {
  const int lane = steep::cuda::emulator::lane(), from = lane ^ bits;
  return steep::cuda::emulator::shuffle(mask, value, from >= (lane & -width) + width ? lane : from, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::warp_ballot(mask, predicate, site);
}
inline int __all_sync(unsigned mask, int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::warp_ballot(mask, !predicate, site) == 0;
}
inline int __any_sync(unsigned mask, int predicate, EmulatorSite site = EmulatorSite::current()) {
  return steep::cuda::emulator::warp_ballot(mask, predicate, site) != 0;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, EmulatorSite site = EmulatorSite::current()) {
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return steep::cuda::emulator::warp_match(mask, bits, site);
}
/// The lanes that have not ended; on a GPU they may be fewer.
inline unsigned __activemask() { return steep::cuda::emulator::warp_active(); }

[[noreturn]] inline void __trap() { steep::cuda::emulator::trap(); }
inline void __nanosleep(unsigned) { steep::cuda::emulator::maybe_yield(); }
inline void __threadfence() { steep::cuda::emulator::fence(); }
inline void __threadfence_block() { steep::cuda::emulator::fence(); }
inline void __threadfence_system() { steep::cuda::emulator::fence(); }
