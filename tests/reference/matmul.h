// The product of two stacks of matrices in double, by the rules of torch.matmul: one element at a time.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

struct MatmulOperand {
  std::vector<double> values;
  std::vector<std::int64_t> shape;
  bool transpose = false;  // the last two dimensions are meant the other way round
};

struct MatmulResult {
  std::vector<double> values;
  std::vector<double> magnitudes;  // sums of absolute values: what rounding errors of float sums are in proportion to
  std::vector<std::int64_t> shape;
};

inline MatmulResult matmul(MatmulOperand a, MatmulOperand b, const std::vector<double>& bias = {}) {
  const bool row = a.shape.size() == 1;
  const bool column = b.shape.size() == 1;
  if (row) a.shape.insert(a.shape.begin(), 1);
  if (column) b.shape.push_back(1);
  while (a.shape.size() < b.shape.size()) a.shape.insert(a.shape.begin(), 1);
  while (b.shape.size() < a.shape.size()) b.shape.insert(b.shape.begin(), 1);
  const std::size_t rank = a.shape.size();
  const std::int64_t m = a.shape[rank - (a.transpose ? 1 : 2)];
  const std::int64_t k = a.shape[rank - (a.transpose ? 2 : 1)];
  const std::int64_t n = b.shape[rank - (b.transpose ? 2 : 1)];
  std::vector<std::int64_t> batch;
  std::int64_t count = 1;
  for (std::size_t i = 0; i + 2 < rank; ++i) {
    batch.push_back(a.shape[i] == 1 ? b.shape[i] : a.shape[i]);
    count *= batch.back();
  }
  MatmulResult y;
  for (std::int64_t p = 0; p < count; ++p) {
    std::int64_t in_a = 0, in_b = 0, rest = p, step_a = 1, step_b = 1;
    for (std::size_t i = batch.size(); i-- > 0; rest /= batch[i]) {
      if (a.shape[i] != 1) in_a += rest % batch[i] * step_a;
      if (b.shape[i] != 1) in_b += rest % batch[i] * step_b;
      step_a *= a.shape[i];
      step_b *= b.shape[i];
    }
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = 0, magnitude = 0;
        for (std::int64_t l = 0; l < k; ++l) {
          const double x = a.values[static_cast<std::size_t>(in_a * m * k + (a.transpose ? l * m + i : i * k + l))];
          const double z = b.values[static_cast<std::size_t>(in_b * k * n + (b.transpose ? j * k + l : l * n + j))];
          sum += x * z;
          magnitude += std::fabs(x * z);
        }
        if (!bias.empty()) sum += bias[static_cast<std::size_t>(j)], magnitude += std::fabs(bias[static_cast<std::size_t>(j)]);
        y.values.push_back(sum);
        y.magnitudes.push_back(magnitude);
      }
  }
  y.shape = batch;
  if (!row) y.shape.push_back(m);
  if (!column) y.shape.push_back(n);
  return y;
}

}  // namespace tessera::reference
