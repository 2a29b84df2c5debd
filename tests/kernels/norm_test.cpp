#include "tessera/kernels/norm/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/reference/norm.h"

namespace tessera::kernels {
namespace {

TEST(NormKernels, ScalarStandsLast) {
  ASSERT_FALSE(norm_rows().empty());
  EXPECT_STREQ(norm_rows().back().info.name, "scalar");
}

TEST(NormKernels, EveryRowServesEveryLengthAndTouchesNothingElse) {
  for (const auto& row : norm_rows()) {
    if (!device::usable(row.info.isa)) continue;
    for (std::int64_t n = 1; n <= 140; ++n) {
      const auto size = static_cast<std::size_t>(n);
      std::vector<float> x(size), w(size), b(size), y(size + 2, 99.0f);
      std::vector<double> dx, dw, db;
      for (std::size_t i = 0; i < size; ++i) {
        x[i] = std::sin(1.7f * static_cast<float>(i) + 0.3f), w[i] = std::cos(static_cast<float>(i)), b[i] = 0.1f * static_cast<float>(i % 7);
        dx.push_back(static_cast<double>(x[i])), dw.push_back(static_cast<double>(w[i])), db.push_back(static_cast<double>(b[i]));
      }
      const auto check = [&](const std::vector<double>& expected) {
        // sums of n terms, then a handful of roundings; values up to about 15
        for (std::size_t i = 0; i < size; ++i)
          ASSERT_NEAR(y[i + 1], expected[i], (16 + 2 * std::sqrt(static_cast<double>(n))) * 0x1p-24 * 16) << row.info.name << " " << n;
        ASSERT_EQ(y.front(), 99.0f);
        ASSERT_EQ(y.back(), 99.0f);
      };
      row.functions.layer_norm_f32_f32(x.data(), n, w.data(), b.data(), 1e-6f, y.data() + 1);
      check(reference::layer_norm(dx, dw, db, 1e-6));
      row.functions.rms_norm_f32_f32(x.data(), n, 1.0f, w.data(), b.data(), 1e-6f, y.data() + 1);
      check(reference::rms_norm(dx, dw, db, 1e-6));
      // What may be left out: a weight of 1, a bias of 0; in RMSNorm a factor of 1, which is a scale of 0, or a scale without the offset.
      const std::vector<double> zero(size, 0.0), one(size, 1.0);
      std::vector<double> less = dw;
      for (double& v : less) v -= 1;
      row.functions.layer_norm_f32_f32(x.data(), n, nullptr, b.data(), 1e-6f, y.data() + 1);
      check(reference::layer_norm(dx, one, db, 1e-6));
      row.functions.layer_norm_f32_f32(x.data(), n, w.data(), nullptr, 1e-6f, y.data() + 1);
      check(reference::layer_norm(dx, dw, zero, 1e-6));
      row.functions.layer_norm_f32_f32(x.data(), n, nullptr, nullptr, 1e-6f, y.data() + 1);
      check(reference::layer_norm(dx, one, zero, 1e-6));
      row.functions.rms_norm_f32_f32(x.data(), n, -0.0f, w.data(), b.data(), 1e-6f, y.data() + 1);
      check(reference::rms_norm(dx, less, db, 1e-6));
      row.functions.rms_norm_f32_f32(x.data(), n, 1.0f, w.data(), nullptr, 1e-6f, y.data() + 1);
      check(reference::rms_norm(dx, dw, zero, 1e-6));
      row.functions.rms_norm_f32_f32(x.data(), n, 1.0f, nullptr, b.data(), 1e-6f, y.data() + 1);
      check(reference::rms_norm(dx, zero, db, 1e-6));
      row.functions.rms_norm_f32_f32(x.data(), n, 1.0f, nullptr, nullptr, 1e-6f, y.data() + 1);
      check(reference::rms_norm(dx, zero, zero, 1e-6));
      row.functions.add_f32_f32(x.data(), w.data(), n, y.data() + 1);
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(y[i + 1], x[i] + w[i]);
      ASSERT_EQ(y.back(), 99.0f);
    }
  }
}

}  // namespace
}  // namespace tessera::kernels
