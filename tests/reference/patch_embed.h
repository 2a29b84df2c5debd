// A convolution whose stride is its kernel, as plain loops in double. Shares nothing with the library.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace tessera::reference {

struct PatchEmbedResult {
  std::vector<double> y;           // [batch][patches][n]
  std::vector<double> magnitudes;  // of the same shape: the sum of |product|, |bias| and |position|
};

/// x [batch][channels][height][width], weight [n][channels][patch][patch], bias [n] or empty, position [patches][n] or empty.
inline PatchEmbedResult patch_embed(const std::vector<float>& x, const std::vector<float>& weight, const std::vector<float>& bias,
                                    const std::vector<float>& position, std::size_t batch, std::size_t channels, std::size_t height,
                                    std::size_t width, std::size_t patch, std::size_t n) {
  PatchEmbedResult result;
  for (std::size_t b = 0; b < batch; ++b)
    for (std::size_t top = 0; top < height; top += patch)
      for (std::size_t left = 0; left < width; left += patch)
        for (std::size_t o = 0; o < n; ++o) {
          const std::size_t at = (top / patch * (width / patch) + left / patch) * n + o;
          double sum = (bias.empty() ? 0.0 : bias[o]) + (position.empty() ? 0.0 : position[at]);
          double magnitude = std::fabs(bias.empty() ? 0.0 : bias[o]) + std::fabs(position.empty() ? 0.0 : position[at]);
          for (std::size_t c = 0; c < channels; ++c)
            for (std::size_t i = 0; i < patch; ++i)
              for (std::size_t j = 0; j < patch; ++j) {
                const double product = static_cast<double>(x[((b * channels + c) * height + top + i) * width + left + j]) *
                                       weight[((o * channels + c) * patch + i) * patch + j];
                sum += product;
                magnitude += std::fabs(product);
              }
          result.y.push_back(sum);
          result.magnitudes.push_back(magnitude);
        }
  return result;
}

}  // namespace tessera::reference
