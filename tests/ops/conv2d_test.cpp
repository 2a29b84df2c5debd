#include "tessera/ops/conv2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/kernels/gemm/gemm.h"
#include "tessera/ops/kernel_table.h"
#include "tests/reference/allocations.h"
#include "tests/reference/conv2d.h"
#include "tests/reference/errors.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::ConvActivation;
using ops::ImageOrder;
using reference::ConvSizes;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

ConvSizes sizes_of(const std::vector<std::int64_t>& v) {
  return {v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13], v[14], v[15]};
}

std::string text(const ConvSizes& s) {
  std::string t;
  for (const std::int64_t v : {s.n, s.h, s.w, s.c, s.out, s.groups, s.kh, s.kw, s.sh, s.sw, s.top, s.bottom, s.left, s.right, s.dh, s.dw})
    t += std::to_string(v) + " ";
  return t;
}

ops::Conv2d options_of(const ConvSizes& s, ImageOrder order, ConvActivation activation = ConvActivation::none) {
  return {.stride = {s.sh, s.sw},
          .padding = {s.top, s.bottom, s.left, s.right},
          .same = false,
          .dilation = {s.dh, s.dw},
          .groups = s.groups,
          .activation = activation,
          .order = order};
}

/// Values that bf16 holds exactly, so that the same numbers serve both precisions.
std::vector<double> values(std::int64_t count, unsigned seed, float scale = 1) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<double> v(static_cast<std::size_t>(count));
  for (double& e : v) e = static_cast<double>(to_f32(to_bf16(normal(engine))));
  return v;
}

void set(Tensor& t, std::int64_t i, double v) {
  if (t.dtype() == DType::bf16)
    t.data<bf16>()[i] = to_bf16(static_cast<float>(v));
  else
    t.data<float>()[i] = static_cast<float>(v);
}
double get(const Tensor& t, std::int64_t i) {
  return t.dtype() == DType::bf16 ? static_cast<double>(to_f32(t.data<bf16>()[i])) : static_cast<double>(t.data<float>()[i]);
}

std::int64_t place(ImageOrder order, std::int64_t h, std::int64_t w, std::int64_t c, std::int64_t i, std::int64_t y, std::int64_t x,
                   std::int64_t ch) {
  return order == ImageOrder::nhwc ? ((i * h + y) * w + x) * c + ch : ((i * c + ch) * h + y) * w + x;
}

Shape shape_of(ImageOrder order, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  return order == ImageOrder::nhwc ? Shape{n, h, w, c} : Shape{n, c, h, w};
}

/// Pictures of nhwc values in either order.
Tensor pictures(const std::vector<double>& v, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c, ImageOrder order, DType dtype) {
  Tensor t = Tensor::empty(shape_of(order, n, h, w, c), dtype);
  std::size_t at = 0;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t y = 0; y < h; ++y)
      for (std::int64_t x = 0; x < w; ++x)
        for (std::int64_t ch = 0; ch < c; ++ch) set(t, place(order, h, w, c, i, y, x, ch), v[at++]);
  return t;
}

Tensor plain(const std::vector<double>& v, const Shape& shape, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(shape, dtype);
  for (std::size_t i = 0; i < v.size(); ++i) set(t, static_cast<std::int64_t>(i), v[i]);
  return t;
}

struct Problem {
  explicit Problem(const ConvSizes& sizes, bool with_bias = true)
      : s(sizes),
        x(values(s.n * s.h * s.w * s.c, 1)),
        weight(values(s.out * s.c / s.groups * s.kh * s.kw, 2, 0.5f)),
        bias(with_bias ? values(s.out, 3) : std::vector<double>()) {}
  Tensor pictures_in(ImageOrder order, DType dtype) const { return pictures(x, s.n, s.h, s.w, s.c, order, dtype); }
  ops::PreparedConv2d prepare(Context& ctx, const ops::Conv2d& options, DType precision, DType stored = DType::f32) const {
    return ops::prepare_conv2d(ctx, plain(weight, {s.out, s.c / s.groups, s.kh, s.kw}, stored), bias.empty() ? Tensor() : plain(bias, {s.out}),
                               options, precision);
  }
  Shape output(ImageOrder order) const { return shape_of(order, s.n, s.ho(), s.wo(), s.out); }

  ConvSizes s;
  std::vector<double> x, weight, bias;
};

/// f32: a chain of `terms` rounded sums and products, each within 2^-24 of a partial sum below `magnitude`; the gemm rows with matrix
/// instructions round products in pairs. Activations: slope at most 1.5 (hardswish), a few eps of their argument, and for gelu and silu the
/// rounding of the exponent. A residual: one more rounding. bf16: half a step, at most 2^-8 of the value.
double tolerance(const reference::ConvSum& sum, double expected, double residual, bool activated, DType y) {
  const double f32 = 0x1p-24 * (static_cast<double>(sum.terms + 4) * sum.magnitude * (activated ? 1.5 : 1.0) +
                                (activated ? 16 * std::fabs(sum.value) : 0) + std::fabs(residual) + std::fabs(expected));
  return y == DType::bf16 ? f32 + 0x1p-8 * (std::fabs(expected) + f32) : f32;
}

void expect_right(const Problem& p, ImageOrder order, ConvActivation activation, const std::vector<double>& residual, const Tensor& y,
                  const char* what) {
  const ConvSizes& s = p.s;
  const std::int64_t all = s.n * s.ho() * s.wo() * s.out;
  const std::int64_t step = all > 40000 ? 211 : 1;  // of the large ones, some elements; a prime, so that every channel has its turn
  for (std::int64_t at = 0; at < all; at += step) {
    const std::int64_t o = at % s.out, ox = at / s.out % s.wo(), oy = at / s.out / s.wo() % s.ho(), i = at / s.out / s.wo() / s.ho();
    const auto sum = reference::conv2d_at(s, p.x, p.weight, p.bias, i, oy, ox, o);
    const double r = residual.empty() ? 0 : residual[static_cast<std::size_t>(at)];
    const double expected = reference::activate(sum.value, static_cast<reference::ConvActivation>(activation)) + r;
    const double got = get(y, place(order, s.ho(), s.wo(), s.out, i, oy, ox, o));
    ASSERT_LE(std::fabs(got - expected), tolerance(sum, expected, r, activation != ConvActivation::none, y.dtype()))
        << what << " " << text(s) << "at " << i << ", " << oy << ", " << ox << ", " << o << ": " << got << " for " << expected;
  }
}

/// fn(ctx, precision) with every row that can serve this convolution forced: those of depthwise, or those of linear and the emulated ones.
template <class Fn>
void for_every_row(bool depthwise, Fn fn) {
  Context ctx({.threads = 2, .isa = {}});
  int count = 0;
  if (depthwise) {
    for (const std::string& row : ops::runnable_rows(ctx, "depthwise")) {
      SCOPED_TRACE(row);
      ctx.force("depthwise", row);
      for (const DType precision : {DType::f32, DType::bf16}) fn(ctx, precision, row);
      ++count;
    }
  } else {
    for (const auto rows : {kernels::gemm_rows(), kernels::gemm_emulated_rows()})
      for (const auto& row : rows) {
        if (!device::usable(row.info.isa) || row.functions.weights == DType::i8) continue;  // pictures are not quantised
        SCOPED_TRACE(row.info.name);
        ctx.force("linear", row.info.name);
        fn(ctx, row.functions.weights, row.info.name);
        ++count;
      }
  }
  EXPECT_GE(count, 1);
}

bool is_depthwise(const ConvSizes& s) { return s.c == s.groups && (s.groups > 1 || s.out == 1); }

TEST(Conv2d, EveryRowMatchesTheReference) {
  for (const auto& line : reference::read_shapes("conv2d", 16)) {
    const ConvSizes s = sizes_of(line);
    const Problem p(s);
    for_every_row(is_depthwise(s), [&](Context& ctx, DType precision, const std::string& row) {
      for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
        for (const DType in : {DType::f32, DType::bf16}) {
          const bool large = s.n * s.h * s.w * s.c > 100000;
          if (is_depthwise(s) && in != precision) continue;  // depthwise multiplies what it is given in either case
          if (large && row.starts_with("scalar") && precision == DType::bf16) continue;
          const auto prepared = p.prepare(ctx, options_of(s, order), precision);
          EXPECT_EQ(prepared.row(), row);
          EXPECT_EQ(prepared.path() == "depthwise", is_depthwise(s)) << text(s);
          EXPECT_EQ(ops::conv2d_shape(shape_of(order, s.n, s.h, s.w, s.c), prepared), p.output(order));
          const Tensor y = ops::conv2d(ctx, p.pictures_in(order, in), prepared);
          EXPECT_EQ(y.dtype(), in);
          expect_right(p, order, ConvActivation::none, {}, y, order == ImageOrder::nhwc ? "nhwc" : "nchw");
        }
    });
  }
}

/// Small ones of every path and kernel.
std::vector<ConvSizes> small() {
  return {{1, 9, 10, 37, 37, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 9, 9, 40, 40, 40, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1},
          {2, 7, 5, 35, 35, 35, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},  {1, 8, 19, 21, 21, 21, 2, 3, 1, 2, 1, 0, 1, 1, 1, 2},
          {1, 6, 7, 10, 30, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},  {1, 5, 6, 24, 17, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
          {1, 6, 6, 3, 10, 1, 3, 3, 3, 3, 0, 0, 0, 0, 1, 1},    {2, 6, 7, 8, 12, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}};
}

TEST(Conv2d, BiasActivationResidualAndDtypesInEveryCombination) {
  for (const ConvSizes& s : small())
    for_every_row(is_depthwise(s), [&](Context& ctx, DType precision, const std::string&) {
      for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
        for (int a = 0; a < 6; ++a)
          for (int c = 0; c < 12; ++c) {
            const Problem p(s, (a + c) % 2 == 0);
            const auto activation = static_cast<ConvActivation>(a);
            const auto prepared = p.prepare(ctx, options_of(s, order, activation), precision, c % 3 == 0 ? DType::bf16 : DType::f32);
            const Tensor x = p.pictures_in(order, c % 2 == 0 ? DType::f32 : DType::bf16);
            Tensor y = Tensor::empty(p.output(order), c / 2 % 2 == 0 ? DType::f32 : DType::bf16);
            const auto residual = c < 4 ? std::vector<double>() : values(y.numel(), 4);
            Tensor added;
            if (!residual.empty()) added = pictures(residual, s.n, s.ho(), s.wo(), s.out, order, c % 4 < 2 ? DType::f32 : DType::bf16);
            if (c >= 8 && added.dtype() == y.dtype()) y = added;  // in place
            ops::conv2d(ctx, x, prepared, y, added);
            SCOPED_TRACE("activation " + std::to_string(a) + " combination " + std::to_string(c));
            expect_right(p, order, activation, residual, y, order == ImageOrder::nhwc ? "nhwc" : "nchw");
            if (::testing::Test::HasFatalFailure()) return;
          }
    });
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0; }

TEST(Conv2d, ThreadsAndShardsDoNotChangeABit) {
  std::vector<ConvSizes> all = small();
  all.push_back({1, 80, 80, 64, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1});
  all.push_back({3, 14, 14, 96, 96, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1});
  for (const ConvSizes& s : all) {
    const Problem p(s);
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const Tensor x = p.pictures_in(order, dtype);
        std::vector<Tensor> first;
        for (const int threads : {1, 2, 3, 8}) {
          Context ctx({.threads = threads, .isa = {}});
          std::size_t which = 0;
          const std::string family = is_depthwise(s) ? "depthwise" : "linear";
          for (const std::string& row : ops::runnable_rows(ctx, family)) {
            if (row.ends_with("i8")) continue;  // pictures are not quantised
            ctx.force(family, row);
            const DType precision = row.ends_with("f32") ? DType::f32 : DType::bf16;
            const auto prepared = p.prepare(ctx, options_of(s, order), precision);
            std::vector<Tensor> shards;
            shards.push_back(x);
            const std::int64_t rows = x.rows();
            const std::int64_t cols = x.cols();
            using enum TensorMemoryLayout;
            const auto shard = [&](TensorMemoryLayout layout, std::int64_t down, std::int64_t across) {
              if (rows % down == 0 && cols % across == 0)
                shards.push_back(x.with_memory_config({layout, BufferType::l1, ShardSpec{down, across, rows / down, cols / across}}));
            };
            shard(height_sharded, 5, 1), shard(height_sharded, 2, 1), shard(height_sharded, 7, 1);
            shard(width_sharded, 1, 4), shard(width_sharded, 1, 5), shard(width_sharded, 1, 37);
            shard(block_sharded, 2, 2), shard(block_sharded, 7, 3), shard(block_sharded, 2, 5);
            EXPECT_GE(shards.size(), 2u) << text(s);
            for (const Tensor& t : shards) {
              const Tensor y = ops::conv2d(ctx, t, prepared);
              if (which == first.size()) first.push_back(y);
              EXPECT_TRUE(same_bits(y, first[which])) << text(s) << row << " threads " << threads << " " << t.memory_config().str();
            }
            ++which;
          }
        }
      }
  }
}

TEST(Conv2d, PathsAreNamed) {
  Context ctx({.threads = 1, .isa = {}});
  const auto path = [&](const Shape& weight, const ops::Conv2d& options) {
    return std::string(ops::prepare_conv2d(ctx, Tensor::zeros(weight, DType::f32), {}, options, DType::f32).path());
  };
  EXPECT_EQ(path({8, 1, 3, 3}, {.groups = 8}), "depthwise");
  EXPECT_EQ(path({16, 1, 3, 3}, {.groups = 8}), "depthwise");
  EXPECT_EQ(path({1, 1, 3, 3}, {}), "depthwise");
  EXPECT_EQ(path({4, 1, 3, 3}, {}), "window");
  EXPECT_EQ(path({8, 4, 1, 1}, {}), "product");
  EXPECT_EQ(path({8, 4, 1, 1}, {.groups = 2}), "product");
  EXPECT_EQ(path({8, 4, 1, 1}, {.same = true}), "product");
  EXPECT_EQ(path({8, 4, 1, 1}, {.stride = {2, 1}}), "window");
  EXPECT_EQ(path({8, 4, 2, 3}, {.stride = {2, 3}}), "fold");
  EXPECT_EQ(path({8, 4, 2, 3}, {.stride = {2, 3}, .padding = {0, 0, 1, 0}}), "window");
  EXPECT_EQ(path({8, 4, 2, 3}, {.stride = {2, 3}, .dilation = {2, 1}}), "window");
  EXPECT_EQ(path({8, 4, 3, 3}, {.groups = 2}), "window");
  EXPECT_EQ(ops::PreparedConv2d().path(), "");
  EXPECT_FALSE(ops::PreparedConv2d().defined());
  const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({8, 4, 3, 3}, DType::f32), {}, {.groups = 2}, DType::f32);
  EXPECT_EQ(w.in_channels(), 8);
  EXPECT_EQ(w.out_channels(), 8);
  EXPECT_GE(w.bytes(), std::size_t{8 * 4 * 9 * 4});
}

TEST(Conv2d, SamePaddingPutsTheOddOneRightAndBelow) {
  for (const ConvSizes& s : {ConvSizes{1, 9, 10, 8, 8, 8, 4, 4, 1, 1, 1, 2, 1, 2, 1, 1}, ConvSizes{1, 8, 8, 5, 5, 5, 2, 3, 1, 1, 1, 1, 2, 2, 2, 2},
                             ConvSizes{1, 8, 9, 4, 6, 1, 2, 4, 1, 1, 0, 1, 1, 2, 1, 1}}) {
    Context ctx({.threads = 1, .isa = {}});
    const Problem p(s);
    auto options = options_of(s, ImageOrder::nhwc);
    const Tensor x = p.pictures_in(ImageOrder::nhwc, DType::f32);
    const Tensor given = ops::conv2d(ctx, x, p.prepare(ctx, options, DType::f32));
    options.same = true;
    options.padding = {};
    const Tensor same = ops::conv2d(ctx, x, p.prepare(ctx, options, DType::f32));
    EXPECT_EQ(same.shape(), x.shape().with(-1, s.out));
    EXPECT_TRUE(same_bits(given, same)) << text(s);
  }
}

TEST(Conv2d, OnePictureFlattenedPicturesAndNoPicture) {
  Context ctx({.threads = 2, .isa = {}});
  for (const ConvSizes& s : small()) {
    const Problem p(s);
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw}) {
      const auto prepared = p.prepare(ctx, options_of(s, order), DType::f32);
      const Tensor x = p.pictures_in(order, DType::f32);
      const Tensor y = ops::conv2d(ctx, x, prepared);
      const Tensor first = x.narrow(0, 1);
      const Tensor one = ops::conv2d(ctx, first.reshape(Shape(first.shape().sizes().subspan(1))), prepared);
      EXPECT_EQ(one.shape(), Shape(y.shape().sizes().subspan(1)));
      EXPECT_TRUE(same_bits(one, y.narrow(0, 1)));
      const Tensor none = ops::conv2d(ctx, Tensor::empty(x.shape().with(0, 0), DType::f32), prepared);
      EXPECT_TRUE(none.defined());
      EXPECT_EQ(none.shape(), y.shape().with(0, 0));
      if (order == ImageOrder::nchw) continue;
      const Tensor flat = ops::conv2d(ctx, x.reshape({1, 1, s.n * s.h * s.w, s.c}), prepared, {}, {s.n, s.h, s.w, 0});
      EXPECT_EQ(flat.shape(), (Shape{1, 1, s.n * s.ho() * s.wo(), s.out}));
      EXPECT_TRUE(same_bits(flat, y));
    }
  }
}

TEST(Conv2d, NanAndInfReachTheOutputsThatSeeThemAndNoOther) {
  for (const ConvSizes& s : small())
    for_every_row(is_depthwise(s), [&](Context& ctx, DType precision, const std::string& row) {
      for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
        for (const DType dtype : {DType::f32, DType::bf16})
          for (const float special : {kNan, kInf, -kInf}) {
            Problem p(s);
            const std::int64_t iy = s.h / 2, ix = s.w - 1, ch = s.c - 1;
            p.x[static_cast<std::size_t>((iy * s.w + ix) * s.c + ch)] = static_cast<double>(special);
            const Tensor y = ops::conv2d(ctx, p.pictures_in(order, dtype), p.prepare(ctx, options_of(s, order), precision));
            for (std::int64_t i = 0; i < s.n; ++i)
              for (std::int64_t oy = 0; oy < s.ho(); ++oy)
                for (std::int64_t ox = 0; ox < s.wo(); ++ox)
                  for (std::int64_t o = 0; o < s.out; ++o) {
                    const double expected = reference::conv2d_at(s, p.x, p.weight, p.bias, i, oy, ox, o).value;
                    const double got = get(y, place(order, s.ho(), s.wo(), s.out, i, oy, ox, o));
                    if (std::isnan(expected))
                      ASSERT_TRUE(std::isnan(got)) << row << " " << text(s);
                    else if (std::isinf(expected))
                      ASSERT_EQ(got, expected) << row << " " << text(s);
                    else
                      ASSERT_TRUE(std::isfinite(got)) << row << " " << text(s);
                  }
          }
    });
}

TEST(Conv2d, NanOfAnyKindStaysNanInBf16) {
  // All mantissa bits set: rounding by adding alone would carry into the sign.
  float odd = 0;
  const std::uint32_t bits = 0xffffffffu;
  std::memcpy(&odd, &bits, sizeof(odd));
  for_every_row(true, [&](Context& ctx, DType, const std::string& row) {
    for (const std::int64_t c : {64, 5})
      for (const bool in_bias : {false, true}) {
        Tensor weight = Tensor::zeros({c, 1, 3, 3}, DType::f32);
        Tensor bias = Tensor::zeros({c}, DType::f32);
        for (float& v : (in_bias ? bias : weight).span<float>()) v = odd;
        const auto prepared = ops::prepare_conv2d(ctx, weight, bias, {.padding = {1, 1, 1, 1}, .groups = c}, DType::bf16);
        const Tensor y = ops::conv2d(ctx, Tensor::zeros({1, 4, 4, c}, DType::bf16), prepared);
        for (std::int64_t i = 0; i < y.numel(); ++i) ASSERT_TRUE(std::isnan(get(y, i))) << row << " " << i;
      }
  });
}

TEST(Conv2d, SecondCallDoesNotAllocate) {
  Context ctx({.threads = 3, .isa = {}});
  for (const ConvSizes& s : small())
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw}) {
      const Problem p(s);
      const auto prepared = p.prepare(ctx, options_of(s, order), DType::f32);
      const Tensor x = p.pictures_in(order, DType::f32);
      Tensor y = Tensor::empty(p.output(order), DType::f32);
      ops::conv2d(ctx, x, prepared, y);
      ops::conv2d(ctx, x, prepared, y);
      EXPECT_EQ(reference::allocations_in([&] { ops::conv2d(ctx, x, prepared, y); }), 0) << text(s);
    }
}

TEST(Conv2d, BadPreparationIsRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor good = Tensor::zeros({8, 4, 3, 3}, DType::f32);
  const auto refuse = [&](const std::string& part, const Tensor& weight, const Tensor& bias, const ops::Conv2d& options,
                          DType precision = DType::f32) {
    reference::expect_error("prepare_conv2d", part, [&] { ops::prepare_conv2d(ctx, weight, bias, options, precision); });
  };
  refuse("a weight [out", {}, {}, {});
  refuse("a weight [out", Tensor::zeros({8, 4, 3}, DType::f32), {}, {});
  refuse("a weight [out", Tensor::zeros({8, 4, 0, 3}, DType::f32), {}, {});
  refuse("float32, bfloat16 or float16", Tensor::zeros({8, 4, 3, 3}, DType::i32), {}, {});
  refuse("ops::to_layout", Tensor::zeros({8, 4, 3, 3}, DType::f32, Layout::tile), {}, {});
  refuse("multiple of 3 groups", good, {}, {.groups = 3});
  refuse("1 group or more", good, {}, {.groups = 0});
  refuse("1 group or more", good, {}, {.groups = -2});
  refuse("strides", good, {}, {.stride = {0, 1}});
  refuse("strides", good, {}, {.stride = {1, -1}});
  refuse("dilations", good, {}, {.dilation = {1, 0}});
  refuse("paddings", good, {}, {.padding = {0, 0, -1, 0}});
  refuse("paddings", good, {}, {.padding = {0, std::int64_t{1} << 40, 0, 0}});
  refuse("stride 1 for 'same'", good, {}, {.stride = {2, 1}, .same = true});
  refuse("no padding besides 'same'", good, {}, {.padding = {1, 1, 1, 1}, .same = true});
  refuse("below 2^31", good, {}, {.dilation = {std::int64_t{1} << 30, 1}});
  refuse("a contiguous bias [8]", good, Tensor::zeros({7}, DType::f32), {});
  refuse("a contiguous bias [8]", good, Tensor::zeros({8}, DType::i32), {});
  refuse("a precision", good, {}, {}, DType::f16);
  ctx.force("depthwise", "no such row");
  reference::expect_error("depthwise", "no row 'no such row'", [&] {
    ops::prepare_conv2d(ctx, Tensor::zeros({4, 1, 3, 3}, DType::f32), {}, {.groups = 4}, DType::f32);
  });
}

TEST(Conv2d, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({8, 1, 3, 3}, DType::f32), {}, {.groups = 8}, DType::f32);
  const Tensor x = Tensor::zeros({2, 6, 6, 8}, DType::f32);
  const auto refuse = [&](const std::string& part, const Tensor& in, Tensor out, const Tensor& residual = {}, const ops::ImageSize& flat = {}) {
    reference::expect_error("conv2d", part, [&] { ops::conv2d(ctx, in, w, out, residual, flat); });
  };
  const Tensor y = Tensor::zeros({2, 4, 4, 8}, DType::f32);
  refuse("pictures", {}, y);
  refuse("pictures", Tensor::zeros({6, 8}, DType::f32), y);
  refuse("pictures", Tensor::zeros({1, 2, 6, 6, 8}, DType::f32), y);
  refuse("8 channels", Tensor::zeros({2, 6, 6, 7}, DType::f32), y);
  refuse("float32 or bfloat16", Tensor::zeros({2, 6, 6, 8}, DType::f16), y);
  refuse("float32 or bfloat16", Tensor::zeros({2, 6, 6, 8}, DType::i32), y);
  refuse("ops::to_layout", Tensor::zeros({2, 6, 6, 8}, DType::f32, Layout::tile), y);
  refuse("contiguous", Tensor::zeros({2, 6, 6, 9}, DType::f32).columns(0, 8), y);
  refuse("height and width of 1 or more", Tensor::zeros({2, 0, 6, 8}, DType::f32), y);
  refuse("window inside the padded picture of 2 x 6, got 3 x 3", Tensor::zeros({2, 2, 6, 8}, DType::f32), y);
  refuse("y as contiguous", x, {});
  refuse("y as contiguous float32 or bfloat16 [2, 4, 4, 8]", x, Tensor::zeros({2, 4, 4, 7}, DType::f32));
  refuse("y as contiguous", x, Tensor::zeros({2, 4, 4, 8}, DType::f16));
  refuse("a residual as", x, y, Tensor::zeros({2, 4, 4, 7}, DType::f32));
  refuse("a residual as", x, y, Tensor::zeros({2, 4, 4, 8}, DType::f16));
  refuse("pixels", x.reshape({1, 1, 72, 8}), Tensor::zeros({1, 1, 32, 8}, DType::f32), {}, {2, 6, 7, 0});
  std::vector<float> memory(1024);
  const Tensor whole = Tensor::borrow(memory.data(), {2, 6, 6, 8}, DType::f32);
  refuse("other memory than x", whole, Tensor::borrow(memory.data() + 500, {2, 4, 4, 8}, DType::f32));
  const Tensor out = Tensor::borrow(memory.data(), {2, 4, 4, 8}, DType::f32);
  refuse("a residual that is y", x, out, Tensor::borrow(memory.data() + 8, {2, 4, 4, 8}, DType::f32));
  refuse("a residual that is y", x, out, Tensor::borrow(memory.data(), {2, 4, 4, 8}, DType::bf16));
  float one = 0;
  refuse("fewer than 2^31", Tensor::borrow(&one, {1, std::int64_t{1} << 20, std::int64_t{1} << 12, 8}, DType::f32), y);
  Tensor target = y;
  reference::expect_error("conv2d", "prepared weights", [&] { ops::conv2d(ctx, x, {}, target); });
  reference::expect_error("conv2d", "prepared weights", [&] { ops::conv2d_shape(x.shape(), {}); });
  ctx.force("depthwise", "no such row");
  reference::expect_error("depthwise", "'no such row' cannot serve", [&] { ops::conv2d(ctx, x, w, target); });
}

}  // namespace
}  // namespace tessera
