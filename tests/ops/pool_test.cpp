#include "tessera/ops/pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/typecast.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/pool.h"
#include "tests/reference/shapes.h"
#include "tests/reference/typecast.h"

namespace tessera {
namespace {

using ops::ImageOrder;
using ops::ImageSize;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

double get(const Tensor& t, std::int64_t i) {
  return t.dtype() == DType::bf16 ? static_cast<double>(to_f32(t.data<bf16>()[i])) : static_cast<double>(t.data<float>()[i]);
}
void set(Tensor& t, std::int64_t i, float v) {
  if (t.dtype() == DType::bf16)
    t.data<bf16>()[i] = to_bf16(v);
  else
    t.data<float>()[i] = v;
}

std::int64_t at(const ImageSize& s, ImageOrder order, std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c) {
  return order == ImageOrder::nhwc ? ((n * s.h + h) * s.w + w) * s.c + c : ((n * s.c + c) * s.h + h) * s.w + w;
}

Shape shape_of(const ImageSize& s, ImageOrder order) { return order == ImageOrder::nhwc ? Shape{s.n, s.h, s.w, s.c} : Shape{s.n, s.c, s.h, s.w}; }

/// Values on a coarse grid, so that equal maxima occur, some of them -0.
Tensor pictures(const ImageSize& s, ImageOrder order, DType dtype, unsigned seed) {
  std::mt19937 random(seed);
  Tensor x = Tensor::empty(shape_of(s, order), dtype);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const auto v = static_cast<float>(static_cast<int>(random() % 65) - 48) * 0.25f;
    set(x, i, v == 0 && random() % 2 == 0 ? -0.0f : v);
  }
  return x;
}

std::vector<double> plane(const Tensor& x, const ImageSize& s, ImageOrder order, std::int64_t n, std::int64_t c) {
  std::vector<double> values;
  for (std::int64_t h = 0; h < s.h; ++h)
    for (std::int64_t w = 0; w < s.w; ++w) values.push_back(get(x, at(s, order, n, h, w, c)));
  return values;
}

bool same_bits(double a, double b) { return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b)); }

using PlaneReference = std::function<reference::PooledPlane(const std::vector<double>&)>;

/// Every element of y against the reference of its plane. Averages: partial sums of at most `window` terms in f32, a division, and for
/// bf16 one rounding to 8 bits.
void expect_right(const Tensor& x, const ImageSize& s, ImageOrder order, const Tensor& y, const Tensor* indices, bool maximum, double window,
                  const PlaneReference& reference, const std::string& what) {
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t c = 0; c < s.c; ++c) {
      const reference::PooledPlane want = reference(plane(x, s, order, n, c));
      const ImageSize out{s.n, want.h, want.w, s.c};
      ASSERT_EQ(y.shape(), shape_of(out, order)) << what;
      for (std::int64_t h = 0; h < want.h; ++h)
        for (std::int64_t w = 0; w < want.w; ++w) {
          const std::int64_t i = at(out, order, n, h, w, c);
          const double expected = want.values[static_cast<std::size_t>(h * want.w + w)];
          const double got = get(y, i);
          if (maximum) {
            ASSERT_TRUE(same_bits(got, expected)) << what << " " << n << " " << h << " " << w << " " << c << ": " << got << " for " << expected;
            if (indices != nullptr) ASSERT_EQ(indices->data<std::int32_t>()[i], want.indices[static_cast<std::size_t>(h * want.w + w)]) << what;
          } else {
            const double scale = 12;  // largest input
            const double tolerance = (2 + 2 * std::sqrt(window)) * 0x1p-24 * scale + (y.dtype() == DType::bf16 ? 0x1p-8 * std::fabs(expected) : 0);
            ASSERT_NEAR(got, expected, tolerance) << what << " " << n << " " << h << " " << w << " " << c;
          }
        }
    }
}

struct Case {
  ImageSize size;
  reference::PoolParams params;
  ops::MaxPool2d max(ImageOrder order) const {
    return {.kernel = {params.kernel[0], params.kernel[1]},
            .stride = {params.stride[0], params.stride[1]},
            .padding = {params.padding[0], params.padding[1], params.padding[2], params.padding[3]},
            .dilation = {params.dilation[0], params.dilation[1]},
            .ceil_mode = params.ceil_mode,
            .order = order};
  }
  ops::AvgPool2d avg(ImageOrder order) const {
    return {.kernel = {params.kernel[0], params.kernel[1]},
            .stride = {params.stride[0], params.stride[1]},
            .padding = {params.padding[0], params.padding[1], params.padding[2], params.padding[3]},
            .ceil_mode = params.ceil_mode,
            .count_include_pad = params.count_include_pad,
            .divisor_override = params.divisor_override,
            .order = order};
  }
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& v : reference::read_shapes("pool", 15))
    all.push_back({{v[0], v[2], v[3], v[1]},
                   {.kernel = {v[4], v[5]},
                    .stride = {v[6], v[7]},
                    .padding = {v[8], v[9], v[10], v[11]},
                    .dilation = {v[12], v[13]},
                    .ceil_mode = v[14] != 0}});
  return all;
}

class Pools : public testing::Test {
 protected:
  /// body(ctx, order, dtype, words) for every row that runs here, both orders, both dtypes.
  template <class Body>
  void everywhere(Body body) {
    Context ctx({.threads = 2, .isa = {}});
    for (const std::string& row : ops::runnable_rows(ctx, "pool")) {
      ctx.force("pool", row);
      for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
        for (const DType dtype : {DType::f32, DType::bf16})
          body(ctx, order, dtype, row + (order == ImageOrder::nhwc ? " nhwc " : " nchw ") + std::string(name(dtype)));
    }
  }
};

TEST_F(Pools, MaximaAreExactWithTheirIndices) {
  everywhere([](Context& ctx, ImageOrder order, DType dtype, const std::string& what) {
    for (const Case& c : cases()) {
      const Tensor x = pictures(c.size, order, dtype, 1);
      Tensor indices;
      const auto reference = [&](const std::vector<double>& p) { return reference::pool_plane(p, c.size.h, c.size.w, c.params, true); };
      const std::string words = what + " " + x.str();
      expect_right(x, c.size, order, ops::max_pool2d(ctx, x, c.max(order), &indices), &indices, true, 0, reference, words);
      expect_right(x, c.size, order, ops::max_pool2d(ctx, x, c.max(order)), nullptr, true, 0, reference, words + " values only");
    }
  });
}

TEST_F(Pools, AveragesMatchTheReference) {
  everywhere([](Context& ctx, ImageOrder order, DType dtype, const std::string& what) {
    for (Case c : cases()) {
      if (c.params.dilation[0] != 1 || c.params.dilation[1] != 1) continue;
      const Tensor x = pictures(c.size, order, dtype, 2);
      const auto window = static_cast<double>(c.params.kernel[0] * c.params.kernel[1]);
      for (const int variant : {0, 1, 2}) {
        c.params.count_include_pad = variant == 0;
        c.params.divisor_override = variant == 2 ? -3 : 0;
        const auto reference = [&](const std::vector<double>& p) { return reference::pool_plane(p, c.size.h, c.size.w, c.params, false); };
        // An overridden divisor leaves sums of up to `window` times the largest input: the bound grows with them.
        expect_right(x, c.size, order, ops::avg_pool2d(ctx, x, c.avg(order)), nullptr, false, variant == 2 ? window * window : window, reference,
                     what + " " + x.str());
      }
    }
  });
}

TEST_F(Pools, AdaptiveEqualsTheWindowsForManySizes) {
  everywhere([](Context& ctx, ImageOrder order, DType dtype, const std::string& what) {
    std::mt19937 random(7);
    for (int i = 0; i < 60; ++i) {
      const ImageSize s{1 + static_cast<std::int64_t>(random() % 2), 1 + static_cast<std::int64_t>(random() % 40),
                        1 + static_cast<std::int64_t>(random() % 40), 1 + static_cast<std::int64_t>(random() % 40)};
      const std::int64_t oh = 1 + static_cast<std::int64_t>(random() % 24), ow = 1 + static_cast<std::int64_t>(random() % 24);
      const Tensor x = pictures(s, order, dtype, static_cast<unsigned>(i));
      const ops::AdaptivePool2d options{.output = {oh, ow}, .order = order};
      Tensor indices;
      const std::string words = what + " " + x.str() + " -> " + std::to_string(oh) + "x" + std::to_string(ow);
      expect_right(
          x, s, order, ops::adaptive_max_pool2d(ctx, x, options, &indices), &indices, true, 0,
          [&](const auto& p) { return reference::adaptive_pool_plane(p, s.h, s.w, oh, ow, true); }, words);
      expect_right(
          x, s, order, ops::adaptive_avg_pool2d(ctx, x, options), nullptr, false, static_cast<double>(s.h * s.w),
          [&](const auto& p) { return reference::adaptive_pool_plane(p, s.h, s.w, oh, ow, false); }, words);
    }
  });
}

TEST_F(Pools, NanAndInfinityFollowPyTorch) {
  everywhere([](Context& ctx, ImageOrder order, DType dtype, const std::string& what) {
    const ImageSize s{1, 9, 11, 37};
    Tensor x = pictures(s, order, dtype, 3);
    std::mt19937 random(5);
    const float special[] = {kNan, -kNan, kInf, -kInf, kNan};
    for (int i = 0; i < 400; ++i) set(x, static_cast<std::int64_t>(random() % static_cast<unsigned>(x.numel())), special[i % 5]);
    for (std::int64_t h = 0; h < 4; ++h)
      for (std::int64_t w = 0; w < 4; ++w) set(x, at(s, order, 0, h, w, 2), -kInf);  // windows of nothing but -inf
    const reference::PoolParams p{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1, 1, 1}};
    const Case c{s, p};
    Tensor indices;
    const auto reference = [&](const std::vector<double>& v) { return reference::pool_plane(v, s.h, s.w, p, true); };
    expect_right(x, s, order, ops::max_pool2d(ctx, x, c.max(order), &indices), &indices, true, 0, reference, what);
    expect_right(x, s, order, ops::max_pool2d(ctx, x, c.max(order)), nullptr, true, 0, reference, what);
    // Averages are sums: NaN where the reference's is, infinite where it is.
    const Tensor y = ops::avg_pool2d(ctx, x, c.avg(order));
    for (std::int64_t ch = 0; ch < s.c; ++ch) {
      const auto want = reference::pool_plane(plane(x, s, order, 0, ch), s.h, s.w, p, false);
      for (std::int64_t i = 0; i < want.h * want.w; ++i) {
        const double got = get(y, at({1, want.h, want.w, s.c}, order, 0, i / want.w, i % want.w, ch));
        const double expected = want.values[static_cast<std::size_t>(i)];
        if (std::isfinite(expected))
          ASSERT_TRUE(std::isfinite(got)) << what;
        else
          ASSERT_TRUE(same_bits(got, expected)) << what;
      }
    }
  });
}

TEST_F(Pools, ThreadsDoNotChangeABit) {
  for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw}) {
    const ImageSize s{2, 33, 29, 70};
    const Tensor x = pictures(s, order, DType::f32, 9);
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 8}) {
      Context ctx({.threads = threads, .isa = {}});
      const Tensor y = ops::adaptive_avg_pool2d(ctx, x, {.output = {7, 5}, .order = order});
      const std::vector<float> values(y.span<float>().begin(), y.span<float>().end());
      if (first.empty()) first = values;
      EXPECT_EQ(std::memcmp(values.data(), first.data(), values.size() * sizeof(float)), 0) << threads;
    }
  }
}

TEST_F(Pools, TilesFlattenedAndSinglePicturesGiveTheSame) {
  Context ctx({.threads = 2, .isa = {}});
  const ImageSize s{2, 10, 9, 40};
  const Tensor x = pictures(s, ImageOrder::nhwc, DType::f32, 4);
  const ops::AdaptivePool2d options{.output = {3, 4}};
  const Tensor y = ops::adaptive_avg_pool2d(ctx, x, options);
  Tensor tiles = Tensor::empty(x.shape(), DType::f32, Layout::tile);
  for (std::size_t i = 0; i < tiles.bytes() / sizeof(float); ++i) static_cast<float*>(tiles.raw())[i] = kNan;  // padding must take no part
  ops::to_layout(ctx, x, tiles);
  Tensor out = Tensor::zeros(y.shape(), DType::f32, Layout::tile);
  ops::adaptive_avg_pool2d(ctx, tiles, options, out);
  const Tensor back = ops::to_layout(ctx, out, Layout::row_major);
  const Tensor flat = ops::adaptive_avg_pool2d(ctx, x.reshape(Shape{1, 1, 180, 40}), options, {2, 10, 9, 40});
  EXPECT_EQ(flat.shape(), (Shape{1, 1, 24, 40}));
  const Tensor single = ops::adaptive_avg_pool2d(ctx, x.narrow(0, 1).reshape(Shape{10, 9, 40}), options);
  EXPECT_EQ(single.shape(), (Shape{3, 4, 40}));
  for (std::int64_t i = 0; i < y.numel(); ++i) {
    ASSERT_EQ(get(back, i), get(y, i));
    ASSERT_EQ(get(flat, i), get(y, i));
    if (i < single.numel()) ASSERT_EQ(get(single, i), get(y, i));
  }
  const Tensor kept = ops::adaptive_max_pool2d(ctx, x, {.output = {ops::kInputSize, 1}});
  EXPECT_EQ(kept.shape(), (Shape{2, 10, 1, 40}));
  EXPECT_EQ(ops::global_avg_pool2d(ctx, x).shape(), (Shape{2, 1, 1, 40}));
  EXPECT_EQ(ops::adaptive_avg_pool2d(ctx, Tensor::empty(Shape{0, 4, 4, 3}, DType::f32), options).shape(), (Shape{0, 3, 4, 3}));
}

/// Block floats as the float32 tensor of their values.
Tensor wide(Context& ctx, const Tensor& t) {
  Tensor y = Tensor::empty(t.shape(), DType::f32);
  ops::typecast(ctx, t, y);
  return y;
}

TEST_F(Pools, BlockFloatsAreExactValuesQuantisedOnce) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "pool")) {
    ctx.force("pool", row);
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
      for (const DType dtype : {DType::bfloat8_b, DType::bfloat4_b})
        for (const Case& c : cases()) {
          if (c.params.dilation[0] >= c.size.h || c.params.dilation[1] >= c.size.w) continue;  // -inf is in typecast's test
          const Tensor x = ops::typecast(ctx, pictures(c.size, order, DType::f32, 11), dtype);
          const Tensor values = wide(ctx, x);
          const int bits = dtype == DType::bfloat8_b ? 7 : 3;
          const std::string words = row + " " + x.str();
          // Maxima: of the reference's exact values, with their indices, then one quantisation along the last axis.
          Tensor indices, want_indices;
          const Tensor y = ops::max_pool2d(ctx, x, c.max(order), &indices);
          ASSERT_EQ(y.dtype(), dtype);
          ASSERT_EQ(y.layout(), Layout::tile);
          const Tensor maxima = ops::max_pool2d(ctx, values, c.max(order), &want_indices);
          const auto reference = [&](const std::vector<double>& p) { return reference::pool_plane(p, c.size.h, c.size.w, c.params, true); };
          expect_right(values, c.size, order, maxima, &want_indices, true, 0, reference, words);
          const auto quantised = [&](const Tensor& t) {
            std::vector<double> all;
            for (const float v : t.span<float>()) all.push_back(static_cast<double>(v));
            return reference::quantised(all, static_cast<std::size_t>(t.cols()), bits);
          };
          const auto numbers = [&](const Tensor& t) {
            std::vector<double> all;
            const Tensor exact = wide(ctx, t);
            for (const float v : exact.span<float>()) all.push_back(static_cast<double>(v));
            return all;
          };
          ASSERT_EQ(numbers(y), quantised(maxima)) << words;
          ASSERT_EQ(std::memcmp(indices.raw(), want_indices.raw(), indices.bytes()), 0) << words;
          if (c.params.dilation[0] != 1 || c.params.dilation[1] != 1) continue;
          ASSERT_EQ(numbers(ops::avg_pool2d(ctx, x, c.avg(order))), quantised(ops::avg_pool2d(ctx, values, c.avg(order)))) << words;
          const ops::AdaptivePool2d adaptive{.output = {3, 2}, .order = order};
          ASSERT_EQ(numbers(ops::adaptive_avg_pool2d(ctx, x, adaptive)), quantised(ops::adaptive_avg_pool2d(ctx, values, adaptive))) << words;
          ASSERT_EQ(numbers(ops::adaptive_max_pool2d(ctx, x, adaptive)), quantised(ops::adaptive_max_pool2d(ctx, values, adaptive))) << words;
        }
  }
}

TEST_F(Pools, BlockFloatsFlattenedAndWithoutASecondAllocation) {
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    const ImageSize s{2, 10, 9, 40};
    const Tensor x = pictures(s, ImageOrder::nhwc, DType::f32, 12);
    const ops::AdaptivePool2d options{.output = {3, 4}};
    // Channels are the last axis in both forms: the blocks are the same.
    const Tensor whole = ops::adaptive_avg_pool2d(ctx, ops::typecast(ctx, x, DType::bfloat8_b), options);
    const Tensor flat = ops::typecast(ctx, x.reshape(Shape{1, 1, 180, 40}), DType::bfloat8_b);
    Tensor y = Tensor::zeros(Shape{1, 1, 24, 40}, DType::bfloat8_b, Layout::tile);
    const auto call = [&] { ops::adaptive_avg_pool2d(ctx, flat, options, y, {2, 10, 9, 40}); };
    call();
    EXPECT_EQ(reference::allocations_in(call), 0);
    const Tensor a = wide(ctx, whole), b = wide(ctx, y);
    EXPECT_EQ(std::memcmp(a.raw(), b.raw(), a.bytes()), 0) << threads;
    EXPECT_EQ(ops::global_avg_pool2d(ctx, ops::typecast(ctx, x, DType::bfloat8_b)).shape(), (Shape{2, 1, 1, 40}));
    EXPECT_EQ(ops::max_pool2d(ctx, Tensor::zeros(Shape{0, 4, 4, 3}, DType::bfloat8_b, Layout::tile), {}).shape(), (Shape{0, 2, 2, 3}));
  }
}

TEST_F(Pools, SecondCallDoesNotAllocate) {
  everywhere([](Context& ctx, ImageOrder order, DType dtype, const std::string& what) {
    const ImageSize s{1, 20, 21, 40};
    const Tensor x = pictures(s, order, dtype, 1);
    const ops::AdaptivePool2d adaptive{.output = {7, 6}, .order = order};
    const ops::MaxPool2d max{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1, 1, 1}, .order = order};
    Tensor y = Tensor::empty(ops::pool2d_shape(x, adaptive), dtype), z = Tensor::empty(ops::pool2d_shape(x, max), dtype);
    Tensor indices = Tensor::empty(z.shape(), DType::i32);
    const auto call = [&] {
      ops::adaptive_avg_pool2d(ctx, x, adaptive, y);
      ops::max_pool2d(ctx, x, max, z, &indices);
    };
    call();
    EXPECT_EQ(reference::allocations_in(call), 0) << what;
  });
}

TEST_F(Pools, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{1, 8, 8, 4}, DType::f32);
  const auto max = [&](const std::string& part, const ops::MaxPool2d& o, const Tensor& in) {
    reference::expect_error("max_pool2d", part, [&] { ops::max_pool2d(ctx, in, o); });
  };
  max("a kernel of 1 or more", {.kernel = {0, 2}}, x);
  max("a stride of 1 or more", {.kernel = {2, 2}, .stride = {-1, 2}}, x);
  max("half the kernel, 1", {.kernel = {3, 3}, .padding = {2, 0, 0, 0}}, x);
  max("half the kernel, 1", {.kernel = {3, 3}, .padding = {0, 0, -1, 0}}, x);
  max("a dilation of 1 or more", {.kernel = {3, 3}, .dilation = {1, 0}}, x);
  max("within the padded input of 8", {.kernel = {9, 2}}, x);
  max("within the padded input of 8", {.kernel = {5, 5}, .dilation = {2, 2}}, x);
  max("below 2^31", {.kernel = {std::int64_t{1} << 40, 2}}, x);
  max("[n, h, w, c]", {}, Tensor::zeros(Shape{8, 8}, DType::f32));
  max("[n, h, w, c]", {}, {});
  max("float32, bfloat16, bfloat8_b or bfloat4_b", {}, Tensor::zeros(Shape{1, 8, 8, 4}, DType::i32));
  max("1 channel or more", {}, Tensor::empty(Shape{1, 8, 8, 0}, DType::f32));
  max("height of 1 or more", {}, Tensor::empty(Shape{1, 0, 8, 3}, DType::f32));
  reference::expect_error("adaptive_avg_pool2d", "output size from 0", [&] { ops::adaptive_avg_pool2d(ctx, x, {.output = {-1, 2}}); });
  reference::expect_error("adaptive_max_pool2d", "n * h * w = 64", [&] {
    ops::adaptive_max_pool2d(ctx, x.reshape(Shape{1, 1, 64, 4}), {}, nullptr, {2, 8, 8, 4});
  });
  reference::expect_error("adaptive_pool2d", "not supported", [&] {
    ops::adaptive_avg_pool2d(ctx, Tensor::zeros(Shape{1, 23, 23, 1}, DType::f32), {.output = {7, 7}, .ttnn_strict = true});
  });
  Tensor y = Tensor::zeros(Shape{1, 4, 4, 4}, DType::f32);
  Tensor small = Tensor::zeros(Shape{1, 4, 3, 4}, DType::f32);
  Tensor wrong = Tensor::zeros(Shape{1, 4, 4, 4}, DType::bf16);
  reference::expect_error("max_pool2d", "y as contiguous", [&] { ops::max_pool2d(ctx, x, {}, small); });
  reference::expect_error("max_pool2d", "y as contiguous", [&] { ops::max_pool2d(ctx, x, {}, wrong); });
  reference::expect_error("max_pool2d", "indices as contiguous", [&] { ops::max_pool2d(ctx, x, {}, y, &y); });
  Tensor inside = x.reshape(Shape{256}).narrow(10, 64).reshape(Shape{1, 4, 4, 4});
  reference::expect_error("max_pool2d", "overlap", [&] { ops::max_pool2d(ctx, x, {}, inside); });
}

}  // namespace
}  // namespace tessera
