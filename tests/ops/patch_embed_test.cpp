#include "tessera/ops/patch_embed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tests/reference/patch_embed.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr double kEps = 0x1p-24;

struct Sizes {
  std::int64_t batch, channels, height, width, patch, n;
  std::int64_t patches() const { return height / patch * (width / patch); }
  std::int64_t columns() const { return channels * patch * patch; }
  Shape x() const { return {batch, channels, height, width}; }
  std::string str() const { return x().str() + " patch " + std::to_string(patch); }
};

std::vector<Sizes> shapes() {
  std::vector<Sizes> all;
  for (const auto& n : reference::read_shapes("patch_embed", 6)) all.push_back({n[0], n[1], n[2], n[3], n[4], n[5]});
  return all;
}

/// Values that bf16 holds exactly, so that both precisions have one reference.
std::vector<float> normal(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& v : values) v = to_f32(to_bf16(distribution(random)));
  return values;
}

TEST(PatchEmbed, FoldsEveryPixelToItsPlace) {
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    for (const Sizes& s : shapes()) {
      // A pixel's value is its own index, exact in float.
      Tensor x = Tensor::empty(s.x(), DType::f32);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i);
      Tensor y = Tensor::empty({s.batch, s.patches(), s.columns()}, DType::f32);
      ops::fold_patches(ctx, x, s.patch, y);
      const float* at = y.data<float>();
      for (std::int64_t b = 0; b < s.batch; ++b)
        for (std::int64_t top = 0; top < s.height; top += s.patch)
          for (std::int64_t left = 0; left < s.width; left += s.patch)
            for (std::int64_t c = 0; c < s.channels; ++c)
              for (std::int64_t i = 0; i < s.patch; ++i)
                for (std::int64_t j = 0; j < s.patch; ++j)
                  ASSERT_EQ(*at++, static_cast<float>(((b * s.channels + c) * s.height + top + i) * s.width + left + j)) << s.str();
    }
  }
}

TEST(PatchEmbed, FoldsToBf16WithOneRounding) {
  Context ctx({.threads = 2, .isa = {}});
  std::mt19937 random(1);
  std::normal_distribution<float> distribution;
  Tensor x = Tensor::empty({1, 2, 6, 4}, DType::f32);
  for (float& v : x.span<float>()) v = distribution(random);
  x.span<float>()[7] = std::numeric_limits<float>::quiet_NaN();
  x.span<float>()[8] = std::numeric_limits<float>::infinity();
  Tensor f32 = Tensor::empty({1, 6, 8}, DType::f32);
  Tensor half = Tensor::empty({1, 6, 8}, DType::bf16);
  ops::fold_patches(ctx, x, 2, f32);
  ops::fold_patches(ctx, x, 2, half);
  for (std::size_t i = 0; i < 48; ++i) EXPECT_EQ(half.span<bf16>()[i], to_bf16(f32.span<float>()[i])) << i;
}

struct Problem {
  Sizes size;
  std::vector<float> x, weight, bias, position;

  static Problem make(const Sizes& s, bool bias, bool position) {
    Problem p{s, normal(s.x().numel(), 2), normal(s.n * s.columns(), 3), {}, {}};
    if (bias) p.bias = normal(s.n, 4);
    if (position) p.position = normal(s.patches() * s.n, 5);
    return p;
  }
  std::vector<float> run(Context& ctx, DType precision, DType out) const {
    const Tensor w = Tensor::from<float>(weight, {size.n, size.columns()});
    const Tensor b = bias.empty() ? Tensor{} : Tensor::from<float>(bias, {size.n});
    const ops::PreparedLinear prepared = ops::prepare_linear(ctx, {w, b}, precision);
    const Tensor table = position.empty() ? Tensor{} : Tensor::from<float>(position, {size.patches(), size.n});
    Tensor y = Tensor::empty({size.batch, size.patches(), size.n}, out);
    ops::patch_embed(ctx, Tensor::from<float>(x, size.x()), size.patch, prepared, table, y);
    std::vector<float> values;
    for (std::int64_t i = 0; i < y.numel(); ++i) values.push_back(out == DType::f32 ? y.data<float>()[i] : to_f32(y.data<bf16>()[i]));
    return values;
  }
  reference::PatchEmbedResult expected() const {
    const auto u = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    return reference::patch_embed(x, weight, bias, position, u(size.batch), u(size.channels), u(size.height), u(size.width), u(size.patch),
                                  u(size.n));
  }
};

TEST(PatchEmbed, IsAConvolutionWithStrideOfTheKernel) {
  Context ctx({.threads = 2, .isa = {}});
  for (const Sizes& s : shapes())
    for (const bool bias : {false, true})
      for (const bool position : {false, true})
        for (const DType precision : {DType::f32, DType::bf16})
          for (const DType out : {DType::f32, DType::bf16}) {
            const Problem p = Problem::make(s, bias, position);
            const auto expected = p.expected();
            const auto y = p.run(ctx, precision, out);
            ASSERT_EQ(y.size(), expected.y.size());
            for (std::size_t i = 0; i < y.size(); ++i) {
              // A sum of columns + 2 terms: an eps of all magnitudes (random signs; the worst case is as many eps), and one rounding to bf16.
              double allowed = 2 * kEps * expected.magnitudes[i];
              if (out == DType::bf16) allowed += 0x1p-8 * std::fabs(expected.y[i]);
              ASSERT_LE(std::fabs(y[i] - expected.y[i]), allowed) << s.str() << " at " << i;
            }
          }
}

TEST(PatchEmbed, ThreadsChangeNoBit) {
  for (const Sizes& s : shapes()) {
    const Problem p = Problem::make(s, true, true);
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 8}) {
      Context ctx({.threads = threads, .isa = {}});
      const auto y = p.run(ctx, DType::f32, DType::f32);
      if (first.empty()) first = y;
      EXPECT_EQ(y, first) << s.str() << " threads " << threads;
    }
  }
}

TEST(PatchEmbed, NanStaysInItsPatch) {
  Context ctx({.threads = 2, .isa = {}});
  Problem p = Problem::make({1, 2, 6, 9, 3, 5}, true, true);
  const auto clean = p.run(ctx, DType::f32, DType::f32);
  p.x[9 * 4 + 4] = std::numeric_limits<float>::quiet_NaN();  // row 4, column 4: patch 4 of 6
  const auto y = p.run(ctx, DType::f32, DType::f32);
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (i / 5 == 4) {
      EXPECT_TRUE(std::isnan(y[i])) << i;
    } else {
      EXPECT_EQ(y[i], clean[i]) << i;
    }
  }
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

TEST(PatchEmbed, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const auto fold = [&](const std::string& part, const Tensor& x, std::int64_t patch, Tensor y) {
    expect_error("fold_patches", part, [&] { ops::fold_patches(ctx, x, patch, y); });
  };
  const Tensor x = Tensor::zeros({1, 3, 8, 8}, DType::f32);
  const Tensor y = Tensor::zeros({1, 4, 48}, DType::f32);
  fold("expected x", {}, 4, y);
  fold("expected x", Tensor::zeros({3, 8, 8}, DType::f32), 4, y);
  fold("expected x", Tensor::zeros({1, 3, 8, 8}, DType::u8), 4, y);
  fold("expected x", Tensor::zeros({1, 3, 8, 9}, DType::f32).columns(0, 8), 4, y);
  fold("multiples of the patch", x, 3, y);
  fold("multiples of the patch", x, 0, y);
  fold("multiples of the patch", x, 16, y);
  fold("multiples of the patch", Tensor::zeros({1, 3, 0, 8}, DType::f32), 4, y);
  fold("expected y", x, 4, {});
  fold("expected y", x, 4, Tensor::zeros({4, 48}, DType::f32));
  fold("expected y", x, 4, Tensor::zeros({1, 4, 48}, DType::u8));
  fold("expected y", x, 4, Tensor::zeros({1, 4, 49}, DType::f32).columns(0, 48));

  const auto weights = [&](std::int64_t k) { return ops::prepare_linear(ctx, {Tensor::zeros({5, k}, DType::f32), {}}, DType::f32); };
  const auto embed = [&](const std::string& part, const ops::PreparedLinear& w, const Tensor& position, Tensor out) {
    expect_error("patch_embed", part, [&] { ops::patch_embed(ctx, x, 4, w, position, out); });
  };
  const ops::PreparedLinear w = weights(48);
  const Tensor out = Tensor::zeros({1, 4, 5}, DType::f32);
  embed("weights [n, 48]", {}, {}, out);
  embed("weights [n, 48]", weights(47), {}, out);
  const Tensor half = Tensor::zeros({5, 48}, DType::f32);
  embed("gated pair", ops::prepare_gated_linear(ctx, {half, {}}, {half, {}}, DType::f32), {}, out);
  embed("expected y", w, {}, Tensor::zeros({1, 4, 6}, DType::f32));
  embed("expected y", w, {}, Tensor::zeros({1, 4, 5}, DType::i8));
  embed("expected position", w, Tensor::zeros({3, 5}, DType::f32), out);
  embed("expected position", w, Tensor::zeros({4, 5}, DType::bf16), out);
}

}  // namespace
}  // namespace tessera
