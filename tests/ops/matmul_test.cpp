#include "tessera/ops/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/kernels/gemm/gemm.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/linear.h"
#include "tests/reference/matmul.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using reference::expect_error;
using Numbers = std::vector<std::int64_t>;

constexpr double kEps = 0x1p-23;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Tensor normal(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const float v = distribution(random);
    if (dtype == DType::f32) t.data<float>()[i] = v;
    if (dtype == DType::bf16) t.data<bf16>()[i] = to_bf16(v);
    if (dtype == DType::f16) t.data<f16>()[i] = to_f16(v);
  }
  return t;
}

double value(const Tensor& t, std::int64_t i) {
  return static_cast<double>(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]);
}

reference::MatmulOperand operand(const Tensor& t, bool transpose) {
  reference::MatmulOperand o;
  for (std::int64_t i = 0; i < t.numel(); ++i) o.values.push_back(value(t, i));
  o.shape.assign(t.shape().sizes().begin(), t.shape().sizes().end());
  o.transpose = transpose;
  return o;
}

std::vector<double> values(const Tensor& t) { return t.defined() ? operand(t, false).values : std::vector<double>(); }

Tensor matmul(Context& ctx, const Tensor& a, const Tensor& b, const ops::Matmul& options = {}, DType dtype = DType::f32) {
  Tensor y = Tensor::empty(ops::matmul_shape(a.shape(), b.shape(), options), dtype);
  ops::matmul(ctx, a, b, options, y);
  return y;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// fn(ctx, what the row multiplies, whether it is slow) for every row that runs here, and for the emulated ones.
template <class Fn>
void for_every_row(Fn fn, int threads = 2) {
  int count = 0;
  for (const auto rows : {kernels::gemm_rows(), kernels::gemm_emulated_rows()})
    for (const auto& row : rows) {
      Context ctx({.threads = threads, .isa = {}});
      if (!ctx.allows(row.info.isa) || row.functions.weights == DType::i8) continue;
      SCOPED_TRACE(row.info.name);
      ctx.force("linear", row.info.name);
      const std::string name = row.info.name;
      fn(ctx, row.functions.weights, name.find("emulated") != std::string::npos || name.find("scalar") == 0);
      ++count;
    }
  EXPECT_GE(count, 2);
}

struct Case {
  Shape a, b;
  double flops = 0;
};

/// The shapes of the operands with and without their transposition.
std::vector<Case> cases(bool turned_a, bool turned_b) {
  std::vector<Case> all;
  for (const Numbers& s : reference::read_shapes("matmul", 7)) {
    Case c;
    c.a = turned_a ? Shape{s[0], s[1], s[5], s[4]} : Shape{s[0], s[1], s[4], s[5]};
    c.b = turned_b ? Shape{s[2], s[3], s[6], s[5]} : Shape{s[2], s[3], s[5], s[6]};
    c.flops = static_cast<double>(std::max(s[0], s[2]) * std::max(s[1], s[3]) * s[4] * s[5] * s[6]);
    all.push_back(c);
  }
  return all;
}

/// Rounding errors of a float sum of k products and a bias, as a random walk: four of its standard deviations.
double bound(double magnitude, std::int64_t k) { return kEps * 2 * std::sqrt(static_cast<double>(k + 4)) * magnitude + 1e-37; }

TEST(Matmul, MatchesTheReferenceOnAllShapes) {
  for_every_row([](Context& ctx, DType precision, bool slow) {
    const std::vector<std::pair<DType, DType>> dtypes =
        precision == DType::bf16
            ? std::vector<std::pair<DType, DType>>{{DType::bf16, DType::bf16}}
            : std::vector<std::pair<DType, DType>>{{DType::f32, DType::f32}, {DType::f32, DType::bf16}, {DType::bf16, DType::f32}};
    for (const bool turned_a : {false, true})
      for (const bool turned_b : {false, true})
        for (const Case& c : cases(turned_a, turned_b))
          for (const auto& [a_type, b_type] : dtypes) {
            if (c.flops > 1e6 && (slow || turned_a != turned_b || (precision == DType::f32 && a_type != b_type))) continue;
            const Tensor a = normal(c.a, a_type, 1);
            const Tensor b = normal(c.b, b_type, 2);
            const ops::Matmul options{.transpose_a = turned_a, .transpose_b = turned_b};
            const Tensor y = matmul(ctx, a, b, options);
            const auto expected = reference::matmul(operand(a, turned_a), operand(b, turned_b));
            ASSERT_EQ(Numbers(y.shape().sizes().begin(), y.shape().sizes().end()), expected.shape);
            const std::int64_t k = c.a[turned_a ? -2 : -1];
            for (std::size_t i = 0; i < expected.values.size(); ++i)
              ASSERT_LE(std::fabs(value(y, static_cast<std::int64_t>(i)) - expected.values[i]), bound(expected.magnitudes[i], k))
                  << c.a.str() << " " << c.b.str() << " " << turned_a << turned_b << " at " << i;
            // In bf16: the same sums, rounded once.
            const Tensor half = matmul(ctx, a, b, options, DType::bf16);
            for (std::int64_t i = 0; i < y.numel(); ++i) ASSERT_EQ(half.data<bf16>()[i].bits, to_bf16(y.data<float>()[i]).bits) << i;
          }
  });
}

TEST(Matmul, BiasAndActivation) {
  for_every_row([](Context& ctx, DType precision, bool) {
    for (const auto activation : {ops::Activation::none, ops::Activation::gelu_tanh, ops::Activation::silu, ops::Activation::relu,
                                  ops::Activation::relu6, ops::Activation::hardswish, ops::Activation::gelu})
      for (const DType bias_type : {DType::f32, DType::bf16})
        for (const Shape& b_shape : {Shape{21, 37}, Shape{3, 21, 37}}) {
          const Tensor a = normal({3, 9, 21}, precision, 1);
          const Tensor b = normal(b_shape, precision, 2);
          const Tensor bias = normal(bias_type == DType::f32 ? Shape{37} : Shape{1, 37}, bias_type, 3);
          const Tensor y = matmul(ctx, a, b, {.activation = activation, .bias = bias});
          const auto expected = reference::matmul(operand(a, false), operand(b, false), values(bias));
          for (std::size_t i = 0; i < expected.values.size(); ++i) {
            const double f = reference::activate(expected.values[i], static_cast<reference::LinearActivation>(activation));
            // Slopes stay below 1.5; the functions themselves are good to a few eps.
            ASSERT_LE(std::fabs(value(y, static_cast<std::int64_t>(i)) - f),
                      1.5 * bound(expected.magnitudes[i], 21) + 4 * kEps * std::fabs(expected.values[i]))
                << static_cast<int>(activation) << " " << i;
          }
        }
  });
}

TEST(Matmul, OperandsOfOneDimension) {
  for_every_row([](Context& ctx, DType precision, bool) {
    const struct {
      Shape a, b, y;
    } shapes[] = {{{40}, {40}, {}}, {{40}, {40, 5}, {5}}, {{7, 40}, {40}, {7}}, {{40}, {2, 3, 40, 5}, {2, 3, 5}}, {{2, 3, 7, 40}, {40}, {2, 3, 7}}};
    for (const auto& s : shapes) {
      const Tensor a = normal(s.a, precision, 1);
      const Tensor b = normal(s.b, precision, 2);
      const Tensor y = matmul(ctx, a, b);
      EXPECT_EQ(y.shape(), s.y);
      const auto expected = reference::matmul(operand(a, false), operand(b, false));
      EXPECT_EQ(Numbers(y.shape().sizes().begin(), y.shape().sizes().end()), expected.shape);
      for (std::size_t i = 0; i < expected.values.size(); ++i)
        EXPECT_LE(std::fabs(value(y, static_cast<std::int64_t>(i)) - expected.values[i]), bound(expected.magnitudes[i], 40));
    }
  });
}

TEST(Matmul, ThreadsStacksAndPreparedWeightsGiveTheSameBits) {
  for (const bool turned : {false, true})
    for (const Case& c : cases(false, turned)) {
      std::vector<Tensor> first;
      for (const int threads : {1, 2, 3, 8}) {
        std::size_t which = 0;
        for_every_row(
            [&](Context& ctx, DType precision, bool slow) {
              if (slow && c.flops > 1e6) return;
              const Tensor a = normal(c.a, precision, 1);
              const Tensor b = normal(c.b, precision, 2);
              const Tensor y = matmul(ctx, a, b, {.transpose_b = turned});
              if (which == first.size()) first.push_back(y);
              EXPECT_TRUE(same_bits(y, first[which])) << c.a.str() << " " << c.b.str() << " threads " << threads;
              ++which;
              if (threads != 2) return;
              const std::int64_t matrices = b.numel() / (c.b[-1] * c.b[-2]);
              if (matrices == 1) {
                const auto prepared = ops::prepare_matmul(ctx, b, turned, {}, precision);
                EXPECT_EQ(prepared.row(), ctx.forced("linear"));
                EXPECT_TRUE(same_bits(ops::linear(ctx, a, prepared), y)) << c.a.str() << " " << c.b.str();
              } else if (c.a[0] == c.b[0] && c.a[1] == c.b[1]) {  // a stack is its products one by one
                const Shape flat_a{matrices, c.a[2], c.a[3]};
                const Shape flat_b{matrices, c.b[2], c.b[3]};
                const Tensor flat = y.reshape({matrices, y.shape()[2], y.shape()[3]});
                for (std::int64_t i = 0; i < matrices; ++i)
                  EXPECT_TRUE(same_bits(matmul(ctx, a.reshape(flat_a).narrow(i, 1), b.reshape(flat_b).narrow(i, 1), {.transpose_b = turned}),
                                        flat.narrow(i, 1)))
                      << i;
              }
            },
            threads);
      }
    }
}

TEST(Matmul, PreparedFromEveryDtypeAndSide) {
  Context ctx({.threads = 2, .isa = {}});
  const std::int64_t k = 45, n = 70;
  for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor b = normal({1, k, n}, stored, 1);
    Tensor turned = Tensor::empty({n, k}, stored);
    const std::size_t size = size_of(stored);
    for (std::int64_t i = 0; i < k; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        std::memcpy(static_cast<std::byte*>(turned.raw()) + static_cast<std::size_t>(j * k + i) * size,
                    static_cast<const std::byte*>(b.raw()) + static_cast<std::size_t>(i * n + j) * size, size);
    const Tensor bias = normal({n}, stored, 2);
    const Tensor x = normal({5, k}, DType::f32, 3);
    for (const DType precision : {DType::f32, DType::bf16, DType::i8}) {
      const Tensor expected = ops::linear(ctx, x, ops::prepare_linear(ctx, {turned, bias}, precision));
      const auto one = ops::prepare_matmul(ctx, b, false, bias, precision);
      EXPECT_EQ(one.n(), n);
      EXPECT_EQ(one.k(), k);
      EXPECT_EQ(one.dtype(), precision);
      EXPECT_TRUE(one.has_bias());
      EXPECT_TRUE(same_bits(ops::linear(ctx, x, one), expected)) << name(stored) << " " << name(precision);
      EXPECT_TRUE(same_bits(ops::linear(ctx, x, ops::prepare_matmul(ctx, turned, true, bias, precision)), expected));
    }
  }
}

TEST(Matmul, NothingToSumAndNothingToWrite) {
  for_every_row([](Context& ctx, DType precision, bool) {
    const Tensor bias = normal({6}, DType::f32, 1);
    for (const bool turned : {false, true}) {
      const Tensor a = Tensor::empty({2, 5, 0}, precision);
      const Tensor b = Tensor::empty(turned ? Shape{2, 6, 0} : Shape{2, 0, 6}, precision);
      const Tensor zeros = matmul(ctx, a, b, {.transpose_b = turned});
      const Tensor biased = matmul(ctx, a, b, {.transpose_b = turned, .activation = ops::Activation::relu, .bias = bias});
      for (std::int64_t i = 0; i < 60; ++i) {
        EXPECT_EQ(value(zeros, i), 0.0);
        EXPECT_EQ(value(biased, i), std::max(0.0, value(bias, i % 6)));
      }
    }
    EXPECT_EQ(matmul(ctx, Tensor::empty({0}, precision), Tensor::empty({0}, precision)).data<float>()[0], 0.0f);
    EXPECT_EQ(matmul(ctx, Tensor::empty({0, 3}, precision), Tensor::empty({3, 4}, precision)).shape(), (Shape{0, 4}));
    EXPECT_EQ(matmul(ctx, Tensor::empty({2, 3}, precision), Tensor::empty({3, 0}, precision)).shape(), (Shape{2, 0}));
    EXPECT_EQ(matmul(ctx, Tensor::empty({0, 2, 3}, precision), Tensor::empty({1, 3, 4}, precision)).shape(), (Shape{0, 2, 4}));
  });
}

TEST(Matmul, NanReachesItsRowOrColumnOnly) {
  for_every_row([](Context& ctx, DType precision, bool) {
    for (const bool turned : {false, true}) {
      const std::int64_t m = 7, k = 33, n = 35;
      Tensor a = normal({m, k}, precision, 1);
      Tensor b = normal(turned ? Shape{n, k} : Shape{k, n}, precision, 2);
      const Tensor clean = matmul(ctx, a, b, {.transpose_b = turned});
      const auto poison = [&](Tensor& t, std::int64_t at) {
        if (precision == DType::bf16)
          t.data<bf16>()[at] = to_bf16(kNan);
        else
          t.data<float>()[at] = kNan;
      };
      poison(b, turned ? 34 * k + 32 : 32 * n + 34);  // in the corner beside the padding
      const Tensor by_b = matmul(ctx, a, b, {.transpose_b = turned});
      b = normal(b.shape(), precision, 2);
      poison(a, 3 * k + 32);
      const Tensor by_a = matmul(ctx, a, b, {.transpose_b = turned});
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n; ++j) {
          const std::int64_t at = i * n + j;
          if (j == 34) EXPECT_TRUE(std::isnan(value(by_b, at)));
          if (j != 34) EXPECT_EQ(value(by_b, at), value(clean, at));
          if (i == 3) EXPECT_TRUE(std::isnan(value(by_a, at)));
          if (i != 3) EXPECT_EQ(value(by_a, at), value(clean, at));
        }
    }
  });
}

TEST(Matmul, SecondCallAllocatesNothing) {
  for_every_row([](Context& ctx, DType precision, bool slow) {
    for (const auto& [a_shape, b_shape] : {std::pair{Shape{2, 3, 40, 50}, Shape{2, 1, 50, 60}}, std::pair{Shape{201, 300}, Shape{300, 260}}}) {
      if (slow && a_shape.rank() == 2) continue;
      const Tensor a = normal(a_shape, precision, 1);
      const Tensor b = normal(b_shape, precision, 2);
      const Tensor bias = normal({b_shape[-1]}, DType::bf16, 3);
      for (const bool turned : {false, true}) {
        const Tensor left = turned ? normal(a_shape.with(-1, a_shape[-2]).with(-2, a_shape[-1]), precision, 1) : a;
        const ops::Matmul options{.transpose_a = turned, .bias = bias};
        Tensor y = Tensor::empty(ops::matmul_shape(left.shape(), b_shape, options), DType::f32);
        ops::matmul(ctx, left, b, options, y);
        EXPECT_EQ(reference::allocations_in([&] { ops::matmul(ctx, left, b, options, y); }), 0);
      }
    }
  });
}

TEST(Matmul, ZoneCarriesFlopsAndBytes) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor a = normal({2, 5, 30}, DType::bf16, 1);
  const Tensor b = normal({2, 30, 20}, DType::bf16, 2);
  ctx.profiler().start();
  matmul(ctx, a, b);
  ctx.profiler().stop();
  const auto& zones = ctx.profiler().records();
  ASSERT_EQ(zones.size(), 1u);
  EXPECT_STREQ(zones[0].op, "matmul");
  EXPECT_EQ(zones[0].flops, 2 * 2 * 5 * 20 * 30);
  EXPECT_EQ(zones[0].bytes, 2 * (5 * 30 + 30 * 20) * 2 + 2 * 5 * 20 * 4);
  EXPECT_EQ(zones[0].operands, DType::bf16);
}

TEST(Matmul, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor a = Tensor::zeros({3, 4}, DType::f32);
  const Tensor b = Tensor::zeros({4, 5}, DType::f32);
  const auto call = [&](const std::string& part, const Tensor& x, const Tensor& z, const ops::Matmul& options, Tensor y) {
    expect_error("matmul", part, [&] { ops::matmul(ctx, x, z, options, y); });
  };
  const Tensor y = Tensor::zeros({3, 5}, DType::f32);
  call("a as contiguous", {}, b, {}, y);
  call("b as contiguous", a, {}, {}, y);
  call("a as contiguous", Tensor::zeros({3, 4}, DType::i32), b, {}, y);
  call("a as contiguous", Tensor::zeros({3, 4}, DType::f16), b, {}, y);
  call("b as contiguous", a, Tensor::zeros({4, 5}, DType::f32, Layout::tile), {}, y);
  call("b as contiguous", a, Tensor::zeros({4, 8}, DType::f32).columns(0, 5), {}, y);
  call("one dimension or more", Tensor::zeros(Shape{}, DType::f32), b, {}, y);
  call("same inner size", a, Tensor::zeros({5, 4}, DType::f32), {}, y);
  call("same inner size", a, b, {.transpose_a = true}, y);
  call("same inner size", a, b, {.transpose_b = true}, y);
  call("to transpose", Tensor::zeros({4}, DType::f32), b, {.transpose_a = true}, y);
  call("to transpose", a, Tensor::zeros({4}, DType::f32), {.transpose_b = true}, y);
  call("leading sizes", Tensor::zeros({2, 3, 4}, DType::f32), Tensor::zeros({3, 4, 5}, DType::f32), {}, y);
  call("y as contiguous", a, b, {}, {});
  call("y as contiguous", a, b, {}, Tensor::zeros({5, 3}, DType::f32));
  call("y as contiguous", a, b, {}, Tensor::zeros({3, 5}, DType::f16));
  call("a bias [5]", a, b, {.bias = Tensor::zeros({4}, DType::f32)}, y);
  call("a bias [5]", a, b, {.bias = Tensor::zeros({2, 5}, DType::f32)}, y);
  call("a bias [5]", a, b, {.bias = Tensor::zeros({5}, DType::f16)}, y);
  const Tensor square = Tensor::zeros({4, 4}, DType::f32);
  call("memory of its own", square, Tensor::zeros({4, 4}, DType::f32), {}, square);
  expect_error("matmul", "same inner size", [&] { ops::matmul_shape({3, 4}, {5, 6}, {}); });
  const auto prepare = [&](const std::string& part, const Tensor& z, const Tensor& bias, DType precision) {
    expect_error("prepare_matmul", part, [&] { ops::prepare_matmul(ctx, z, false, bias, precision); });
  };
  prepare("b as contiguous", {}, {}, DType::f32);
  prepare("b as contiguous", Tensor::zeros({4}, DType::f32), {}, DType::f32);
  prepare("b as contiguous", Tensor::zeros({2, 4, 5}, DType::f32), {}, DType::f32);
  prepare("b as contiguous", Tensor::zeros({0, 5}, DType::f32), {}, DType::f32);
  prepare("a bias [5]", b, Tensor::zeros({4}, DType::f32), DType::f32);
  prepare("a precision", b, {}, DType::f16);
  ctx.force("linear", "scalar");
  expect_error("linear", "it multiplies bf16 weights", [&] { matmul(ctx, a, b); });
}

}  // namespace
}  // namespace tessera
