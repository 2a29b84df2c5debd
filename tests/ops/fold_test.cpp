#include "tessera/ops/fold.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tessera/ops/reorder.h"
#include "tessera/ops/typecast.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/fold.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

using ops::ImageOrder;

std::vector<reference::FoldParams> cases() {
  std::vector<reference::FoldParams> all;
  for (const auto& v : reference::read_shapes("fold", 12)) all.push_back({v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11]});
  return all;
}

ops::Fold options(const reference::FoldParams& p, ImageOrder order = ImageOrder::nhwc) {
  return {.stride = {p.stride_h, p.stride_w},
          .padding = {p.top, p.bottom, p.left, p.right},
          .channels = {p.channels_before, p.channels_after},
          .order = order};
}

/// Bytes that differ from element to element, NaN among them.
Tensor numbered(const Shape& shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  auto* const p = static_cast<unsigned char*>(t.raw());
  for (std::size_t i = 0; i < t.bytes(); ++i) p[i] = static_cast<unsigned char>((i * 2654435761u) >> 13);
  return t;
}

/// y (row-major) against the elements of x (nhwc) that it should hold.
void expect_moved(const Tensor& x, const std::vector<std::int64_t>& sources, const Tensor& y, const std::string& what) {
  const std::size_t n = size_of(x.dtype());
  const std::vector<std::byte> zero(n);
  ASSERT_EQ(static_cast<std::size_t>(y.numel()), sources.size()) << what;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto* const from = sources[i] < 0 ? zero.data() : static_cast<const std::byte*>(x.raw()) + static_cast<std::size_t>(sources[i]) * n;
    ASSERT_EQ(std::memcmp(static_cast<const std::byte*>(y.raw()) + i * n, from, n), 0) << what << " at " << i;
  }
}

TEST(Fold, MovesEveryPixelToItsPlace) {
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    for (const auto& p : cases())
      for (const DType dtype : {DType::f32, DType::bf16, DType::u8}) {
        const Tensor x = numbered(Shape{p.n, p.h, p.w, p.c}, dtype);
        const auto sources = reference::fold_sources(p);
        const Tensor y = ops::fold(ctx, x, options(p));
        const std::int64_t h = (p.h + p.top + p.bottom) / p.stride_h, w = (p.w + p.left + p.right) / p.stride_w;
        const std::int64_t c = (p.c + p.channels_before + p.channels_after) * p.stride_h * p.stride_w;
        ASSERT_EQ(y.shape(), (Shape{p.n, h, w, c}));
        expect_moved(x, sources, y, x.str());
        // Planes first: the same pixels, the same result.
        const Tensor planes = ops::permute(ctx, x, std::vector<std::int64_t>{0, 3, 1, 2});
        expect_moved(x, sources, ops::fold(ctx, planes, options(p, ImageOrder::nchw)), planes.str() + " nchw");
        // Flattened, by the input's form or by wish.
        const ops::ImageSize flat{p.n, p.h, p.w, p.c};
        const Tensor from_flat = ops::fold(ctx, x.reshape(Shape{1, 1, p.n * p.h * p.w, p.c}), options(p), flat);
        ASSERT_EQ(from_flat.shape(), (Shape{1, 1, p.n * h * w, c}));
        expect_moved(x, sources, from_flat, x.str() + " flattened");
        ops::Fold to_flat = options(p);
        to_flat.flatten = true;
        ASSERT_EQ(ops::fold(ctx, x, to_flat).shape(), from_flat.shape());
        if (p.n == 1) ASSERT_EQ(ops::fold(ctx, x.reshape(Shape{p.h, p.w, p.c}), options(p)).shape(), (Shape{h, w, c}));
      }
  }
}

TEST(Fold, TilesGiveTheSame) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& p : cases()) {
    const Tensor x = numbered(Shape{p.n, p.h, p.w, p.c}, DType::bf16);
    Tensor tiles = Tensor::empty(x.shape(), x.dtype(), Layout::tile);
    std::memset(tiles.raw(), 0xff, tiles.bytes());
    ops::to_layout(ctx, x, tiles);
    Tensor y = Tensor::zeros(ops::fold_shape(tiles, options(p)), x.dtype(), Layout::tile);
    ops::fold(ctx, tiles, options(p), y);
    expect_moved(x, reference::fold_sources(p), ops::to_layout(ctx, y, Layout::row_major), x.str());
  }
}

TEST(Fold, SecondCallDoesNotAllocateAndReportsItsTraffic) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = numbered(Shape{1, 8, 8, 3}, DType::f32);
  const ops::Fold o{.stride = {2, 2}};
  Tensor y = Tensor::zeros(Shape{1, 4, 4, 12}, DType::f32);
  Tensor tiles = ops::to_layout(ctx, x, Layout::tile);
  const auto call = [&] {
    ops::fold(ctx, x, o, y);
    ops::fold(ctx, tiles, o, y);
  };
  call();
  EXPECT_EQ(reference::allocations_in(call), 0);
  ctx.profiler().start();
  ops::fold(ctx, x, o, y);
  ctx.profiler().stop();
  EXPECT_EQ(ctx.profiler().records().at(0).bytes, 2.0 * 8 * 8 * 3 * 4);
}

TEST(Fold, EmptyBatchesGiveEmptyResults) {
  Context ctx({.threads = 1, .isa = {}});
  EXPECT_EQ(ops::fold(ctx, Tensor::empty(Shape{0, 4, 4, 3}, DType::f32), {.stride = {2, 2}}).shape(), (Shape{0, 2, 2, 12}));
}

TEST(Fold, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{1, 8, 8, 4}, DType::f32);
  const auto bad = [&](const char* part, const ops::Fold& o, const Tensor& in) {
    reference::expect_error("fold", part, [&] { ops::fold(ctx, in, o); });
  };
  const std::int64_t huge = std::int64_t{1} << 62;
  bad("strides from 1", {.stride = {0, 2}}, x);
  bad("strides from 1", {.stride = {2, -2}}, x);
  bad("strides from 1", {.stride = {huge, 2}}, x);
  bad("padding from 0", {.stride = {2, 2}, .padding = {0, -1, 0, 0}}, x);
  bad("padding from 0", {.stride = {2, 2}, .padding = {0, huge, 0, 0}}, x);
  bad("padding from 0", {.stride = {2, 2}, .channels = {0, huge}}, x);
  bad("a multiple of 3 x 2", {.stride = {3, 2}}, x);
  bad("a multiple of 16 x 8", {.stride = {16, 8}}, x);
  bad("a multiple of 2 x 2", {.stride = {2, 2}}, Tensor::empty(Shape{1, 0, 8, 3}, DType::f32));
  bad("a multiple of 2 x 2", {.stride = {2, 2}}, Tensor::empty(Shape{1, 2, 2, 0}, DType::f32));
  bad("[n, h, w, c]", {.stride = {2, 2}}, Tensor::zeros(Shape{8, 8}, DType::f32));
  bad("[n, h, w, c]", {.stride = {2, 2}}, {});
  bad("without gaps", {.stride = {2, 2}}, Tensor::zeros(Shape{1, 8, 8, 5}, DType::f32).columns(0, 4));
  bad("one number an element", {.stride = {2, 2}}, Tensor::zeros(Shape{1, 8, 8, 4}, DType::bfloat8_b, Layout::tile));
  const auto into = [&](const char* part, Tensor y) { reference::expect_error("fold", part, [&] { ops::fold(ctx, x, {.stride = {2, 2}}, y); }); };
  into("y as contiguous float32[1, 4, 4, 16]", Tensor::zeros(Shape{1, 4, 4, 8}, DType::f32));
  into("y as contiguous float32[1, 4, 4, 16]", Tensor::zeros(Shape{1, 4, 4, 16}, DType::bf16));
  into("y as contiguous float32[1, 4, 4, 16]", {});
  into("memory of its own", x.reshape(Shape{1, 4, 4, 16}));
}

}  // namespace
}  // namespace tessera
