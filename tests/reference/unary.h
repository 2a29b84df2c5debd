// Functions of one number by their name, from their definitions, in double; and of whole numbers that wrap.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string_view>

#include "tests/reference/elementwise.h"

namespace tessera::reference {

inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }

/// max(x, low) as PyTorch means it: NaN stays.
inline double at_least(double x, double low) { return x < low ? low : x; }
inline double at_most(double x, double high) { return x > high ? high : x; }

/// Angles: the C library reduces every double exactly.
inline double unary(std::string_view op, double x, double a = 0, double b = 0) {
  const double inf = std::numeric_limits<double>::infinity();
  const bool product_with_a_vanishing_factor = op == "silu" || op == "gelu" || op == "gelu_tanh" || op == "mish" || op == "hardswish";
  if (product_with_a_vanishing_factor && x == -inf) return 0;  // the limit
  if (op == "identity") return x;
  if (op == "abs") return std::fabs(x);
  if (op == "neg") return -x;
  if (op == "sign") return x > 0 ? 1 : x < 0 ? -1 : 0;
  if (op == "square") return x * x;
  if (op == "sqrt") return std::sqrt(x);
  if (op == "rsqrt") return 1 / std::sqrt(x);
  if (op == "reciprocal") return 1 / x;
  if (op == "exp") return std::exp(x);
  if (op == "exp2") return std::exp2(x);
  if (op == "expm1") return std::expm1(x);
  if (op == "log") return std::log(x);
  if (op == "log2") return std::log2(x);
  if (op == "log10") return std::log10(x);
  if (op == "log1p") return std::log1p(x);
  if (op == "sin") return std::sin(x);
  if (op == "cos") return std::cos(x);
  if (op == "tan") return std::tan(x);
  if (op == "asin") return std::asin(x);
  if (op == "acos") return std::acos(x);
  if (op == "atan") return std::atan(x);
  if (op == "sinh") return std::sinh(x);
  if (op == "cosh") return std::cosh(x);
  if (op == "tanh") return std::tanh(x);
  if (op == "erf") return std::erf(x);
  if (op == "erfc") return std::erfc(x);
  if (op == "lgamma") return std::lgamma(x);
  if (op == "sigmoid") return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x));
  if (op == "log_sigmoid") return -softplus(-x);
  if (op == "relu") return at_least(x, 0);
  if (op == "relu6") return at_most(at_least(x, 0), 6);
  if (op == "silu") return silu(x);
  if (op == "gelu") return gelu(x);
  if (op == "gelu_tanh") return x / (1 + std::exp(-2 * std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));  // 1 + tanh z, exact far out
  if (op == "mish") return x * std::tanh(softplus(x));
  if (op == "softsign") return x / (1 + std::fabs(x));
  if (op == "tanhshrink") return x - std::tanh(x);
  if (op == "hardsigmoid") return at_most(at_least(x + 3, 0), 6) / 6;
  if (op == "hardswish") return x * (at_most(at_least(x + 3, 0), 6) / 6);
  if (op == "floor") return std::floor(x);
  if (op == "ceil") return std::ceil(x);
  if (op == "round") return std::nearbyint(x);
  if (op == "trunc") return std::trunc(x);
  if (op == "isnan") return std::isnan(x) ? 1 : 0;
  if (op == "isinf") return std::isinf(x) ? 1 : 0;
  if (op == "isfinite") return std::isfinite(x) ? 1 : 0;
  if (op == "logical_not") return x == 0 ? 1 : 0;
  if (op == "leaky_relu") return x > 0 ? x : a * x;
  if (op == "elu") return x > 0 ? x : a * std::expm1(x);
  if (op == "celu") return x > 0 ? x : a * std::expm1(x / a);
  if (op == "selu") return 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * std::expm1(x));
  if (op == "hardtanh" || op == "clip") return at_most(at_least(x, a), b);
  if (op == "hardshrink") return x >= -a && x <= a ? 0 : x;
  if (op == "softshrink") return x > a ? x - a : x < -a ? x + a : std::isnan(x) ? x : 0;
  if (op == "softplus") return a * x > b ? x : softplus(a * x) / a;
  if (op == "threshold") return x <= a ? b : x;
  if (op == "heaviside") return x > 0 ? 1 : x < 0 ? 0 : std::isnan(x) ? x : a;
  if (op == "xielu") return x > 0 ? a * x * x + 0.5 * x : (std::expm1(std::min(x, -1e-6)) - x) * b + 0.5 * x;
  throw std::runtime_error("no reference of that name");
}

/// The op on a whole number, before it wraps. `low` and `high` are clip's.
inline std::int64_t whole_unary(std::string_view op, std::int64_t x, std::int64_t low, std::int64_t high) {
  if (op == "identity") return x;
  if (op == "abs") return x < 0 ? -x : x;
  if (op == "neg") return -x;
  if (op == "sign") return x > 0 ? 1 : x < 0 ? -1 : 0;
  if (op == "square") return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) * static_cast<std::uint64_t>(x));
  if (op == "relu") return std::max<std::int64_t>(x, 0);
  if (op == "relu6") return std::min<std::int64_t>(std::max<std::int64_t>(x, 0), 6);
  if (op == "clip") return std::min(std::max(x, low), high);
  if (op == "logical_not") return x == 0 ? 1 : 0;
  throw std::runtime_error("no whole-number reference of that name");
}

}  // namespace tessera::reference
