#include "tessera/ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/kernel_table.h"
#include "tests/reference/norm.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr float kEps = 1e-6f;

double get(const Tensor& t, std::int64_t r, std::int64_t c) {
  const std::int64_t at = r * t.row_stride() + c;
  return t.dtype() == DType::bf16 ? static_cast<double>(to_f32(t.data<bf16>()[at])) : static_cast<double>(t.data<float>()[at]);
}

void set(Tensor& t, std::int64_t r, std::int64_t c, float v) {
  const std::int64_t at = r * t.row_stride() + c;
  if (t.dtype() == DType::bf16)
    t.data<bf16>()[at] = to_bf16(v);
  else
    t.data<float>()[at] = v;
}

/// Rows that stand 3 elements further apart than they are long.
Tensor strided(std::int64_t rows, std::int64_t cols, DType dtype) { return Tensor::zeros(Shape{rows, cols + 3}, dtype).columns(1, cols); }

Tensor random(std::int64_t rows, std::int64_t cols, DType dtype, unsigned seed, float mean = 0) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(mean, 1.0f);
  Tensor t = strided(rows, cols, dtype);
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) set(t, r, c, normal(engine));
  return t;
}

Tensor vector_of(std::int64_t n, unsigned seed) {
  const Tensor t = random(1, n, DType::f32, seed);
  return Tensor::from<float>(std::span(t.data<float>(), static_cast<std::size_t>(n)), Shape{n});
}

std::vector<double> row_of(const Tensor& t, std::int64_t r) {
  std::vector<double> row;
  for (std::int64_t c = 0; c < t.cols(); ++c) row.push_back(get(t, r, c));
  return row;
}

/// f32 arithmetic: two sums of n terms in partial sums (error below 2 sqrt(n) eps relative), a division, a root, three products: 16 covers
/// the constants. bf16 output: half a unit in the last place, 2^-9, more.
double tolerance(std::int64_t n, double value, DType y) {
  const double f32 = (16 + 2 * std::sqrt(static_cast<double>(n))) * 0x1p-24 * (std::fabs(value) + 4);
  return f32 + (y == DType::bf16 ? 0x1p-8 * std::fabs(value) : 0);
}

enum class Op { layer_norm, rms_norm, adaptive };

void call(Context& ctx, Op op, const Tensor& x, const Tensor& a, const Tensor& b, Tensor& y) {
  if (op == Op::layer_norm) ops::layer_norm(ctx, x, {a, b, kEps}, y);
  if (op == Op::rms_norm) ops::rms_norm(ctx, x, {a, kEps}, y);
  if (op == Op::adaptive) ops::adaptive_rms_norm(ctx, x, {a, b, kEps}, y);
}

void expect_right(Op op, const Tensor& x, const Tensor& a, const Tensor& b, const Tensor& y) {
  const std::vector<double> zero(static_cast<std::size_t>(x.cols()), 0.0);
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const std::vector<double> pa = row_of(a, a.rows() == x.rows() && a.shape().rank() == 2 ? r : 0);
    const std::vector<double> pb = row_of(b, b.rows() == x.rows() && b.shape().rank() == 2 ? r : 0);
    const auto expected = op == Op::layer_norm ? reference::layer_norm(row_of(x, r), pa, pb, 1e-6)
                                               : reference::rms_norm(row_of(x, r), pa, op == Op::adaptive ? pb : zero, 1e-6);
    for (std::int64_t c = 0; c < x.cols(); ++c) {
      const double e = expected[static_cast<std::size_t>(c)];
      ASSERT_NEAR(get(y, r, c), e, tolerance(x.cols(), e, y.dtype())) << r << " " << c;
    }
  }
}

TEST(Norm, EveryRowMatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const auto& shape : reference::read_shapes("norm", 2)) {
      for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive}) {
        for (const DType in : {DType::f32, DType::bf16}) {
          for (const DType out : {DType::f32, DType::bf16}) {
            SCOPED_TRACE(row + " " + std::to_string(shape[0]) + " x " + std::to_string(shape[1]));
            const Tensor x = random(shape[0], shape[1], in, 1, 0.5f);
            const Tensor a = vector_of(shape[1], 2);
            const Tensor b = vector_of(shape[1], 3);
            Tensor y = strided(shape[0], shape[1], out);
            call(ctx, op, x, a, b, y);
            expect_right(op, x, a, b, y);
          }
        }
      }
    }
  }
}

TEST(Norm, AdaptiveTakesParametersPerRow) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = random(5, 33, DType::f32, 1);
  const Tensor scale = random(5, 33, DType::f32, 2);
  const Tensor shift = random(5, 33, DType::f32, 3);
  Tensor y = Tensor::empty(Shape{5, 33}, DType::f32);
  ops::adaptive_rms_norm(ctx, x, {scale, shift, kEps}, y);
  expect_right(Op::adaptive, x, scale, shift, y);
}

TEST(Norm, ThreadsDoNotChangeABit) {
  const Tensor x = random(101, 1000, DType::f32, 1);
  const Tensor a = vector_of(1000, 2);
  const Tensor b = vector_of(1000, 3);
  std::vector<std::vector<float>> all;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    Tensor y = Tensor::empty(Shape{101, 1000}, DType::f32);
    ops::layer_norm(ctx, x, {a, b, kEps}, y);
    all.emplace_back(y.span<float>().begin(), y.span<float>().end());
    EXPECT_EQ(all.back(), all.front()) << threads;
  }
}

TEST(Norm, NanPoisonsItsRowAlone) {
  Context ctx({.threads = 1, .isa = {}});
  Tensor x = random(3, 40, DType::f32, 1);
  set(x, 1, 5, std::numeric_limits<float>::quiet_NaN());
  Tensor y = Tensor::empty(Shape{3, 40}, DType::f32);
  ops::rms_norm(ctx, x, {vector_of(40, 2), kEps}, y);
  for (std::int64_t c = 0; c < 40; ++c) {
    EXPECT_TRUE(std::isfinite(get(y, 0, c)) && std::isfinite(get(y, 2, c)));
    EXPECT_TRUE(std::isnan(get(y, 1, c)));
  }
}

TEST(Norm, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{2, 8}, DType::f32);
  const Tensor w = Tensor::zeros(Shape{8}, DType::f32);
  Tensor y = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor other = Tensor::zeros(Shape{2, 9}, DType::f32);
  Tensor tiles = Tensor::zeros(Shape{2, 8}, DType::f32, Layout::tile);
  EXPECT_THROW(ops::rms_norm(ctx, x, {w, kEps}, other), Error);
  EXPECT_THROW(ops::rms_norm(ctx, tiles, {w, kEps}, y), Error);
  EXPECT_THROW(ops::rms_norm(ctx, x, {w, kEps}, tiles), Error);
  EXPECT_THROW(ops::rms_norm(ctx, x, {Tensor::zeros(Shape{7}, DType::f32), kEps}, y), Error);
  EXPECT_THROW(ops::rms_norm(ctx, x, {Tensor(), kEps}, y), Error);
  EXPECT_THROW(ops::rms_norm(ctx, Tensor::zeros(Shape{2, 8}, DType::i32), {w, kEps}, y), Error);
  EXPECT_THROW(ops::layer_norm(ctx, x, {w, Tensor::zeros(Shape{2, 8}, DType::f32), kEps}, y), Error);
  EXPECT_THROW(ops::adaptive_rms_norm(ctx, x, {w, Tensor::zeros(Shape{3, 8}, DType::f32), kEps}, y), Error);
}

}  // namespace
}  // namespace tessera
