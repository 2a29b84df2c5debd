#include "tessera/kernels/unary/unary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::kernels {
namespace {

TEST(UnaryKernels, ScalarStandsLast) {
  ASSERT_FALSE(unary_rows().empty());
  EXPECT_STREQ(unary_rows().back().info.name, "scalar");
}

TEST(UnaryKernels, EveryRowServesEveryLengthAndTouchesNothingElse) {
  for (const auto& row : unary_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 70; ++n) {
      const auto size = static_cast<std::size_t>(n);
      std::vector<float> x(size), y(size + 2, 99.0f), whole(70);
      for (std::size_t i = 0; i < size; ++i) x[i] = 5.0f * std::sin(0.9f * static_cast<float>(i));
      row.functions.floats(UnaryOp::square, 0, 0, x.data(), false, y.data() + 1, false, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i + 1], x[i] * x[i]);
      row.functions.floats(UnaryOp::tan, 0, 0, x.data(), false, y.data() + 1, false, n);
      // An element's arithmetic does not depend on its place.
      for (std::size_t i = 0; i < size; ++i) {
        float alone = 0;
        row.functions.floats(UnaryOp::tan, 0, 0, &x[i], false, &alone, false, 1);
        ASSERT_EQ(y[i + 1], alone);
      }
      EXPECT_EQ(y.front(), 99.0f);
      EXPECT_EQ(y.back(), 99.0f);
      std::vector<std::uint16_t> v(size), w(size + 2, 99);
      for (std::size_t i = 0; i < size; ++i) v[i] = static_cast<std::uint16_t>(i * 977);
      row.functions.integers(UnaryOp::clip, DType::u16, 500, 40000, v.data(), w.data() + 1, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(w[i + 1], v[i] < 500 ? 500 : v[i] > 40000 ? 40000 : v[i]);
      EXPECT_EQ(w.front(), 99);
      EXPECT_EQ(w.back(), 99);
    }
  }
}

TEST(UnaryKernels, BlocksOfBf16EndWhereTheyShould) {
  for (const auto& row : unary_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (const std::int64_t n : {1, 511, 512, 513, 1030}) {
      const auto size = static_cast<std::size_t>(n);
      std::vector<bf16> x(size), y(size + 2, bf16{0x4242});
      for (std::size_t i = 0; i < size; ++i) x[i] = to_bf16(static_cast<float>(i % 97) - 40.0f);
      row.functions.floats(UnaryOp::neg, 0, 0, x.data(), true, y.data() + 1, true, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(to_f32(y[i + 1]), -to_f32(x[i]));
      EXPECT_EQ(y.front(), bf16{0x4242});
      EXPECT_EQ(y.back(), bf16{0x4242});
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
