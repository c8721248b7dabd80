#include "mbarrier.h"

#include "../../core/errors.h"
#include "cluster.h"
#include "execution_sm90.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {
namespace {

/// What an mbarrier's memory holds; its state lies in the Block.
uint64_t mark(const uint64_t* p) { return reinterpret_cast<uintptr_t>(p) * 0x9E3779B97F4A7C15 | 1; }

/// ThreadSanitizer is to see that the barrier is used, before it is hidden what for.
void touch(const uint64_t* p) { (void)*static_cast<const volatile uint64_t*>(p); }

Block& owner(const uint64_t* p) {
  Block* const found = cluster().owner(p);
  if (!found || reinterpret_cast<uintptr_t>(p) % 8)
    cluster().fail(cudaErrorMisalignedAddress, "an mbarrier must be 8 aligned bytes of shared memory");
  return *found;
}
void own(const uint64_t* p) {
  if (&owner(p) != &block())
    cluster().fail(cudaErrorLaunchFailure, "another block's mbarrier: a thread can only arrive there");
}

}  // namespace

std::string Mbarrier::describe() const {
  return message("phase ", phase_, " lacks ", pending_, " of ", arrivals_, " arrivals and ", bytes_, " bytes");
}

Mbarrier& Block::find(uint64_t* p) {
  const auto found = mbarriers_.find(p);
  if (found == mbarriers_.end()) cluster().fail(cudaErrorLaunchFailure, "there is no mbarrier: it was not initialized");
  if (*p != mark(p)) cluster().fail(cudaErrorLaunchFailure, "an mbarrier's memory has been overwritten");
  return found->second;
}

void Block::init_mbarrier(uint64_t* p, unsigned arrivals) {
  if (arrivals < 1 || arrivals > unsigned(Mbarrier::kMost))
    cluster().fail(cudaErrorLaunchFailure, "an mbarrier expects 1 to 2^20 - 1 arrivals");
  if (!mbarriers_.try_emplace(p, int(arrivals)).second)
    cluster().fail(cudaErrorLaunchFailure, "an mbarrier is initialized that is one already (mbarrier.inval)");
}

void Block::invalidate_mbarrier(uint64_t* p) {
  if (!find(p).waiting.empty())
    cluster().fail(cudaErrorLaunchFailure, "an mbarrier is invalidated that threads wait at: " + describe());
  mbarriers_.erase(p);
}

/// Ends a phase, if nothing is missing.
void Block::advance(Mbarrier& barrier) {
  if (!barrier.advance()) return;
  for (const int i : barrier.waiting) set_runnable(threads_[size_t(i)]);
  barrier.waiting.clear();
}

void Block::arrive_at(uint64_t* p, unsigned count, int64_t bytes) {
  Mbarrier& barrier = find(p);
  release(barrier.tag());
  const char* wrong = bytes ? barrier.expect(bytes) : nullptr;
  if (!wrong) wrong = barrier.arrive(int(count));
  if (wrong) cluster().fail(cudaErrorLaunchFailure, message(wrong, ": ", barrier.describe()));
  advance(barrier);
}

void Block::expect_bytes(uint64_t* p, int64_t bytes) {
  if (const char* wrong = find(p).expect(bytes)) cluster().fail(cudaErrorLaunchFailure, wrong);
}

void Block::complete_bytes(uint64_t* p, int64_t bytes) {
  Mbarrier& barrier = find(p);
  engine_release(Engine::loads, barrier.tag());
  if (const char* wrong = barrier.expect(-bytes)) cluster().fail(cudaErrorLaunchFailure, wrong);
  advance(barrier);
}

void Block::wait_for(uint64_t* p, unsigned parity, const Site& site) {
  Mbarrier& barrier = find(p);
  if (!barrier.has_completed(parity)) {
    Thread& me = current();
    me.site = site, me.waits = "the mbarrier", me.mbarrier = &barrier;
    barrier.waiting.push_back(current_);
    cluster().go_on();
    me.waits = nullptr, me.mbarrier = nullptr;
  }
  acquire(barrier.tag(parity));
}

// --- as kernels call them --------------------------------------------------------------------------------------------

void mbarrier_init(uint64_t* p, unsigned arrivals) {
  own(p);
  *p = mark(p);
  const Hidden hidden;
  block().init_mbarrier(p, arrivals);
  cluster().maybe_yield();
}

void mbarrier_invalidate(uint64_t* p) {
  own(p);
  touch(p);
  const Hidden hidden;
  block().invalidate_mbarrier(p);
}

void mbarrier_arrive(uint64_t* p, unsigned count, unsigned bytes) {
  Block& of = owner(p);
  touch(p);
  const Hidden hidden;
  cluster().maybe_yield();
  of.arrive_at(p, count, bytes);
}

void mbarrier_expect(uint64_t* p, unsigned bytes) {
  Block& of = owner(p);
  touch(p);
  const Hidden hidden;
  of.expect_bytes(p, bytes);
}

void mbarrier_wait(uint64_t* p, unsigned parity, const Site& site) {
  own(p);
  touch(p);
  const Hidden hidden;
  cluster().maybe_yield();
  block().wait_for(p, parity & 1, site);
}

}  // namespace steep::cuda::emulator
