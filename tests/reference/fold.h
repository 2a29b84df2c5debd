// ttnn.fold by its definition: x[n, h, w, c] padded with zeros, cut into blocks, each block a pixel with channels (row, column, channel).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera::reference {

struct FoldParams {
  std::int64_t n, h, w, c, stride_h, stride_w, top, bottom, left, right, channels_before, channels_after;
};

/// For every element of the result the flat index of x (nhwc) that it comes from; -1 where it is padding.
inline std::vector<std::int64_t> fold_sources(const FoldParams& p) {
  const std::int64_t h = p.h + p.top + p.bottom, w = p.w + p.left + p.right, c = p.c + p.channels_before + p.channels_after;
  // reshape(n, h / sh, sh, w / sw, sw, c), permute(0, 1, 3, 2, 4, 5)
  std::vector<std::int64_t> sources;
  for (std::int64_t n = 0; n < p.n; ++n)
    for (std::int64_t i = 0; i < h / p.stride_h; ++i)
      for (std::int64_t j = 0; j < w / p.stride_w; ++j)
        for (std::int64_t r = 0; r < p.stride_h; ++r)
          for (std::int64_t s = 0; s < p.stride_w; ++s)
            for (std::int64_t k = 0; k < c; ++k) {
              const std::int64_t row = i * p.stride_h + r - p.top, column = j * p.stride_w + s - p.left, channel = k - p.channels_before;
              const bool inside = row >= 0 && row < p.h && column >= 0 && column < p.w && channel >= 0 && channel < p.c;
              sources.push_back(inside ? ((n * p.h + row) * p.w + column) * p.c + channel : -1);
            }
  return sources;
}

}  // namespace tessera::reference
