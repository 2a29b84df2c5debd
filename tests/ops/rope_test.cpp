#include "tessera/ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/kernels/rope/rope.h"
#include "tests/reference/rope.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr double kEps = 0x1p-24;
constexpr float kTheta = 10000;

struct Sizes {
  std::int64_t tokens, heads, head_dim;
  std::string str() const { return std::to_string(tokens) + " " + std::to_string(heads) + " " + std::to_string(head_dim); }
};

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (const auto& n : reference::read_shapes("rope", 3)) all.push_back({n[0], n[1], n[2]});
  return all;
}

std::vector<float> normal(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = distribution(random);
  return values;
}

std::vector<std::int32_t> positions(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> all(static_cast<std::size_t>(count));
  for (auto& p : all) p = static_cast<std::int32_t>(random() % 1000);
  return all;
}

/// rope() on a copy of x whose rows stand `gap` floats further apart; the gaps must stay as they are.
std::vector<float> run(Context& ctx, const std::vector<float>& x, const std::vector<std::int32_t>& at, const Sizes& s, std::int64_t gap = 0) {
  const std::int64_t columns = s.heads * s.head_dim;
  Tensor wide = Tensor::empty({s.tokens, columns + gap}, DType::f32);
  for (std::int64_t i = 0; i < wide.numel(); ++i) wide.data<float>()[i] = 123;
  for (std::int64_t t = 0; t < s.tokens; ++t)
    std::copy(x.begin() + t * columns, x.begin() + (t + 1) * columns, wide.data<float>() + t * (columns + gap));
  Tensor view = wide.columns(0, columns);
  ops::rope(ctx, view, s.heads, ops::rope_table(ctx, at, s.head_dim, kTheta));
  std::vector<float> y;
  for (std::int64_t t = 0; t < s.tokens; ++t)
    for (std::int64_t c = 0; c < columns + gap; ++c) {
      const float value = wide.data<float>()[t * (columns + gap) + c];
      if (c < columns)
        y.push_back(value);
      else
        EXPECT_EQ(value, 123.0f);
    }
  return y;
}

template <class Fn>
void for_every_row(Fn fn, int threads = 2) {
  Context ctx({.threads = threads, .isa = {}});
  int rows = 0;
  for (const auto& row : kernels::rope_rows()) {
    if (!ctx.allows(row.info.isa)) continue;
    SCOPED_TRACE(row.info.name);
    ctx.force("rope", row.info.name);
    fn(ctx);
    ++rows;
  }
  EXPECT_GE(rows, 1);
}

TEST(Rope, MatchesTheReferenceOnAllShapes) {
  for_every_row([](Context& ctx) {
    for (const Sizes& s : shapes()) {
      const auto x = normal(s.tokens * s.heads * s.head_dim, 1);
      const auto at = positions(s.tokens, 2);
      const auto expected = reference::rope(x, at, s.heads, s.head_dim, kTheta);
      const auto y = run(ctx, x, at, s);
      const std::int64_t half = s.head_dim / 2;
      for (std::size_t i = 0; i < y.size(); ++i) {
        // Cosine, sine, two products and a sum are rounded once each: at most 2.5 eps of |lo| + |hi|.
        const bool low = static_cast<std::int64_t>(i) % s.head_dim < half;
        const float other = x[low ? i + static_cast<std::size_t>(half) : i - static_cast<std::size_t>(half)];
        ASSERT_LE(std::fabs(y[i] - expected[i]), 2.5 * kEps * (std::fabs(x[i]) + std::fabs(other)) + 1e-30) << s.str() << " at " << i;
      }
    }
  });
}

TEST(Rope, AllRowsAndThreadsGiveTheSameBits) {
  for (const Sizes& s : shapes()) {
    const auto x = normal(s.tokens * s.heads * s.head_dim, 3);
    const auto at = positions(s.tokens, 4);
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 8}) {
      for_every_row(
          [&](Context& ctx) {
            for (const std::int64_t gap : {0, 5}) {
              const auto y = run(ctx, x, at, s, gap);
              if (first.empty()) first = y;
              EXPECT_EQ(y, first) << s.str() << " threads " << threads << " gap " << gap;
            }
          },
          threads);
    }
  }
}

TEST(Rope, TableHoldsRoundedCosinesAndSines) {
  Context ctx({.threads = 2, .isa = {}});
  const std::vector<std::int32_t> at{0, 1, 2, 63, 64, 1000, 815, -3, 2000000000};
  const ops::RopeTable table = ops::rope_table(ctx, at, 256, kTheta);
  ASSERT_EQ(table.cos.shape(), (Shape{9, 128}));
  ASSERT_EQ(table.sin.shape(), (Shape{9, 128}));
  for (std::size_t t = 0; t < at.size(); ++t)
    for (std::int64_t i = 0; i < 128; ++i) {
      const double angle = reference::rope_angle(at[t], i, 256, kTheta);
      // Half an ulp of the float (eps/2 below 1), and what the angle's own rounding in double can do.
      const double allowed = kEps + 0x1p-50 * std::fabs(angle);
      const std::size_t j = t * 128 + static_cast<std::size_t>(i);
      ASSERT_LE(std::fabs(table.cos.span<float>()[j] - std::cos(angle)), allowed) << at[t] << " " << i;
      ASSERT_LE(std::fabs(table.sin.span<float>()[j] - std::sin(angle)), allowed) << at[t] << " " << i;
    }
}

TEST(Rope, PositionZeroTurnsNothingAndLengthsAreKept) {
  for_every_row([](Context& ctx) {
    const Sizes s{7, 3, 20};
    const auto x = normal(7 * 60, 5);
    EXPECT_EQ(run(ctx, x, std::vector<std::int32_t>(7, 0), s), x);
    const auto y = run(ctx, x, positions(7, 6), s);
    EXPECT_NE(y, x);
    for (std::size_t head = 0; head < 21; ++head)
      for (std::size_t i = 0; i < 10; ++i) {
        const std::size_t lo = head * 20 + i;
        EXPECT_NEAR(std::hypot(y[lo], y[lo + 10]), std::hypot(x[lo], x[lo + 10]), 8 * kEps * std::hypot(x[lo], x[lo + 10]));
      }
  });
}

TEST(Rope, NanStaysInItsPair) {
  for_every_row([](Context& ctx) {
    const Sizes s{2, 2, 40};
    auto x = normal(160, 7);
    const auto clean = run(ctx, x, {5, 9}, s);
    x[80 + 40 + 3] = std::numeric_limits<float>::quiet_NaN();  // token 1, head 1, pair 3
    const auto y = run(ctx, x, {5, 9}, s);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (i == 123 || i == 143) {
        EXPECT_TRUE(std::isnan(y[i])) << i;
      } else {
        EXPECT_EQ(y[i], clean[i]) << i;
      }
    }
  });
}

TEST(Rope, WritesIntoTablesThatAreThere) {
  Context ctx({.threads = 1, .isa = {}});
  const std::vector<std::int32_t> at{3, 4};
  ops::RopeTable table{Tensor::zeros({2, 4}, DType::f32), Tensor::zeros({2, 4}, DType::f32)};
  const float* memory = table.cos.data<float>();
  ops::rope_table(ctx, at, 8, kTheta, table);
  EXPECT_EQ(table.cos.data<float>(), memory);
  const ops::RopeTable fresh = ops::rope_table(ctx, at, 8, kTheta);
  EXPECT_EQ(std::memcmp(table.cos.raw(), fresh.cos.raw(), 32), 0);
  EXPECT_EQ(std::memcmp(table.sin.raw(), fresh.sin.raw(), 32), 0);
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

TEST(Rope, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const std::vector<std::int32_t> at{0, 1, 2};
  const ops::RopeTable table = ops::rope_table(ctx, at, 8, kTheta);
  const auto rope = [&](const std::string& part, Tensor x, std::int64_t heads, const ops::RopeTable& t) {
    expect_error("rope", part, [&] { ops::rope(ctx, x, heads, t); });
  };
  rope("expected x", {}, 2, table);
  rope("expected x", Tensor::zeros({3, 16}, DType::bf16), 2, table);
  rope("expected x", Tensor::zeros({3, 16}, DType::f32, Layout::tile), 2, table);
  rope("expected x", Tensor::zeros({1, 3, 16}, DType::f32), 2, table);
  rope("even size", Tensor::zeros({3, 16}, DType::f32), 0, table);
  rope("even size", Tensor::zeros({3, 14}, DType::f32), 2, table);
  rope("even size", Tensor::zeros({3, 0}, DType::f32), 2, table);
  rope("tables", Tensor::zeros({3, 20}, DType::f32), 2, table);
  rope("tables", Tensor::zeros({4, 16}, DType::f32), 2, table);
  rope("tables", Tensor::zeros({3, 16}, DType::f32), 2, {table.cos, {}});
  rope("tables", Tensor::zeros({3, 16}, DType::f32), 2, {Tensor::zeros({3, 8}, DType::f32).columns(0, 4), table.sin});
  for (const std::int64_t head_dim : {0, -2, 7}) {
    expect_error("rope", "even head_dim", [&] { ops::rope_table(ctx, at, head_dim, kTheta); });
  }
  ops::RopeTable small{Tensor::zeros({2, 4}, DType::f32), Tensor::zeros({2, 4}, DType::f32)};
  expect_error("rope_table", "tables", [&] { ops::rope_table(ctx, at, 8, kTheta, small); });
  ctx.force("rope", "no such row");
  rope("no row 'no such row'", Tensor::zeros({3, 16}, DType::f32), 2, table);
}

}  // namespace
}  // namespace tessera
