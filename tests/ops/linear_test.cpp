#include "tessera/ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tests/reference/allocations.h"
#include "tests/reference/linear.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr double kEps = 0x1p-23;
constexpr double kEpsBf16 = 0x1p-7;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> normal(std::int64_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution(0, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

Tensor tensor(const std::vector<float>& values, const Shape& shape, DType dtype = DType::f32) {
  if (dtype == DType::f32) return Tensor::from(std::span<const float>(values), shape);
  Tensor t = Tensor::empty(shape, dtype);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::bf16) t.data<bf16>()[i] = to_bf16(values[i]);
    if (dtype == DType::f16) t.data<f16>()[i] = to_f16(values[i]);
  }
  return t;
}

float value(const Tensor& t, std::int64_t row, std::int64_t column) {
  const std::int64_t i = row * t.row_stride() + column;
  return t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i];
}

/// What the kernel multiplies: rounded to bf16 when the precision is bf16.
std::vector<double> operand(const std::vector<float>& values, DType stored, DType precision) {
  std::vector<double> d;
  d.reserve(values.size());
  for (float v : values) {
    if (stored == DType::bf16) v = to_f32(to_bf16(v));
    if (stored == DType::f16) v = to_f32(to_f16(v));
    if (precision == DType::bf16) v = to_f32(to_bf16(v));
    d.push_back(v);
  }
  return d;
}

/// fn(ctx, precision) once for every row that this machine runs, and for the emulated rows.
template <class Fn>
void for_every_row(Fn fn, int threads = 2) {
  int f32 = 0;
  int bf16 = 0;
  for (const auto rows : {kernels::gemm_rows(), kernels::gemm_emulated_rows()})
    for (const auto& row : rows) {
      Context ctx({.threads = threads, .isa = {}});
      // int8 has tests of its own (linear_int8_test.cpp): it rounds what it multiplies.
      if (!ctx.allows(row.info.isa) || row.functions.weights == DType::i8) continue;
      SCOPED_TRACE(row.info.name);
      ctx.force("linear", row.info.name);
      fn(ctx, row.functions.weights);
      ++(row.functions.weights == DType::f32 ? f32 : bf16);
    }
  EXPECT_GE(f32, 1);
  EXPECT_GE(bf16, 1);
}

struct Sizes {
  std::int64_t m, n, k;
  std::string str() const { return std::to_string(m) + " " + std::to_string(n) + " " + std::to_string(k); }
};

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (const auto& n : reference::read_shapes("linear", 3)) all.push_back({n[0], n[1], n[2]});
  return all;
}

/// Rounding errors of a float sum of k products and a bias: a random walk, each step at most half an eps of the running sum, which stays
/// below the magnitude; 2 sqrt(k + 4) covers four of its standard deviations on the millions of elements compared here.
double sum_bound(const reference::Sum& s, std::int64_t k) { return kEps * 2 * std::sqrt(static_cast<double>(k + 4)) * s.magnitude + 1e-37; }

TEST(Linear, MatchesTheReferenceOnAllShapes) {
  for_every_row([](Context& ctx, DType precision) {
    const bool slow = ctx.forced("linear").find("emulated") != std::string_view::npos || ctx.forced("linear").find("scalar") == 0;
    for (const Sizes& s : shapes()) {
      if (slow && s.m * s.n * s.k > 10'000'000) continue;
      const auto x = normal(s.m * s.k, 1);
      const auto w = normal(s.n * s.k, 2);
      const auto b = normal(s.n, 3);
      for (const DType stored : {DType::f32, DType::bf16, DType::f16}) {
        if (stored == DType::f16 && s.m * s.n * s.k > 1'000'000) continue;
        const DType x_type = stored == DType::bf16 ? DType::bf16 : DType::f32;
        const auto prepared = ops::prepare_linear(ctx, {tensor(w, {s.n, s.k}, stored), tensor(b, {s.n})}, precision);
        EXPECT_EQ(prepared.row(), ctx.forced("linear"));
        EXPECT_EQ(prepared.n(), s.n);
        EXPECT_EQ(prepared.k(), s.k);
        EXPECT_EQ(prepared.dtype(), precision);
        EXPECT_TRUE(prepared.has_bias());
        EXPECT_FALSE(prepared.gated());
        EXPECT_GE(prepared.bytes(), static_cast<std::size_t>(s.n * s.k) * size_of(precision));
        const Tensor y = ops::linear(ctx, tensor(x, {s.m, s.k}, x_type), prepared);
        const auto xd = operand(x, x_type, precision);
        const auto wd = operand(w, stored, precision);
        const std::vector<double> bd(b.begin(), b.end());
        const std::int64_t step = std::max<std::int64_t>(1, s.m * s.n * s.k / 20'000'000);  // of the large ones, some elements
        for (std::int64_t at = 0; at < s.m * s.n; at += step) {
          const auto sum = reference::linear_sum(xd, wd, bd, s.k, at / s.n, at % s.n);
          ASSERT_LE(std::fabs(y.data<float>()[at] - sum.value), sum_bound(sum, s.k)) << s.str() << " at " << at << " " << name(stored);
        }
      }
    }
  });
}

struct Case {
  ops::Activation activation = ops::Activation::none;
  bool gated = false, bias = false, residual = false, y_bf16 = false;
  int gate = 0;  // 0: none, 1: [n], 2: [m, n]
  bool in_place = false;
  bool residual_bf16 = false;
};

std::vector<Case> cases() {
  using enum ops::Activation;
  std::vector<Case> all;
  for (const auto activation : {none, gelu_tanh, silu, relu, relu6, hardswish, gelu})
    for (const bool gated : {false, true}) {
      if (gated && activation == none) continue;
      for (const bool bias : {false, true})
        for (const int gate : {0, 1, 2})
          for (const int residual : {0, 1, 2}) all.push_back({activation, gated, bias, residual > 0, false, gate, residual == 2});
      all.push_back({activation, gated, true, true, true, 1, false});
      for (const bool y_bf16 : {false, true})
        for (const bool in_place : {false, y_bf16}) all.push_back({activation, gated, true, true, y_bf16, 0, in_place, true});
      all.push_back({activation, gated, false, false, true, 0, false});
    }
  return all;
}

reference::LinearActivation same(ops::Activation a) { return static_cast<reference::LinearActivation>(a); }

TEST(Linear, EveryEpilogueMatchesTheReference) {
  for_every_row([](Context& ctx, DType precision) {
    for (const Sizes s : {Sizes{9, 37, 21}, Sizes{33, 70, 40}, Sizes{1, 5, 3}}) {
      const auto x = normal(s.m * s.k, 1);
      const auto w = normal(s.n * s.k, 2, 0.5f);
      const auto w2 = normal(s.n * s.k, 3, 0.5f);
      const auto b = normal(s.n, 4);
      const auto b2 = normal(s.n, 5);
      const auto residual = normal(s.m * s.n, 6);
      const auto gate_row = normal(s.n, 7);
      const auto gate_all = normal(s.m * s.n, 8);
      const auto xd = operand(x, DType::f32, precision);
      const auto wd = operand(w, DType::f32, precision);
      const auto w2d = operand(w2, DType::f32, precision);
      for (const Case& c : cases()) {
        const ops::LinearPart part{tensor(w, {s.n, s.k}), c.bias ? tensor(b, {s.n}) : Tensor()};
        const ops::LinearPart up{tensor(w2, {s.n, s.k}), c.bias ? tensor(b2, {s.n}) : Tensor()};
        const auto prepared = c.gated ? ops::prepare_gated_linear(ctx, part, up, precision) : ops::prepare_linear(ctx, part, precision);
        EXPECT_EQ(prepared.gated(), c.gated);
        ops::Linear options{.activation = c.activation, .residual = {}, .gate = {}};
        Tensor y = Tensor::zeros({s.m, s.n}, c.y_bf16 ? DType::bf16 : DType::f32);
        if (c.residual) options.residual = tensor(residual, {s.m, s.n}, c.residual_bf16 ? DType::bf16 : DType::f32);
        if (c.in_place) y = options.residual;
        if (c.gate == 1) options.gate = tensor(gate_row, {s.n});
        if (c.gate == 2) options.gate = tensor(gate_all, {s.m, s.n});
        ops::linear(ctx, tensor(x, {s.m, s.k}), prepared, options, y);
        const std::vector<double> none;
        for (std::int64_t i = 0; i < s.m; ++i)
          for (std::int64_t j = 0; j < s.n; ++j) {
            const auto at = static_cast<std::size_t>(i * s.n + j);
            const auto sum = reference::linear_sum(xd, wd, c.bias ? std::vector<double>(b.begin(), b.end()) : none, s.k, i, j);
            double f = reference::activate(sum.value, same(c.activation));
            // The derivative of hardswish stays below 1.5, those of the others below 1.13; the functions themselves are good to a few eps, times the
            // argument of the exponential far out on the left, where the result is tiny.
            double bound = 1.5 * sum_bound(sum, s.k) + 4 * kEps * std::fabs(sum.value);
            if (c.gated) {
              const auto other = reference::linear_sum(xd, w2d, c.bias ? std::vector<double>(b2.begin(), b2.end()) : none, s.k, i, j);
              bound = bound * std::fabs(other.value) + std::fabs(f) * sum_bound(other, s.k) + bound * sum_bound(other, s.k);
              f *= other.value;
            }
            const double g = c.gate == 0 ? 1 : c.gate == 1 ? gate_row[static_cast<std::size_t>(j)] : gate_all[at];
            const double r = !c.residual ? 0 : c.residual_bf16 ? to_f32(to_bf16(residual[at])) : residual[at];
            const double expected = r + g * f;
            bound = bound * std::fabs(g) + 2 * kEps * (std::fabs(r) + std::fabs(g * f));
            if (c.y_bf16) bound += kEpsBf16 / 2 * (std::fabs(expected) + bound);
            ASSERT_LE(std::fabs(value(y, i, j) - expected), bound)
                << s.str() << " at " << i << ", " << j << " activation " << static_cast<int>(c.activation) << " gated " << c.gated << " bias "
                << c.bias << " gate " << c.gate << " residual " << c.residual << " bf16 " << c.y_bf16;
          }
      }
    }
  });
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0; }

TEST(Linear, ThreadsAndOtherRowsOfXDoNotChangeABit) {
  for (const Sizes s : {Sizes{51, 300, 600}, Sizes{29, 64, 257}, Sizes{230, 33, 40}, Sizes{4, 1, 9}}) {
    const auto w = tensor(normal(s.n * s.k, 1), {s.n, s.k}, DType::bf16);
    const auto x = tensor(normal(s.m * s.k, 2), {s.m, s.k});
    std::vector<Tensor> first;
    for (const int threads : {1, 2, 3, 8}) {
      std::size_t which = 0;
      for_every_row(
          [&](Context& ctx, DType precision) {
            const auto prepared = ops::prepare_linear(ctx, {w, {}}, precision);
            const Tensor y = ops::linear(ctx, x, prepared, {.activation = ops::Activation::gelu_tanh, .residual = {}, .gate = {}});
            if (which == first.size()) first.push_back(y);
            EXPECT_TRUE(same_bits(y, first[which])) << s.str() << " threads " << threads;
            ++which;
            if (threads > 2) return;
            for (std::int64_t i = 0; i < s.m; i += 7) {
              const Tensor one = ops::linear(ctx, x.narrow(i, 1), prepared, {.activation = ops::Activation::gelu_tanh, .residual = {}, .gate = {}});
              EXPECT_TRUE(same_bits(one, y.narrow(i, 1))) << s.str() << " row " << i;
            }
          },
          threads);
    }
  }
}

// Few rows and many panels: with several threads the last items are cut. Too much depth for the way that reads x and panels where they lie.
TEST(Linear, CutItemsDoNotChangeABit) {
  const Sizes s{3, 1190, 2052};
  const auto w = tensor(normal(s.n * s.k, 1), {s.n, s.k}, DType::bf16);
  const auto up = tensor(normal(s.n * s.k, 3), {s.n, s.k}, DType::bf16);
  const auto x = tensor(normal(s.m * s.k, 2), {s.m, s.k});
  for (const bool gated : {false, true}) {
    std::vector<Tensor> first;
    for (const int threads : {1, 2, 3}) {
      std::size_t which = 0;
      for_every_row(
          [&](Context& ctx, DType precision) {
            const auto prepared = gated ? ops::prepare_gated_linear(ctx, {w, {}}, {up, {}}, precision) : ops::prepare_linear(ctx, {w, {}}, precision);
            const Tensor y = ops::linear(ctx, x, prepared, {.activation = ops::Activation::silu, .residual = {}, .gate = {}});
            if (which == first.size()) first.push_back(y);
            EXPECT_TRUE(same_bits(y, first[which])) << "gated " << gated << " threads " << threads;
            ++which;
          },
          threads);
    }
  }
}

TEST(Linear, StackedPartsEqualSeparateOnes) {
  for_every_row([](Context& ctx, DType precision) {
    const std::int64_t m = 5, k = 50;
    const std::vector<std::int64_t> widths{37, 1, 3, 64};
    std::vector<ops::LinearPart> parts;
    for (std::size_t i = 0; i < widths.size(); ++i)
      parts.push_back({tensor(normal(widths[i] * k, static_cast<unsigned>(i)), {widths[i], k}, i == 1 ? DType::bf16 : DType::f16),
                       tensor(normal(widths[i], 10 + static_cast<unsigned>(i)), {widths[i]}, DType::bf16)});
    const Tensor x = tensor(normal(m * k, 20), {m, k});
    const Tensor y = ops::linear(ctx, x, ops::prepare_linear(ctx, parts, precision));
    ASSERT_EQ(y.shape(), (Shape{m, 105}));
    std::int64_t column = 0;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const Tensor part = ops::linear(ctx, x, ops::prepare_linear(ctx, parts[i], precision));
      for (std::int64_t r = 0; r < m; ++r)
        for (std::int64_t c = 0; c < widths[i]; ++c) ASSERT_EQ(value(y, r, column + c), value(part, r, c)) << i << " " << r << " " << c;
      column += widths[i];
    }
  });
}

TEST(Linear, StridedRowsAndLeadingDimensions) {
  for_every_row([](Context& ctx, DType precision) {
    const std::int64_t m = 6, n = 35, k = 45;
    const auto prepared = ops::prepare_linear(ctx, {tensor(normal(n * k, 1), {n, k}), {}}, precision);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      // NaN stands between the rows of everything that is read, 77 between those that are written.
      const auto padded = [&](std::int64_t columns, DType type, unsigned seed) {
        auto v = normal(m * (columns + 9), seed);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = 0; j < 9; ++j) v[static_cast<std::size_t>(i * (columns + 9) + (j < 4 ? j : columns + j))] = kNan;
        return tensor(v, {m, columns + 9}, type);
      };
      const Tensor x = padded(k, dtype, 2).columns(4, k);
      const Tensor residual = padded(n, DType::f32, 3).columns(4, n);
      const Tensor gate = padded(n, DType::f32, 4).columns(4, n);
      Tensor whole = tensor(std::vector<float>(static_cast<std::size_t>(m * (n + 9)), 77), {m, n + 9}, dtype);
      Tensor y = whole.columns(4, n);
      ops::linear(ctx, x, prepared, {.residual = residual, .gate = gate}, y);

      const auto dense = [&](const Tensor& t) {
        Tensor d = Tensor::empty({2, 3, t.cols()}, t.dtype());
        const std::size_t bytes = static_cast<std::size_t>(t.cols()) * size_of(t.dtype());
        for (std::int64_t i = 0; i < m; ++i)
          std::memcpy(static_cast<std::byte*>(d.raw()) + static_cast<std::size_t>(i) * bytes,
                      static_cast<const std::byte*>(t.raw()) + static_cast<std::size_t>(i * t.row_stride()) * size_of(t.dtype()), bytes);
        return d;
      };
      const Tensor expected = ops::linear(ctx, dense(x), prepared, {.residual = dense(residual).reshape({m, n}), .gate = dense(gate)}, dtype);
      ASSERT_EQ(expected.shape(), (Shape{2, 3, n}));
      for (std::int64_t i = 0; i < m; ++i)
        for (std::int64_t j = 0; j < n + 9; ++j)
          ASSERT_EQ(value(whole, i, j), j < 4 || j >= n + 4 ? 77.0f : value(expected, i, j - 4)) << i << " " << j;
    }
  });
}

TEST(Linear, NanAndInfinityReachTheirRowOrColumnOnly) {
  for_every_row([](Context& ctx, DType precision) {
    for (const Sizes s : {Sizes{7, 33, 33}, Sizes{51, 20, 270}, Sizes{1, 1, 1}, Sizes{2, 65, 5}}) {
      const auto clean_x = normal(s.m * s.k, 1);
      const auto clean_w = normal(s.n * s.k, 2);
      for (const float bad : {kNan, kInf, -kInf}) {
        auto x = clean_x;
        auto w = clean_w;
        // In the corners that lie beside padding.
        w[w.size() - 1] = bad;
        x[static_cast<std::size_t>((s.m / 2) * s.k + s.k - 1)] = bad;
        const auto run = [&](const std::vector<float>& a, const std::vector<float>& b) {
          return ops::linear(ctx, tensor(a, {s.m, s.k}), ops::prepare_linear(ctx, {tensor(b, {s.n, s.k}), {}}, precision));
        };
        const Tensor expected = run(clean_x, clean_w);
        const Tensor by_w = run(clean_x, w);
        const Tensor by_x = run(x, clean_w);
        for (std::int64_t i = 0; i < s.m; ++i)
          for (std::int64_t j = 0; j < s.n; ++j) {
            if (j < s.n - 1)
              ASSERT_EQ(value(by_w, i, j), value(expected, i, j)) << s.str() << " " << i << " " << j;
            else if (std::isnan(bad))
              ASSERT_TRUE(std::isnan(value(by_w, i, j)));
            else
              ASSERT_EQ(value(by_w, i, j), clean_x[static_cast<std::size_t>(i * s.k + s.k - 1)] > 0 ? bad : -bad);
            if (i != s.m / 2)
              ASSERT_EQ(value(by_x, i, j), value(expected, i, j)) << s.str() << " " << i << " " << j;
            else
              ASSERT_FALSE(std::isfinite(value(by_x, i, j)));
          }
      }
    }
  });
}

TEST(Linear, ActivationsAtTheirEnds) {
  for_every_row([](Context& ctx, DType precision) {
    const std::vector<float> x{kInf, -kInf, 3e38f, -3e38f, 1e20f, -1e20f, 200, -200, 40, -40, 0, -0.0f, 1e-30f, -1e-30f, kNan};
    const auto m = static_cast<std::int64_t>(x.size());
    const auto one = ops::prepare_linear(ctx, {tensor({1}, {1, 1}), {}}, precision);
    using enum ops::Activation;
    for (const auto activation : {gelu_tanh, silu, relu, relu6, hardswish, gelu}) {
      const Tensor y = ops::linear(ctx, tensor(x, {m, 1}), one, {.activation = activation, .residual = {}, .gate = {}});
      for (std::int64_t i = 0; i < m; ++i) {
        const float v = precision == DType::bf16 ? to_f32(to_bf16(x[static_cast<std::size_t>(i)])) : x[static_cast<std::size_t>(i)];
        const float got = value(y, i, 0);
        if (std::isnan(v))
          EXPECT_TRUE(std::isnan(got));
        else if (v >= 40)
          EXPECT_EQ(got, activation == relu6 ? 6 : v) << static_cast<int>(activation);
        else if (v <= -200)
          EXPECT_EQ(got, 0) << v;  // the limit; also where x itself is infinite
        else
          EXPECT_NEAR(got, reference::activate(v, same(activation)), 1e-15 + 4 * kEps * std::fabs(v)) << v;
      }
    }
  });
}

TEST(Linear, GeluOfErfIsGoodToAFewUlp) {
  for_every_row([](Context& ctx, DType precision) {
    if (precision != DType::f32) return;
    std::vector<float> x;
    for (int i = -2400; i <= 2000; ++i) x.push_back(static_cast<float>(i) / 200);
    const auto m = static_cast<std::int64_t>(x.size());
    const auto one = ops::prepare_linear(ctx, {tensor({1}, {1, 1}), {}}, precision);
    const Tensor y = ops::linear(ctx, tensor(x, {m, 1}), one, {.activation = ops::Activation::gelu, .residual = {}, .gate = {}});
    for (std::int64_t i = 0; i < m; ++i) {
      const double v = x[static_cast<std::size_t>(i)];
      const double expected = 0.5 * v * std::erfc(-v / std::sqrt(2.0));
      // On the left the rounding of the exponent v * v / 2 grows with it, and 1 - erf cancels up to v = -1.4, by 1 / erfc(1) = 6.4.
      ASSERT_LE(std::fabs(value(y, i, 0) - expected), kEps * (v < 0 ? 10 + 2 * v * v : 3) * std::fabs(expected)) << v;
    }
  });
}

TEST(Linear, ActivationsAreGoodToAFewUlp) {
  for_every_row([](Context& ctx, DType precision) {
    if (precision != DType::f32) return;
    std::vector<float> x;
    for (int i = -4000; i <= 2000; ++i) x.push_back(static_cast<float>(i) / 200);
    const auto m = static_cast<std::int64_t>(x.size());
    const auto one = ops::prepare_linear(ctx, {tensor({1}, {1, 1}), {}}, precision);
    for (const auto activation : {ops::Activation::gelu_tanh, ops::Activation::silu}) {
      const Tensor y = ops::linear(ctx, tensor(x, {m, 1}), one, {.activation = activation, .residual = {}, .gate = {}});
      for (std::int64_t i = 0; i < m; ++i) {
        const double v = x[static_cast<std::size_t>(i)];
        const double argument = activation == ops::Activation::silu ? v : 2 * std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v);
        if (argument < -80) continue;  // below, results fade out through the subnormal numbers
        // In exact arithmetic x / (1 + e^-argument) (tanh in double cancels on the left); rounding the argument is what grows with it.
        const double expected = v / (1 + std::exp(-argument));
        const double bound = kEps * (3 + 2 * std::max(0.0, -argument)) * std::fabs(expected);
        ASSERT_LE(std::fabs(value(y, i, 0) - expected), bound) << v;
      }
    }
  });
}

TEST(Linear, SecondCallAllocatesNothing) {
  for_every_row([](Context& ctx, DType precision) {
    const std::int64_t m = 37, n = 70, k = 300;
    const auto prepared = ops::prepare_linear(ctx, {tensor(normal(n * k, 1), {n, k}), tensor(normal(n, 2), {n})}, precision);
    const Tensor x = tensor(normal(m * k, 3), {m, k});
    Tensor y = Tensor::empty({m, n}, DType::f32);
    const ops::Linear options{.activation = ops::Activation::silu, .residual = y, .gate = tensor(normal(n, 4), {n})};
    std::fill_n(y.data<float>(), m * n, 0.0f);
    ops::linear(ctx, x, prepared, options, y);
    const long before = reference::allocation_count;
    ops::linear(ctx, x, prepared, options, y);
    EXPECT_EQ(reference::allocation_count, before);
  });
}

TEST(Linear, NoRowsNothingHappens) {
  for_every_row([](Context& ctx, DType precision) {
    const auto prepared = ops::prepare_linear(ctx, {tensor(normal(6, 1), {2, 3}), {}}, precision);
    const Tensor y = ops::linear(ctx, Tensor::empty({0, 3}, DType::f32), prepared);
    EXPECT_EQ(y.shape(), (Shape{0, 2}));
  });
}

TEST(Linear, ZoneCarriesFlopsAndBytes) {
  for_every_row([](Context& ctx, DType precision) {
    const Tensor w = tensor(normal(20 * 30, 1), {20, 30});
    const Tensor x = tensor(normal(5 * 30, 2), {5, 30});
    const auto plain = ops::prepare_linear(ctx, {w, {}}, precision);
    const auto gated = ops::prepare_gated_linear(ctx, {w, {}}, {w, {}}, precision);
    ctx.profiler().start();
    ops::linear(ctx, x, plain, {}, DType::bf16);
    ops::linear(ctx, x, gated, {.activation = ops::Activation::silu, .residual = {}, .gate = {}});
    ctx.profiler().stop();
    const auto& zones = ctx.profiler().records();
    ASSERT_EQ(zones.size(), 2u);
    const double element = precision == DType::bf16 ? 2 : 4;
    EXPECT_EQ(zones[0].flops, 2 * 5 * 20 * 30);
    EXPECT_EQ(zones[0].bytes, 20 * 30 * element + 5 * 30 * 4 + 5 * 20 * 2);
    EXPECT_EQ(zones[0].operands, precision);
    EXPECT_STREQ(zones[0].op, "linear");
    EXPECT_EQ(zones[0].path, ctx.forced("linear"));
    EXPECT_EQ(zones[1].flops, 4 * 5 * 20 * 30);
    EXPECT_EQ(zones[1].bytes, 2 * 20 * 30 * element + 5 * 30 * 4 + 5 * 20 * 4);
  });
}

template <class Fn>
void expect_error(const std::string& op, const std::string& part, Fn fn) {
  try {
    fn();
    ADD_FAILURE() << "no error about " << part;
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find("[" + op + "]"), 0u) << e.what();
  }
}

TEST(Linear, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor w = Tensor::zeros({4, 6}, DType::f32);
  const auto prepare = [&](const std::string& part, const std::vector<ops::LinearPart>& parts, DType precision = DType::f32) {
    expect_error("prepare_linear", part, [&] { ops::prepare_linear(ctx, parts, precision); });
  };
  prepare("one part or more", {});
  prepare("a weight [n, k]", {{{}, {}}});
  prepare("a weight [n, k]", {{Tensor::zeros({4}, DType::f32), {}}});
  prepare("a weight [n, k]", {{Tensor::zeros({0, 6}, DType::f32), {}}});
  prepare("a weight of float32", {{Tensor::zeros({4, 6}, DType::i32), {}}});
  prepare("contiguous", {{w.columns(0, 5), {}}});
  prepare("k = 6", {{w, {}}, {Tensor::zeros({4, 5}, DType::f32), {}}});
  prepare("all parts to have a bias", {{w, {}}, {w, Tensor::zeros({4}, DType::f32)}});
  prepare("a bias [4]", {{w, Tensor::zeros({5}, DType::f32)}});
  prepare("precision", {{w, {}}}, DType::f16);
  const auto gated = [&](const std::string& part, const ops::LinearPart& gate, const ops::LinearPart& up) {
    expect_error("prepare_linear", part, [&] { ops::prepare_gated_linear(ctx, gate, up, DType::f32); });
  };
  gated("an up half of [4, 6]", {w, {}}, {Tensor::zeros({5, 6}, DType::f32), {}});
  gated("all parts to have a bias", {w, Tensor::zeros({4}, DType::f32)}, {w, {}});

  const auto ready = ops::prepare_linear(ctx, {w, {}}, DType::f32);
  const auto pair = ops::prepare_gated_linear(ctx, {w, {}}, {w, {}}, DType::f32);
  const Tensor x = Tensor::zeros({3, 6}, DType::f32);
  const auto call = [&](const std::string& part, const Tensor& in, const ops::PreparedLinear& p, const ops::Linear& options, Tensor y) {
    expect_error("linear", part, [&] { ops::linear(ctx, in, p, options, y); });
  };
  const Tensor y = Tensor::zeros({3, 4}, DType::f32);
  call("prepared weights", x, {}, {}, y);
  call("x [..., 6]", {}, ready, {}, y);
  call("x [..., 6]", Tensor::zeros({3, 5}, DType::f32), ready, {}, y);
  call("x [..., 6]", Tensor::zeros({3, 6}, DType::i32), ready, {}, y);
  call("x [..., 6]", Tensor::zeros({3, 6}, DType::f32, Layout::tile), ready, {}, y);
  call("y [3, 4]", x, ready, {}, {});
  call("y [3, 4]", x, ready, {}, Tensor::zeros({4, 4}, DType::f32));
  call("y [3, 4]", x, ready, {}, Tensor::zeros({3, 4}, DType::f16));
  call("a residual", x, ready, {.residual = Tensor::zeros({3, 5}, DType::f32), .gate = {}}, y);
  call("a residual", x, ready, {.residual = Tensor::zeros({3, 4}, DType::f16), .gate = {}}, y);
  call("a gate", x, ready, {.residual = {}, .gate = Tensor::zeros({5}, DType::f32)}, y);
  call("a gate", x, ready, {.residual = {}, .gate = Tensor::zeros({1, 4}, DType::f32)}, y);
  call("a gate", x, ready, {.residual = {}, .gate = Tensor::zeros({4}, DType::bf16)}, y);
  call("an activation", x, pair, {}, y);
  expect_error("linear", "x [..., 6]", [&] { ops::linear(ctx, Tensor(), ready); });
  expect_error("linear", "prepared weights", [&] { ops::linear(ctx, x, {}); });
}

TEST(Linear, ForcedRowsAreNeverReplaced) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor w = Tensor::zeros({4, 6}, DType::f32);
  const Tensor x = Tensor::zeros({3, 6}, DType::f32);
  ctx.force("linear", "scalar_f32");
  EXPECT_EQ(ops::prepare_linear(ctx, {w, {}}, DType::f32).row(), "scalar_f32");
  expect_error("linear", "it multiplies f32 weights", [&] { ops::prepare_linear(ctx, {w, {}}, DType::bf16); });
  ctx.force("linear", "scalar");
  const auto prepared = ops::prepare_linear(ctx, {w, {}}, DType::bf16);
  expect_error("linear", "it multiplies bf16 weights", [&] { ops::prepare_linear(ctx, {w, {}}, DType::f32); });
  ctx.force("linear", "no such row");
  expect_error("linear", "no row 'no such row'", [&] { ops::prepare_linear(ctx, {w, {}}, DType::f32); });
  expect_error("linear", "prepared for 'scalar'", [&] { ops::linear(ctx, x, prepared); });
  ctx.force("linear", "");
  ops::linear(ctx, x, prepared);
}

TEST(Linear, WeightsForAnotherMachineAreRefused) {
  Context best({.threads = 1, .isa = {}});
  Context capped({.threads = 1, .isa = "scalar"});
  const Tensor w = Tensor::zeros({4, 6}, DType::f32);
  const Tensor x = Tensor::zeros({3, 6}, DType::f32);
  for (const DType precision : {DType::f32, DType::bf16}) {
    EXPECT_EQ(ops::prepare_linear(capped, {w, {}}, precision).row(), precision == DType::f32 ? "scalar_f32" : "scalar");
    const auto prepared = ops::prepare_linear(best, {w, {}}, precision);
    if (prepared.row().starts_with("scalar")) continue;
    expect_error("linear", "capped at scalar", [&] { ops::linear(capped, x, prepared); });
  }
}

}  // namespace
}  // namespace tessera
