// Convolution in double, one output element at a time: plain loops over nhwc pictures and [out, in / groups, kh, kw] weights.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

struct ConvSizes {
  std::int64_t n, h, w, c;
  std::int64_t out, groups;
  std::int64_t kh, kw, sh, sw;
  std::int64_t top, bottom, left, right;
  std::int64_t dh, dw;
  std::int64_t ho() const { return (h + top + bottom - dh * (kh - 1) - 1) / sh + 1; }
  std::int64_t wo() const { return (w + left + right - dw * (kw - 1) - 1) / sw + 1; }
};

/// A sum, the sum of its absolute terms (what rounding errors are in proportion to), and how many they are.
struct ConvSum {
  double value = 0;
  double magnitude = 0;
  std::int64_t terms = 0;
};

/// Output channel o at (oy, ox) of picture i. An empty bias counts as none.
inline ConvSum conv2d_at(const ConvSizes& s, const std::vector<double>& x, const std::vector<double>& weight, const std::vector<double>& bias,
                         std::int64_t i, std::int64_t oy, std::int64_t ox, std::int64_t o) {
  ConvSum sum;
  const auto add = [&sum](double term) {
    sum.value += term;
    sum.magnitude += std::fabs(term);
    ++sum.terms;
  };
  if (!bias.empty()) add(bias[static_cast<std::size_t>(o)]);
  const std::int64_t each = s.c / s.groups;
  const std::int64_t first = o / (s.out / s.groups) * each;
  for (std::int64_t ky = 0; ky < s.kh; ++ky)
    for (std::int64_t kx = 0; kx < s.kw; ++kx) {
      const std::int64_t iy = oy * s.sh - s.top + ky * s.dh;
      const std::int64_t ix = ox * s.sw - s.left + kx * s.dw;
      if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) continue;
      for (std::int64_t c = 0; c < each; ++c)
        add(x[static_cast<std::size_t>(((i * s.h + iy) * s.w + ix) * s.c + first + c)] *
            weight[static_cast<std::size_t>(((o * each + c) * s.kh + ky) * s.kw + kx)]);
    }
  return sum;
}

enum class ConvActivation { none, relu, relu6, silu, gelu, hardswish };

inline double activate(double x, ConvActivation activation) {
  switch (activation) {
    case ConvActivation::relu: return x < 0 ? 0 : x;
    case ConvActivation::relu6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case ConvActivation::silu: return x / (1 + std::exp(-x));
    case ConvActivation::gelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case ConvActivation::hardswish: return x * activate(x + 3, ConvActivation::relu6) / 6;
    case ConvActivation::none: break;
  }
  return x;
}

}  // namespace tessera::reference
