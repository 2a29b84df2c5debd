#include "tessera/kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/reference/elementwise.h"

namespace tessera::kernels {
namespace {

TEST(ElementwiseKernels, ScalarStandsLast) {
  ASSERT_FALSE(elementwise_rows().empty());
  EXPECT_STREQ(elementwise_rows().back().info.name, "scalar");
}

TEST(ElementwiseKernels, EveryRowServesEveryLengthAndTouchesNothingElse) {
  for (const auto& row : elementwise_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 70; ++n) {
      std::vector<float> x(static_cast<std::size_t>(n)), y(x.size() + 2, 99.0f);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = 5.0f * std::sin(0.9f * static_cast<float>(i));
      row.functions.binary(Binary::multiply, x.data(), false, x.data(), false, y.data() + 1, false, n);
      for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i + 1], x[i] * x[i]);
      row.functions.unary(Unary::gelu_tanh, x.data(), false, y.data() + 1, false, n);
      // the sigmoid's argument is at most 17 here: exp moves by 17 eps and a few
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_NEAR(y[i + 1], reference::gelu_tanh(static_cast<double>(x[i])), 40 * 0x1p-24 * std::fabs(x[i]) + 1e-9);
      EXPECT_EQ(y.front(), 99.0f);
      EXPECT_EQ(y.back(), 99.0f);
    }
  }
}

TEST(ElementwiseKernels, RoundingToBf16IsTheSameBitsAsInCore) {
  std::vector<float> x;
  for (std::uint32_t i = 0; i < 100000; ++i) {
    const std::uint32_t bits = i * 2654435761u;  // all exponents, NaN and infinities among them
    float v = 0;
    std::memcpy(&v, &bits, 4);
    x.push_back(v);
  }
  for (const auto& row : elementwise_rows()) {
    if (!device::usable(row.info.isa)) continue;
    std::vector<bf16> y(x.size());
    row.functions.unary(Unary::copy, x.data(), false, y.data(), true, static_cast<std::int64_t>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], to_bf16(x[i])) << row.info.name << " " << x[i];
  }
}

}  // namespace
}  // namespace tessera::kernels
