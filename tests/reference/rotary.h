// y = x * cos + rotate_half(x) * sin in double, one row at a time: the halves of a row swapped, the second one negated on its way to the front.
#pragma once

#include <cmath>
#include <cstddef>
#include <vector>

namespace tessera::reference {

struct RotaryRow {
  std::vector<double> y;
  std::vector<double> magnitude;  // of the two products
};

inline RotaryRow rotary(const std::vector<double>& x, const std::vector<double>& cos, const std::vector<double>& sin) {
  RotaryRow row;
  const std::size_t half = x.size() / 2;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double other = i < half ? -x[i + half] : x[i - half];
    row.y.push_back(x[i] * cos[i] + other * sin[i]);
    row.magnitude.push_back(std::fabs(x[i] * cos[i]) + std::fabs(other * sin[i]));
  }
  return row;
}

}  // namespace tessera::reference
