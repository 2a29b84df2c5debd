#include "tessera/ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/kernel_table.h"
#include "tests/reference/elementwise.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr double kEpsF32 = 0x1p-24;
constexpr double kEpsBf16 = 0x1p-8;  // half a unit in the last place of 8 bits

double get(const Tensor& t, std::int64_t r, std::int64_t c) {
  const std::int64_t at = r * t.row_stride() + c;
  return t.dtype() == DType::bf16 ? static_cast<double>(to_f32(t.data<bf16>()[at])) : static_cast<double>(t.data<float>()[at]);
}

Tensor random(std::int64_t rows, std::int64_t cols, DType dtype, unsigned seed, bool gap) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, 3);
  Tensor t = gap ? Tensor::zeros(Shape{rows, cols + 2}, dtype).columns(0, cols) : Tensor::zeros(Shape{rows, cols}, dtype);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      const float v = normal(engine);
      if (dtype == DType::bf16)
        t.data<bf16>()[r * t.row_stride() + c] = to_bf16(v);
      else
        t.data<float>()[r * t.row_stride() + c] = v;
    }
  }
  return t;
}

/// One rounding (eps), or `ulps` of them, and the rounding to bf16 where y is bf16.
void expect_near(double got, double expected, double ulps, DType y) {
  EXPECT_NEAR(got, expected, (ulps * kEpsF32 + (y == DType::bf16 ? kEpsBf16 : 0)) * std::fabs(expected) + 1e-37);
}

TEST(Elementwise, EveryRowMatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    for (const auto& shape : reference::read_shapes("elementwise", 2)) {
      for (const DType in : {DType::f32, DType::bf16}) {
        for (const DType out : {DType::f32, DType::bf16}) {
          for (const bool gap : {false, true}) {
            SCOPED_TRACE(row + " " + std::to_string(shape[0]) + " x " + std::to_string(shape[1]));
            const Tensor a = random(shape[0], shape[1], in, 1, gap);
            const Tensor b = random(shape[0], shape[1], in, 2, gap);
            const Tensor v = random(1, shape[1], DType::f32, 3, false);
            const auto check = [&](double ulps, auto op, auto expected) {
              Tensor y = random(shape[0], shape[1], out, 4, gap);
              op(y);
              for (std::int64_t r = 0; r < shape[0]; ++r)
                for (std::int64_t c = 0; c<shape[1]; c += shape[1]> 1000 ? 37 : 1)
                  expect_near(get(y, r, c), expected(get(a, r, c), get(b, r, c), get(v, 0, c)), ulps, out);
            };
            check(
                1, [&](Tensor& y) { ops::add(ctx, a, b, y); }, [](double p, double q, double) { return p + q; });
            check(
                1, [&](Tensor& y) { ops::subtract(ctx, a, b, y); }, [](double p, double q, double) { return p - q; });
            check(
                1, [&](Tensor& y) { ops::multiply(ctx, a, b, y); }, [](double p, double q, double) { return p * q; });
            check(
                1, [&](Tensor& y) { ops::multiply(ctx, a, v, y); }, [](double p, double, double w) { return p * w; });
            check(
                1, [&](Tensor& y) { ops::scale_shift(ctx, a, 3.0f, 0.0f, y); }, [](double p, double, double) { return 3 * p; });
            // exp of up to about 40, whose argument carries eps * 40, then four operations.
            check(
                60, [&](Tensor& y) { ops::silu(ctx, a, y); }, [](double p, double, double) { return reference::silu(p); });
            check(
                0, [&](Tensor& y) { ops::typecast(ctx, a, y); }, [](double p, double, double) { return p; });
          }
        }
      }
    }
  }
}

TEST(Elementwise, GeluIsRightNearAndFar) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    std::vector<float> values;
    for (float v = -12; v <= 12; v += 0.013f) values.push_back(v);
    const Tensor x = Tensor::from<float>(values, Shape{static_cast<std::int64_t>(values.size())});
    Tensor y = Tensor::empty(x.shape(), DType::f32);
    ops::gelu_tanh(ctx, x, y);
    // The sigmoid's argument reaches 80 z; its rounding moves exp by as many eps, relative. Absolute floor: results below 1e-9 of x.
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double e = reference::gelu_tanh(static_cast<double>(values[i]));
      EXPECT_NEAR(y.data<float>()[i], e, 200 * kEpsF32 * std::fabs(e) + 1e-9) << values[i];
    }
    ops::gelu(ctx, x, y);
    // exp(-x^2 / 2) of an exponent up to 72, rounded; the polynomials are good to a few eps.
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double e = reference::gelu(static_cast<double>(values[i]));
      EXPECT_NEAR(y.data<float>()[i], e, 200 * kEpsF32 * std::fabs(e) + 1e-30) << values[i];
    }
  }
}

TEST(Elementwise, ActivationsAtTheEnds) {
  Context ctx({.threads = 1, .isa = {}});
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {inf, -inf, 1e30f, -1e30f, 0.0f, std::numeric_limits<float>::quiet_NaN(), 100.0f, -100.0f, 3.0e38f};
  const Tensor x = Tensor::from<float>(values, Shape{9});
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    for (const auto op : {&ops::gelu, &ops::gelu_tanh, &ops::silu}) {
      Tensor y = Tensor::empty(Shape{9}, DType::f32);
      op(ctx, x, y);
      const float* v = y.data<float>();
      EXPECT_EQ(v[0], inf);
      EXPECT_EQ(v[1], 0.0f);
      EXPECT_EQ(v[2], 1e30f);
      EXPECT_EQ(v[3], 0.0f);
      EXPECT_EQ(v[4], 0.0f);
      EXPECT_TRUE(std::isnan(v[5]));
      EXPECT_EQ(v[6], 100.0f);
      EXPECT_NEAR(v[7], 0.0f, 1e-30);
      EXPECT_EQ(v[8], 3.0e38f);
    }
  }
}

TEST(Elementwise, AxpyRoundsProductAndSumApart) {
  Context ctx({.threads = 3, .isa = {}});
  const Tensor x = random(40, 1001, DType::f32, 1, true);
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    Tensor y = random(40, 1001, DType::f32, 2, true);
    const Tensor before = random(40, 1001, DType::f32, 2, true);
    ops::axpy(ctx, -0.1f, x, y);
    for (std::int64_t r = 0; r < 40; ++r) {
      for (std::int64_t c = 0; c < 1001; ++c) {
        const std::int64_t at = r * x.row_stride() + c;
        const volatile float product = -0.1f * x.data<float>()[at];
        ASSERT_EQ(y.data<float>()[at], before.data<float>()[at] + product);
      }
    }
  }
}

TEST(Elementwise, FindsEveryNonFiniteValue) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      for (const std::int64_t at : {0, 17, 4095, 70000}) {
        Tensor f = Tensor::zeros(Shape{70001}, DType::f32);
        f.data<float>()[(at + 1) % 70001] = 3e4f;
        Tensor x = Tensor::zeros(Shape{70001}, dtype);
        ops::typecast(ctx, f, x);
        EXPECT_TRUE(ops::all_finite(ctx, x));
        for (const float bad :
             {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
          f.data<float>()[at] = bad;
          ops::typecast(ctx, f, x);
          EXPECT_FALSE(ops::all_finite(ctx, x)) << name(dtype) << " " << at << " " << bad;
        }
      }
    }
  }
  EXPECT_TRUE(ops::all_finite(ctx, Tensor::zeros(Shape{3}, DType::i32)));
}

TEST(Elementwise, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor a = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor y = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor other = Tensor::zeros(Shape{2, 9}, DType::f32);
  const Tensor tiles = Tensor::zeros(Shape{2, 8}, DType::f32, Layout::tile);
  EXPECT_THROW(ops::add(ctx, a, a, other), Error);
  EXPECT_THROW(ops::add(ctx, a, other, y), Error);
  EXPECT_THROW(ops::add(ctx, a, tiles, y), Error);
  EXPECT_THROW(ops::add(ctx, a, Tensor(), y), Error);
  EXPECT_THROW(ops::multiply(ctx, a, Tensor::zeros(Shape{2, 8}, DType::i32), y), Error);
  EXPECT_THROW(ops::silu(ctx, a, other), Error);
  EXPECT_THROW(ops::axpy(ctx, 1.0f, Tensor::zeros(Shape{2, 8}, DType::bf16), y), Error);
  EXPECT_THROW(ops::all_finite(ctx, tiles), Error);
}

}  // namespace
}  // namespace tessera
