#include "tessera/ops/interpolate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/interpolate.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::ImageOrder;
using ops::InterpolateMode;

struct Kind {
  InterpolateMode mode;
  const char* name;
  bool corners, antialias;
};
constexpr Kind kKinds[] = {{InterpolateMode::nearest, "nearest", false, false},  {InterpolateMode::bilinear, "bilinear", false, false},
                           {InterpolateMode::bilinear, "bilinear", true, false}, {InterpolateMode::bilinear, "bilinear", false, true},
                           {InterpolateMode::bicubic, "bicubic", false, false},  {InterpolateMode::bicubic, "bicubic", true, false},
                           {InterpolateMode::bicubic, "bicubic", false, true}};

Shape shape_of(ImageOrder order, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) {
  return order == ImageOrder::nhwc ? Shape{n, h, w, c} : Shape{n, c, h, w};
}

Tensor random(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-2, 2);
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    const float v = to_f32(to_bf16(uniform(generator)));
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(v);
    else
      t.data<float>()[i] = v;
  }
  return t;
}

double get(const Tensor& t, std::int64_t i) { return static_cast<double>(t.dtype() == DType::bf16 ? to_f32(t.data<bf16>()[i]) : t.data<float>()[i]); }

TEST(Interpolate, MatchesTheReference) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("interpolate", 6))
    for (const Kind& kind : kKinds)
      for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
        for (const DType dtype : {DType::f32, DType::bf16}) {
          const Tensor x = random(shape_of(order, s[0], s[1], s[2], s[3]), dtype, 1);
          Tensor y = Tensor::empty(shape_of(order, s[0], s[1], s[4], s[5]), dtype);
          ops::interpolate(ctx, x, {.mode = kind.mode, .align_corners = kind.corners, .antialias = kind.antialias, .order = order}, y);
          const auto at = [&](std::int64_t n, std::int64_t c, std::int64_t i, std::int64_t plane) {
            return order == ImageOrder::nhwc ? (n * plane + i) * s[1] + c : (n * s[1] + c) * plane + i;
          };
          for (std::int64_t n = 0; n < s[0]; ++n)
            for (std::int64_t c = 0; c < s[1]; ++c) {
              std::vector<double> plane;
              for (std::int64_t i = 0; i < s[2] * s[3]; ++i) plane.push_back(get(x, at(n, c, i, s[2] * s[3])));
              const auto want = reference::interpolate_plane(plane, kind.name, s[2], s[3], s[4], s[5], kind.corners, kind.antialias);
              for (std::int64_t i = 0; i < s[4] * s[5]; ++i) {
                const double expected = want[static_cast<std::size_t>(i)];
                // Weights rounded to f32, two sums of up to 60 products with weights whose sizes add up to 2 at most, values up to 2.
                const double tolerance = 64 * 0x1p-24 * 4 + (dtype == DType::bf16 ? 0x1p-8 * std::fabs(expected) : 0);
                ASSERT_NEAR(get(y, at(n, c, i, s[4] * s[5])), expected, tolerance)
                    << kind.name << " " << kind.corners << kind.antialias << " " << x.str();
              }
            }
        }
}

TEST(Interpolate, ThreadsDoNotChangeABitAndTheSecondCallDoesNotAllocate) {
  const Tensor x = random(Shape{2, 33, 21, 5}, DType::f32, 2);
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    Tensor y = Tensor::empty(Shape{2, 14, 50, 5}, DType::f32);
    const auto call = [&] { ops::interpolate(ctx, x, {.mode = InterpolateMode::bicubic, .antialias = true}, y); };
    call();
    EXPECT_EQ(reference::allocations_in(call), 0);
    const std::vector<float> values(y.span<float>().begin(), y.span<float>().end());
    if (first.empty()) first = values;
    EXPECT_EQ(std::memcmp(values.data(), first.data(), values.size() * sizeof(float)), 0) << threads;
  }
}

TEST(Interpolate, UpsampleRepeatsPixelsToTheBit) {
  Context ctx({.threads = 1, .isa = {}});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = random(Shape{2, 3, 4, 5}, dtype, 3);
    const Tensor y = ops::upsample(ctx, x, {2, 3});
    ASSERT_EQ(y.shape(), (Shape{2, 6, 12, 5}));
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t h = 0; h < 6; ++h)
        for (std::int64_t w = 0; w < 12; ++w)
          for (std::int64_t c = 0; c < 5; ++c) ASSERT_EQ(get(y, ((n * 6 + h) * 12 + w) * 5 + c), get(x, ((n * 3 + h / 2) * 4 + w / 3) * 5 + c));
  }
}

TEST(Interpolate, NanStaysWhereTheFilterReaches) {
  Context ctx({.threads = 1, .isa = {}});
  Tensor x = Tensor::zeros(Shape{1, 8, 8, 1}, DType::f32);
  x.data<float>()[0] = std::nanf("");
  Tensor y = Tensor::empty(Shape{1, 16, 16, 1}, DType::f32);
  ops::interpolate(ctx, x, {.mode = InterpolateMode::bilinear}, y);
  EXPECT_TRUE(std::isnan(get(y, 0)));
  EXPECT_EQ(get(y, 5 * 16 + 5), 0.0);
}

TEST(Interpolate, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{1, 4, 4, 3}, DType::f32);
  Tensor y = Tensor::zeros(Shape{1, 8, 8, 3}, DType::f32);
  const auto bad = [&](const char* part, const Tensor& in, const ops::Interpolate& o, Tensor& out) {
    reference::expect_error("interpolate", part, [&] { ops::interpolate(ctx, in, o, out); });
  };
  Tensor channels = Tensor::zeros(Shape{1, 8, 8, 2}, DType::f32), half = Tensor::zeros(Shape{1, 8, 8, 3}, DType::bf16);
  Tensor none = Tensor::empty(Shape{1, 0, 8, 3}, DType::f32), bytes = Tensor::zeros(Shape{1, 8, 8, 3}, DType::u8);
  bad("y of x's dtype", x, {}, channels);
  bad("y of x's dtype", x, {}, half);
  bad("from 1 to 2^24", x, {}, none);
  bad("for nearest", x, {.antialias = true}, y);
  bad("for nearest", x, {.align_corners = true}, y);
  bad("antialias for uint8", Tensor::zeros(Shape{1, 4, 4, 3}, DType::u8), {.mode = InterpolateMode::bilinear}, bytes);
  bad("scale factors", x, {.scale_factor = {-1, 1}}, y);
  bad("[n, h, w, c]", Tensor::zeros(Shape{4, 4}, DType::f32), {}, y);
  reference::expect_error("upsample", "from 1 to 4096", [&] { ops::upsample(ctx, x, {0, 2}); });
  reference::expect_error("upsample", "nearest or bilinear", [&] { ops::upsample(ctx, x, {2, 2}, InterpolateMode::bicubic); });
}

}  // namespace
}  // namespace tessera
