// Normalisation of one row in double: plain loops.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace tessera::reference {

inline std::vector<double> layer_norm(const std::vector<double>& x, const std::vector<double>& weight, const std::vector<double>& bias, double eps) {
  double mean = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  double variance = 0;
  for (const double v : x) variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back((x[i] - mean) / std::sqrt(variance + eps) * weight[i] + bias[i]);
  return y;
}

/// scale and shift as in adaptive RMSNorm; RMSNorm itself is scale = weight, shift = 0.
inline std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<double>& scale, const std::vector<double>& shift, double eps) {
  double square = 0;
  for (const double v : x) square += v * v / static_cast<double>(x.size());
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(x[i] / std::sqrt(square + eps) * (1 + scale[i]) + shift[i]);
  return y;
}

}  // namespace tessera::reference
