#include "tessera/ops/fold.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "tessera/core/error.h"
#include "tessera/ops/reorder.h"

namespace tessera::ops {
namespace {

using Scope = runtime::Workspace::Scope;

constexpr const char* kOp = "fold";
constexpr std::int64_t kMost = std::int64_t{1} << 30;

std::string by(std::int64_t a, std::int64_t b) { return std::to_string(a) + " x " + std::to_string(b); }

/// The padded picture.
ImageSize padded(const ImageSize& in, const Fold& o) {
  for (const std::int64_t s : o.stride)
    if (s < 1 || s > kMost) fail_expected(kOp, "strides from 1 to 2^30", std::to_string(s));
  for (const std::int64_t p : {o.padding[0], o.padding[1], o.padding[2], o.padding[3], o.channels[0], o.channels[1]})
    if (p < 0 || p > kMost) fail_expected(kOp, "padding from 0 to 2^30", std::to_string(p));
  const ImageSize all{in.n, in.h + o.padding[0] + o.padding[1], in.w + o.padding[2] + o.padding[3], in.c + o.channels[0] + o.channels[1]};
  if (all.h < 1 || all.w < 1 || all.c < 1 || all.h % o.stride[0] != 0 || all.w % o.stride[1] != 0)
    fail_expected(kOp, "a padded picture that is a multiple of " + by(o.stride[0], o.stride[1]), by(all.h, all.w) + " of " + std::to_string(all.c));
  check_image_size(kOp, all);
  return all;
}

ImageSize folded(const ImageSize& all, const Fold& o) { return {all.n, all.h / o.stride[0], all.w / o.stride[1], all.c * o.stride[0] * o.stride[1]}; }

Shape shape_of(const Tensor& x, const Fold& o, const ImageSize& flat, const ImageSize& out) {
  if (flat.n != 0 || o.flatten) return Shape{1, 1, out.n * out.h * out.w, out.c};
  return image_shape(x.shape(), ImageOrder::nhwc, {}, out);
}

/// One row of blocks: `to` has out_w blocks of stride_h x stride_w pixels.
void fold_row(const Fold& o, const ImageSize& in, const ImageSize& all, std::int64_t element, const std::byte* picture, std::int64_t row,
              std::byte* to) {
  const std::int64_t block = o.stride[0] * o.stride[1] * all.c * element, pixel = all.c * element;
  const bool nhwc = o.order == ImageOrder::nhwc;
  const bool bare = o.padding == std::array<std::int64_t, 4>{} && o.channels == std::array<std::int64_t, 2>{};
  if (!bare) std::memset(to, 0, static_cast<std::size_t>(all.w / o.stride[1] * block));
  for (std::int64_t r = 0; r < o.stride[0]; ++r) {
    const std::int64_t h = row * o.stride[0] + r - o.padding[0];
    if (h < 0 || h >= in.h) continue;
    const auto place = [&](std::int64_t w) {  // of pixel w of this row
      const std::int64_t at = w + o.padding[2];
      return to + at / o.stride[1] * block + (r * o.stride[1] + at % o.stride[1]) * pixel + o.channels[0] * element;
    };
    if (nhwc) {
      const std::byte* from = picture + h * in.w * in.c * element;
      const std::int64_t together = bare ? o.stride[1] : 1;  // pixels that stay neighbours
      const std::int64_t bytes = together * in.c * element;
      for (std::int64_t w = 0; w < in.w; w += together, from += bytes) std::memcpy(place(w), from, static_cast<std::size_t>(bytes));
      continue;
    }
    for (std::int64_t c = 0; c < in.c; ++c) {
      const std::byte* from = picture + (c * in.h + h) * in.w * element;
      for (std::int64_t w = 0; w < in.w; ++w, from += element) std::memcpy(place(w) + c * element, from, static_cast<std::size_t>(element));
    }
  }
}

void check(const Tensor& x) {
  if (is_block_float(x.dtype())) fail_expected(kOp, "a dtype with one number an element", x.str(), "ops::typecast converts");
  if (x.layout() == Layout::row_major && !x.is_contiguous()) fail_expected(kOp, "x without gaps between its rows", x.str(), "ops::contiguous copies");
}

}  // namespace

Shape fold_shape(const Tensor& x, const Fold& options, const ImageSize& flat) {
  const ImageSize in = image_size(kOp, x, options.order, flat);
  return shape_of(x, options, flat, folded(padded(in, options), options));
}

void fold(Context& ctx, const Tensor& x, const Fold& options, Tensor& y, const ImageSize& flat) {
  const ImageSize in = image_size(kOp, x, options.order, flat);
  const ImageSize all = padded(in, options), out = folded(all, options);
  const Shape shape = shape_of(x, options, flat, out);
  check(x);
  if (!y.defined() || y.shape() != shape || y.dtype() != x.dtype() || (y.layout() == Layout::row_major && !y.is_contiguous()))
    fail_expected(kOp, "y as contiguous " + std::string(name(x.dtype())) + shape.str(), y.str());
  if (overlap(x, y)) fail_expected(kOp, "y in memory of its own", "memory that overlaps x");
  if (y.numel() == 0) return;
  Scope scope(ctx.workspace());
  Tensor row_x = x, row_y = y;
  if (x.layout() == Layout::tile) {
    row_x = scope.tensor(x.shape(), x.dtype());
    to_layout(ctx, x, row_x);
  }
  if (y.layout() == Layout::tile) row_y = scope.tensor(shape, y.dtype());
  {
    runtime::Zone zone(ctx.profiler(), kOp, "copy", 0, static_cast<double>(row_x.bytes() + row_y.bytes()));
    const auto element = static_cast<std::int64_t>(size_of(x.dtype()));
    const auto* const px = static_cast<const std::byte*>(row_x.raw());
    auto* const py = static_cast<std::byte*>(row_y.raw());
    ctx.pool().parallel_for(in.n * out.h, [&](std::int64_t item, int) {
      fold_row(options, in, all, element, px + item / out.h * in.h * in.w * in.c * element, item % out.h, py + item * out.w * out.c * element);
    });
  }
  if (y.layout() == Layout::tile) to_layout(ctx, row_y, y);
}

Tensor fold(Context& ctx, const Tensor& x, const Fold& options, const ImageSize& flat) {
  const Shape shape = fold_shape(x, options, flat);
  check(x);
  Tensor y = Tensor::empty(shape, x.dtype());
  fold(ctx, x, options, y, flat);
  return y;
}

}  // namespace tessera::ops
