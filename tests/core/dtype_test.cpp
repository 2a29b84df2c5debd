#include "tessera/core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace tessera {
namespace {

/// The value that the bits mean, from the definition of a binary float.
double value_of(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
  const std::uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const std::uint32_t exponent = (bits >> mantissa_bits) & ((1u << exponent_bits) - 1);
  const double sign = (bits >> (exponent_bits + mantissa_bits)) != 0 ? -1 : 1;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  if (exponent == (1u << exponent_bits) - 1) return mantissa != 0 ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(static_cast<double>(mantissa), 1 - bias - mantissa_bits);
  return sign * std::ldexp(1.0 + std::ldexp(static_cast<double>(mantissa), -mantissa_bits), static_cast<int>(exponent) - bias);
}

bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

TEST(DType, EveryBf16AndF16MeansWhatItsBitsSay) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    EXPECT_TRUE(same(to_f32(bf16{h}), value_of(bits, 8, 7))) << bits;
    EXPECT_TRUE(same(to_f32(f16{h}), value_of(bits, 5, 10))) << bits;
  }
}

TEST(DType, EveryHalfSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    const float b = to_f32(bf16{h});
    const float f = to_f32(f16{h});
    if (!std::isnan(b))
      EXPECT_EQ(to_bf16(b).bits, h);
    else
      EXPECT_TRUE(std::isnan(to_f32(to_bf16(b))));
    if (!std::isnan(f))
      EXPECT_EQ(to_f16(f).bits, h);
    else
      EXPECT_TRUE(std::isnan(to_f32(to_f16(f))));
  }
}

/// Nearest of the two neighbours, ties to the even one, found by search among all finite values.
template <class To>
void expect_nearest(float x, std::uint16_t got, To value) {
  const double distance = std::fabs(value(got) - static_cast<double>(x));
  for (const int step : {-1, 1}) {
    const auto other = static_cast<std::uint16_t>(got + step);
    const double v = value(other);
    if (std::isnan(v) || std::isinf(v) || std::signbit(v) != std::signbit(value(got))) continue;
    const double d = std::fabs(v - static_cast<double>(x));
    EXPECT_TRUE(distance < d || (distance == d && (got & 1) == 0)) << x << " rounds to " << value(got) << ", not " << v;
  }
}

TEST(DType, RoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    float x = 0;
    std::memcpy(&x, &bits, 4);
    if (!std::isfinite(x)) continue;
    const bf16 b = to_bf16(x);
    if (std::isfinite(to_f32(b))) expect_nearest(x, b.bits, [](std::uint16_t h) { return value_of(h, 8, 7); });
    const float small =
        std::ldexp(x, -(static_cast<int>((bits >> 23) & 255) - 127) + static_cast<int>(random() % 44) - 28);  // spread over f16's range
    const f16 f = to_f16(small);
    if (std::isfinite(to_f32(f))) expect_nearest(small, f.bits, [](std::uint16_t h) { return value_of(h, 5, 10); });
  }
}

TEST(DType, OverflowBecomesInfinityAndNanStays) {
  const float big = std::numeric_limits<float>::max();
  EXPECT_TRUE(std::isinf(to_f32(to_bf16(big))));
  EXPECT_TRUE(std::isinf(to_f32(to_f16(65520.0f))));
  EXPECT_EQ(to_f32(to_f16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isnan(to_f32(to_bf16(std::numeric_limits<float>::signaling_NaN()))));
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(name(DType::bf16), "bfloat16");
  EXPECT_EQ(size_of(DType::f32), 4u);
  EXPECT_EQ(size_of(DType::f16), 2u);
  EXPECT_EQ(size_of(DType::u8), 1u);
}

}  // namespace
}  // namespace tessera
