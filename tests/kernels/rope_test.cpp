#include "tessera/kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace tessera::kernels {
namespace {

TEST(RopeKernels, ScalarStandsLast) {
  const auto rows = rope_rows();
  ASSERT_FALSE(rows.empty());
  EXPECT_STREQ(rows.back().info.name, "scalar");
  EXPECT_EQ(rows.back().info.isa, device::Isa::scalar);
}

TEST(RopeKernels, EveryRowRotatesAllSizesAndTouchesNothingElse) {
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  for (const auto& row : rope_rows()) {
    if (!device::usable(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    for (std::int64_t half = 1; half <= 70; ++half)
      for (const std::int64_t heads : {1, 3}) {
        const auto n = static_cast<std::size_t>(heads * 2 * half);
        std::vector<float> x(n + 2), cos(static_cast<std::size_t>(half)), sin(static_cast<std::size_t>(half));
        for (float& v : x) v = distribution(random);
        for (float& v : cos) v = distribution(random);
        for (float& v : sin) v = distribution(random);
        std::vector<float> expected = x;
        for (std::size_t h = 0; h < static_cast<std::size_t>(heads); ++h)
          for (std::size_t i = 0; i < static_cast<std::size_t>(half); ++i) {
            // volatile: each product is rounded to float, as the kernel promises.
            const std::size_t lo = 1 + h * 2 * static_cast<std::size_t>(half) + i;
            const std::size_t hi = lo + static_cast<std::size_t>(half);
            const volatile float lo_cos = x[lo] * cos[i], hi_sin = x[hi] * sin[i], hi_cos = x[hi] * cos[i], lo_sin = x[lo] * sin[i];
            expected[lo] = lo_cos - hi_sin;
            expected[hi] = hi_cos + lo_sin;
          }
        row.functions.rotate(x.data() + 1, heads, half, cos.data(), sin.data());
        ASSERT_EQ(x, expected) << half << " " << heads;
      }
  }
}

}  // namespace
}  // namespace tessera::kernels
