#include "async_copies.h"

#include <cstring>

#include "cluster.h"
#include "sanitizers.h"

namespace steep::cuda::emulator {

void AsyncCopies::start(void* to, const void* from, int bytes, int valid, Schedule& schedule) {
  // As early as can be; the forward schedule: as late.
  if (schedule.order() == Order::reverse) return land({to, from, bytes, valid, 0});
  const Hidden hidden;
  under_way_.push_back({to, from, bytes, valid, group_});
}

void AsyncCopies::commit() {
  const Hidden hidden;
  ++group_;
}

bool AsyncCopies::take_first_before(int group, Copy& copy) {
  const Hidden hidden;
  if (under_way_.empty() || under_way_.front().group >= group) return false;
  copy = under_way_.front();
  under_way_.erase(under_way_.begin());
  return true;
}

int AsyncCopies::group() const {
  const Hidden hidden;
  return group_;
}

void AsyncCopies::wait(int groups) {
  // ThreadSanitizer is to see the copies themselves, as the waiting thread's.
  for (Copy copy; take_first_before(group() - groups, copy);) land(copy);
}

void AsyncCopies::progress(Schedule& schedule) {
  while (!under_way_.empty() && schedule.chance(2)) {
    const size_t which = (schedule.draw() >> 8) % under_way_.size();
    const Copy copy = under_way_[which];
    under_way_.erase(under_way_.begin() + long(which));
    land(copy);
  }
}

void AsyncCopies::land_all() {
  for (const Copy& copy : under_way_) land(copy);
  under_way_.clear();
  group_ = 0;
}

void AsyncCopies::land(const Copy& copy) {
  std::memcpy(copy.to, copy.from, size_t(copy.valid));
  std::memset(static_cast<char*>(copy.to) + copy.valid, 0, size_t(copy.bytes - copy.valid));
}

// --- as kernels call them --------------------------------------------------------------------------------------------

void copy_async(void* shared, const void* global, int bytes, int valid) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % unsigned(bytes))
    cluster().fail(cudaErrorMisalignedAddress, "an asynchronous copy is not aligned to its size");
  if (valid < 0 || valid > bytes)
    cluster().fail(cudaErrorIllegalAddress, "an asynchronous copy of too many valid bytes");
  block().current().copies.start(shared, global, bytes, valid, cluster().schedule());
  maybe_yield();
}

void commit_async() { block().current().copies.commit(); }

void wait_async(int groups) {
  maybe_yield();
  block().current().copies.wait(groups);
}

}  // namespace steep::cuda::emulator
