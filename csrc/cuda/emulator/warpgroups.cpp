#include "warpgroups.h"

#include <bit>
#include <cstring>

#include "../../core/errors.h"
#include "../../core/half.h"
#include "cluster.h"
#include "sanitizers.h"
#include "tensor_sums.h"

namespace steep::cuda::emulator {
namespace {

constexpr int kRows = 16, kMaxN = 256, kMaxSteps = 16;
constexpr int kChunk = 16;  // bytes that stay together

/// An operand in shared memory, as its matrix descriptor tells (PTX ISA, "Matrix Descriptor Format" and "Strides").
class SharedOperand {
 public:
  SharedOperand(Block& block, uint64_t descriptor, bool mn_major, int item)
      : block_(block),
        start_(address(descriptor)),
        leading_(address(descriptor >> 16)),
        stride_(address(descriptor >> 32)),
        mn_major_(mn_major),
        per_chunk_(kChunk / item) {
    constexpr int kChunks[] = {1, 8, 4, 2};  // by the descriptor's field for the swizzle: none, 128, 64, 32 bytes
    chunks_ = kChunks[descriptor >> 62];
    if (descriptor >> 49 & 7)
      cluster().fail(cudaErrorNotSupported, "a matrix descriptor with a base offset: align the matrix to its swizzle");
  }

  /// Where the chunk lies whose first element is (row, k). A row is one of A, or of B's transpose.
  const char* chunk(int row, int k) const {
    uint32_t at = start_;
    if (mn_major_) {
      const int c = row / per_chunk_;
      at += uint32_t((c % chunks_ + k % 8 * chunks_) * kChunk);
      at += uint32_t(c / chunks_) * (chunks_ > 1 ? leading_ : stride_);
      at += uint32_t(k / 8) * (chunks_ > 1 ? stride_ : leading_);
    } else {
      at += uint32_t(row % 8 * chunks_ * kChunk) + uint32_t(row / 8) * stride_;
      at += uint32_t(k / per_chunk_) * (chunks_ > 1 ? kChunk : leading_);
    }
    at ^= (at >> 7 & uint32_t(chunks_ - 1)) << 4;
    const char* const p = block_.shared().at(at, kChunk);
    if (!p) cluster().fail(cudaErrorIllegalAddress, message("wgmma reads byte ", at, " of shared memory: no array's"));
    return p;
  }

 private:
  static uint32_t address(uint64_t field) { return uint32_t(field & 0x3fff) << 4; }

  Block& block_;
  uint32_t start_, leading_, stride_;
  bool mn_major_;
  int per_chunk_, chunks_;
};

double number(WgmmaType type, const char* p) {
  if (type == WgmmaType::tf32) {
    uint32_t bits;
    std::memcpy(&bits, p, 4);
    return std::bit_cast<float>(bits & ~uint32_t(0x1fff));  // the lowest 13 bits are not read
  }
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  if (type == WgmmaType::bf16) return std::bit_cast<float>(uint32_t(bits) << 16);
  return float(same_bits<float16>(bits));
}

/// Calls set(row, k, element) for rows `first` to `first` + `rows` of an operand in shared memory.
template <class Set>
void read(const SharedOperand& from, WgmmaType type, bool mn_major, int first, int rows, Set set) {
  const int item = type == WgmmaType::tf32 ? 4 : 2, each = kChunk / item;
  for (int row = 0; row < rows; row += mn_major ? each : 1)
    for (int k = 0; k < 32 / item; k += mn_major ? 1 : each) {
      const char* chunk = from.chunk(first + row, k);
      for (int i = 0; i < each; ++i)
        set(row + (mn_major ? i : 0), k + (mn_major ? 0 : i), number(type, chunk + i * item));
    }
}

/// The same of fragments of A (PTX ISA, "Register Fragments for wgmma.mma_async").
template <class Set>
void read(const uint32_t* const (&lanes)[warpSize], WgmmaType type, Set set) {
  const int item = type == WgmmaType::tf32 ? 4 : 2, each = 4 / item;
  for (int lane = 0; lane < warpSize; ++lane)
    for (int r = 0; r < 4; ++r)
      for (int i = 0; i < each; ++i)
        set(lane / 4 + r % 2 * 8, (r / 2 * 4 + lane % 4) * each + i,
            number(type, reinterpret_cast<const char*>(lanes[lane] + r) + i * item));
}

}  // namespace

void WarpWgmma::execute(Block& block, int warp) const {
  const auto& [type, n, add, a_mn_major, b_mn_major, a_in_registers, a_descriptor, b_descriptor] = operation;
  const int item = type == WgmmaType::tf32 ? 4 : 2;
  constexpr int kExtraBits = 2;  // Hopper's
  double rows[kRows][kMaxSteps];
  Row columns[kMaxN / kColumns][kMaxSteps];
  const auto set_row = [&](int row, int k, double x) { rows[row][k] = x; };
  const auto set_column = [&](int column, int k, double x) { columns[column / kColumns][k][column % kColumns] = x; };
  if (a_in_registers)
    read(a, type, set_row);
  else
    read({block, a_descriptor, a_mn_major, item}, type, a_mn_major, warp % Warpgroups::kWarps * kRows, kRows, set_row);
  read({block, b_descriptor, b_mn_major, item}, type, b_mn_major, 0, n, set_column);
  for (int row = 0; row < kRows; ++row)
    for (int j = 0; j < n / kColumns; ++j) {
      // Where the eight elements are: two in each of four lanes.
      const auto element = [&](int i) -> float& { return d[row % 8 * 4 + i / 2][4 * j + row / 8 * 2 + i % 2]; };
      Row sums{};
      for (int i = 0; i < kColumns && add; ++i) sums[i] = element(i);
      if (item == 2)
        add_products<16, kExtraBits>(sums, rows[row], columns[j]);
      else
        add_products<8, kExtraBits>(sums, rows[row], columns[j]);
      for (int i = 0; i < kColumns; ++i) element(i) = float(sums[i]);
    }
}

void Warpgroups::begin_block() {
  if (used_) *this = {};
}

/// Adds the running thread to its warp's newest operation, which it begins if the others haven't come to it yet.
void Warpgroups::join(Block& block, const Wgmma& operation, float* d, const uint32_t* a) {
  used_ = true;
  const int number = block.current().number / warpSize, lane = block.lane();
  Warp& warp = warps_[number];
  if (block.threads() < (number / kWarps + 1) * kWarps * warpSize)
    cluster().fail(cudaErrorLaunchFailure, "wgmma.mma_async needs four whole warps");
  if (!(warp.fenced >> lane & 1))
    cluster().fail(
        cudaErrorLaunchFailure,
        "wgmma.mma_async without a wgmma.fence since the thread's last wait: what it did with the registers in "
        "between is in no order with it");
  if (warp.under_way.empty() || warp.under_way.back().is_complete()) {
    warp.under_way.push_back({operation, warp.groups[lane], 0, {}, {}});
    auto& agreed = agreed_[number / kWarps];
    if (warp.count == int(agreed.size())) agreed.push_back(operation);
    if (agreed[size_t(warp.count++)] != operation)
      cluster().fail(cudaErrorLaunchFailure, "the warps of a warpgroup disagree on a wgmma.mma_async");
  }
  WarpWgmma& part = warp.under_way.back();
  if (part.operation != operation)
    cluster().fail(cudaErrorLaunchFailure, "the lanes of a warp disagree on a wgmma.mma_async");
  part.d[lane] = d, part.a[lane] = a;
  part.arrived |= uint32_t(1) << lane;
}

bool Warpgroups::take_first_before(Warp& warp, int group, WarpWgmma& part) {
  const Hidden hidden;
  if (warp.under_way.empty() || !warp.under_way.front().is_complete() || warp.under_way.front().group >= group)
    return false;
  part = warp.under_way.front();
  warp.under_way.erase(warp.under_way.begin());
  return true;
}

/// ThreadSanitizer is to see what is read and written, as the running thread's.
void Warpgroups::execute_before(Block& block, int group) {
  const int number = block.current().number / warpSize;
  for (WarpWgmma part; take_first_before(warps_[number], group, part);) part.execute(block, number);
  release(&warps_[number].tag);
}

void Warpgroups::start(Block& block, const Wgmma& operation, float* d, const uint32_t* a, const Site& site) {
  int group;
  bool at_once;  // as early as can be; the forward schedule: as late
  {
    const Hidden hidden;
    group = warps_[block.current().number / warpSize].groups[block.lane()];
    join(block, operation, d, a);
    block.warp_operation(WarpOperation::barrier, ~0u, 0, 0, site);
    at_once = cluster().schedule().order() == Order::reverse || cluster().schedule().chance(32);
  }
  if (at_once) execute_before(block, group + 1);
}

void Warpgroups::fence(Block& block) {
  const Hidden hidden;
  warps_[block.current().number / warpSize].fenced |= uint32_t(1) << block.lane();
  used_ = true;
}

void Warpgroups::commit(Block& block) {
  const Hidden hidden;
  ++warps_[block.current().number / warpSize].groups[block.lane()];
}

void Warpgroups::wait(Block& block, int groups, const Site& site) {
  Warp& warp = warps_[block.current().number / warpSize];
  int before;
  {
    const Hidden hidden;
    before = warp.groups[block.lane()] - groups;
    warp.fenced &= ~(uint32_t(1) << block.lane());
    block.warp_operation(WarpOperation::barrier, ~0u, 0, 0, site);
  }
  execute_before(block, before);
  acquire(&warp.tag);
}

std::string Warpgroups::missing() const {
  if (used_)
    for (int i = 0; i < kMaxThreads / warpSize; ++i)
      if (const size_t agreed = agreed_[i / kWarps].size(); warps_[i].count != int(agreed))
        return message("warp ", i, " took part in ", warps_[i].count, " of the ", agreed,
                       " wgmma.mma_async of its warpgroup");
  return "";
}

// --- as kernels call them --------------------------------------------------------------------------------------------

void wgmma(const Wgmma& operation, float* d, const uint32_t* a, const Site& site) {
  block().warpgroups().start(block(), operation, d, a, site);
}
void wgmma_fence() { block().warpgroups().fence(block()); }
void wgmma_commit() { block().warpgroups().commit(block()); }
void wgmma_wait(int groups, const Site& site) { block().warpgroups().wait(block(), groups, site); }
uint32_t shared_address(const void* p) { return block().shared().address(p); }

}  // namespace steep::cuda::emulator
