#include "tessera/kernels/reduce/reduce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace tessera::kernels {
namespace {

TEST(ReduceKernels, ScalarStandsLast) {
  ASSERT_FALSE(reduce_rows().empty());
  EXPECT_STREQ(reduce_rows().back().info.name, "scalar");
}

TEST(ReduceKernels, EveryRowServesEverySizeAndTouchesNothingElse) {
  for (const auto& row : reduce_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 70; ++n) {
      const auto size = static_cast<std::size_t>(n);
      const std::int64_t lines = 3, stride = n + 2;
      std::vector<float> x(static_cast<std::size_t>(lines * stride), 1e30f);  // what lies between the rows would be seen in any sum
      for (std::int64_t r = 0; r < lines; ++r)
        for (std::int64_t c = 0; c < n; ++c) x[static_cast<std::size_t>(r * stride + c)] = static_cast<float>((r * 31 + c * 7) % 11);
      const auto at = [&](std::int64_t r, std::int64_t c) { return static_cast<double>(x[static_cast<std::size_t>(r * stride + c)]); };
      std::vector<double> total(5, 100.0), centre(3, 2.0);
      row.functions.rows(ReduceStep::squares, DType::f32, x.data(), lines, stride, n, centre.data(), total.data() + 1);
      for (std::int64_t r = 0; r < lines; ++r) {
        double expected = 100;
        for (std::int64_t c = 0; c < n; ++c) expected += (at(r, c) - 2) * (at(r, c) - 2);
        EXPECT_EQ(total[static_cast<std::size_t>(r + 1)], expected);
      }
      EXPECT_EQ(total.front(), 100.0);
      EXPECT_EQ(total.back(), 100.0);
      std::vector<double> columns(size + 2, 50.0);
      row.functions.columns(ReduceStep::sum, DType::f32, x.data(), lines, stride, n, nullptr, columns.data() + 1);
      for (std::int64_t c = 0; c < n; ++c) EXPECT_EQ(columns[static_cast<std::size_t>(c + 1)], 50 + at(0, c) + at(1, c) + at(2, c));
      EXPECT_EQ(columns.front(), 50.0);
      EXPECT_EQ(columns.back(), 50.0);
      std::vector<double> sums(size, 0.0);
      std::vector<bf16> y(static_cast<std::size_t>(lines * stride), bf16{0x4242});
      row.functions.running(DType::f32, x.data(), lines, stride, n, sums.data(), true, y.data());
      for (std::int64_t c = 0; c < n; ++c) EXPECT_EQ(static_cast<double>(to_f32(y[static_cast<std::size_t>(stride + c)])), at(0, c) + at(1, c));
      EXPECT_EQ(y[size], bf16{0x4242});
      std::vector<std::int32_t> place(size + 2, -5);
      row.functions.argmax(DType::f32, x.data(), lines, stride, n, place.data() + 1);
      for (std::int64_t c = 0; c < n; ++c) {
        const int expected = at(1, c) > at(0, c) ? (at(2, c) > at(1, c) ? 2 : 1) : (at(2, c) > at(0, c) ? 2 : 0);
        EXPECT_EQ(place[static_cast<std::size_t>(c + 1)], expected);
      }
      EXPECT_EQ(place.front(), -5);
      EXPECT_EQ(place.back(), -5);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
