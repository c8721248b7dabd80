#include "cluster.h"

#include "../../core/errors.h"
#include "execution_sm90.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {

uint64_t cluster_number = 0;

Cluster& cluster() {
  static Cluster& one = *new Cluster;
  return one;
}

void Cluster::begin_grid(const Body& body, dim3 shape) {
  body_ = &body;
  shape_ = shape;
  size_ = int(shape.x * shape.y * shape.z);
  while (int(blocks_.size()) < size_) blocks_.push_back(std::make_unique<Block>(int(blocks_.size())));
  for (int i = 0; i < size_; ++i) blocks_[size_t(i)]->begin_grid();
  // Created here, or what the creating thread did would seem to come before what the created one does.
  if (kThreadSanitizer)
    while (int(fibers_.size()) < fibers_wanted()) fibers_.push_back(std::make_unique<Fiber>(fiber_main));
  release(&launch_tag_);
  engine_acquire(Engine::loads, &launch_tag_);
  engine_acquire(Engine::stores, &launch_tag_);
}

void Cluster::end_grid() {
  engine_release(Engine::loads, &end_tag_);
  engine_release(Engine::stores, &end_tag_);
  acquire(&end_tag_);
}

Outcome Cluster::run(uint3 first, size_t dynamic_shared_bytes) {
  const Hidden hidden;
  Fiber host;
  host_ = &host;
  outcome_ = {};
  ++cluster_number;
  runnable_ = 0;
  ended_ = arrived_ = 0;
  for (unsigned i = 0; i < unsigned(size_); ++i)
    blocks_[i]->begin({first.x + i % shape_.x, first.y + i / shape_.x % shape_.y, first.z + i / (shape_.x * shape_.y)},
                      dynamic_shared_bytes, size_ == 1);
  running_ = fiber_of(pick());
  Fiber::switch_to(host, *running_);
  if (outcome_.error) abandon();
  running_ = nullptr;
  return outcome_;
}

/// After an error: forgets the threads that have not ended.
void Cluster::abandon() {
  running_block_->current().fiber = running_;
  loads_.clear();
  for (const auto& block : blocks_)
    block->each_thread([&](Thread& thread) {
      thread.copies = {}, thread.stores = {};
      thread.waits = nullptr, thread.mbarrier = nullptr;
      thread.at_cluster = thread.waits_for_cluster = false;
      if (!thread.fiber) return;
      thread.fiber->reset();
      if (!kThreadSanitizer) idle_.push_back(thread.fiber);
      thread.fiber = nullptr;
    });
}

Block* Cluster::owner(const void* p) {
  for (int i = 0; i < size_; ++i)
    if (blocks_[size_t(i)]->shared().contains(p)) return blocks_[size_t(i)].get();
  return nullptr;
}

void Cluster::place(SharedSite& site, const char* name, size_t bytes, size_t alignment) {
  size_t offset = 0;
  for (int i = 0; i < size_; ++i) offset = blocks_[size_t(i)]->shared().place(name, bytes, alignment);
  site = {cluster_number, offset};
}

/// Chooses a thread that can run and makes it the current one.
Thread& Cluster::pick() {
  // Nothing more can be done without them: now copies land at the latest.
  while (!runnable_)
    if (!loads_.land_one(schedule_)) fail(cudaErrorLaunchFailure, "deadlock: " + describe());
  Block& block = *blocks_[size_ == 1 ? 0 : size_t(schedule_.pick(runnable_))];
  Thread& thread = block.pick();
  if (!block.can_run()) runnable_ &= ~(uint32_t(1) << block.rank());
  running_block_ = &block;
  block.set_current(thread);
  return thread;
}

/// A thread that begins gets one.
Fiber* Cluster::fiber_of(Thread& thread) {
  if (!thread.fiber) {
    thread.fiber = take_fiber(thread);
    thread.block->shared().open();
  }
  return thread.fiber;
}

// ThreadSanitizer is to know a thread from the same one of the block before. In clusters there would be too many.
int Cluster::fibers_wanted() const { return (size_ == 1 ? 2 : size_) * blocks_[0]->threads(); }

Fiber* Cluster::take_fiber(const Thread& thread) {
  if (kThreadSanitizer) {
    const int set = size_ == 1 ? int(cluster_number % 2) : thread.block->rank();
    return fibers_[size_t(set * thread.block->threads() + thread.number)].get();
  }
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(fiber_main));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void Cluster::fiber_main() {
  Cluster& all = cluster();
  for (;;) {
    acquire(&all.launch_tag_);
    (*all.body_)();
    release(&all.end_tag_);
    const Hidden hidden;
    all.end_thread();
  }
}

void Cluster::go_on() {
  Thread& me = running_block_->current();
  Thread& next = pick();
  if (&next == &me) return;
  running_ = fiber_of(next);
  Fiber::switch_to(*me.fiber, *running_);
}

/// Returns when this fiber has another thread to begin.
void Cluster::end_thread() {
  Block& mine = *running_block_;
  Thread& me = mine.current();
  const bool block_ended = mine.end_thread();
  arrived_ -= me.at_cluster && me.cluster_barrier == barriers_;
  me.at_cluster = false;
  ++ended_;
  end_barrier_if_complete();
  if (block_ended) {
    if (loads_.any_to(mine))
      fail(cudaErrorLaunchFailure, "the block ended before bulk copies to its shared memory have landed");
    if (std::string overrun = mine.shared().end_block(); !overrun.empty())
      stop(cudaErrorIllegalAddress, std::move(overrun.insert(0, name_of(mine))));
    if (std::string missing = mine.warpgroups().missing(); !missing.empty())
      stop(cudaErrorLaunchFailure, std::move(missing.insert(0, name_of(mine))));
    if (size_ > 1) mine.shared().close();
  }
  Fiber* const fiber = me.fiber;
  me.fiber = nullptr;
  const bool all_ended = ended_ == size_ * mine.threads();
  Thread* const next = all_ended ? nullptr : &pick();
  if (!kThreadSanitizer) idle_.push_back(fiber);
  if (all_ended) return Fiber::switch_to(*fiber, *host_);
  running_ = fiber_of(*next);
  if (running_ != fiber) Fiber::switch_to(*fiber, *running_);
}

void Cluster::maybe_yield() {
  if (schedule_.order() != Order::random) return;
  Thread& me = running_block_->current();
  me.copies.progress(schedule_);
  me.stores.progress(schedule_);
  loads_.progress(schedule_);
  if (!schedule_.chance(4)) return;
  me.block->set_runnable(me);
  go_on();
}

// --- the barrier of all the cluster's threads ------------------------------------------------------------------------

void Cluster::arrive(const Site& site) {
  Thread& me = running_block_->current();
  me.site = site;
  if (me.at_cluster) fail(cudaErrorLaunchFailure, "a thread arrived twice at the cluster's barrier without waiting");
  me.at_cluster = true;
  me.cluster_barrier = barriers_;
  ++arrived_;
  release(&barrier_tags_[barriers_ % 2]);
  end_barrier_if_complete();
  maybe_yield();
}

void Cluster::wait(const Site& site) {
  Thread& me = running_block_->current();
  if (!me.at_cluster) fail(cudaErrorLaunchFailure, "a thread waits at the cluster's barrier without having arrived");
  if (me.cluster_barrier == barriers_) {
    me.site = site, me.waits = "the cluster's barrier", me.waits_for_cluster = true;
    go_on();
    me.waits = nullptr, me.waits_for_cluster = false;
  }
  me.at_cluster = false;
  acquire(&barrier_tags_[me.cluster_barrier % 2]);
}

/// Threads that have ended are not waited for.
void Cluster::end_barrier_if_complete() {
  if (!arrived_ || arrived_ + ended_ < size_ * blocks_[0]->threads()) return;
  arrived_ = 0;
  ++barriers_;
  for (int i = 0; i < size_; ++i)
    blocks_[size_t(i)]->each_thread([&](Thread& thread) {
      if (thread.waits_for_cluster) blocks_[size_t(i)]->set_runnable(thread);
    });
}

// --- errors ----------------------------------------------------------------------------------------------------------

std::string Cluster::name_of(const Block& block) const {
  const uint3 b = block.index();
  return message("block (", b.x, ", ", b.y, ", ", b.z, "), ");
}

// What these two leave on the stack is not destroyed: it must hold no memory.
void Cluster::fail(cudaError_t error, std::string text) {
  const uint3 t = running_block_->current().index;
  text.insert(0, message("thread (", t.x, ", ", t.y, ", ", t.z, "): "));
  text.insert(0, name_of(*running_block_));
  stop(error, std::move(text));
}

void Cluster::stop(cudaError_t error, std::string text) {
  outcome_.error = error;
  outcome_.text = std::move(text);
  std::string().swap(text);
  Fiber::switch_to(*running_, *host_);
  __builtin_unreachable();  // the fiber is reset
}

std::string Cluster::describe() const {
  std::string text;
  for (int i = 0; i < size_; ++i) {
    const Block& block = *blocks_[size_t(i)];
    if (size_ > 1) text += (i ? "; " : "") + name_of(block);
    text += block.describe();
  }
  return text;
}

// --- as kernels call them --------------------------------------------------------------------------------------------

void place_shared(SharedSite& site, const char* name, size_t bytes, size_t alignment) {
  const Hidden hidden;
  cluster().place(site, name, bytes, alignment);
}
void maybe_yield() {
  const Hidden hidden;
  cluster().maybe_yield();
}
void trap() { cluster().fail(cudaErrorLaunchFailure, "__trap()"); }

unsigned cluster_rank() { return unsigned(block().rank()); }
unsigned cluster_size() { return unsigned(cluster().size()); }
void* map_shared(const void* p, unsigned rank) {
  Block& mine = block();
  if (rank >= cluster_size()) cluster().fail(cudaErrorIllegalAddress, "a block of the cluster that does not exist");
  if (!mine.shared().contains(p))
    cluster().fail(cudaErrorIllegalAddress, "an address outside of the block's shared memory");
  return cluster()[int(rank)].shared().data() + (static_cast<const char*>(p) - mine.shared().data());
}
void cluster_arrive(const Site& site) {
  const Hidden hidden;
  cluster().arrive(site);
}
void cluster_wait(const Site& site) {
  const Hidden hidden;
  cluster().maybe_yield();
  cluster().wait(site);
}

}  // namespace steep::cuda::emulator
