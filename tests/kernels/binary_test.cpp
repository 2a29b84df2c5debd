#include "tessera/kernels/binary/binary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::kernels {
namespace {

TEST(BinaryKernels, ScalarStandsLast) {
  ASSERT_FALSE(binary_rows().empty());
  EXPECT_STREQ(binary_rows().back().info.name, "scalar");
}

TEST(BinaryKernels, EveryRowServesEveryLengthAndTouchesNothingElse) {
  for (const auto& row : binary_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 70; ++n) {
      const auto size = static_cast<std::size_t>(n);
      std::vector<float> a(size), b(size), y(size + 2, 99.0f);
      for (std::size_t i = 0; i < size; ++i) {
        a[i] = 5.0f * std::sin(0.9f * static_cast<float>(i));
        b[i] = 3.0f * std::cos(0.7f * static_cast<float>(i));
      }
      for (const bool a_one : {false, true})
        for (const bool b_one : {false, true}) {
          row.functions.floats(BinaryOp::subtract, a.data(), a_one, b.data(), b_one, y.data() + 1, n);
          for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i + 1], a[a_one ? 0 : i] - b[b_one ? 0 : i]);
          row.functions.floats(BinaryOp::fmod, a.data(), a_one, b.data(), b_one, y.data() + 1, n);
          for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i + 1], std::fmod(a[a_one ? 0 : i], b[b_one ? 0 : i]));
        }
      EXPECT_EQ(y.front(), 99.0f);
      EXPECT_EQ(y.back(), 99.0f);
      std::vector<std::uint8_t> p(size), q(size), r(size + 2, 99);
      for (std::size_t i = 0; i < size; ++i) {
        p[i] = static_cast<std::uint8_t>(i * 37);
        q[i] = static_cast<std::uint8_t>(i * 11);
      }
      row.functions.integers(BinaryOp::multiply, DType::u8, p.data(), q.data(), r.data() + 1, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(r[i + 1], static_cast<std::uint8_t>(p[i] * q[i]));
      row.functions.select(1, a.data(), p.data(), q.data(), r.data() + 1, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(r[i + 1], a[i] != 0 ? p[i] : q[i]);
      EXPECT_EQ(r.front(), 99);
      EXPECT_EQ(r.back(), 99);
      std::vector<bf16> narrow(size + 2, bf16{0x4242});
      row.functions.narrow(a.data(), narrow.data() + 1, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(narrow[i + 1], to_bf16(a[i]));
      row.functions.widen(narrow.data() + 1, y.data() + 1, n);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i + 1], to_f32(narrow[i + 1]));
      EXPECT_EQ(narrow.front(), bf16{0x4242});
      EXPECT_EQ(narrow.back(), bf16{0x4242});
      EXPECT_EQ(y.back(), 99.0f);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
