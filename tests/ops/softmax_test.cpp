#include "tessera/ops/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/shapes.h"
#include "tests/reference/softmax.h"

namespace tessera {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Tensor random(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 3);
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(normal(generator));
    else
      t.data<float>()[i] = normal(generator);
  }
  return t;
}

double get(const Tensor& t, std::int64_t i) { return static_cast<double>(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]); }

TEST(Softmax, EveryRowMatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "softmax")) {
    ctx.force("softmax", row);
    for (const auto& s : reference::read_shapes("softmax", 3))
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const Shape shape{s[0], s[1], s[2]};
        const Tensor x = random(shape, dtype, 1);
        const Tensor mask = random(Shape{s[1], 1}, DType::f32, 2);
        Tensor keep = Tensor::empty(Shape{s[0], s[1], 1}, DType::u8);
        for (std::int64_t i = 0; i < keep.numel(); ++i) keep.data<std::uint8_t>()[i] = i % 3 == 0 || i % s[1] == 0;
        for (const int masked : {0, 1, 2}) {
          Tensor y = Tensor::empty(shape, dtype);
          ops::softmax(ctx, x, {.dim = 1, .mask = masked == 0 ? Tensor() : masked == 1 ? mask : keep}, y);
          for (std::int64_t o = 0; o < s[0]; ++o)
            for (std::int64_t i = 0; i < s[2]; ++i) {
              std::vector<double> line;
              for (std::int64_t k = 0; k < s[1]; ++k) {
                double v = get(x, (o * s[1] + k) * s[2] + i);
                if (masked == 1) v += get(mask, k);
                if (masked == 2 && keep.data<std::uint8_t>()[o * s[1] + k] == 0) v = -static_cast<double>(kInf);
                line.push_back(v);
              }
              const std::vector<double> want = reference::softmax(line);
              for (std::int64_t k = 0; k < s[1]; ++k) {
                const double expected = want[static_cast<std::size_t>(k)];
                // Logits up to about 25, rounded when the mask is added and the maximum taken off; the rest as in the kernel's test.
                const double tolerance =
                    (96 + std::sqrt(static_cast<double>(s[1]))) * 0x1p-24 * expected + (dtype == DType::bf16 ? 0x1p-8 * expected : 0);
                ASSERT_NEAR(get(y, (o * s[1] + k) * s[2] + i), expected, tolerance + 1e-30) << row << " " << shape.str() << " mask " << masked;
              }
            }
        }
      }
  }
}

TEST(Softmax, ScaleComesBeforeTheMask) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "softmax")) {
    ctx.force("softmax", row);
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const std::int64_t dim : {1, 2}) {
        const Shape shape{3, 17, 21};
        const Tensor x = random(shape, dtype, 1);
        const Tensor mask = random(shape, DType::f32, 2);
        Tensor sum = Tensor::empty(shape, DType::f32);
        for (std::int64_t i = 0; i < x.numel(); ++i)
          sum.data<float>()[i] = (dtype == DType::bf16 ? to_f32(x.data<bf16>()[i]) : x.data<float>()[i]) * 0.37f + mask.data<float>()[i];
        Tensor want = Tensor::empty(shape, DType::f32);
        Tensor y = Tensor::empty(shape, DType::f32);
        ops::softmax(ctx, sum, {.dim = dim}, want);
        ops::softmax(ctx, x, {.dim = dim, .mask = mask, .scale = 0.37f}, y);
        // The sum above may be fused with its product by the compiler: half an eps of a logit below 16.
        for (std::int64_t i = 0; i < y.numel(); ++i) ASSERT_NEAR(get(y, i), get(want, i), 0x1p-19 * get(want, i) + 1e-30) << row << " " << i;
      }
  }
}

TEST(Softmax, ThreadsDoNotChangeABitAndInPlaceIsAllowed) {
  const Tensor x = random(Shape{37, 300}, DType::f32, 1);
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    Tensor y = Tensor::from<float>(x.span<float>(), x.shape());
    ops::softmax(ctx, y, {}, y);
    const std::vector<float> values(y.span<float>().begin(), y.span<float>().end());
    if (first.empty()) first = values;
    EXPECT_EQ(values, first) << threads;
  }
}

TEST(Softmax, NanAndInfinityAsInTorch) {
  Context ctx({.threads = 1, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "softmax")) {
    ctx.force("softmax", row);
    for (const std::int64_t n : {3, 40}) {
      Tensor x = Tensor::zeros(Shape{4, n}, DType::f32);
      for (std::int64_t i = 0; i < n; ++i) x.data<float>()[n + i] = -kInf;
      x.data<float>()[2 * n + 1] = kNan;
      x.data<float>()[3 * n + 1] = kInf;
      Tensor y = Tensor::empty(x.shape(), DType::f32);
      ops::softmax(ctx, x, {}, y);
      EXPECT_NEAR(get(y, 0), 1.0 / static_cast<double>(n), 1e-6);
      for (std::int64_t i = 0; i < n; ++i) {
        EXPECT_TRUE(std::isnan(get(y, n + i))) << row << " only -inf";
        EXPECT_TRUE(std::isnan(get(y, 2 * n + i))) << row << " a NaN";
        EXPECT_TRUE(std::isnan(get(y, 3 * n + i))) << row << " +inf";
      }
    }
  }
}

TEST(Softmax, SecondCallDoesNotAllocate) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = random(Shape{30, 100}, DType::f32, 1);
  Tensor y = Tensor::empty(x.shape(), DType::f32);
  ops::softmax(ctx, x, {}, y);
  EXPECT_EQ(reference::allocations_in([&] { ops::softmax(ctx, x, {}, y); }), 0);
}

TEST(Softmax, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor y = Tensor::zeros(Shape{2, 8}, DType::f32);
  Tensor small = Tensor::zeros(Shape{2, 7}, DType::f32);
  const auto bad = [&](const char* part, const Tensor& in, const ops::Softmax& o, Tensor& out) {
    reference::expect_error("softmax", part, [&] { ops::softmax(ctx, in, o, out); });
  };
  bad("x as contiguous", Tensor(), {}, y);
  bad("x as contiguous", Tensor::zeros(Shape{2, 8}, DType::i32), {}, y);
  bad("x as contiguous", Tensor::zeros(Shape{2, 8}, DType::f32, Layout::tile), {}, y);
  bad("y as contiguous", x, {}, small);
  bad("a dimension of", x, {.dim = 2}, y);
  bad("a dimension of", x, {.dim = -3}, y);
  bad("broadcasts", x, {.mask = Tensor::zeros(Shape{3, 8}, DType::f32)}, y);
  bad("broadcasts", x, {.mask = Tensor::zeros(Shape{1, 2, 8}, DType::f32)}, y);
  bad("broadcasts", x, {.mask = Tensor::zeros(Shape{2, 8}, DType::i32)}, y);
}

}  // namespace
}  // namespace tessera
