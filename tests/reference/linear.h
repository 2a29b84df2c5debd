// y = residual + gate * act(x W^T + b) in double: plain loops, one output element at a time.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

enum class LinearActivation { none, gelu_tanh, silu, relu, relu6, hardswish, gelu };

inline double activate(double x, LinearActivation activation) {
  switch (activation) {
    case LinearActivation::gelu_tanh: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case LinearActivation::silu: return x / (1 + std::exp(-x));
    case LinearActivation::relu: return x < 0 ? 0 : x;
    case LinearActivation::relu6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case LinearActivation::hardswish: return x <= -3 ? 0 : x * activate(x + 3, LinearActivation::relu6) / 6;
    case LinearActivation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case LinearActivation::none: break;
  }
  return x;
}

/// One sum of products, and the sum of their absolute values: what the rounding errors of a float sum are in proportion to.
struct Sum {
  double value = 0;
  double magnitude = 0;
};

/// Row i of x [m][k] times row j of w [n][k], plus bias[j] if there is one.
inline Sum linear_sum(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& bias, std::int64_t k, std::int64_t i,
                      std::int64_t j) {
  Sum s;
  for (std::int64_t l = 0; l < k; ++l) {
    const double product = x[static_cast<std::size_t>(i * k + l)] * w[static_cast<std::size_t>(j * k + l)];
    s.value += product;
    s.magnitude += std::fabs(product);
  }
  if (!bias.empty()) {
    s.value += bias[static_cast<std::size_t>(j)];
    s.magnitude += std::fabs(bias[static_cast<std::size_t>(j)]);
  }
  return s;
}

}  // namespace tessera::reference
