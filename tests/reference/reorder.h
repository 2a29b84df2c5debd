// Movement element by element: a tensor as a list of values under its shape, row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

using Sizes = std::vector<std::int64_t>;

inline std::int64_t count(const Sizes& shape) {
  std::int64_t n = 1;
  for (const std::int64_t s : shape) n *= s;
  return n;
}

/// Index of the flat position in every dimension.
inline Sizes unflatten(std::int64_t flat, const Sizes& shape) {
  Sizes index(shape.size());
  for (std::size_t i = shape.size(); i-- > 0;) {
    index[i] = flat % shape[i];
    flat /= shape[i];
  }
  return index;
}

inline std::int64_t flatten(const Sizes& index, const Sizes& shape) {
  std::int64_t flat = 0;
  for (std::size_t i = 0; i < shape.size(); ++i) flat = flat * shape[i] + index[i];
  return flat;
}

/// Where element (row, column) of a plane of `cols` columns stands in TTNN's tiles: 32 x 32 tiles row by row, in each four 16 x 16 faces.
inline std::int64_t tile_position(std::int64_t row, std::int64_t col, std::int64_t cols) {
  const std::int64_t tiles_across = (cols + 31) / 32;
  const std::int64_t tile = row / 32 * tiles_across + col / 32;
  const std::int64_t r = row % 32;
  const std::int64_t c = col % 32;
  return tile * 1024 + (r / 16 * 2 + c / 16) * 256 + r % 16 * 16 + c % 16;
}

}  // namespace tessera::reference
