#include "bulk_copies.h"

#include <algorithm>
#include <bit>

#include "../../core/errors.h"
#include "cluster.h"
#include "execution_sm90.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {

namespace {

// Addresses that stand in ThreadSanitizer's eyes for what comes before a load, after one, before a store, and
// after one.
char loads_tag, landed_tag, fence_tag, stores_tag;

}  // namespace

void BulkLoads::start(const Load& load, Schedule& schedule) {
  release(&loads_tag);
  // As early as can be; the forward schedule: as late.
  if (schedule.order() == Order::reverse) return land(load);
  under_way_.push_back(load);
}

bool BulkLoads::land_one(Schedule& schedule) {
  if (under_way_.empty()) return false;
  const size_t which = schedule.order() == Order::random ? (schedule.draw() >> 8) % under_way_.size() : 0;
  const Load load = under_way_[which];
  under_way_.erase(under_way_.begin() + long(which));
  land(load);
  return true;
}

void BulkLoads::progress(Schedule& schedule) {
  while (schedule.chance(2) && land_one(schedule)) {
  }
}

bool BulkLoads::any_to(const Block& block) const {
  return std::ranges::any_of(under_way_, [&](const Load& load) { return load.block == &block; });
}

void BulkLoads::land(const Load& load) {
  engine_acquire(Engine::loads, &loads_tag);
  load.box.to_shared(load.box.from_tensor(), load.to);
  engine_release(Engine::loads, &landed_tag);
  load.block->complete_bytes(load.barrier, load.box.bytes());
}

void BulkStores::start(const TensorBox& box, const char* from, Schedule& schedule) {
  // What threads have written is seen after a fence only (proxy_fence), what loads have written without.
  engine_acquire(Engine::stores, &fence_tag);
  engine_acquire(Engine::stores, &landed_tag);
  under_way_.push_back({box, from, group_, false, {}});
  if (schedule.order() != Order::reverse) return;
  read(under_way_.back());
  write(under_way_.back());
  under_way_.pop_back();
}

void BulkStores::read(Store& store) {
  if (store.is_read) return;
  store.bytes = store.box.from_shared(store.from);
  store.is_read = true;
  engine_release(Engine::stores, &stores_tag);
}

void BulkStores::write(Store& store) {
  read(store);
  store.box.to_tensor(store.bytes);
  engine_release(Engine::stores, &stores_tag);
}

void BulkStores::wait_read(int groups) {
  for (Store& store : under_way_)
    if (store.group < group_ - groups) read(store);
  acquire(&stores_tag);
}

void BulkStores::wait(int groups) {
  while (!under_way_.empty() && under_way_.front().group < group_ - groups) {
    write(under_way_.front());
    under_way_.erase(under_way_.begin());
  }
  acquire(&stores_tag);
}

void BulkStores::progress(Schedule& schedule) {
  while (!under_way_.empty() && schedule.chance(2)) {
    const size_t which = (schedule.draw() >> 8) % under_way_.size();
    if (!under_way_[which].is_read) {
      read(under_way_[which]);
    } else {
      write(under_way_[which]);
      under_way_.erase(under_way_.begin() + long(which));
    }
  }
}

bool BulkStores::all_read() const { return std::ranges::all_of(under_way_, &Store::is_read); }

void BulkStores::write_all() {
  for (Store& store : under_way_) write(store);
  under_way_.clear();
  group_ = 0;
}

// --- as kernels call them --------------------------------------------------------------------------------------------

namespace {

TensorBox box_of(const CUtensorMap* map, const int* coordinates, int rank, const void* shared) {
  std::string error;
  const TensorMap decoded = decode(map, error);
  if (error.empty() && decoded.rank != rank)
    error = message("a tensor map of ", decoded.rank, " dimensions, not ", rank);
  if (error.empty() && reinterpret_cast<uintptr_t>(shared) % 128)
    error = "a bulk copy's place in shared memory must be aligned to 128 bytes";
  if (error.empty() && cluster().owner(shared) != &block())
    error = "a bulk copy names its place in the running block's shared memory";
  if (!error.empty()) cluster().fail(cudaErrorIllegalInstruction, std::move(error));
  return {decoded, coordinates};
}

}  // namespace

void proxy_fence() { release(&fence_tag); }

void load_tensor(void* shared, const CUtensorMap* map, const int* coordinates, int rank, uint64_t* barrier,
                 unsigned blocks) {
  const Hidden hidden;
  Cluster& all = cluster();
  const TensorBox box = box_of(map, coordinates, rank, shared);
  if (all.owner(barrier) != &block()) all.fail(cudaErrorIllegalInstruction, "a bulk copy without an mbarrier");
  if (!blocks || blocks >> all.size()) all.fail(cudaErrorIllegalInstruction, "a bulk copy to blocks that do not exist");
  const char* const own = block().shared().data();
  for (unsigned rest = blocks; rest; rest &= rest - 1) {
    Block& to = all[std::countr_zero(rest)];
    char* const base = to.shared().data();
    all.loads().start({box, &to, base + (static_cast<char*>(shared) - own),
                       reinterpret_cast<uint64_t*>(base + (reinterpret_cast<char*>(barrier) - own))},
                      all.schedule());
  }
  all.maybe_yield();
}

void store_tensor(const CUtensorMap* map, const int* coordinates, int rank, const void* shared) {
  const Hidden hidden;
  block().current().stores.start(box_of(map, coordinates, rank, shared), static_cast<const char*>(shared),
                                 cluster().schedule());
  cluster().maybe_yield();
}

void prefetch_tensor_map(const CUtensorMap* map) {
  const Hidden hidden;
  std::string error;
  decode(map, error);
  if (!error.empty()) cluster().fail(cudaErrorIllegalInstruction, std::move(error));
}

void commit_stores() {
  const Hidden hidden;
  block().current().stores.commit();
}

void wait_stores(int groups, bool written) {
  const Hidden hidden;
  cluster().maybe_yield();
  BulkStores& stores = block().current().stores;
  if (written)
    stores.wait(groups);
  else
    stores.wait_read(groups);
}

}  // namespace steep::cuda::emulator
