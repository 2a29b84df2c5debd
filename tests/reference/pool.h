// PyTorch's pooling in plain loops over one plane, in double: windows, values, indices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace tessera::reference {

struct PoolParams {
  std::int64_t kernel[2], stride[2], padding[4] = {0, 0, 0, 0}, dilation[2] = {1, 1};  // padding: top, bottom, left, right
  bool ceil_mode = false, count_include_pad = true;
  std::int64_t divisor_override = 0;
};

inline std::int64_t pool_out(std::int64_t in, std::int64_t k, std::int64_t s, std::int64_t lo, std::int64_t hi, std::int64_t d, bool ceil_mode) {
  const double steps = static_cast<double>(in + lo + hi - d * (k - 1) - 1) / static_cast<double>(s);
  auto out = static_cast<std::int64_t>(ceil_mode ? std::ceil(steps) : std::floor(steps)) + 1;
  if (ceil_mode && (out - 1) * s >= in + lo) --out;
  return out;
}

struct PooledPlane {
  std::int64_t h = 0, w = 0;
  std::vector<double> values;
  std::vector<std::int64_t> indices;
};

template <class Rows, class Columns>
double max_of(const std::vector<double>& x, std::int64_t w, const Rows& rows, const Columns& columns, std::int64_t* index) {
  double m = -std::numeric_limits<double>::infinity();
  bool any = false;
  for (const std::int64_t r : rows)
    for (const std::int64_t c : columns) {
      const double v = x[static_cast<std::size_t>(r * w + c)];
      if (!any) *index = r * w + c;
      any = true;
      if (v > m || std::isnan(v)) m = v, *index = r * w + c;
    }
  return m;
}

template <class Rows, class Columns>
double sum_of(const std::vector<double>& x, std::int64_t w, const Rows& rows, const Columns& columns) {
  double sum = 0;
  for (const std::int64_t r : rows)
    for (const std::int64_t c : columns) sum += x[static_cast<std::size_t>(r * w + c)];
  return sum;
}

/// Positions of a window that lie inside the input.
inline std::vector<std::int64_t> taps(std::int64_t first, std::int64_t k, std::int64_t d, std::int64_t in) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < k; ++i)
    if (first + i * d >= 0 && first + i * d < in) all.push_back(first + i * d);
  return all;
}

inline PooledPlane pool_plane(const std::vector<double>& x, std::int64_t h, std::int64_t w, const PoolParams& p, bool maximum) {
  PooledPlane y;
  y.h = pool_out(h, p.kernel[0], p.stride[0], p.padding[0], p.padding[1], p.dilation[0], p.ceil_mode);
  y.w = pool_out(w, p.kernel[1], p.stride[1], p.padding[2], p.padding[3], p.dilation[1], p.ceil_mode);
  for (std::int64_t i = 0; i < y.h; ++i)
    for (std::int64_t j = 0; j < y.w; ++j) {
      const std::int64_t top = i * p.stride[0] - p.padding[0], left = j * p.stride[1] - p.padding[2];
      const auto rows = taps(top, p.kernel[0], p.dilation[0], h), columns = taps(left, p.kernel[1], p.dilation[1], w);
      if (maximum) {
        // A window that steps over the whole input keeps the place where its first step inside the axes' positive side lands.
        std::int64_t first_row = top, first_column = left;
        while (first_row < 0) first_row += p.dilation[0];
        while (first_column < 0) first_column += p.dilation[1];
        std::int64_t index = first_row * w + first_column;
        y.values.push_back(max_of(x, w, rows, columns, &index));
        y.indices.push_back(index);
        continue;
      }
      double divisor = static_cast<double>(rows.size() * columns.size());
      if (p.count_include_pad)  // cells of the window inside the padded input
        divisor =
            static_cast<double>((std::min(top + p.kernel[0], h + p.padding[1]) - top) * (std::min(left + p.kernel[1], w + p.padding[3]) - left));
      if (p.divisor_override != 0) divisor = static_cast<double>(p.divisor_override);
      y.values.push_back(sum_of(x, w, rows, columns) / divisor);
    }
  return y;
}

inline PooledPlane adaptive_pool_plane(const std::vector<double>& x, std::int64_t h, std::int64_t w, std::int64_t oh, std::int64_t ow, bool maximum) {
  PooledPlane y{oh, ow, {}, {}};
  const auto range = [](std::int64_t i, std::int64_t in, std::int64_t out) {
    std::vector<std::int64_t> all;
    const auto first = static_cast<std::int64_t>(std::floor(static_cast<double>(i * in) / static_cast<double>(out)));
    const auto end = static_cast<std::int64_t>(std::ceil(static_cast<double>((i + 1) * in) / static_cast<double>(out)));
    for (std::int64_t v = first; v < end; ++v) all.push_back(v);
    return all;
  };
  for (std::int64_t i = 0; i < oh; ++i)
    for (std::int64_t j = 0; j < ow; ++j) {
      const auto rows = range(i, h, oh), columns = range(j, w, ow);
      std::int64_t index = 0;
      if (maximum)
        y.values.push_back(max_of(x, w, rows, columns, &index));
      else
        y.values.push_back(sum_of(x, w, rows, columns) / static_cast<double>(rows.size() * columns.size()));
      y.indices.push_back(index);
    }
  return y;
}

}  // namespace tessera::reference
