// Rotary embedding in double: every pair (i, i + head_dim / 2) of every head turned by pos * theta^(-2i / head_dim).
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera::reference {

inline double rope_angle(std::int64_t position, std::int64_t pair, std::int64_t head_dim, double theta) {
  return static_cast<double>(position) / std::exp(std::log(theta) * 2.0 * static_cast<double>(pair) / static_cast<double>(head_dim));
}

/// x [tokens][heads][head_dim], dense.
inline std::vector<double> rope(const std::vector<float>& x, const std::vector<std::int32_t>& positions, std::int64_t heads, std::int64_t head_dim,
                                double theta) {
  std::vector<double> y(x.begin(), x.end());
  const std::int64_t half = head_dim / 2;
  for (std::size_t t = 0; t < positions.size(); ++t)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        const std::size_t lo =
            (t * static_cast<std::size_t>(heads) + static_cast<std::size_t>(h)) * static_cast<std::size_t>(head_dim) + static_cast<std::size_t>(i);
        const std::size_t hi = lo + static_cast<std::size_t>(half);
        const double angle = rope_angle(positions[t], i, head_dim, theta);
        y[lo] = x[lo] * std::cos(angle) - x[hi] * std::sin(angle);
        y[hi] = x[hi] * std::cos(angle) + x[lo] * std::sin(angle);
      }
  return y;
}

}  // namespace tessera::reference
