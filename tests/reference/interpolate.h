// torch.nn.functional.interpolate of one plane in double: every output as a weighted sum over all inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera::reference {

inline double keys(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  if (x < 2) return a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a;
  return 0;
}

/// Weight of each input for output o.
inline std::vector<double> interpolation_weights(const std::string& mode, std::int64_t in, std::int64_t out, std::int64_t o, bool corners,
                                                 bool antialias) {
  std::vector<double> w(static_cast<std::size_t>(in), 0.0);
  const double step =
      corners ? (out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0.0) : static_cast<double>(in) / static_cast<double>(out);
  const auto at = [&](std::int64_t i) -> double& { return w[static_cast<std::size_t>(std::clamp<std::int64_t>(i, 0, in - 1))]; };
  if (mode == "nearest") {
    at(o * in / out) = 1;
    return w;
  }
  double source = corners ? static_cast<double>(o) * step : (static_cast<double>(o) + 0.5) * step - 0.5;
  if (antialias) {
    const double grow = std::max(1.0, step), support = (mode == "bicubic" ? 2 : 1) * grow;
    double sum = 0;
    for (std::int64_t i = 0; i < in; ++i) {
      const double distance = (static_cast<double>(i) - source) / grow;
      if (std::fabs(distance) * grow >= support) continue;
      at(i) = mode == "bicubic" ? keys(distance, -0.5) : 1 - std::fabs(distance);
      sum += at(i);
    }
    for (double& v : w) v /= sum;
    return w;
  }
  if (mode == "bilinear") {
    source = std::max(source, 0.0);
    const auto first = static_cast<std::int64_t>(source);
    at(first) += 1 - (source - static_cast<double>(first));
    at(first + 1) += source - static_cast<double>(first);
    return w;
  }
  const auto base = static_cast<std::int64_t>(std::floor(source));
  for (std::int64_t k = -1; k <= 2; ++k) at(base + k) += keys(source - static_cast<double>(base + k), -0.75);
  return w;
}

inline std::vector<double> interpolate_plane(const std::vector<double>& x, const std::string& mode, std::int64_t h, std::int64_t w, std::int64_t oh,
                                             std::int64_t ow, bool corners, bool antialias) {
  std::vector<double> y;
  for (std::int64_t i = 0; i < oh; ++i)
    for (std::int64_t j = 0; j < ow; ++j) {
      const auto rows = interpolation_weights(mode, h, oh, i, corners, antialias),
                 columns = interpolation_weights(mode, w, ow, j, corners, antialias);
      double sum = 0;
      for (std::int64_t r = 0; r < h; ++r)
        for (std::int64_t c = 0; c < w; ++c)
          sum += rows[static_cast<std::size_t>(r)] * columns[static_cast<std::size_t>(c)] * x[static_cast<std::size_t>(r * w + c)];
      y.push_back(sum);
    }
  return y;
}

}  // namespace tessera::reference
