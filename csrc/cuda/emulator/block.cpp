#include "block.h"

#include <algorithm>

#include "../../core/errors.h"
#include "cluster.h"
#include "red_zone.h"
#include "sanitizers.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace steep::cuda::emulator {

char* shared_data = nullptr;

namespace {

bool same(const Site& a, const Site& b) { return a.line() == b.line() && a.column() == b.column(); }

std::string place(const Site& site) { return message(site.file_name(), ":", site.line()); }

}  // namespace

Block::Block(int rank) : rank_(rank), threads_(kMaxThreads) {
  for (int i = 0; i < kMaxThreads; ++i) threads_[size_t(i)].block = this, threads_[size_t(i)].number = i;
}

void Block::begin_grid() {
  const dim3 d = blockDim;
  if (d.x == size_.x && d.y == size_.y && d.z == size_.z) return;
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

void Block::begin(uint3 index, size_t dynamic_shared_bytes, bool opens_memory) {
  index_ = index;
  shared_.begin_block(dynamic_shared_bytes, opens_memory);
  runnable_warps_ = 0;
  for (int w = 0; w * warpSize < n_; ++w) {
    const int lanes = std::min(warpSize, n_ - w * warpSize);
    const uint32_t all = ~uint32_t(0) >> (warpSize - lanes);
    warps_[w] = {all, 0, 0, 0, 0};
    set_runnable(w, all);
  }
  ended_ = arrived_ = votes_ = 0;
  warpgroups_.begin_block();
  mbarriers_.clear();
  for (NamedBarrier& barrier : named_) barrier.threads = barrier.arrived = 0, barrier.waiting.clear();
}

void Block::set_current(const Thread& thread) {
  current_ = thread.number;
  threadIdx = thread.index;
  blockIdx = index_;
  shared_data = shared_.data();
}

void Block::set_runnable(int warp, uint32_t lanes) {
  warps_[warp].runnable |= lanes;
  runnable_warps_ |= uint32_t(1) << warp;
  cluster().set_runnable(rank_);
}

Thread& Block::pick() {
  Schedule& schedule = cluster().schedule();
  const int w = schedule.pick(runnable_warps_), lane = schedule.pick(warps_[w].runnable);
  warps_[w].runnable &= ~(uint32_t(1) << lane);
  if (!warps_[w].runnable) runnable_warps_ &= ~(uint32_t(1) << w);
  return threads_[size_t(w * warpSize + lane)];
}

bool Block::end_thread() {
  Thread& me = current();
  me.copies.land_all();
  if (!me.stores.all_read())
    cluster().fail(cudaErrorLaunchFailure,
                   "a thread ended before its bulk stores had read shared memory (cp.async.bulk.wait_group.read)");
  me.stores.write_all();
  Warp& w = warp();
  w.ended |= lane_bit();
  for (uint32_t rest = w.at_warp; rest; rest &= rest - 1) {
    const Thread& other = threads_[size_t(current_ / warpSize * warpSize + std::countr_zero(rest))];
    if (other.mask & lane_bit())
      cluster().fail(cudaErrorLaunchFailure, "a lane ended that others wait for: " + describe());
  }
  if (++ended_ + arrived_ == n_ && arrived_)
    cluster().fail(cudaErrorLaunchFailure, "threads ended that others wait for at a barrier: " + describe());
  return ended_ == n_;
}

int Block::barrier(Vote vote, bool predicate, const Site& site) {
  Thread& me = current();
  me.site = site;
  warp().at_block |= lane_bit();
  if (arrived_ == 0) barrier_site_ = site;
  if (!same(site, barrier_site_))
    cluster().fail(cudaErrorLaunchFailure, "threads wait at different barriers: " + describe());
  ++arrived_;
  votes_ += predicate;
  char* const tag = &block_tags_[barriers_ % 2];
  release(tag);
  if (arrived_ + ended_ == n_) {
    if (ended_)
      cluster().fail(cudaErrorLaunchFailure, "threads ended that others wait for at a barrier: " + describe());
    vote_result_ = vote == Vote::count ? votes_ : vote == Vote::all ? votes_ == n_ : votes_ > 0;
    end_block_barrier();
  }
  cluster().go_on();
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

void Block::named_barrier(int id, int threads, bool waits, const Site& site) {
  if (id < 1 || id > 15) cluster().fail(cudaErrorLaunchFailure, "named barriers are 1 to 15; 0 is __syncthreads()");
  if (threads < warpSize || threads % warpSize || threads > n_)
    cluster().fail(cudaErrorLaunchFailure,
                   message("a named barrier of ", threads, " threads: it must be whole warps of the ", n_));
  Thread& me = current();
  NamedBarrier& barrier = named_[id];
  if (barrier.arrived && barrier.threads != threads)
    cluster().fail(cudaErrorLaunchFailure, message("named barrier ", id, " of ", threads, " threads is one of ",
                                                   barrier.threads, " for others"));
  barrier.threads = threads;
  char* const tag = &barrier.tags[barrier.count % 2];
  release(tag);
  if (waits) barrier.waiting.push_back(current_);
  if (++barrier.arrived == threads) {
    for (const int i : barrier.waiting) set_runnable(threads_[size_t(i)]);
    barrier.waiting.clear();
    barrier.arrived = 0;
    ++barrier.count;
  }
  if (!waits) return cluster().maybe_yield();
  me.site = site, me.waits = "the named barrier";
  cluster().go_on();
  me.waits = nullptr;
  acquire(tag);
}

uint64_t Block::warp_operation(WarpOperation operation, unsigned mask, uint64_t value, int source, const Site& site) {
  Warp& w = warp();
  const int number = current_ / warpSize;
  Thread& me = current();
  mask &= w.exist;
  me.site = site, me.mask = mask, me.operation = operation, me.value = value, me.source = source;
  w.at_warp |= lane_bit();
  if (!(mask & lane_bit())) cluster().fail(cudaErrorLaunchFailure, "a lane isn't in its own mask: " + describe());
  if (mask & w.ended) cluster().fail(cudaErrorLaunchFailure, "a lane ended that others wait for: " + describe());
  char* const tag = &warp_tags_[number][warp_barriers_[number] % 2];
  if (operation == WarpOperation::barrier) release(tag);
  if ((w.at_warp & mask) == mask) end_warp_operation(number, mask);
  cluster().go_on();
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
      cluster().fail(cudaErrorLaunchFailure,
                     "the lanes of a warp disagree on what they do or on the mask: " + describe());
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
        cluster().fail(cudaErrorLaunchFailure, "the lanes of a warp disagree on what they do: " + describe());
    }
    parts[0]->run(parts);
  }
  warps_[number].at_warp &= ~mask;
  set_runnable(number, mask);
  if (operation == WarpOperation::barrier) ++warp_barriers_[number];
}

void Block::warp_collective(Collective& mine, const Site& site) {
  if (warp().exist != ~uint32_t(0))
    cluster().fail(cudaErrorLaunchFailure, "a warp of fewer than 32 threads at what needs them all: " + place(site));
  warp_operation(WarpOperation::collective, ~0u, reinterpret_cast<uint64_t>(&mine), 0, site);
}

unsigned Block::active_lanes() const {
  const Warp& w = warps_[current_ / warpSize];
  return w.exist & ~w.ended;
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
    const Thread& thread = threads_[size_t(i)];
    if (thread.waits && !(w.runnable & bit))
      return message("at ", thread.waits, " of ", place(site), thread.mbarrier ? ", whose " : "",
                     thread.mbarrier ? thread.mbarrier->describe() : "");
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
void named_barrier(int id, int threads, bool waits, const Site& site) {
  const Hidden hidden;
  block().named_barrier(id, threads, waits, site);
}
void fence() {
  static char tag;
  acquire(&tag);
  release(&tag);
}

}  // namespace steep::cuda::emulator
