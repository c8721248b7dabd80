#include <algorithm>
#include <cstring>

#include "../cuda/table.h"
#include "device.h"
#include "gather.h"
#include "thread_pool.h"
#include "views.h"

namespace steep {
namespace {

constexpr int64_t kGrain = 32768;  // elements a thread takes at least
constexpr int64_t kBlock = 4096;   // elements that are counted together

/// 1 in each byte that is not 0: memory lent by others may hold anything.
uint64_t ones(uint64_t bytes) {
  constexpr uint64_t kLow = 0x7F7F7F7F7F7F7F7F;
  return (((bytes & kLow) + kLow) | bytes) >> 7 & 0x0101010101010101;
}

/// How many of n ≤ kBlock bytes are not 0.
int64_t count_true(const uint8_t* x, int64_t n) {
  constexpr uint64_t kEven = 0x00FF00FF00FF00FF;
  int64_t total = 0, i = 0;
  while (i + 8 <= n) {
    uint64_t sums = 0;  // of eight lanes of a byte each, which 255 words cannot overflow
    for (const int64_t end = std::min(n - n % 8, i + 255 * 8); i < end; i += 8) {
      uint64_t word;
      std::memcpy(&word, x + i, 8);
      sums += ones(word);
    }
    total += int64_t(((sums & kEven) + (sums >> 8 & kEven)) * 0x0001000100010001 >> 48);
  }
  for (; i < n; ++i) total += x[i] != 0;
  return total;
}

/// Writes the positions begin + i of the true ones among n ≤ kBlock, of which `total` have been counted: exactly as
/// many even if another thread changes them meanwhile.
void write_positions(const uint8_t* x, int64_t begin, int64_t n, int64_t total, int64_t* out) {
  int64_t found[kBlock + 1];  // one more than can be kept: writing always and keeping sometimes needs no branch
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    found[count] = begin + i;
    count += x[i] != 0;
  }
  while (count < total) found[count++] = begin;
  std::memcpy(out, found, size_t(total) * sizeof(int64_t));
}

/// Positions in C order over all axes, in the last of `rows` rows.
Array positions(const Array& mask, int64_t rows) {
  const int64_t n = mask.size(), blocks = (n + kBlock - 1) / kBlock;
  const uint8_t* const x = mask.as<uint8_t>();
  std::vector<int64_t> starts(size_t(blocks) + 1);
  parallel_range(blocks, kGrain / kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      starts[size_t(b) + 1] = count_true(x + b * kBlock, std::min(kBlock, n - b * kBlock));
  });
  for (int64_t b = 0; b < blocks; ++b) starts[size_t(b) + 1] += starts[size_t(b)];
  const int64_t total = starts[size_t(blocks)];
  Array out(DType::int64, {rows, total}, Device());
  int64_t* const y = out.as<int64_t>() + (rows - 1) * total;
  parallel_range(blocks, kGrain / kBlock, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      write_positions(x + b * kBlock, b * kBlock, std::min(kBlock, n - b * kBlock),
                      starts[size_t(b) + 1] - starts[size_t(b)], y + starts[size_t(b)]);
  });
  return out;
}

/// Splits positions, which are in the last row, into coordinates.
void unravel(const Dims& shape, const Array& out) {
  const int64_t total = out.shape[1];
  int64_t* const y = out.as<int64_t>();
  parallel_range(total, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      int64_t rest = y[(shape.n - 1) * total + i];
      for (int d = shape.n - 1; d > 0; --d) {
        y[d * total + i] = rest % shape[d];
        rest /= shape[d];
      }
      y[i] = rest;
    }
  });
}

/// Coordinates over the axes of `shape`, into which the positions in the mask are split.
Array find(const Array& a, const Dims& shape) {
  const Array mask = contiguous(in_dtype(a, DType::boolean));
  if (!on_cuda(mask)) {
    const Array out = positions(mask, shape.n);
    if (shape.n > 1) unravel(shape, out);
    return out;
  }
  if (mask.size() == 0) return Array(DType::int64, {shape.n, 0}, mask.device());
  const cuda::Table& table = *cuda::table();
  const int64_t blocks = table.nonzero_blocks(mask.size());
  const Array starts(DType::int64, {blocks + 1}, mask.device());
  {
    const DeviceScope scope("nonzero", {&mask, &starts});
    table.count_true(mask.size(), mask.as<uint8_t>(), starts.as<int64_t>());
  }
  check_readable("nonzero", starts);
  const Array total = to_device(select(starts, 0, blocks), Device());
  const Array out(DType::int64, {shape.n, total.as<int64_t>()[0]}, mask.device());
  const DeviceScope scope("nonzero", {&mask, &starts, &out});
  if (out.size()) table.nonzero(mask.size(), mask.as<uint8_t>(), shape, starts.as<int64_t>(), out.as<int64_t>());
  return out;
}

}  // namespace

Array nonzero(const Array& a) { return find(a, a.shape); }

Array flat_nonzero(const Array& a) { return select(find(a, {a.size()}), 0, 0); }

}  // namespace steep
