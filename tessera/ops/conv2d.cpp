#include "tessera/ops/conv2d.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "tessera/core/error.h"
#include "tessera/device/cpu.h"
#include "tessera/ops/conv2d_impl.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "conv2d";
constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kItemsPerThread = 4;

using Impl = PreparedConv2d::Impl;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

const Impl& impl_of(const PreparedConv2d& w) {
  if (!w.defined()) fail_expected(kOp, "prepared weights", "none");
  return *Conv2dAccess::get(w);
}

std::string by(std::int64_t a, std::int64_t b) { return std::to_string(a) + " x " + std::to_string(b); }

/// Output sizes for pictures of these sizes.
ImageSize output_size(const ImageSize& x, const Impl& w) {
  const Conv2d& o = w.options;
  if (x.c != w.in) fail_expected(kOp, "pictures of " + std::to_string(w.in) + " channels", std::to_string(x.c));
  if (x.h < 1 || x.w < 1) fail_expected(kOp, "a height and width of 1 or more", by(x.h, x.w));
  const std::int64_t h = x.h + o.padding[0] + o.padding[1];
  const std::int64_t width = x.w + o.padding[2] + o.padding[3];
  const std::int64_t down = o.dilation[0] * (w.kh - 1) + 1;
  const std::int64_t across = o.dilation[1] * (w.kw - 1) + 1;
  if (h < down || width < across) fail_expected(kOp, "a window inside the padded picture of " + by(h, width), by(down, across));
  const ImageSize y{x.n, (h - down) / o.stride[0] + 1, (width - across) / o.stride[1] + 1, w.out};
  if (h > kMost || width > kMost || x.h > kMost / x.w || y.h > kMost / y.w)
    fail_expected(kOp, "planes of fewer than 2^31 elements", by(x.h, x.w) + " and " + by(y.h, y.w));
  check_image_size(kOp, y);
  return y;
}

/// image_size() reads a tensor; a shape alone is enough for conv2d_shape().
ImageSize size_of_shape(const Shape& x, ImageOrder order, const ImageSize& flat) {
  std::byte none{};
  return image_size(kOp, Tensor::borrow(&none, x, DType::f32), order, flat);
}

bool is_picture(const Tensor& t) { return t.defined() && (t.dtype() == DType::f32 || t.dtype() == DType::bf16) && t.is_contiguous(); }

void check_tensors(const Tensor& x, const Tensor& y, const Tensor& residual, const Shape& shape) {
  constexpr std::string_view kHint = "ops::to_layout and ops::typecast convert";
  if (!is_picture(x)) fail_expected(kOp, "x as contiguous float32 or bfloat16, row-major", x.str(), kHint);
  if (!is_picture(y) || y.shape() != shape) fail_expected(kOp, "y as contiguous float32 or bfloat16 " + shape.str() + ", row-major", y.str(), kHint);
  if (overlap(x, y)) fail_expected(kOp, "y in other memory than x", "overlapping ones");
  if (!residual.defined()) return;
  if (!is_picture(residual) || residual.shape() != shape)
    fail_expected(kOp, "a residual as contiguous float32 or bfloat16 " + shape.str() + ", row-major", residual.str(), kHint);
  if (overlap(residual, y) && (residual.raw() != y.raw() || residual.dtype() != y.dtype()))
    fail_expected(kOp, "a residual that is y or in other memory", "one that overlaps y");
}

// ---- depthwise ----

/// Who computes what: rows of all output pictures (nchw: planes) times channels (nchw: rows). It decides nothing about how.
struct Split {
  std::int64_t rows;
  std::int64_t columns;
};

/// nhwc: `rows` output rows in all, channels in units of `unit`. Shards of x, if it has any, decide; else one picture at a time, in blocks
/// of channels whose rows stay in the caches from one row of outputs to the next, and enough items for all threads.
Split split_nhwc(const Context& ctx, const MemoryConfig& config, const Impl& w, const ImageSize& x, std::int64_t rows, std::int64_t units,
                 std::size_t unit_bytes) {
  if (config.is_sharded())
    return {std::clamp<std::int64_t>(config.shard->grid_rows, 1, rows), std::clamp<std::int64_t>(config.shard->grid_cols, 1, units)};
  constexpr std::int64_t kDefaultL2 = 256 * 1024;
  const auto l2 = device::cpu().l2 == 0 ? kDefaultL2 : static_cast<std::int64_t>(device::cpu().l2);
  const std::int64_t down = std::min(w.options.dilation[0] * (w.kh - 1) + 1 + w.options.stride[0], x.h);
  const std::int64_t window = down * x.w * static_cast<std::int64_t>(unit_bytes);
  Split s{};
  s.columns = ceil_div(units, std::clamp<std::int64_t>(l2 / window, 1, units));
  if (ctx.threads() == 1) {
    s.rows = std::min(rows, x.n);
    return s;
  }
  const std::int64_t wanted = kItemsPerThread * ctx.threads();
  s.rows = std::clamp<std::int64_t>(ceil_div(wanted, s.columns), 1, ceil_div(rows, 2));
  if (s.rows * s.columns < wanted) s.columns = std::clamp<std::int64_t>(ceil_div(wanted, s.rows), s.columns, units);
  return s;
}

/// Whether stores should go past the caches: the output would not stay there.
bool streams(const Tensor& x, const Tensor& y, std::int64_t pixel_bytes) {
  constexpr std::size_t kLine = 64;
  const std::size_t cache = device::cpu().l3;
  return cache != 0 && y.dtype() == DType::f32 && x.bytes() + y.bytes() > cache && pixel_bytes % static_cast<std::int64_t>(kLine) == 0 &&
         reinterpret_cast<std::uintptr_t>(y.raw()) % kLine == 0;
}

/// Order nchw copies the padded rows of a window: they may not outgrow the picture beyond all measure.
void check_band(const kernels::DepthwiseShape& s, std::int64_t lanes) {
  constexpr double kMostElements = 1 << 24, kMostPerElement = 64;
  const auto number = [](std::int64_t v) { return static_cast<double>(v); };
  const double across = number(s.wo) * number(s.sw) + number(s.left + s.w + s.kw * s.dw) + 4 * number(lanes) * number(s.sw);
  const double elements = across * (number((s.kh - 1) * s.dh) + 1);
  if (elements > kMostElements && elements > kMostPerElement * (number(s.h) * number(s.w) + number(s.ho) * number(s.wo)))
    fail_expected(kOp, "paddings, strides and dilations in proportion to pictures of " + by(s.h, s.w) + " in the order nchw",
                  "padded rows of about " + std::to_string(static_cast<std::int64_t>(across)) + " elements, " +
                      std::to_string((s.kh - 1) * s.dh + 1) + " of them a window",
                  "the order nhwc pads nothing");
}

void depthwise(Context& ctx, const Impl& w, const Tensor& x, Tensor& y, const Tensor& residual, const ImageSize& size, const ImageSize& out) {
  const kernels::DepthwiseFunctions& f = w.row->functions;
  const Conv2d& o = w.options;
  kernels::DepthwiseCall call{};
  call.s = {size.h, size.w,      out.h,       out.w,         size.c,        out.c / size.c, w.kh,
            w.kw,   o.stride[0], o.stride[1], o.dilation[0], o.dilation[1], o.padding[0],   o.padding[2]};
  // The stride along an axis of one output has no meaning; kernels size their copies by it.
  constexpr std::int64_t kFar = 1024;
  if (out.h == 1 && call.s.sh > kFar) call.s.sh = 1;
  if (out.w == 1 && call.s.sw > kFar) call.s.sw = 1;
  if (o.order == ImageOrder::nchw) check_band(call.s, f.lanes);
  call.x_bf16 = x.dtype() == DType::bf16;
  call.y_bf16 = y.dtype() == DType::bf16;
  call.residual_bf16 = residual.defined() && residual.dtype() == DType::bf16;
  call.activation = static_cast<kernels::DepthwiseActivation>(o.activation);
  call.weights = w.packed.data<float>();

  const auto* const px = static_cast<const std::byte*>(x.raw());
  auto* const py = static_cast<std::byte*>(y.raw());
  const auto* const pr = residual.defined() ? static_cast<const std::byte*>(residual.raw()) : nullptr;
  const double outputs = static_cast<double>(y.numel());
  double bytes = static_cast<double>(x.bytes()) + static_cast<double>(y.bytes()) + static_cast<double>(w.packed.bytes());
  if (residual.defined()) bytes += static_cast<double>(residual.bytes());
  runtime::Zone zone(ctx.profiler(), "conv2d_depthwise", w.row->info.name, 2 * outputs * static_cast<double>(w.kh * w.kw), bytes);

  if (o.order == ImageOrder::nhwc) {
    const std::int64_t unit = 2 * f.lanes;
    const std::int64_t units = ceil_div(size.c, unit);
    const std::int64_t rows = size.n * out.h;
    const Split split = split_nhwc(ctx, x.memory_config(), w, size, rows, units, static_cast<std::size_t>(unit) * tessera::size_of(x.dtype()));
    call.stream = streams(x, y, out.c * static_cast<std::int64_t>(sizeof(float)));
    const auto x_step = static_cast<std::size_t>(size.h * size.w * size.c) * tessera::size_of(x.dtype());
    const auto y_count = static_cast<std::size_t>(out.h * out.w * out.c);
    ctx.pool().parallel_for(split.rows * split.columns, [&](std::int64_t item, int) {
      kernels::DepthwiseCall part = call;
      const std::int64_t column = item % split.columns;
      part.part_first = column * units / split.columns * unit;
      part.part_last = std::min(size.c, (column + 1) * units / split.columns * unit);
      std::int64_t row = item / split.columns * rows / split.rows;
      const std::int64_t end = (item / split.columns + 1) * rows / split.rows;
      while (row < end) {
        const auto picture = static_cast<std::size_t>(row / out.h);
        const std::int64_t start = row / out.h * out.h;
        part.row_first = row - start;
        part.row_last = std::min(out.h, end - start);
        part.x = px + picture * x_step;
        part.y = py + picture * y_count * tessera::size_of(y.dtype());
        part.residual = pr == nullptr ? nullptr : pr + picture * y_count * tessera::size_of(residual.dtype());
        f.nhwc(part);
        row = start + part.row_last;
      }
    });
    return;
  }

  call.x = px;
  call.y = py;
  call.residual = pr;
  const std::int64_t planes = size.n * size.c;
  const std::int64_t band = f.nchw_band(call.s);
  const std::int64_t wanted = kItemsPerThread * ctx.threads();
  std::int64_t bands = ceil_div(out.h, band);
  std::int64_t groups = ctx.threads() == 1 ? 1 : wanted;
  if (x.memory_config().is_sharded()) groups = x.memory_config().shard->grid_rows;
  const std::int64_t units = ceil_div(planes, f.lanes);  // the kernel takes small planes in units of as many
  groups = std::clamp<std::int64_t>(groups, 1, units);
  if (ctx.threads() > 1 && groups * bands < wanted) bands = std::min(out.h, ceil_div(wanted, groups));
  const std::int64_t scratch = f.nchw_scratch(call.s, ceil_div(out.h, bands));
  runtime::Workspace::Scope scope(ctx.workspace());
  float* const all = scope.array<float>(scratch * ctx.threads());
  ctx.pool().parallel_for(groups * bands, [&](std::int64_t item, int thread) {
    kernels::DepthwiseCall part = call;
    part.scratch = all + thread * scratch;
    part.row_first = item % bands * out.h / bands;
    part.row_last = (item % bands + 1) * out.h / bands;
    part.part_first = item / bands * units / groups * f.lanes;
    part.part_last = std::min(planes, (item / bands + 1) * units / groups * f.lanes);
    f.nchw(part);
  });
}

// ---- products ----

Activation activation_of(ConvActivation a) {
  switch (a) {
    case ConvActivation::relu: return Activation::relu;
    case ConvActivation::relu6: return Activation::relu6;
    case ConvActivation::silu: return Activation::silu;
    case ConvActivation::gelu: return Activation::gelu;
    case ConvActivation::hardswish: return Activation::hardswish;
    case ConvActivation::none: break;
  }
  return Activation::none;
}

void copy(float* to, const float* from, std::int64_t count) { std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float)); }
void copy(bf16* to, const bf16* from, std::int64_t count) {
  std::memcpy(static_cast<void*>(to), static_cast<const void*>(from), static_cast<std::size_t>(count) * sizeof(bf16));
}
void copy(bf16* to, const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_bf16(from[i]);
}
void copy(float* to, const bf16* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = to_f32(from[i]);
}
template <class A>
void clear(A* to, std::int64_t count) {
  std::memset(static_cast<void*>(to), 0, static_cast<std::size_t>(count) * sizeof(A));
}

/// One row of output pixels of one group: its windows, zeros outside the picture.
struct Windows {
  const Impl* w;
  ImageSize x;
  std::int64_t wo;
  std::int64_t channels;  // of a group

  // Columns (ky, kx, channel).
  template <class X, class A>
  void nhwc(const X* picture, std::int64_t oy, std::int64_t first_channel, A* to) const {
    const Conv2d& o = w->options;
    // Neighbouring pixels are one stretch when all channels are taken.
    const std::int64_t run = o.dilation[1] == 1 && channels == x.c ? w->kw : 1;
    for (std::int64_t ox = 0; ox < wo; ++ox)
      for (std::int64_t ky = 0; ky < w->kh; ++ky) {
        const std::int64_t iy = oy * o.stride[0] - o.padding[0] + ky * o.dilation[0];
        if (iy < 0 || iy >= x.h) {
          clear(to, w->kw * channels);
          to += w->kw * channels;
          continue;
        }
        for (std::int64_t kx = 0; kx < w->kw; kx += run) {
          const std::int64_t ix = ox * o.stride[1] - o.padding[2] + kx * o.dilation[1];
          const std::int64_t before = std::clamp<std::int64_t>(-ix, 0, run);
          const std::int64_t after = std::clamp<std::int64_t>(ix + run - x.w, 0, run);
          if (before > 0) clear(to, before * channels);
          if (before + after < run)
            copy(to + before * channels, picture + (iy * x.w + ix + before) * x.c + first_channel, (run - before - after) * channels);
          if (after > 0) clear(to + (run - std::min(after, run)) * channels, after * channels);
          to += run * channels;
        }
      }
  }

  // Columns (channel, ky, kx).
  template <class X, class A>
  void nchw(const X* picture, std::int64_t oy, std::int64_t first_channel, A* to) const {
    const Conv2d& o = w->options;
    const std::int64_t width = channels * w->kh * w->kw;
    for (std::int64_t c = 0; c < channels; ++c)
      for (std::int64_t ky = 0; ky < w->kh; ++ky) {
        const std::int64_t iy = oy * o.stride[0] - o.padding[0] + ky * o.dilation[0];
        const bool inside = iy >= 0 && iy < x.h;
        const X* const row = picture + ((first_channel + c) * x.h + (inside ? iy : 0)) * x.w;
        for (std::int64_t kx = 0; kx < w->kw; ++kx, ++to) {
          std::int64_t ix = kx * o.dilation[1] - o.padding[2];
          A* place = to;
          for (std::int64_t ox = 0; ox < wo; ++ox, ix += o.stride[1], place += width) {
            if (inside && ix >= 0 && ix < x.w)
              copy(place, row + ix, 1);
            else
              clear(place, 1);
          }
        }
      }
  }
};

template <class X, class A>
void gather(Context& ctx, const Windows& g, const X* x, std::int64_t first_row, std::int64_t rows, std::int64_t ho, std::int64_t first_channel,
            A* a) {
  const std::int64_t width = g.channels * g.w->kh * g.w->kw;
  const std::int64_t plane = g.x.h * g.x.w * g.x.c;
  const bool nhwc = g.w->options.order == ImageOrder::nhwc;
  const std::int64_t items = std::min(rows, kItemsPerThread * ctx.threads());
  runtime::Zone zone(ctx.profiler(), "conv2d_gather", nhwc ? "nhwc" : "nchw", 0,
                     static_cast<double>(rows * g.wo * width) * static_cast<double>(sizeof(X) + sizeof(A)));
  ctx.pool().parallel_for(items, [&](std::int64_t item, int) {
    for (std::int64_t r = item * rows / items; r < (item + 1) * rows / items; ++r) {
      const std::int64_t row = first_row + r;
      const X* const picture = x + row / ho * plane;
      A* const to = a + r * g.wo * width;
      if (nhwc)
        g.nhwc(picture, row % ho, first_channel, to);
      else
        g.nchw(picture, row % ho, first_channel, to);
    }
  });
}

void gather_any(Context& ctx, const Windows& g, const Tensor& x, std::int64_t first_row, std::int64_t rows, std::int64_t ho,
                std::int64_t first_channel, Tensor& a) {
  if (x.dtype() == DType::bf16) {
    if (a.dtype() == DType::bf16)
      gather(ctx, g, x.data<bf16>(), first_row, rows, ho, first_channel, a.data<bf16>());
    else
      gather(ctx, g, x.data<bf16>(), first_row, rows, ho, first_channel, a.data<float>());
  } else {
    if (a.dtype() == DType::bf16)
      gather(ctx, g, x.data<float>(), first_row, rows, ho, first_channel, a.data<bf16>());
    else
      gather(ctx, g, x.data<float>(), first_row, rows, ho, first_channel, a.data<float>());
  }
}

/// Rows of output pixels [rows * wo, channels] into the planes of y, the residual added on the way.
template <class Y, class R>
void scatter(Context& ctx, const Tensor& from, const ImageSize& out, std::int64_t first_row, std::int64_t rows, std::int64_t first_channel,
             const R* residual, Y* y) {
  const std::int64_t channels = from.cols();
  const float* const source = from.data<float>();
  const std::int64_t items = std::min(rows, kItemsPerThread * ctx.threads());
  runtime::Zone zone(ctx.profiler(), "conv2d_scatter", "nchw", 0, static_cast<double>(from.numel()) * static_cast<double>(sizeof(float) + sizeof(Y)));
  ctx.pool().parallel_for(items, [&](std::int64_t item, int) {
    for (std::int64_t r = item * rows / items; r < (item + 1) * rows / items; ++r) {
      const std::int64_t row = first_row + r;
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t place = ((row / out.h * out.c + first_channel + c) * out.h + row % out.h) * out.w;
        for (std::int64_t i = 0; i < out.w; ++i) {
          float v = source[(r * out.w + i) * channels + c];
          if (residual != nullptr) {
            float add = 0;
            copy(&add, residual + place + i, 1);
            v += add;
          }
          copy(y + place + i, &v, 1);
        }
      }
    }
  });
}

void scatter_any(Context& ctx, const Tensor& from, const ImageSize& out, std::int64_t first_row, std::int64_t rows, std::int64_t first_channel,
                 const Tensor& residual, Tensor& y) {
  const auto to = [&](auto* target) {
    if (residual.defined() && residual.dtype() == DType::bf16)
      scatter(ctx, from, out, first_row, rows, first_channel, residual.data<bf16>(), target);
    else
      scatter(ctx, from, out, first_row, rows, first_channel, residual.defined() ? residual.data<float>() : nullptr, target);
  };
  if (y.dtype() == DType::bf16)
    to(y.data<bf16>());
  else
    to(y.data<float>());
}

void products(Context& ctx, const PreparedConv2d& prepared, const Impl& w, const Tensor& x, Tensor& y, const Tensor& residual, const ImageSize& size,
              const ImageSize& out) {
  runtime::Zone zone(ctx.profiler(), kOp, prepared.path().data());
  const bool nhwc = w.options.order == ImageOrder::nhwc;
  const std::int64_t groups = w.options.groups;
  const std::int64_t channels = w.in / groups;
  const std::int64_t each = w.out / groups;
  const std::int64_t width = channels * w.kh * w.kw;
  const std::int64_t rows = size.n * out.h;
  const Activation activation = activation_of(w.options.activation);
  if (nhwc && w.path == ConvPath::product) {
    const Tensor source = x.reshape({rows * out.w, w.in});
    Tensor target = y.reshape({rows * out.w, w.out});
    const Tensor added = residual.defined() ? residual.reshape({rows * out.w, w.out}) : Tensor();
    for (std::int64_t g = 0; g < groups; ++g) {
      Tensor part = target.columns(g * each, each);
      linear(ctx, source.columns(g * channels, channels), w.products[static_cast<std::size_t>(g)],
             {.activation = activation, .residual = added.defined() ? added.columns(g * each, each) : Tensor(), .gate = {}}, part);
    }
    return;
  }
  // Bands of output rows whose windows take a bounded amount of memory.
  constexpr std::int64_t kBandBytes = 4 << 20;
  const auto row_bytes = static_cast<std::int64_t>(tessera::size_of(w.precision)) * out.w * width;
  const std::int64_t bands = ceil_div(rows, std::clamp<std::int64_t>(kBandBytes / row_bytes, 1, rows));
  const std::int64_t most = ceil_div(rows, bands);
  runtime::Workspace::Scope scope(ctx.workspace());
  Tensor windows = scope.tensor({most * out.w, width}, w.precision);
  Tensor results = nhwc ? Tensor() : scope.tensor({most * out.w, each}, DType::f32);
  const Windows gathers{&w, size, out.w, channels};
  for (std::int64_t band = 0; band < bands; ++band) {
    const std::int64_t first = band * rows / bands;
    const std::int64_t count = (band + 1) * rows / bands - first;
    for (std::int64_t g = 0; g < groups; ++g) {
      Tensor a = windows.narrow(0, count * out.w);
      gather_any(ctx, gathers, x, first, count, out.h, g * channels, a);
      const PreparedLinear& product = w.products[static_cast<std::size_t>(g)];
      if (nhwc) {
        const auto part = [&](const Tensor& t) {
          return t.defined() ? t.reshape({rows * out.w, w.out}).narrow(first * out.w, count * out.w).columns(g * each, each) : Tensor();
        };
        Tensor target = part(y);
        linear(ctx, a, product, {.activation = activation, .residual = part(residual), .gate = {}}, target);
      } else {
        Tensor target = results.narrow(0, count * out.w);
        linear(ctx, a, product, {.activation = activation, .residual = {}, .gate = {}}, target);
        scatter_any(ctx, target, out, first, count, g * each, residual, y);
      }
    }
  }
}

void check_row(const Context& ctx, const Impl& w) {
  const std::string_view row = w.row->info.name;
  const std::string_view forced = ctx.forced("depthwise");
  if (!forced.empty() && forced != row)
    fail("depthwise",
         std::string("the forced row '").append(forced).append("' cannot serve weights that were prepared for '").append(row).append("'"));
  if (!ctx.allows(w.row->info.isa))
    fail("depthwise", std::string("weights were prepared for the row '").append(row).append("', which this context may not run"));
}

}  // namespace

Shape conv2d_shape(const Shape& x, const PreparedConv2d& w, const ImageSize& flat) {
  const Impl& impl = impl_of(w);
  const ImageSize size = size_of_shape(x, impl.options.order, flat);
  return image_shape(x, impl.options.order, flat, output_size(size, impl));
}

void conv2d(Context& ctx, const Tensor& x, const PreparedConv2d& w, Tensor& y, const Tensor& residual, const ImageSize& flat) {
  const Impl& impl = impl_of(w);
  const ImageSize size = image_size(kOp, x, impl.options.order, flat);
  const ImageSize out = output_size(size, impl);
  check_tensors(x, y, residual, image_shape(x.shape(), impl.options.order, flat, out));
  if (impl.path == ConvPath::depthwise) check_row(ctx, impl);
  if (size.n == 0) return;
  if (impl.path == ConvPath::depthwise)
    depthwise(ctx, impl, x, y, residual, size, out);
  else
    products(ctx, w, impl, x, y, residual, size, out);
}

Tensor conv2d(Context& ctx, const Tensor& x, const PreparedConv2d& w, const Tensor& residual, const ImageSize& flat) {
  const Impl& impl = impl_of(w);
  if (!is_picture(x)) fail_expected(kOp, "x as contiguous float32 or bfloat16, row-major", x.str(), "ops::to_layout and ops::typecast convert");
  const ImageSize size = image_size(kOp, x, impl.options.order, flat);
  Tensor y = Tensor::empty(image_shape(x.shape(), impl.options.order, flat, output_size(size, impl)), x.dtype());
  conv2d(ctx, x, w, y, residual, flat);
  return y;
}

}  // namespace tessera::ops
