// Resizing in double with dense weight matrices: every output position looks at every input. Shares nothing with the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera::reference {

using Matrix = std::vector<std::vector<double>>;  // [out][in]

/// Antialiased triangle (PIL and jax): half width max(1, in / out) around (o + 0.5) in / out - 0.5, rows sum to 1.
inline Matrix triangle(std::int64_t in, std::int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  const double half = std::max(1.0, step);
  Matrix w(static_cast<std::size_t>(out), std::vector<double>(static_cast<std::size_t>(in), 0.0));
  for (std::int64_t o = 0; o < out; ++o) {
    double sum = 0;
    for (std::int64_t i = 0; i < in; ++i) {
      const double x = std::fabs((static_cast<double>(o) + 0.5) * step - 0.5 - static_cast<double>(i)) / half;
      sum += w[static_cast<std::size_t>(o)][static_cast<std::size_t>(i)] = std::max(0.0, 1.0 - x);
    }
    for (double& x : w[static_cast<std::size_t>(o)]) x /= sum;
  }
  return w;
}

/// Two neighbours, without antialiasing; the sample position is kept at 0 or more.
inline Matrix two_neighbours(std::int64_t in, std::int64_t out) {
  Matrix w(static_cast<std::size_t>(out), std::vector<double>(static_cast<std::size_t>(in), 0.0));
  for (std::int64_t o = 0; o < out; ++o) {
    const double x = std::max(0.0, (static_cast<double>(o) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5);
    for (std::int64_t i = 0; i < in; ++i) {
      double weight = std::max(0.0, 1.0 - std::fabs(x - static_cast<double>(i)));
      if (i == in - 1 && x > static_cast<double>(i)) weight = 1;
      w[static_cast<std::size_t>(o)][static_cast<std::size_t>(i)] = weight;
    }
  }
  return w;
}

/// Keys' cubic kernel with a = -0.75; what falls outside is added to the edge.
inline Matrix cubic(std::int64_t in, std::int64_t out) {
  Matrix w(static_cast<std::size_t>(out), std::vector<double>(static_cast<std::size_t>(in), 0.0));
  const double a = -0.75;
  for (std::int64_t o = 0; o < out; ++o) {
    const double x = (static_cast<double>(o) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5;
    const auto base = static_cast<std::int64_t>(std::floor(x));
    for (std::int64_t i = base - 1; i <= base + 2; ++i) {
      const double d = std::fabs(x - static_cast<double>(i));
      const double weight = d <= 1 ? (a + 2) * d * d * d - (a + 3) * d * d + 1 : a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a;
      w[static_cast<std::size_t>(o)][static_cast<std::size_t>(std::clamp<std::int64_t>(i, 0, in - 1))] += weight;
    }
  }
  return w;
}

/// Antialiased cubic of PIL (a = -0.5): half width 2 max(1, in / out) around the same positions as triangle(), nothing beyond the edge, rows sum
/// to 1.
inline Matrix antialiased_cubic(std::int64_t in, std::int64_t out) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(1.0, step);
  const double a = -0.5;
  Matrix w(static_cast<std::size_t>(out), std::vector<double>(static_cast<std::size_t>(in), 0.0));
  for (std::int64_t o = 0; o < out; ++o) {
    double sum = 0;
    for (std::int64_t i = 0; i < in; ++i) {
      const double d = std::fabs((static_cast<double>(o) + 0.5) * step - 0.5 - static_cast<double>(i)) / stretch;
      const double weight = d < 1 ? (a + 2) * d * d * d - (a + 3) * d * d + 1 : d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0;
      sum += w[static_cast<std::size_t>(o)][static_cast<std::size_t>(i)] = weight;
    }
    for (double& x : w[static_cast<std::size_t>(o)]) x /= sum;
  }
  return w;
}

/// x [height][width][channels] along columns with `across`, then along rows with `down`; `between` is applied after each pass.
template <class Between>
std::vector<double> resize(const std::vector<double>& x, std::int64_t channels, const Matrix& down, const Matrix& across, Between between) {
  const std::size_t c_count = static_cast<std::size_t>(channels);
  const std::size_t in_width = across[0].size();
  const std::size_t in_height = down[0].size();
  const std::size_t width = across.size();
  std::vector<double> wide(in_height * width * c_count);
  for (std::size_t o = 0; o < width; ++o)
    for (std::size_t r = 0; r < in_height; ++r) {
      double* to = &wide[(r * width + o) * c_count];
      for (std::size_t i = 0; i < in_width; ++i) {
        if (across[o][i] == 0) continue;
        for (std::size_t c = 0; c < c_count; ++c) to[c] += across[o][i] * x[(r * in_width + i) * c_count + c];
      }
      for (std::size_t c = 0; c < c_count; ++c) to[c] = between(to[c]);
    }
  std::vector<double> y(down.size() * width * c_count);
  for (std::size_t r = 0; r < down.size(); ++r) {
    double* to = &y[r * width * c_count];
    for (std::size_t i = 0; i < in_height; ++i) {
      if (down[r][i] == 0) continue;
      for (std::size_t j = 0; j < width * c_count; ++j) to[j] += down[r][i] * wide[i * width * c_count + j];
    }
    for (std::size_t j = 0; j < width * c_count; ++j) to[j] = between(to[j]);
  }
  return y;
}

}  // namespace tessera::reference
