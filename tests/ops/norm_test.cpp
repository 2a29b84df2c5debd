#include "tessera/ops/norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tessera/ops/reorder.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
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
/// the constants. bf16 output: one more rounding to 8 bits, at most 2^-8 of the value.
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
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    const Tensor x = random(5, 33, DType::f32, 1);
    const Tensor scale = random(5, 33, DType::f32, 2);
    const Tensor shift = random(5, 33, DType::f32, 3);
    Tensor y = Tensor::empty(Shape{5, 33}, DType::f32);
    ops::adaptive_rms_norm(ctx, x, {scale, shift, kEps}, y);
    expect_right(Op::adaptive, x, scale, shift, y);
    const Tensor one = vector_of(33, 4);  // one of them for all rows, the other per row
    ops::adaptive_rms_norm(ctx, x, {one, shift, kEps}, y);
    expect_right(Op::adaptive, x, one, shift, y);
  }
}

/// `n` numbers in another dtype, exact in both.
Tensor halved(const Tensor& t) {
  Tensor half = Tensor::empty(t.shape(), DType::bf16);
  for (std::int64_t i = 0; i < t.numel(); ++i) half.data<bf16>()[i] = to_bf16(t.data<float>()[i]);
  return half;
}
Tensor widened(const Tensor& half) {
  Tensor t = Tensor::empty(half.shape(), DType::f32);
  for (std::int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = to_f32(half.data<bf16>()[i]);
  return t;
}

TEST(Norm, WeightsMayBeLeftOutOrBf16OrWithoutOffset) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const std::int64_t n : {1, 7, 33, 100})
      for (const DType in : {DType::f32, DType::bf16}) {
        const Tensor x = random(5, n, in, 1, 0.5f);
        const Tensor half_a = halved(vector_of(n, 2)), half_b = halved(vector_of(n, 3));
        const Tensor a = widened(half_a), b = widened(half_b);
        const std::vector<double> one(static_cast<std::size_t>(n), 1.0), zero(static_cast<std::size_t>(n), 0.0);
        std::vector<double> less = row_of(a.reshape({1, n}), 0);
        for (double& v : less) v -= 1;
        Tensor y = strided(5, n, DType::f32);
        const auto check = [&](const char* what, auto expected) {
          for (std::int64_t r = 0; r < 5; ++r) {
            const std::vector<double> want = expected(row_of(x, r));
            for (std::int64_t c = 0; c < n; ++c) {
              const double e = want[static_cast<std::size_t>(c)];
              ASSERT_NEAR(get(y, r, c), e, tolerance(n, e, DType::f32)) << row << " " << what << " " << r << " " << c;
            }
          }
        };
        const std::vector<double> da = row_of(a.reshape({1, n}), 0), db = row_of(b.reshape({1, n}), 0);
        using Row = const std::vector<double>&;
        ops::layer_norm(ctx, x, {.eps = kEps}, y);
        check("neither", [&](Row v) { return reference::layer_norm(v, one, zero, 1e-6); });
        ops::layer_norm(ctx, x, {.weight = a, .eps = kEps}, y);
        check("weight", [&](Row v) { return reference::layer_norm(v, da, zero, 1e-6); });
        ops::layer_norm(ctx, x, {.bias = half_b, .eps = kEps}, y);
        check("bias", [&](Row v) { return reference::layer_norm(v, one, db, 1e-6); });
        ops::layer_norm(ctx, x, {.weight = half_a, .bias = b.reshape({1, 1, n}), .eps = 1e-3f}, y);
        check("both", [&](Row v) { return reference::layer_norm(v, da, db, static_cast<double>(1e-3f)); });
        ops::rms_norm(ctx, x, {.eps = kEps}, y);
        check("no weight", [&](Row v) { return reference::rms_norm(v, zero, zero, 1e-6); });
        ops::rms_norm(ctx, x, {.eps = kEps, .unit_offset = false}, y);
        check("no weight, no offset", [&](Row v) { return reference::rms_norm(v, zero, zero, 1e-6); });
        ops::rms_norm(ctx, x, {.weight = half_a, .eps = 0}, y);
        check("bf16", [&](Row v) { return reference::rms_norm(v, da, zero, 0); });
        ops::rms_norm(ctx, x, {.weight = a, .eps = kEps, .unit_offset = false}, y);
        check("no offset", [&](Row v) { return reference::rms_norm(v, less, zero, 1e-6); });
      }
  }
}

TEST(Norm, AResidualIsAddedFirst) {
  for (const int threads : {1, 3}) {
    Context ctx({.threads = threads, .isa = {}});
    for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
      ctx.force("norm", row);
      for (const DType in : {DType::f32, DType::bf16})
        for (const DType too : {DType::f32, DType::bf16})
          for (const DType out : {DType::f32, DType::bf16}) {
            const Tensor x = random(40, 37, in, 1);
            const Tensor residual = random(40, 37, too, 2, 1);
            Tensor sum = Tensor::empty(Shape{40, 37}, DType::f32);
            for (std::int64_t r = 0; r < 40; ++r)
              for (std::int64_t c = 0; c < 37; ++c) set(sum, r, c, static_cast<float>(get(x, r, c)) + static_cast<float>(get(residual, r, c)));
            const Tensor a = vector_of(37, 3);
            Tensor want = Tensor::empty(Shape{40, 37}, out);
            Tensor y = strided(40, 37, out);
            ops::layer_norm(ctx, sum, {.weight = a, .bias = a}, want);
            ops::layer_norm(ctx, x, {.weight = a, .bias = a, .residual = residual}, y);
            for (std::int64_t r = 0; r < 40; ++r) ASSERT_EQ(row_of(y, r), row_of(want, r)) << row;
            ops::rms_norm(ctx, sum, {.weight = a}, want);
            const auto call_it = [&] { ops::rms_norm(ctx, x, {.weight = a, .residual = residual}, y); };
            call_it();
            for (std::int64_t r = 0; r < 40; ++r) ASSERT_EQ(row_of(y, r), row_of(want, r)) << row;
            EXPECT_EQ(reference::allocations_in(call_it), 0);
            if (in != out) continue;
            Tensor same = random(40, 37, in, 1);
            ops::rms_norm(ctx, same, {.weight = a, .residual = residual}, same);
            for (std::int64_t r = 0; r < 40; ++r) ASSERT_EQ(row_of(same, r), row_of(want, r)) << row << " in place";
          }
    }
  }
}

/// All elements, as doubles: two results are equal when these are.
std::vector<double> values(const Tensor& t) {
  std::vector<double> all;
  for (std::int64_t r = 0; r < t.rows(); ++r)
    for (std::int64_t c = 0; c < t.cols(); ++c) all.push_back(get(t, r, c));
  return all;
}

TEST(Norm, ThreadsAndStridesDoNotChangeABit) {
  const Tensor a = vector_of(100, 2);
  const Tensor b = vector_of(100, 3);
  for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive})
    for (const DType in : {DType::f32, DType::bf16})
      for (const DType out : {DType::f32, DType::bf16}) {
        const Tensor x = random(101, 100, in, 1);
        std::map<std::string, std::vector<double>> first;  // by row: rows may differ from each other
        for (const int threads : {1, 2, 3, 8}) {
          Context ctx({.threads = threads, .isa = {}});
          for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
            ctx.force("norm", row);
            for (const bool gap : {false, true}) {
              Tensor y = gap ? strided(101, 100, out) : Tensor::empty(Shape{101, 100}, out);
              const Tensor dense = gap ? x : ops::contiguous(ctx, x);
              call(ctx, op, dense, a, b, y);
              const auto found = first.try_emplace(row, values(y)).first;
              ASSERT_EQ(values(y), found->second) << row << " threads " << threads << " gap " << gap;
            }
          }
        }
      }
}

TEST(Norm, GapsBetweenRowsAreLeftAlone) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive}) {
      Tensor wide = Tensor::empty(Shape{20, 42}, DType::f32);
      for (float& v : wide.span<float>()) v = 123;
      Tensor y = wide.columns(1, 37);
      call(ctx, op, random(20, 37, DType::f32, 1), vector_of(37, 2), vector_of(37, 3), y);
      for (std::int64_t r = 0; r < 20; ++r)
        for (const std::int64_t c : {0, 38, 39, 40, 41}) ASSERT_EQ(get(wide, r, c), 123.0) << row << " " << r << " " << c;
    }
  }
}

TEST(Norm, SecondCallDoesNotAllocate) {
  Context ctx({.threads = 3, .isa = {}});
  const Tensor x = random(50, 64, DType::f32, 1);
  const Tensor a = vector_of(64, 2);
  const Tensor b = vector_of(64, 3);
  Tensor y = Tensor::empty(Shape{50, 64}, DType::f32);
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive}) {
      call(ctx, op, x, a, b, y);
      EXPECT_EQ(reference::allocations_in([&] { call(ctx, op, x, a, b, y); }), 0) << row;
    }
  }
}

TEST(Norm, NanPoisonsItsRowAlone) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive})
      for (const std::int64_t at : {0, 5, 39}) {
        Tensor x = random(3, 40, DType::f32, 1);
        set(x, 1, at, std::numeric_limits<float>::quiet_NaN());
        Tensor y = Tensor::empty(Shape{3, 40}, DType::f32);
        call(ctx, op, x, vector_of(40, 2), vector_of(40, 3), y);
        for (std::int64_t c = 0; c < 40; ++c) {
          EXPECT_TRUE(std::isfinite(get(y, 0, c)) && std::isfinite(get(y, 2, c))) << row;
          EXPECT_TRUE(std::isnan(get(y, 1, c))) << row;
        }
      }
  }
}

TEST(Norm, InfinityAndOverflowDoWhatThePageSays) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive})
      for (const float large : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), 1e30f}) {
        Tensor x = random(3, 40, DType::f32, 1);
        set(x, 1, 5, large);
        const Tensor a = vector_of(40, 2);
        const Tensor b = vector_of(40, 3);
        Tensor y = Tensor::empty(Shape{3, 40}, DType::f32);
        call(ctx, op, x, a, b, y);
        for (std::int64_t c = 0; c < 40; ++c) {
          EXPECT_TRUE(std::isfinite(get(y, 0, c)) && std::isfinite(get(y, 2, c))) << row;
          const bool infinite = std::isinf(large);
          if (infinite && (op == Op::layer_norm || c == 5)) {
            EXPECT_TRUE(std::isnan(get(y, 1, c))) << row << " " << c;
          } else {
            // The sum of squares is infinite: every element is multiplied by zero, and bias or shift remains.
            EXPECT_EQ(get(y, 1, c), op == Op::rms_norm ? 0.0 : get(b, 0, c)) << row << " " << c;
          }
        }
      }
  }
}

TEST(Norm, ConstantAndZeroRowsStayFinite) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{2, 21}, DType::f32);
  for (const std::string& row : ops::runnable_rows(ctx, "norm")) {
    ctx.force("norm", row);
    for (const Op op : {Op::layer_norm, Op::rms_norm, Op::adaptive}) {
      const Tensor b = vector_of(21, 3);
      Tensor y = Tensor::empty(Shape{2, 21}, DType::f32);
      call(ctx, op, x, vector_of(21, 2), b, y);
      for (std::int64_t c = 0; c < 21; ++c) EXPECT_EQ(get(y, 1, c), op == Op::rms_norm ? 0.0 : get(b, 0, c)) << row;
    }
  }
}

TEST(Norm, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{2, 8}, DType::f32);
  const Tensor w = Tensor::zeros(Shape{8}, DType::f32);
  Tensor y = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor tiles = Tensor::zeros(Shape{2, 8}, DType::f32, Layout::tile);
  const Tensor tile_weight = Tensor::zeros(Shape{8}, DType::f32, Layout::tile);
  const Tensor column = Tensor::zeros(Shape{8, 3}, DType::f32).columns(0, 1);  // 8 numbers that do not stand side by side
  const auto rms = [&](const std::string& part, const Tensor& in, const Tensor& weight, Tensor out) {
    reference::expect_error("rms_norm", part, [&] { ops::rms_norm(ctx, in, {weight, kEps}, out); });
  };
  const auto layer = [&](const std::string& part, const Tensor& in, const Tensor& weight, const Tensor& bias, Tensor out) {
    reference::expect_error("layer_norm", part, [&] { ops::layer_norm(ctx, in, {weight, bias, kEps}, out); });
  };
  const auto adaptive = [&](const std::string& part, const Tensor& scale, const Tensor& shift) {
    reference::expect_error("adaptive_rms_norm", part, [&] { ops::adaptive_rms_norm(ctx, x, {scale, shift, kEps}, y); });
  };
  rms("y of x's shape", x, w, Tensor::zeros(Shape{2, 9}, DType::f32));
  rms("ops::to_layout", tiles, w, y);
  rms("ops::to_layout", x, w, tiles);
  rms("ops::to_layout", x, tile_weight, y);
  rms("expected x", {}, w, y);
  rms("expected y", x, w, {});
  rms("expected x", Tensor::zeros(Shape{2, 8}, DType::i32), w, y);
  rms("expected y", x, w, Tensor::zeros(Shape{2, 8}, DType::f16));
  rms("last dimension", Tensor::zeros(Shape{2, 0}, DType::f32), w, Tensor::zeros(Shape{2, 0}, DType::f32));
  rms("weight", x, Tensor::zeros(Shape{7}, DType::f32), y);
  rms("weight", x, Tensor::zeros(Shape{8}, DType::f16), y);
  rms("weight", x, column, y);
  layer("ops::to_layout", tiles, w, w, y);
  layer("weight", x, column, w, y);
  layer("bias", x, w, Tensor::zeros(Shape{2, 8}, DType::f32), y);
  layer("bias", x, w, tile_weight, y);
  adaptive("scale", column, w);
  adaptive("shift", w, Tensor::zeros(Shape{3, 8}, DType::f32));
  adaptive("ops::to_layout", tiles, w);
  const auto rest = [&](const std::string& part, const Tensor& residual, float eps) {
    reference::expect_error("rms_norm", part, [&] { ops::rms_norm(ctx, x, {.weight = w, .eps = eps, .residual = residual}, y); });
    reference::expect_error("layer_norm", part, [&] { ops::layer_norm(ctx, x, {.eps = eps, .residual = residual}, y); });
  };
  rest("a residual", Tensor::zeros(Shape{2, 9}, DType::f32), kEps);
  rest("a residual", Tensor::zeros(Shape{2, 8}, DType::i32), kEps);
  rest("a residual", tiles, kEps);
  rest("an eps", {}, -1e-9f);
  rest("an eps", {}, std::numeric_limits<float>::quiet_NaN());
  ctx.force("norm", "no such row");
  reference::expect_error("norm", "no row 'no such row'", [&] { ops::rms_norm(ctx, x, {w, kEps}, y); });
}

}  // namespace
}  // namespace tessera
