#include "tessera/kernels/softmax/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/reference/softmax.h"

namespace tessera::kernels {
namespace {

TEST(SoftmaxKernels, EveryRowServesEveryLengthAndTouchesNothingElse) {
  ASSERT_STREQ(softmax_rows().back().info.name, "scalar");
  for (const auto& row : softmax_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 140; ++n) {
      std::vector<float> x(static_cast<std::size_t>(n + 2), 99.0f);
      std::vector<double> in;
      for (std::int64_t i = 0; i < n; ++i) {
        x[static_cast<std::size_t>(i + 1)] = 20 * std::sin(1.7f * static_cast<float>(i));
        in.push_back(static_cast<double>(x[static_cast<std::size_t>(i + 1)]));
      }
      row.functions.softmax(x.data() + 1, n);
      const std::vector<double> want = reference::softmax(in);
      // An exponential of 2 ulp, a difference of numbers up to 20 (20 eps absolute in the exponent), a sum of n and a division.
      for (std::int64_t i = 0; i < n; ++i)
        ASSERT_NEAR(x[static_cast<std::size_t>(i + 1)], want[static_cast<std::size_t>(i)],
                    (48 + std::sqrt(static_cast<double>(n))) * 0x1p-24 * want[static_cast<std::size_t>(i)] + 1e-30)
            << row.info.name << " " << n;
      ASSERT_EQ(x.front(), 99.0f);
      ASSERT_EQ(x.back(), 99.0f);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
