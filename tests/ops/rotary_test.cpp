#include "tessera/ops/rotary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/rotary.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using reference::expect_error;

Tensor normal(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(distribution(random));
    else
      t.data<float>()[i] = distribution(random);
  }
  return t;
}

std::vector<double> row_of(const Tensor& t, std::int64_t row) {
  std::vector<double> values;
  for (std::int64_t i = row * t.cols(); i < (row + 1) * t.cols(); ++i)
    values.push_back(static_cast<double>(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]));
  return values;
}

void expect_right(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& y, std::optional<std::int64_t> token) {
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const std::int64_t at = token.value_or(r % x.shape()[-2]);
    const auto expected = reference::rotary(row_of(x, r), row_of(cos, at), row_of(sin, at));
    const std::vector<double> got = row_of(y, r);
    for (std::size_t i = 0; i < got.size(); ++i) {
      // Two products and a sum, half an eps (2^-24) each, of what is at most the magnitude; bf16: rounded once more to 8 bits.
      const double bound = 2 * 0x1p-24 * expected.magnitude[i] + (y.dtype() == DType::bf16 ? 0x1p-8 * std::fabs(expected.y[i]) : 0) + 1e-37;
      ASSERT_LE(std::fabs(got[i] - expected.y[i]), bound) << r << " " << i;
    }
  }
}

TEST(Rotary, EveryRowMatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  constexpr DType kTypes[] = {DType::f32, DType::bf16};
  for (const std::string& row : ops::runnable_rows(ctx, "rope")) {
    ctx.force("rope", row);
    for (const auto& s : reference::read_shapes("rotary", 4))
      for (const DType in : kTypes)
        for (const DType cache : kTypes)
          for (const DType out : kTypes) {
            SCOPED_TRACE(row + " " + std::to_string(s[1]) + " x " + std::to_string(s[2]));
            const Tensor x = normal({s[0], 1, s[1], s[2]}, in, 1);
            const Tensor cos = normal({1, 1, s[3], s[2]}, cache, 2);
            const Tensor sin = normal({s[3], s[2]}, cache == DType::f32 ? DType::bf16 : cache, 3);
            Tensor y = Tensor::empty(x.shape(), out);
            ops::rotary_embedding(ctx, x, cos, sin, y);
            expect_right(x, cos, sin, y, {});
            for (const std::int64_t token : {std::int64_t{0}, s[3] - 1}) {
              ops::rotary_embedding(ctx, x, cos, sin, y, token);
              expect_right(x, cos, sin, y, token);
            }
          }
  }
}

TEST(Rotary, RowsThreadsAndPlaceDoNotChangeABit) {
  for (const auto& s : reference::read_shapes("rotary", 4))
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensor x = normal({s[0], s[1], s[2]}, dtype, 4);
      const Tensor cos = normal({s[3], s[2]}, dtype, 5);
      const Tensor sin = normal({s[3], s[2]}, dtype, 6);
      Tensor first;
      for (const int threads : {1, 2, 3, 8}) {
        Context ctx({.threads = threads, .isa = {}});
        for (const std::string& row : ops::runnable_rows(ctx, "rope")) {
          ctx.force("rope", row);
          Tensor y = Tensor::empty(x.shape(), dtype);
          ops::rotary_embedding(ctx, x, cos, sin, y);
          if (!first.defined()) first = y;
          ASSERT_EQ(std::memcmp(y.raw(), first.raw(), y.bytes()), 0) << row << " " << threads;
          Tensor same = normal(x.shape(), dtype, 4);
          ops::rotary_embedding(ctx, same, cos, sin, same);
          ASSERT_EQ(std::memcmp(same.raw(), first.raw(), y.bytes()), 0) << row << " in place";
        }
      }
    }
}

TEST(Rotary, ATokenForAllRowsIsThatRowOfTheCaches) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = normal({2, 5, 8}, DType::f32, 1);
  const Tensor cos = normal({3, 8}, DType::f32, 2);  // fewer rows than x: a token is enough
  const Tensor sin = normal({3, 8}, DType::f32, 3);
  Tensor y = Tensor::empty(x.shape(), DType::f32);
  ops::rotary_embedding(ctx, x, cos, sin, y, 2);
  expect_right(x, cos, sin, y, 2);
}

TEST(Rotary, NanStaysInItsPair) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "rope")) {
    ctx.force("rope", row);
    Tensor x = normal({3, 40}, DType::f32, 1);
    const Tensor cos = normal({3, 40}, DType::f32, 2);
    const Tensor sin = normal({3, 40}, DType::f32, 3);
    x.data<float>()[40 + 7] = std::numeric_limits<float>::quiet_NaN();
    Tensor y = Tensor::empty(x.shape(), DType::f32);
    ops::rotary_embedding(ctx, x, cos, sin, y);
    for (std::int64_t i = 0; i < 120; ++i) EXPECT_EQ(std::isnan(y.data<float>()[i]), i == 47 || i == 67) << row << " " << i;
  }
}

TEST(Rotary, SecondCallDoesNotAllocate) {
  Context ctx({.threads = 3, .isa = {}});
  const Tensor x = normal({4, 50, 64}, DType::bf16, 1);
  const Tensor cos = normal({64, 64}, DType::bf16, 2);
  Tensor y = Tensor::empty(x.shape(), DType::bf16);
  ops::rotary_embedding(ctx, x, cos, cos, y);
  EXPECT_EQ(reference::allocations_in([&] { ops::rotary_embedding(ctx, x, cos, cos, y); }), 0);
}

TEST(Rotary, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros({2, 3, 8}, DType::f32);
  const Tensor cache = Tensor::zeros({4, 8}, DType::f32);
  const auto call = [&](const std::string& part, const Tensor& in, const Tensor& cos, const Tensor& sin, Tensor y,
                        std::optional<std::int64_t> token = {}) {
    expect_error("rotary_embedding", part, [&] { ops::rotary_embedding(ctx, in, cos, sin, y, token); });
  };
  const Tensor y = Tensor::zeros({2, 3, 8}, DType::f32);
  call("x as contiguous", {}, cache, cache, y);
  call("x as contiguous", Tensor::zeros({8}, DType::f32), cache, cache, Tensor::zeros({8}, DType::f32));
  call("x as contiguous", Tensor::zeros({2, 7}, DType::f32), cache, cache, y);
  call("x as contiguous", Tensor::zeros({2, 3, 8}, DType::i32), cache, cache, y);
  call("x as contiguous", Tensor::zeros({2, 3, 8}, DType::f32, Layout::tile), cache, cache, y);
  call("y as contiguous", x, cache, cache, Tensor::zeros({2, 3, 9}, DType::f32));
  call("cos as", x, Tensor::zeros({2, 8}, DType::f32), cache, y);
  call("cos as", x, Tensor::zeros({4, 6}, DType::f32), cache, y);
  call("sin as", x, cache, {}, y);
  call("sin as", x, cache, Tensor::zeros({2, 4, 8}, DType::f32), y);
  call("sin as", x, cache, Tensor::zeros({4, 8}, DType::f16), y);
  call("cos as", x, cache, cache, y, 4);
  call("a token", x, cache, cache, y, -1);
  Tensor part = Tensor::zeros({4, 3, 8}, DType::f32);
  call("that is x", part.narrow(0, 2), cache, cache, part.narrow(1, 2));
  const Tensor own = Tensor::zeros({3, 8}, DType::f32);
  call("than the caches", x.narrow(0, 1).reshape({3, 8}), own, cache, own);
  ctx.force("rope", "no such row");
  expect_error("rope", "no row 'no such row'", [&] {
    Tensor out = y;
    ops::rotary_embedding(ctx, x, cache, cache, out);
  });
}

}  // namespace
}  // namespace tessera
