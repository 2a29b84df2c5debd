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

float widen(float x) { return x; }
float widen(bf16 x) { return to_f32(x); }
void put(float v, float& y) { y = v; }
void put(float v, bf16& y) { y = to_bf16(v); }

template <class X, class Y>
void rotates(RotaryFunction<X, Y> rotary) {
  std::mt19937 random(2);
  std::normal_distribution<float> distribution;
  for (std::int64_t half = 1; half <= 70; ++half) {
    const auto h = static_cast<std::size_t>(half);
    std::vector<X> x(2 * h);
    std::vector<float> cos(2 * h), sin(2 * h);
    for (X& v : x) put(distribution(random), v);
    for (float& v : cos) v = distribution(random);
    for (float& v : sin) v = distribution(random);
    Y guard;
    put(123.0f, guard);
    std::vector<Y> y(2 * h + 2, guard), expected = y;
    for (std::size_t i = 0; i < h; ++i) {
      const float lo = widen(x[i]), hi = widen(x[h + i]);
      const volatile float lo_cos = lo * cos[i], hi_sin = hi * sin[i], hi_cos = hi * cos[h + i], lo_sin = lo * sin[h + i];
      put(lo_cos - hi_sin, expected[1 + i]);
      put(hi_cos + lo_sin, expected[1 + h + i]);
    }
    rotary(x.data(), half, cos.data(), sin.data(), y.data() + 1);
    ASSERT_EQ(y, expected) << half;
  }
}

TEST(RopeKernels, EveryRowTurnsRowsByBothHalvesOfTheCaches) {
  for (const auto& row : rope_rows()) {
    if (!device::usable(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    rotates(row.functions.rotary_f32_f32);
    rotates(row.functions.rotary_f32_bf16);
    rotates(row.functions.rotary_bf16_f32);
    rotates(row.functions.rotary_bf16_bf16);
  }
}

}  // namespace
}  // namespace tessera::kernels
