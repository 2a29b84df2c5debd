// Windows of adaptive pools as PyTorch's documentation has them, and what a uniform pool sees of a stretched, padded axis.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera::reference {

/// Input positions of every output, by floating point, which is exact at the sizes of the tests.
inline std::vector<std::vector<std::int64_t>> adaptive_windows(std::int64_t in, std::int64_t out) {
  std::vector<std::vector<std::int64_t>> all;
  for (std::int64_t i = 0; i < out; ++i) {
    all.emplace_back();
    const auto first = static_cast<std::int64_t>(std::floor(static_cast<double>(i * in) / static_cast<double>(out)));
    const auto end = static_cast<std::int64_t>(std::ceil(static_cast<double>((i + 1) * in) / static_cast<double>(out)));
    for (std::int64_t x = first; x < end; ++x) all.back().push_back(x);
  }
  return all;
}

/// Lays out an axis that holds every input's own position, gaps (before the inputs named) and padding, and slides the kernel over it.
inline std::vector<std::vector<std::int64_t>> seen(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t before, std::int64_t after,
                                                   const std::vector<std::int32_t>& gaps) {
  std::vector<std::int64_t> line(static_cast<std::size_t>(before), -1);
  for (std::int64_t x = 0; x < in; ++x) {
    line.insert(line.end(), static_cast<std::size_t>(std::ranges::count(gaps, x)), -1);
    line.push_back(x);
  }
  line.insert(line.end(), static_cast<std::size_t>(after), -1);
  std::vector<std::vector<std::int64_t>> outputs;
  for (std::int64_t at = 0; at + kernel <= static_cast<std::int64_t>(line.size()); at += stride) {
    outputs.emplace_back();
    for (std::int64_t k = 0; k < kernel; ++k)
      if (line[static_cast<std::size_t>(at + k)] >= 0) outputs.back().push_back(line[static_cast<std::size_t>(at + k)]);
  }
  return outputs;
}

}  // namespace tessera::reference
