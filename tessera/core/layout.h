// How the elements of a tensor lie in memory: row-major, or TTNN's 32x32 tiles of four 16x16 faces. A value; only ops/reorder converts.
// Test: tests/core/tensor_test.cpp.
#pragma once

#include <cstdint>
#include <string_view>

#include "tessera/core/shape.h"

namespace tessera {

enum class Layout : std::uint8_t { row_major, tile };

inline constexpr std::int64_t kTileSize = 32;
inline constexpr std::int64_t kFaceSize = 16;

constexpr std::string_view name(Layout layout) { return layout == Layout::tile ? "TILE" : "ROW_MAJOR"; }

/// The shape that is stored: equal to `logical` in row-major, the last two dimensions rounded up to 32 in tile layout
/// (rank 0 and 1 count as [1, n]; the result has rank 2 then).
Shape padded_shape(const Shape& logical, Layout layout);

/// Offset of element (r, c) inside a stored [rows, cols] plane of tiles: tiles row by row, in a tile faces 0 1 / 2 3, in a face row by row.
/// `cols` is the padded width, a multiple of 32.
constexpr std::int64_t tile_offset(std::int64_t r, std::int64_t c, std::int64_t cols) {
  const std::int64_t tile = (r / kTileSize) * (cols / kTileSize) + c / kTileSize;
  const std::int64_t face = (r % kTileSize) / kFaceSize * 2 + (c % kTileSize) / kFaceSize;
  return tile * kTileSize * kTileSize + face * kFaceSize * kFaceSize + (r % kFaceSize) * kFaceSize + c % kFaceSize;
}

}  // namespace tessera
