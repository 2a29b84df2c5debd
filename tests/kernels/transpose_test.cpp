#include "tessera/kernels/transpose/transpose.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace tessera::kernels {
namespace {

TEST(TransposeKernels, ScalarStandsLast) {
  ASSERT_FALSE(transpose_rows().empty());
  EXPECT_STREQ(transpose_rows().back().info.name, "scalar");
}

// Bytes that differ from element to element, at odd addresses, with gaps between the rows.
TEST(TransposeKernels, EveryRowServesEverySizeAndTouchesNothingElse) {
  for (const auto& row : transpose_rows()) {
    if (!device::usable(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    for (const std::size_t size : {1, 2, 4}) {
      const auto transpose = size == 1 ? row.functions.bytes1 : size == 2 ? row.functions.bytes2 : row.functions.bytes4;
      for (const std::size_t rows : {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 64, 67, 130})
        for (const std::size_t cols : {0, 1, 3, 4, 8, 9, 16, 17, 32, 40, 64, 65, 129}) {
          const std::size_t x_stride = cols * size + 3;
          const std::size_t y_stride = rows * size + 5;
          std::vector<unsigned char> x(rows * x_stride + 1), y(cols * y_stride + 1, 77);
          for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<unsigned char>((i * 2654435761u) >> 13);
          std::vector<unsigned char> expected = y;
          for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t c = 0; c < cols; ++c) std::memcpy(&expected[1 + c * y_stride + r * size], &x[1 + r * x_stride + c * size], size);
          transpose(x.data() + 1, static_cast<std::int64_t>(x_stride), static_cast<std::int64_t>(rows), static_cast<std::int64_t>(cols), y.data() + 1,
                    static_cast<std::int64_t>(y_stride));
          ASSERT_EQ(y, expected) << size << ": " << rows << " x " << cols;
        }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
