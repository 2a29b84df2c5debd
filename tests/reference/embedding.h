// Rows of a table by index, in double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

inline std::vector<double> embedding(const std::vector<double>& table, std::size_t width, const std::vector<std::int32_t>& ids, double scale) {
  std::vector<double> y;
  for (const std::int32_t id : ids)
    for (std::size_t c = 0; c < width; ++c) y.push_back(scale * table[static_cast<std::size_t>(id) * width + c]);
  return y;
}

}  // namespace tessera::reference
