// Reductions by their name over any dimensions, in double: the elements of every output first, then what they make.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace tessera::reference {

/// The elements of x that make each output, in order; outputs in row-major order of the dimensions that are not reduced.
inline std::vector<std::vector<double>> reduced_elements(const std::vector<double>& x, const std::vector<std::int64_t>& shape,
                                                         const std::vector<bool>& reduced) {
  std::int64_t outputs = 1;
  for (std::size_t d = 0; d < shape.size(); ++d) outputs *= reduced[d] ? 1 : shape[d];
  std::vector<std::vector<double>> elements(static_cast<std::size_t>(outputs));
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::int64_t rest = static_cast<std::int64_t>(i), output = 0, stride = 1;
    for (std::size_t d = shape.size(); d-- > 0;) {
      const std::int64_t index = rest % shape[d];
      rest /= shape[d];
      if (reduced[d]) continue;
      output += index * stride;
      stride *= shape[d];
    }
    elements[static_cast<std::size_t>(output)].push_back(x[i]);
  }
  return elements;
}

inline double reduced(std::string_view op, const std::vector<double>& x) {
  const auto n = static_cast<double>(x.size());
  double sum = 0, product = 1;
  for (const double v : x) {
    sum += v;
    product *= v;
  }
  if (op == "sum") return sum;
  if (op == "mean") return sum / n;
  if (op == "prod") return product;
  if (op == "max" || op == "min") {
    double best = x.at(0);
    for (const double v : x) {
      if (std::isnan(v)) return v;
      best = op == "max" ? std::max(best, v) : std::min(best, v);
    }
    return best;
  }
  if (op == "var" || op == "std") {
    if (x.size() < 2) return std::numeric_limits<double>::quiet_NaN();
    double squares = 0;
    for (const double v : x) squares += (v - sum / n) * (v - sum / n);
    return op == "var" ? squares / (n - 1) : std::sqrt(squares / (n - 1));
  }
  throw std::runtime_error("no reference of that name");
}

/// The first of the largest, NaN above all.
inline std::int64_t first_maximum(const std::vector<double>& x) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (x[i] > x[best] || (std::isnan(x[i]) && !std::isnan(x[best]))) best = i;
  return static_cast<std::int64_t>(best);
}

}  // namespace tessera::reference
