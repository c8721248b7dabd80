// What a tensor map says, and the boxes that the copy engine moves by it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "cuda.h"

namespace steep::cuda::emulator {

/// The bytes of the emulated device's CUtensorMap.
struct TensorMap {
  static constexpr uint64_t kMagic = 0x70616d726f736e74;
  uint64_t magic;
  char* data;
  uint64_t strides[5];  // in bytes, from the innermost
  uint32_t last[5];     // index of each dimension
  uint16_t box[5];
  uint8_t rank, element_bytes, swizzle;
  bool rounds_to_tf32;  // floats, as they are loaded

  int row_bytes() const { return box[0] * element_bytes; }
  /// Rows of 16 bytes, of as many as are exchanged among each other: 1 without a swizzle.
  int swizzled() const { return 1 << swizzle; }
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

/// Part of a tensor, with the elements that lie outside of it.
class TensorBox {
 public:
  TensorBox(const TensorMap& map, const int* coordinates);

  int bytes() const;
  // Between the tensor, an array in the order of the box, and shared memory. Elements outside are zeros when they are
  // read, and not written.
  std::vector<char> from_tensor() const;
  void to_tensor(const std::vector<char>& bytes) const;
  std::vector<char> from_shared(const char* shared) const;
  void to_shared(const std::vector<char>& bytes, char* shared) const;

 private:
  template <class F>
  void each_row(F f) const;
  template <class F>
  void each_chunk(F f) const;

  TensorMap map_;
  int64_t first_[5] = {};
};

/// Reads a map; what is wrong with it goes to `error`.
TensorMap decode(const CUtensorMap* map, std::string& error);

}  // namespace steep::cuda::emulator
