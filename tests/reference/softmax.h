// Softmax of one line in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

namespace tessera::reference {

inline std::vector<double> softmax(const std::vector<double>& x) {
  double most = x[0];
  for (const double v : x) most = v > most ? v : most;
  std::vector<double> y;
  double sum = 0;
  for (const double v : x) y.push_back(std::exp(v - most)), sum += y.back();
  for (double& v : y) v /= sum;
  return y;
}

}  // namespace tessera::reference
