// Copies between the host and devices, by way of pinned memory, piece by piece: what goes to a device is queued like
// any other work, and the source is free at once; what comes back is copied on while the next piece is on its way.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "graph.h"
#include "runtime.h"

namespace steep::cuda {
namespace {

constexpr size_t kPiece = size_t(4) << 20;  // one piece is copied by the host while the one before is by the device
constexpr size_t kMaxPieces = 16;

/// Pinned memory, and the event after which it may be written again.
struct Piece {
  char* data = nullptr;
  cudaEvent_t done = nullptr;
  int device;
  bool taken = false;
};

class Pieces {
 public:
  /// One that no copy reads any more; its owner calls `give_back`.
  Piece& take() {
    const int device = current_device();
    const std::lock_guard lock(mutex_);
    Piece* oldest = nullptr;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      Piece& piece = *pieces_[(next_ + i) % pieces_.size()];
      if (piece.taken || piece.device != device) continue;
      if (is_done(piece.done)) return claim(piece);
      if (!oldest) oldest = &piece;
    }
    if (oldest && pieces_.size() >= kMaxPieces) {
      check("to", cudaEventSynchronize(oldest->done));
      return claim(*oldest);
    }
    auto piece = std::make_unique<Piece>();
    piece->device = device;
    check("to", cudaEventCreateWithFlags(&piece->done, cudaEventDisableTiming));
    void* data = nullptr;
    check("to", cudaMallocHost(&data, kPiece));
    piece->data = static_cast<char*>(data);
    pieces_.push_back(std::move(piece));
    return claim(*pieces_.back());
  }

  void give_back(Piece& piece) {
    const std::lock_guard lock(mutex_);
    piece.taken = false;
  }

 private:
  Piece& claim(Piece& piece) {
    next_++;
    piece.taken = true;
    return piece;
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Piece>> pieces_;
  size_t next_ = 0;
};

Pieces& pieces() {
  static Pieces& all = *new Pieces;  // never destroyed: the driver may be gone by then
  return all;
}

struct GiveBack {
  void operator()(Piece* piece) const { pieces().give_back(*piece); }
};
using Taken = std::unique_ptr<Piece, GiveBack>;

/// Queues a copy from or to a piece.
void queue(const Piece& piece, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  check("to", cudaMemcpyAsync(to, from, bytes, kind, current_stream()));
  check("to", cudaEventRecord(piece.done, current_stream()));
}

}  // namespace

void copy_to_device(void* to, const void* from, size_t bytes) {
  refuse_copies("from the host, whose values would be the same in every replay");
  for (size_t at = 0; at < bytes; at += kPiece) {
    const size_t count = std::min(kPiece, bytes - at);
    const Taken piece(&pieces().take());
    std::memcpy(piece->data, static_cast<const char*>(from) + at, count);
    queue(*piece, static_cast<char*>(to) + at, piece->data, count, cudaMemcpyHostToDevice);
  }
}

void copy_to_host(void* to, const void* from, size_t bytes) {
  refuse_to_read("to");
  Taken last;
  for (size_t at = 0; at < bytes + kPiece; at += kPiece) {  // piece by piece, and once more to finish the last
    Taken next;
    if (at < bytes) {
      next.reset(&pieces().take());
      queue(*next, next->data, static_cast<const char*>(from) + at, std::min(kPiece, bytes - at),
            cudaMemcpyDeviceToHost);
    }
    if (last) {
      check("to", cudaEventSynchronize(last->done));
      std::memcpy(static_cast<char*>(to) + at - kPiece, last->data, std::min(kPiece, bytes - (at - kPiece)));
    }
    last = std::move(next);
  }
  look_at_checks(current_device());
}

void copy_between(void* to, int to_device, const void* from, int from_device, size_t bytes) {
  refuse_copies("between devices");
  // Queued on the source's stream; the target's stream must wait for it, and before that it for the target's.
  const auto order = [](int first, int second) {
    cudaEvent_t event;
    {
      const OnDevice on(first);
      check("to", cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
      check("to", cudaEventRecord(event, current_stream()));
    }
    const OnDevice on(second);
    const cudaError_t status = cudaStreamWaitEvent(current_stream(), event, 0);
    cudaEventDestroy(event);
    check("to", status);
  };
  order(to_device, from_device);
  {
    const OnDevice on(from_device);
    check("to", cudaMemcpyPeerAsync(to, to_device, from, from_device, bytes, current_stream()));
  }
  order(from_device, to_device);
}

}  // namespace steep::cuda
