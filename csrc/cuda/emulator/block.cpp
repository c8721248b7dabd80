#include "block.h"

#include <algorithm>

#include "../../core/errors.h"
#include "red_zone.h"
#include "sanitizers.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace steep::cuda::emulator {
namespace {

bool same(const Site& a, const Site& b) { return a.line() == b.line() && a.column() == b.column(); }

std::string place(const Site& site) { return message(site.file_name(), ":", site.line()); }

}  // namespace

Block& block() {
  static Block& one = *new Block;
  return one;
}

Block::Block() : threads_(kMaxThreads) {}

void Block::begin_grid(const Body& body) {
  body_ = &body;
  const dim3 d = blockDim;
  if (d.x != size_.x || d.y != size_.y || d.z != size_.z) {
    size_ = d;
    n_ = int(d.x * d.y * d.z);
    uint3 index{0, 0, 0};
    for (int i = 0; i < n_; ++i) {
      threads_[size_t(i)].index = index;
      if (++index.x < d.x) continue;
      index.x = 0;
      if (++index.y == d.y) index.y = 0, ++index.z;
    }
  }
  // Created here, or what the creating thread did would seem to come before what the created one does.
  if (kThreadSanitizer)
    while (fibers_.size() < 2 * size_t(n_)) fibers_.push_back(std::make_unique<Fiber>(fiber_main));
  release(&launch_tag_);
}

void Block::end_grid() { acquire(&end_tag_); }

Outcome Block::run(size_t dynamic_shared_bytes) {
  const Hidden hidden;
  Fiber host;
  host_ = &host;
  outcome_ = {};
  shared_.begin_block(dynamic_shared_bytes);
  begin();
  set_current(pick());
  running_ = threads_[size_t(current_)].fiber = take_fiber(current_);
  Fiber::switch_to(host, *running_);
  if (outcome_.error) abandon();
  running_ = nullptr;
  const std::string overrun = shared_.end_block();
  if (!overrun.empty() && !outcome_.error) outcome_ = {cudaErrorIllegalAddress, overrun};
  return outcome_;
}

/// After an error: forgets the threads that have not ended.
void Block::abandon() {
  threads_[size_t(current_)].fiber = running_;
  for (Thread& thread : threads_) {
    thread.copies = {};
    if (!thread.fiber) continue;
    thread.fiber->reset();
    if (!kThreadSanitizer) idle_.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
}

void Block::begin() {
  runnable_warps_ = 0;
  for (int w = 0; w * warpSize < n_; ++w) {
    const int lanes = std::min(warpSize, n_ - w * warpSize);
    const uint32_t all = ~uint32_t(0) >> (warpSize - lanes);
    warps_[w] = {all, 0, 0, 0, 0};
    set_runnable(w, all);
  }
  ended_ = arrived_ = votes_ = 0;
}

void Block::set_current(int thread) {
  current_ = thread;
  threadIdx = threads_[size_t(thread)].index;
}

void Block::set_runnable(int warp, uint32_t lanes) {
  warps_[warp].runnable |= lanes;
  runnable_warps_ |= uint32_t(1) << warp;
}

/// A runnable thread, which counts as running from now on.
int Block::pick() {
  const int w = schedule_.pick(runnable_warps_), lane = schedule_.pick(warps_[w].runnable);
  warps_[w].runnable &= ~(uint32_t(1) << lane);
  if (!warps_[w].runnable) runnable_warps_ &= ~(uint32_t(1) << w);
  return w * warpSize + lane;
}

Fiber* Block::take_fiber(int thread) {
  // Threads, and those of the block before, need identities of their own.
  if (kThreadSanitizer) return fibers_[size_t(2 * thread) + block_number % 2].get();
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fiber_main));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void Block::fiber_main() {
  Block& b = block();
  for (;;) {
    acquire(&b.launch_tag_);
    (*b.body_)();
    release(&b.end_tag_);
    const Hidden hidden;
    b.end_thread();
  }
}

/// Hands over to another thread; returns when this one is chosen again.
void Block::go_on() {
  if (!runnable_warps_) fail(cudaErrorLaunchFailure, "deadlock: " + describe());
  Thread& me = threads_[size_t(current_)];
  const int next = pick();
  if (next == current_) return;
  set_current(next);
  Thread& other = threads_[size_t(next)];
  if (!other.fiber) other.fiber = take_fiber(next);
  running_ = other.fiber;
  Fiber::switch_to(*me.fiber, *other.fiber);
}

/// Returns when this fiber has another thread to begin.
void Block::end_thread() {
  Thread& me = threads_[size_t(current_)];
  me.copies.land_all();
  Warp& w = warp();
  w.ended |= lane_bit();
  for (uint32_t rest = w.at_warp; rest; rest &= rest - 1) {
    const Thread& other = threads_[size_t(current_ / warpSize * warpSize + std::countr_zero(rest))];
    if (other.mask & lane_bit()) fail(cudaErrorLaunchFailure, "a lane ended that others wait for: " + describe());
  }
  if (++ended_ + arrived_ == n_ && arrived_)
    fail(cudaErrorLaunchFailure, "threads ended that others wait for at a barrier: " + describe());

  Fiber* const fiber = me.fiber;
  me.fiber = nullptr;
  if (ended_ == n_) {
    if (!kThreadSanitizer) idle_.push_back(fiber);
    return Fiber::switch_to(*fiber, *host_);
  }
  if (!runnable_warps_) fail(cudaErrorLaunchFailure, "deadlock: " + describe());
  const int next = pick();
  set_current(next);
  Thread& other = threads_[size_t(next)];
  if (!other.fiber && !kThreadSanitizer) {
    other.fiber = fiber;
    return;
  }
  if (!kThreadSanitizer) idle_.push_back(fiber);
  if (!other.fiber) other.fiber = take_fiber(next);
  running_ = other.fiber;
  Fiber::switch_to(*fiber, *other.fiber);
}

int Block::barrier(Vote vote, bool predicate, const Site& site) {
  Thread& me = threads_[size_t(current_)];
  me.site = site;
  warp().at_block |= lane_bit();
  if (arrived_ == 0) barrier_site_ = site;
  if (!same(site, barrier_site_)) fail(cudaErrorLaunchFailure, "threads wait at different barriers: " + describe());
  ++arrived_;
  votes_ += predicate;
  char* const tag = &block_tags_[barriers_ % 2];
  release(tag);
  if (arrived_ + ended_ == n_) {
    if (ended_) fail(cudaErrorLaunchFailure, "threads ended that others wait for at a barrier: " + describe());
    vote_result_ = vote == Vote::count ? votes_ : vote == Vote::all ? votes_ == n_ : votes_ > 0;
    end_block_barrier();
  }
  go_on();
  acquire(tag);
  return vote_result_;
}

void Block::end_block_barrier() {
  for (int w = 0; w * warpSize < n_; ++w) {
    warps_[w].at_block = 0;
    set_runnable(w, warps_[w].exist);
  }
  arrived_ = votes_ = 0;
  ++barriers_;
}

uint64_t Block::warp_operation(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site) {
  Warp& w = warp();
  const int number = current_ / warpSize;
  Thread& me = threads_[size_t(current_)];
  mask &= w.exist;
  me.site = site, me.mask = mask, me.operation = operation, me.value = value, me.source = source;
  w.at_warp |= lane_bit();
  if (!(mask & lane_bit())) fail(cudaErrorLaunchFailure, "a lane isn't in its own mask: " + describe());
  if (mask & w.ended) fail(cudaErrorLaunchFailure, "a lane ended that others wait for: " + describe());
  char* const tag = &warp_tags_[number][warp_barriers_[number] % 2];
  if (operation == WarpOperation::barrier) release(tag);
  if ((w.at_warp & mask) == mask) end_warp_operation(number, mask);
  go_on();
  if (operation == WarpOperation::barrier) acquire(tag);
  return me.value;
}

void Block::end_warp_operation(int number, unsigned mask) {
  Thread* const lanes = &threads_[size_t(number * warpSize)];
  const WarpOperation operation = threads_[size_t(current_)].operation;
  uint64_t values[warpSize];
  unsigned ballot = 0;
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    const int i = std::countr_zero(rest);
    if (lanes[i].mask != mask || lanes[i].operation != operation)
      fail(cudaErrorLaunchFailure, "the lanes of a warp disagree on what they do or on the mask: " + describe());
    values[i] = lanes[i].value;
    ballot |= unsigned(values[i] & 1) << i;
  }
  for (unsigned rest = mask; rest; rest &= rest - 1) {
    Thread& lane = lanes[std::countr_zero(rest)];
    if (operation == WarpOperation::shuffle) {
      constexpr uint64_t kUndefined = uint64_t(kPoison) << 32 | kPoison;
      lane.value = mask >> lane.source & 1 ? values[lane.source] : kUndefined;
    } else if (operation == WarpOperation::ballot) {
      lane.value = ballot;
    } else if (operation == WarpOperation::match) {
      uint64_t equal = 0;
      for (unsigned others = mask; others; others &= others - 1)
        equal |= uint64_t(values[std::countr_zero(others)] == values[&lane - lanes]) << std::countr_zero(others);
      lanes[&lane - lanes].value = equal;
    }
  }
  if (operation == WarpOperation::collective) {
    Collective* parts[warpSize];
    for (int i = 0; i < warpSize; ++i) {
      parts[i] = reinterpret_cast<Collective*>(values[i]);
      if (parts[i]->run != parts[0]->run || parts[i]->variant != parts[0]->variant)
        fail(cudaErrorLaunchFailure, "the lanes of a warp disagree on what they do: " + describe());
    }
    parts[0]->run(parts);
  }
  warps_[number].at_warp &= ~mask;
  set_runnable(number, mask);
  if (operation == WarpOperation::barrier) ++warp_barriers_[number];
}

void Block::warp_collective(Collective& mine, const Site& site) {
  if (warp().exist != ~uint32_t(0))
    fail(cudaErrorLaunchFailure, "a warp of fewer than 32 threads at what needs them all: " + place(site));
  warp_operation(WarpOperation::collective, ~0u, reinterpret_cast<uint64_t>(&mine), 0, site);
}

unsigned Block::active_lanes() const {
  const Warp& w = warps_[current_ / warpSize];
  return w.exist & ~w.ended;
}

void Block::maybe_yield() {
  if (schedule_.order() != Order::random) return;
  copies().progress(schedule_);
  if (!schedule_.chance(4)) return;
  set_runnable(current_ / warpSize, lane_bit());
  go_on();
}

void Block::fail(cudaError_t error, std::string text) {
  outcome_.error = error;
  outcome_.text = message("thread (", threadIdx.x, ", ", threadIdx.y, ", ", threadIdx.z, "): ", text);
  std::string().swap(text);  // nothing on this stack will be destroyed
  Fiber::switch_to(*running_, *host_);
  __builtin_unreachable();  // the fiber is reset
}

/// Which threads are where, for people.
std::string Block::describe() const {
  const auto state = [&](int i) -> std::string {
    const Warp& w = warps_[i / warpSize];
    const uint32_t bit = uint32_t(1) << i % warpSize;
    if (w.ended & bit) return "ended";
    const Site& site = threads_[size_t(i)].site;
    if (w.at_block & bit) return "at the block's barrier of " + place(site);
    if (w.at_warp & bit) return "at the warp operation of " + place(site);
    return "running";
  };
  std::vector<std::pair<std::string, std::string>> groups;  // a state, and the threads in it
  for (int first = 0, last; first < n_; first = last + 1) {
    const std::string now = state(first);
    for (last = first; last + 1 < n_ && state(last + 1) == now;) ++last;
    auto group = std::ranges::find(groups, now, &std::pair<std::string, std::string>::first);
    if (group == groups.end()) group = groups.insert(group, {now, ""});
    std::string& threads = group->second;
    if (threads.size() > 40) {
      if (!threads.ends_with("…")) threads += ", …";
    } else {
      threads += message(threads.empty() ? "" : ", ", first);
      if (last > first) threads += message("-", last);
    }
  }
  std::string text;
  for (const auto& [now, threads] : groups)
    text += message(text.empty() ? "threads " : "; threads ", threads, " ", now);
  return text;
}

// --- as kernels call them --------------------------------------------------------------------------------------------

int block_barrier(Vote vote, bool predicate, const Site& site) {
  const Hidden hidden;
  return block().barrier(vote, predicate, site);
}
uint64_t warp_exchange(unsigned mask, uint64_t value, int source, const Site& site) {
  const Hidden hidden;
  return block().warp_operation(WarpOperation::shuffle, mask, value, source & (warpSize - 1), site);
}
unsigned warp_ballot(unsigned mask, bool predicate, const Site& site) {
  const Hidden hidden;
  return unsigned(block().warp_operation(WarpOperation::ballot, mask, predicate, 0, site));
}
unsigned warp_match(unsigned mask, uint64_t value, const Site& site) {
  const Hidden hidden;
  return unsigned(block().warp_operation(WarpOperation::match, mask, value, 0, site));
}
void warp_collective(Collective& mine, const Site& site) {
  const Hidden hidden;
  block().warp_collective(mine, site);
}
void warp_barrier(unsigned mask, const Site& site) {
  const Hidden hidden;
  block().warp_operation(WarpOperation::barrier, mask, 0, 0, site);
}
unsigned warp_active() { return block().active_lanes(); }
int lane() { return block().lane(); }
void maybe_yield() {
  const Hidden hidden;
  block().maybe_yield();
}
void fence() {
  static char tag;
  acquire(&tag);
  release(&tag);
}
void trap() { block().fail(cudaErrorLaunchFailure, "__trap()"); }

}  // namespace steep::cuda::emulator
