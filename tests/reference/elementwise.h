// Elementwise functions of one number, in double.
#pragma once

#include <cmath>
#include <numbers>

namespace tessera::reference {

inline double gelu(double x) { return 0.5 * x * std::erfc(-x / std::numbers::sqrt2); }
inline double gelu_tanh(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))); }
inline double silu(double x) { return x / (1 + std::exp(-x)); }

}  // namespace tessera::reference
