#include "tessera/kernels/pool/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/reference/pool.h"

namespace tessera::kernels {
namespace {

TEST(PoolKernels, ScalarStandsLast) {
  ASSERT_FALSE(pool_rows().empty());
  EXPECT_STREQ(pool_rows().back().info.name, "scalar");
}

/// One row of outputs with windows of two rows over three columns, 3x3 input: all numbers of channels (NHWC) and widths (NCHW).
TEST(PoolKernels, EveryRowServesEverySizeAndTouchesNothingElse) {
  for (const auto& row : pool_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t channels = 1; channels <= 70; ++channels) {
      std::vector<float> x(static_cast<std::size_t>(9 * channels));
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(1.7f * static_cast<float>(i));
      const PoolSpan spans[2] = {{0, 2}, {1, 2}};
      const float counted[2] = {2, 2};
      std::vector<float> y(static_cast<std::size_t>(2 * channels + 2), 99.0f);
      std::vector<std::int32_t> indices(y.size(), -9);
      PoolRow p{};
      p.x = x.data() + 3 * channels;  // rows 1 and 2
      p.row_step = 3 * channels, p.rows = 2, p.column_step = channels, p.dilation = 1;
      p.columns = spans, p.out = 2, p.channels = channels, p.row_divisor = 2, p.column_divisor = counted;
      p.y = y.data() + 1, p.y_step = channels, p.first_index = 3, p.row_index = 3;
      for (const bool maximum : {true, false}) {
        p.indices = maximum ? indices.data() + 1 : nullptr;
        (maximum ? row.functions.max_nhwc : row.functions.avg_nhwc)(p, false);
        ASSERT_EQ(y.front(), 99.0f);
        ASSERT_EQ(y.back(), 99.0f);
        ASSERT_EQ(indices.front(), -9);
        ASSERT_EQ(indices.back(), -9);
        for (std::int64_t c = 0; c < channels; ++c) {
          std::vector<double> plane;
          for (std::int64_t i = 0; i < 9; ++i) plane.push_back(static_cast<double>(x[static_cast<std::size_t>(i * channels + c)]));
          const std::vector<std::int64_t> rows = {1, 2};
          for (std::int64_t o = 0; o < 2; ++o) {
            const std::vector<std::int64_t> columns = {o, o + 1};
            std::int64_t index = 0;
            const auto at = static_cast<std::size_t>(1 + o * channels + c);
            if (maximum) {
              ASSERT_EQ(static_cast<double>(y[at]), reference::max_of(plane, 3, rows, columns, &index)) << row.info.name << " " << channels;
              ASSERT_EQ(indices[at], index) << row.info.name << " " << channels;
            } else {
              // three adds of values up to 1 and a division by a power of two
              ASSERT_NEAR(y[at], reference::sum_of(plane, 3, rows, columns) / 4, 4 * 0x1p-24) << row.info.name << " " << channels;
            }
          }
        }
      }
    }
    for (std::int64_t width = 1; width <= 70; ++width) {
      std::vector<float> x(static_cast<std::size_t>(2 * width)), line(static_cast<std::size_t>(2 * width + 2), 99.0f);
      std::vector<double> plane;
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::cos(2.3f * static_cast<float>(i)), plane.push_back(static_cast<double>(x[i]));
      const PoolSpan span{0, static_cast<std::int32_t>(width)};
      const auto counted = static_cast<float>(width);
      float y[3] = {99, 0, 99};
      std::int32_t index[3] = {-9, 0, -9};
      std::vector<std::int64_t> columns;
      for (std::int64_t c = 0; c < width; ++c) columns.push_back(c);
      PoolRow p{};
      p.x = x.data(), p.row_step = width, p.rows = 2, p.column_step = 1, p.dilation = 1, p.columns = &span, p.out = 1, p.width = width;
      p.row_divisor = 2, p.column_divisor = &counted, p.y = y + 1, p.y_step = 1, p.indices = index + 1,
      p.row_index = static_cast<std::int32_t>(width);
      p.line = line.data() + 1;
      const std::vector<std::int64_t> rows = {0, 1};
      std::int64_t want = 0;
      row.functions.max_nchw(p, false);
      ASSERT_EQ(static_cast<double>(y[1]), reference::max_of(plane, width, rows, columns, &want)) << row.info.name << " " << width;
      ASSERT_EQ(index[1], want);
      row.functions.avg_nchw(p, false);
      ASSERT_NEAR(y[1], reference::sum_of(plane, width, rows, columns) / static_cast<double>(2 * width), 16 * 0x1p-24)
          << row.info.name << " " << width;
      ASSERT_EQ(y[0], 99.0f);
      ASSERT_EQ(y[2], 99.0f);
      ASSERT_EQ(index[0], -9);
      ASSERT_EQ(index[2], -9);
      ASSERT_EQ(line.front(), 99.0f);
      ASSERT_EQ(line.back(), 99.0f);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
