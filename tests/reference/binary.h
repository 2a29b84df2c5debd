// Functions of two numbers by their name, from their definitions, in double; of whole numbers; and broadcasting by nested division.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "tests/reference/elementwise.h"

namespace tessera::reference {

/// Toward -inf; a fraction below one whole number above the true one cannot arise, for it is made of the exact remainder.
inline double floor_divided(double a, double b) {
  if (b == 0) return a / b;
  const double rest = std::fmod(a, b);
  const double q = (a - rest) / b;
  return rest != 0 && (rest < 0) != (b < 0) ? q - 1 : q;
}

inline double binary(std::string_view op, double a, double b) {
  if (op == "add") return a + b;
  if (op == "subtract") return a - b;
  if (op == "rsub") return b - a;
  if (op == "multiply") return a * b;
  if (op == "divide") return a / b;
  if (op == "power") return std::pow(a, b);
  if (op == "maximum") return std::isnan(a) || a > b ? a : b;
  if (op == "minimum") return std::isnan(a) || a < b ? a : b;
  if (op == "eq") return a == b ? 1 : 0;
  if (op == "ne") return a == b ? 0 : 1;
  if (op == "lt") return a < b ? 1 : 0;
  if (op == "le") return a <= b ? 1 : 0;
  if (op == "gt") return a > b ? 1 : 0;
  if (op == "ge") return a >= b ? 1 : 0;
  if (op == "logical_and") return a != 0 && b != 0 ? 1 : 0;
  if (op == "logical_or") return a != 0 || b != 0 ? 1 : 0;
  if (op == "logical_xor") return (a != 0) != (b != 0) ? 1 : 0;
  if (op == "prelu") return a < 0 ? a * b : a;
  if (op == "bias_gelu") return gelu(static_cast<double>(static_cast<float>(a + b)));
  if (op == "floor_divide") return floor_divided(a, b);
  if (op == "remainder") {
    const double rest = std::fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  }
  if (op == "fmod") return std::fmod(a, b);
  if (op == "squared_difference") return (a - b) * (a - b);
  throw std::runtime_error("no reference of that name");
}

/// Before wrapping, as the low 64 bits. What is divided by 0 is 0.
inline std::uint64_t whole_binary(std::string_view op, std::int64_t a, std::int64_t b) {
  const auto p = static_cast<std::uint64_t>(a), q = static_cast<std::uint64_t>(b);
  const auto bits = [](std::int64_t v) { return static_cast<std::uint64_t>(v); };
  if (op == "add") return p + q;
  if (op == "subtract") return p - q;
  if (op == "rsub") return q - p;
  if (op == "multiply") return p * q;
  if (op == "maximum") return bits(std::max(a, b));
  if (op == "minimum") return bits(std::min(a, b));
  if (op == "prelu") return a < 0 ? p * q : p;
  if (op == "bitwise_and") return p & q;
  if (op == "bitwise_or") return p | q;
  if (op == "bitwise_xor") return p ^ q;
  if (op == "squared_difference") return (p - q) * (p - q);
  if (op == "divide" || op == "floor_divide") {
    if (b == 0) return 0;
    std::int64_t down = a / b;
    while (b > 0 ? down * b > a : down * b < a) --down;
    return bits(down);
  }
  if (op == "remainder") return b == 0 ? 0 : p - whole_binary("divide", a, b) * q;
  if (op == "fmod") return b == 0 ? 0 : bits(a % b);
  if (op == "power") {
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : p) : 0;
    std::uint64_t y = 1;
    for (std::int64_t i = 0; i < b % (std::int64_t{1} << 34) && y != 0; ++i) {
      y *= p;
      if (p == 1 || (p == ~std::uint64_t{0} && i > 1)) return a == 1 ? 1 : b % 2 == 0 ? 1 : p;
    }
    return y;
  }
  return static_cast<std::uint64_t>(binary(op, static_cast<double>(a), static_cast<double>(b)));
}

/// Where an operand of shape `shape` keeps what element `at` of the output of shape `output` reads.
inline std::int64_t broadcast_place(const std::vector<std::int64_t>& output, const std::vector<std::int64_t>& shape, std::int64_t at) {
  std::int64_t place = 0, stride = 1;
  for (std::size_t back = 1; back <= output.size(); ++back) {
    const std::int64_t index = at % output[output.size() - back];
    at /= output[output.size() - back];
    if (back > shape.size()) continue;
    const std::int64_t size = shape[shape.size() - back];
    place += (size == 1 ? 0 : index) * stride;
    stride *= size;
  }
  return place;
}

}  // namespace tessera::reference
