#include "tensor_box.h"

#include <algorithm>
#include <cstring>

#include "sanitizers.h"
#include "settings.h"

namespace steep::cuda::emulator {
namespace {

constexpr int kChunk = 16;  // bytes that stay together, however they are swizzled

constexpr uint8_t kElementBytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4};  // by CUtensorMapDataType

/// Where the swizzle puts what would be at an address: bits 4 … of it are changed by bits 7 ….
char* swizzled(const char* p, int swizzle) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p), mask = (uintptr_t(1) << swizzle) - 1;
  return reinterpret_cast<char*>(address ^ (address >> 7 & mask) << 4);
}

/// Of floats, to the nearest with 10 bits of fraction, ties away from zero; infinities and NaNs stay.
void round_to_tf32(std::vector<char>& floats) {
  for (size_t i = 0; i < floats.size(); i += 4) {
    uint32_t bits;
    std::memcpy(&bits, floats.data() + i, 4);
    if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~uint32_t(0x1fff);
    std::memcpy(floats.data() + i, &bits, 4);
  }
}

}  // namespace

TensorBox::TensorBox(const TensorMap& map, const int* coordinates) : map_(map) {
  std::copy_n(coordinates, map.rank, first_);
}

int TensorBox::bytes() const {
  int n = map_.element_bytes;
  for (int i = 0; i < map_.rank; ++i) n *= map_.box[i];
  return n;
}

/// f(place in the box, in bytes; address in the tensor; bytes) for the part of each row that is inside.
template <class F>
void TensorBox::each_row(F f) const {
  const int64_t begin = std::max<int64_t>(0, -first_[0]),
                end = std::min<int64_t>(map_.box[0], int64_t(map_.last[0]) + 1 - first_[0]);
  if (begin >= end) return;
  const int rows = bytes() / map_.row_bytes();
  for (int row = 0; row < rows; ++row) {
    bool inside = true;
    char* p = map_.data + (first_[0] + begin) * map_.element_bytes;
    for (int i = 1, rest = row; i < map_.rank; rest /= map_.box[i++]) {
      const int64_t at = first_[i] + rest % map_.box[i];
      inside &= at >= 0 && at <= int64_t(map_.last[i]);
      p += at * int64_t(map_.strides[i]);
    }
    if (inside) f(row * map_.row_bytes() + begin * map_.element_bytes, p, size_t((end - begin) * map_.element_bytes));
  }
}

template <class F>
void TensorBox::each_chunk(F f) const {
  for (int i = 0; i < bytes(); i += kChunk) f(i);
}

std::vector<char> TensorBox::from_tensor() const {
  std::vector<char> all(size_t(bytes()), 0);
  each_row([&](int64_t at, const char* p, size_t n) {
    std::memcpy(all.data() + at, p, n);
    engine_reads(Engine::loads, p, n);
  });
  if (map_.rounds_to_tf32) round_to_tf32(all);
  return all;
}

void TensorBox::to_tensor(const std::vector<char>& all) const {
  each_row([&](int64_t at, char* p, size_t n) {
    std::memcpy(p, all.data() + at, n);
    engine_writes(Engine::stores, p, n);
  });
}

std::vector<char> TensorBox::from_shared(const char* shared) const {
  std::vector<char> all(static_cast<size_t>(bytes()));
  each_chunk([&](int i) {
    const char* const p = swizzled(shared + i, map_.swizzle);
    std::memcpy(all.data() + i, p, kChunk);
    engine_reads(Engine::stores, p, kChunk);
  });
  return all;
}

void TensorBox::to_shared(const std::vector<char>& all, char* shared) const {
  each_chunk([&](int i) {
    char* const p = swizzled(shared + i, map_.swizzle);
    std::memcpy(p, all.data() + i, kChunk);
    engine_writes(Engine::loads, p, kChunk);
  });
}

TensorMap decode(const CUtensorMap* p, std::string& error) {
  TensorMap map{};
  std::memcpy(&map, p, sizeof map);
  if (map.magic != TensorMap::kMagic)
    error = "this is no tensor map";
  else if (map.swizzle && map.row_bytes() != kChunk * map.swizzled())
    error = "the emulated device swizzles boxes only whose rows are as long as the swizzle";
  return map;
}

}  // namespace steep::cuda::emulator

using namespace steep::cuda::emulator;

CUresult cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* data,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                                CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion,
                                CUtensorMapFloatOOBfill fill) {
  constexpr auto invalid = CUDA_ERROR_INVALID_VALUE;
  const auto in = [](int x, int most) { return x >= 0 && x <= most; };
  if (settings().capability < 90 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE ||
      fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE || !in(type, CU_TENSOR_MAP_DATA_TYPE_TFLOAT32))
    return CUDA_ERROR_NOT_SUPPORTED;
  if (!out || reinterpret_cast<uintptr_t>(out) % 64 || !data || reinterpret_cast<uintptr_t>(data) % 16) return invalid;
  if (rank < 1 || rank > 5 || !in(swizzle, CU_TENSOR_MAP_SWIZZLE_128B) ||
      !in(promotion, CU_TENSOR_MAP_L2_PROMOTION_L2_256B))
    return invalid;
  TensorMap map{TensorMap::kMagic,
                static_cast<char*>(data),
                {},
                {},
                {},
                uint8_t(rank),
                kElementBytes[type],
                uint8_t(swizzle),
                type == CU_TENSOR_MAP_DATA_TYPE_TFLOAT32};
  map.strides[0] = map.element_bytes;
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (sizes[i] < 1 || sizes[i] > uint64_t(1) << 32 || box[i] < 1 || box[i] > 256) return invalid;
    if (i > 0 && element_strides[i] != 1)
      return element_strides[i] < 1 || element_strides[i] > 8 ? invalid : CUDA_ERROR_NOT_SUPPORTED;
    if (i > 0 && (strides[i - 1] % 16 || strides[i - 1] >> 40)) return invalid;
    map.last[i] = uint32_t(sizes[i] - 1);
    map.box[i] = uint16_t(box[i]);
    if (i > 0) map.strides[i] = strides[i - 1];
  }
  if (map.row_bytes() % 16 || (swizzle && map.row_bytes() > 16 * map.swizzled())) return invalid;
  std::memset(out, 0, sizeof *out);
  std::memcpy(out, &map, sizeof map);
  return CUDA_SUCCESS;
}
