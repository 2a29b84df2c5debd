// Tiles of block floats to floats and back: the loops of core/block_float.h in vectors, with the same bits. Test: tests/kernels/block_float_test.cpp.
#pragma once

#include <cstddef>
#include <span>

#include "tessera/core/dtype.h"
#include "tessera/kernels/table.h"

namespace tessera::kernels {

struct BlockFloatFunctions {
  /// 1024 values in the order of a stored tile into tile_size_of(dtype) bytes; dtype is bfloat8_b or bfloat4_b.
  void (*pack)(DType dtype, const float* values, std::byte* tile) noexcept;
  void (*unpack)(DType dtype, const std::byte* tile, float* values) noexcept;
};

std::span<const Row<BlockFloatFunctions>> block_float_rows();

}  // namespace tessera::kernels
