#include "tessera/ops/pool.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/kernels/pool/pool.h"
#include "tessera/ops/adaptive_plan.h"
#include "tessera/ops/choose.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/typecast.h"

namespace tessera::ops {
namespace {

using Scope = runtime::Workspace::Scope;
using kernels::PoolSpan;

constexpr std::int64_t kMostPlane = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMostOutput = std::int64_t{1} << 30;

/// What a pool does along one axis, PyTorch's parameters.
struct Axis {
  std::int64_t kernel = 1, stride = 1, before = 0, after = 0, dilation = 1;
  bool ceil_mode = false;
  std::int64_t adaptive = -1;  // 0 or more: the output size; then nothing else counts
};

struct Pool {
  const char* op;
  bool maximum;
  Axis h, w;
  bool count_include_pad = false;
  std::int64_t divisor_override = 0;
  ImageOrder order = ImageOrder::nhwc;
};

std::string axis_text(const char* name, std::int64_t value) { return std::string(name) + " of " + std::to_string(value); }

void check_axis(const char* op, const char* which, const Axis& a) {
  const std::string of = std::string(which) + ": ";
  if (a.kernel < 1) fail_expected(op, of + "a kernel of 1 or more", std::to_string(a.kernel));
  if (a.stride < 1) fail_expected(op, of + "a stride of 1 or more (or 0 along both axes: the kernel's size)", std::to_string(a.stride));
  if (a.dilation < 1) fail_expected(op, of + "a dilation of 1 or more", std::to_string(a.dilation));
  if (a.kernel > kMostPlane || a.stride > kMostPlane || a.dilation > kMostPlane)
    fail_expected(op, of + "a kernel, stride and dilation below 2^31", std::to_string(std::max({a.kernel, a.stride, a.dilation})));
  for (const std::int64_t p : {a.before, a.after})
    if (p < 0 || p > a.kernel / 2) fail_expected(op, of + "padding from 0 to half the kernel, " + std::to_string(a.kernel / 2), std::to_string(p));
}

std::int64_t out_size(const char* op, const char* which, const Axis& a, std::int64_t in) {
  if (in < 1) fail_expected(op, std::string("an input with a ") + axis_text(which, 1) + " or more", std::to_string(in));
  if (a.adaptive >= 0) return a.adaptive;
  // ceil_mode: a window that is cut off at the end counts if it begins inside the input or the padding before it.
  const std::int64_t room = in + a.before + a.after - a.dilation * (a.kernel - 1) - 1 + (a.ceil_mode ? a.stride - 1 : 0);
  if (room < 0)
    fail_expected(op, std::string(which) + ": a kernel within the padded input of " + std::to_string(in + a.before + a.after),
                  "kernel " + std::to_string(a.kernel) + " with dilation " + std::to_string(a.dilation));
  std::int64_t out = room / a.stride + 1;
  if (a.ceil_mode && (out - 1) * a.stride >= in + a.before) --out;
  return out;
}

/// Inputs of output i; for averages also how much of the window the divisor counts.
PoolSpan span_of(const Axis& a, std::int64_t in, std::int64_t out, std::int64_t i, bool count_include_pad, std::int64_t* counted) {
  if (a.adaptive >= 0) {
    const std::int64_t first = i * in / out;
    const std::int64_t end = ((i + 1) * in + out - 1) / out;
    *counted = end - first;
    return {static_cast<std::int32_t>(first), static_cast<std::int32_t>(end - first)};
  }
  std::int64_t first = i * a.stride - a.before;
  const std::int64_t end = std::min(in, first + (a.kernel - 1) * a.dilation + 1);
  const std::int64_t with_padding = std::min(first + a.kernel, in + a.after) - first;  // averages have no dilation
  if (first < 0) first += (-first + a.dilation - 1) / a.dilation * a.dilation;
  const std::int64_t count = first < end ? (end - first - 1) / a.dilation + 1 : 0;
  *counted = count_include_pad ? with_padding : count;
  return {static_cast<std::int32_t>(first), static_cast<std::int32_t>(count)};
}

ImageSize out_image(const Pool& p, const ImageSize& in) {
  const bool may_lack_channels = p.h.adaptive >= 0 && !p.maximum;
  if (in.c < 1 && !may_lack_channels) fail_expected(p.op, "1 channel or more", std::to_string(in.c));
  const ImageSize out{in.n, out_size(p.op, "height", p.h, in.h), out_size(p.op, "width", p.w, in.w), in.c};
  for (const ImageSize& size : {in, out})
    if (size.w > 0 && size.h > kMostPlane / size.w)
      fail_expected(p.op, "planes of less than 2^31 pixels", std::to_string(size.h) + " x " + std::to_string(size.w));
  check_image_size(p.op, out);
  return out;
}

void check_dtype(const Pool& p, const Tensor& x) {
  if (x.dtype() != DType::f32 && x.dtype() != DType::bf16 && !is_block_float(x.dtype()))
    fail_expected(p.op, "x of float32, bfloat16, bfloat8_b or bfloat4_b", x.str(), "ops::typecast converts");
}

void check_tensors(const Pool& p, const Tensor& x, const Tensor& y, const Tensor* indices, const Shape& shape) {
  check_dtype(p, x);
  if (x.layout() == Layout::row_major && !x.is_contiguous())
    fail_expected(p.op, "x without gaps between its rows", x.str(), "ops::contiguous copies");
  if (!y.defined() || y.shape() != shape || y.dtype() != x.dtype() || (y.layout() == Layout::row_major && !y.is_contiguous()))
    fail_expected(p.op, "y as contiguous " + std::string(name(x.dtype())) + shape.str(), y.str());
  if (indices != nullptr && (!indices->defined() || indices->shape() != shape || indices->dtype() != DType::i32 || !indices->is_contiguous()))
    fail_expected(p.op, "indices as contiguous row-major int32" + shape.str(), indices->str());
  if (overlap(x, y) || (indices != nullptr && (overlap(x, *indices) || overlap(y, *indices))))
    fail_expected(p.op, "outputs in memory of their own", "outputs that overlap the input or each other");
}

struct Spans {
  PoolSpan* spans;
  const float* counted;
  std::int64_t total;  // inputs of all outputs
};

Spans make_spans(Scope& scope, const Pool& p, const Axis& a, std::int64_t in, std::int64_t out) {
  auto* spans = scope.array<PoolSpan>(out);
  auto* counted = scope.array<float>(out);
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < out; ++i) {
    std::int64_t count = 0;
    spans[i] = span_of(a, in, out, i, p.count_include_pad, &count);
    counted[i] = static_cast<float>(count);
    total += spans[i].count;
  }
  return {spans, counted, total};
}

/// Order nchw in blocks of planes, transposed to [pixel][planes of the block] band by band, which the nhwc kernels serve. `place` fills in
/// where a row of outputs of the first plane stands.
template <class Place>
void run_planes(Context& ctx, const Pool& p, const ImageSize& in, const ImageSize& out, const kernels::PoolFunctions& f,
                const kernels::PoolRow& common, const Spans& rows, const Place& place, bool b16) {
  constexpr std::int64_t kBandFloats = 16384;  // of inputs: with the outputs they stay in the second-level cache
  constexpr std::int64_t kMostVectors = 4;     // which the kernels take at once
  const std::int64_t planes = in.n * in.c;
  std::int64_t together = kMostVectors * f.lanes;
  while (together > f.lanes && (in.h * in.w * together > 2 * kBandFloats || together > planes)) together /= 2;
  const std::int64_t blocks = (planes + together - 1) / together;
  const auto range = [&](std::int64_t first, std::int64_t last) {  // input rows [a, b) of output rows [first, last)
    std::int64_t a = in.h, b = 0;
    for (std::int64_t oh = first; oh < last; ++oh) {
      if (rows.spans[oh].count <= 0) continue;
      a = std::min<std::int64_t>(a, rows.spans[oh].first);
      b = std::max<std::int64_t>(b, rows.spans[oh].first + (rows.spans[oh].count - 1) * p.h.dilation + 1);
    }
    return std::pair(std::min(a, b), b);
  };
  const std::int64_t bands = std::clamp<std::int64_t>(in.h * in.w * together / kBandFloats, 1, out.h);
  std::int64_t most_in = 0, most_out = 0;
  for (std::int64_t band = 0; band < bands; ++band) {
    const std::int64_t first = band * out.h / bands, last = (band + 1) * out.h / bands;
    const auto [a, b] = range(first, last);
    most_in = std::max(most_in, (b - a) * in.w * together);
    most_out = std::max(most_out, (last - first) * out.w * together);
  }
  const std::int64_t floats = most_in + 2 * most_out;
  Scope scope(ctx.workspace());
  auto* const scratch = scope.array<float>(floats * ctx.threads());
  const kernels::PoolFunction fn = p.maximum ? f.max_nhwc : f.avg_nhwc;
  const std::int64_t in_plane = in.h * in.w, out_plane = out.h * out.w;
  ctx.pool().parallel_for(blocks * bands, [&](std::int64_t item, int thread) {
    const std::int64_t plane = item / bands * together;
    const std::int64_t count = std::min(together, planes - plane);
    const std::int64_t first = item % bands * out.h / bands, last = (item % bands + 1) * out.h / bands;
    const auto [a, b] = range(first, last);
    float* const inputs = scratch + thread * floats;
    float* const outputs = inputs + most_in;
    float* const indices = outputs + most_out;
    kernels::PoolRow k = common;
    k.channels = (count + f.lanes - 1) / f.lanes * f.lanes;
    k.row_step = p.h.dilation * in.w * together;
    k.column_step = together;
    k.y_step = together;
    for (std::int64_t v = 0; v < count; v += f.lanes) {
      place(k, first, (plane + v) * in_plane + a * in.w, 0);
      f.from_planes(k.x, b16, in_plane, std::min(f.lanes, count - v), (b - a) * in.w, inputs + v, together);
    }
    for (std::int64_t oh = first; oh < last; ++oh) {
      place(k, oh, 0, 0);
      const std::int64_t at = (oh - first) * out.w * together;
      k.x = inputs + (rows.spans[oh].count > 0 ? rows.spans[oh].first - a : 0) * in.w * together;
      k.y = outputs + at;
      if (k.indices != nullptr) k.indices = reinterpret_cast<std::int32_t*>(indices + at);
      fn(k, false);
    }
    for (std::int64_t v = 0; v < count; v += f.lanes) {
      const std::int64_t valid = std::min(f.lanes, count - v), pixels = (last - first) * out.w;
      place(k, first, 0, (plane + v) * out_plane + first * out.w);
      f.to_planes(outputs + v, together, pixels, k.y, b16, out_plane, valid);
      if (k.indices != nullptr) f.to_planes(indices + v, together, pixels, k.indices, false, out_plane, valid);
    }
  });
}

/// Row-major x and y of the checked shapes.
void run(Context& ctx, const Pool& pool, const ImageSize& in, const ImageSize& out, const Tensor& x, Tensor& y, Tensor* indices) {
  const kernels::Row<kernels::PoolFunctions>& row = choose(ctx, "pool", kernels::pool_rows());
  Scope scope(ctx.workspace());
  const Spans rows = make_spans(scope, pool, pool.h, in.h, out.h);
  const Spans columns = make_spans(scope, pool, pool.w, in.w, out.w);
  // A dilation may step over the whole input; as in PyTorch such a window is -inf, and its index lies where the step ends.
  const auto farthest = [](const Spans& s, std::int64_t count) {
    std::int64_t most = 0;
    for (std::int64_t i = 0; i < count; ++i) most = std::max<std::int64_t>(most, s.spans[i].first);
    return most;
  };
  if (farthest(rows, out.h) * in.w + farthest(columns, out.w) > kMostPlane) {
    if (indices != nullptr) fail_expected(pool.op, "indices below 2^31", "a dilation that steps over the input to larger ones");
    const auto forget = [](const Spans& s, std::int64_t count) {
      for (std::int64_t i = 0; i < count; ++i)
        if (s.spans[i].count == 0) s.spans[i].first = 0;
    };
    forget(rows, out.h);
    forget(columns, out.w);
  }
  // A dilation beyond the input takes no step inside it: its product with a row must not overflow.
  Pool p = pool;
  p.h.dilation = std::min(p.h.dilation, in.h);
  p.w.dilation = std::min(p.w.dilation, in.w);
  const double per_plane = static_cast<double>(rows.total) * static_cast<double>(columns.total);
  runtime::Zone zone(ctx.profiler(), p.op, row.info.name, per_plane * static_cast<double>(in.n) * static_cast<double>(in.c),
                     static_cast<double>(x.bytes() + y.bytes() + (indices == nullptr ? 0 : indices->bytes())));
  float override_divisor = 0;
  float* ones = nullptr;
  if (p.divisor_override != 0) {
    override_divisor = static_cast<float>(p.divisor_override);
    ones = scope.array<float>(out.w);
    std::fill_n(ones, out.w, 1.0f);
  }
  const bool b16 = x.dtype() == DType::bf16;
  const auto element = static_cast<std::int64_t>(size_of(x.dtype()));
  const auto* px = static_cast<const std::byte*>(x.raw());
  auto* py = static_cast<std::byte*>(y.raw());
  std::int32_t* pi = indices == nullptr ? nullptr : indices->data<std::int32_t>();

  kernels::PoolRow common{};
  common.columns = columns.spans;
  common.dilation = p.w.dilation;
  common.out = out.w;
  common.width = in.w;
  common.column_divisor = ones != nullptr ? ones : columns.counted;
  common.row_index = static_cast<std::int32_t>(p.h.dilation * in.w);
  const auto place = [&](kernels::PoolRow& k, std::int64_t oh, std::int64_t from, std::int64_t to) {
    k.x = px + from * element;
    k.y = py + to * element;
    k.indices = pi == nullptr ? nullptr : pi + to;
    k.rows = rows.spans[oh].count;
    k.row_divisor = ones != nullptr ? override_divisor : rows.counted[oh];
    k.first_index = rows.spans[oh].first * static_cast<std::int32_t>(in.w);
  };

  if (p.order == ImageOrder::nhwc) {
    // Rows of outputs, and where they are few also pieces of channels: sizes of items do not depend on the number of threads.
    const std::int64_t items_h = in.n * out.h;
    const std::int64_t piece = items_h >= 32 ? in.c : std::max<std::int64_t>(64, (in.c * items_h / 32 + 63) / 64 * 64);
    const std::int64_t pieces = (in.c + piece - 1) / piece;
    const kernels::PoolFunction fn = p.maximum ? row.functions.max_nhwc : row.functions.avg_nhwc;
    ctx.pool().parallel_for(items_h * pieces, [&](std::int64_t item, int) {
      const std::int64_t c = item % pieces * piece;
      const std::int64_t oh = item / pieces % out.h;
      const std::int64_t n = item / pieces / out.h;
      kernels::PoolRow k = common;
      place(k, oh, (n * in.h + (rows.spans[oh].count > 0 ? rows.spans[oh].first : 0)) * in.w * in.c + c, (n * out.h + oh) * out.w * in.c + c);
      k.row_step = p.h.dilation * in.w * in.c;
      k.column_step = in.c;
      k.channels = std::min(piece, in.c - c);
      k.y_step = in.c;
      fn(k, b16);
    });
    return;
  }
  const std::int64_t planes = in.n * in.c;
  // Wide windows are joined along the rows of a plane; small ones by as many planes at once as a vector has lanes.
  constexpr std::int64_t kWide = 8;
  if (row.functions.lanes > 1 && planes >= row.functions.lanes && columns.total < kWide * out.w) {
    run_planes(ctx, p, in, out, row.functions, common, rows, place, b16);
    return;
  }
  const kernels::PoolFunction fn = p.maximum ? row.functions.max_nchw : row.functions.avg_nchw;
  const std::int64_t together = std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, in.h * in.w));  // planes of an item
  auto* lines = scope.array<float>(2 * in.w * ctx.threads());
  ctx.pool().parallel_for((planes + together - 1) / together, [&](std::int64_t item, int thread) {
    kernels::PoolRow k = common;
    k.line = lines + 2 * in.w * thread;
    k.row_step = p.h.dilation * in.w;
    k.column_step = 1;
    k.y_step = 1;
    for (std::int64_t plane = item * together; plane < std::min(planes, (item + 1) * together); ++plane)
      for (std::int64_t oh = 0; oh < out.h; ++oh) {
        place(k, oh, (plane * in.h + (rows.spans[oh].count > 0 ? rows.spans[oh].first : 0)) * in.w, (plane * out.h + oh) * out.w);
        fn(k, b16);
      }
  });
}

void pool(Context& ctx, const Pool& p, const Tensor& x, Tensor& y, Tensor* indices, const ImageSize& flat) {
  const ImageSize in = image_size(p.op, x, p.order, flat);
  const ImageSize out = out_image(p, in);
  const Shape shape = image_shape(x.shape(), p.order, flat, out);
  check_tensors(p, x, y, indices, shape);
  if (y.numel() == 0) return;
  Scope scope(ctx.workspace());
  // Block floats are pooled as the float32 numbers that they are, and packed once.
  const bool blocks = is_block_float(x.dtype());
  const DType dtype = blocks ? DType::f32 : x.dtype();
  Tensor row_x = x;
  if (x.layout() == Layout::tile) {
    row_x = scope.tensor(x.shape(), dtype);
    blocks ? typecast(ctx, x, row_x) : to_layout(ctx, x, row_x);
  }
  if (y.layout() == Layout::row_major) return run(ctx, p, in, out, row_x, y, indices);
  Tensor row_y = scope.tensor(shape, dtype);
  run(ctx, p, in, out, row_x, row_y, indices);
  blocks ? typecast(ctx, row_y, y) : to_layout(ctx, row_y, y);
}

template <class Options>
std::int64_t stride_of(const Options& o, std::size_t axis) {
  return o.stride == std::array<std::int64_t, 2>{0, 0} ? o.kernel[axis] : o.stride[axis];
}

Pool make(const MaxPool2d& o) {
  const auto axis = [&](std::size_t i) {
    return Axis{o.kernel[i], stride_of(o, i), o.padding[2 * i], o.padding[2 * i + 1], o.dilation[i], o.ceil_mode};
  };
  Pool p{"max_pool2d", true, axis(0), axis(1), false, 0, o.order};
  check_axis(p.op, "height", p.h);
  check_axis(p.op, "width", p.w);
  return p;
}

Pool make(const AvgPool2d& o) {
  const auto axis = [&](std::size_t i) { return Axis{o.kernel[i], stride_of(o, i), o.padding[2 * i], o.padding[2 * i + 1], 1, o.ceil_mode}; };
  Pool p{"avg_pool2d", false, axis(0), axis(1), o.count_include_pad, o.divisor_override, o.order};
  check_axis(p.op, "height", p.h);
  check_axis(p.op, "width", p.w);
  return p;
}

Pool make(const AdaptivePool2d& o, bool maximum, const ImageSize& in) {
  Pool p{maximum ? "adaptive_max_pool2d" : "adaptive_avg_pool2d", maximum, {}, {}, false, 0, o.order};
  for (const std::int64_t size : o.output)
    if (size != kInputSize && (size < 0 || size > kMostOutput))
      fail_expected(p.op, "an output size from 0 to 2^30, or kInputSize", std::to_string(size));
  p.h.adaptive = o.output[0] == kInputSize ? in.h : o.output[0];
  p.w.adaptive = o.output[1] == kInputSize ? in.w : o.output[1];
  if (o.ttnn_strict && in.h > 0 && in.w > 0 && p.h.adaptive > 0 && p.w.adaptive > 0) check_ttnn_strict(in.h, in.w, p.h.adaptive, p.w.adaptive);
  return p;
}

Shape shape_of(const Pool& p, const Tensor& x, const ImageSize& flat) {
  return image_shape(x.shape(), p.order, flat, out_image(p, image_size(p.op, x, p.order, flat)));
}

Pool make_adaptive(const AdaptivePool2d& o, bool maximum, const Tensor& x, const ImageSize& flat) {
  return make(o, maximum, image_size(maximum ? "adaptive_max_pool2d" : "adaptive_avg_pool2d", x, o.order, flat));
}

Tensor fresh(Context& ctx, const Pool& p, const Tensor& x, Tensor* indices, const ImageSize& flat) {
  const Shape shape = shape_of(p, x, flat);
  check_dtype(p, x);
  Tensor y = is_block_float(x.dtype()) ? Tensor::zeros(shape, x.dtype(), Layout::tile) : Tensor::empty(shape, x.dtype());
  if (indices != nullptr) *indices = Tensor::empty(shape, DType::i32);
  pool(ctx, p, x, y, indices, flat);
  return y;
}

}  // namespace

Shape pool2d_shape(const Tensor& x, const MaxPool2d& options, const ImageSize& flat) { return shape_of(make(options), x, flat); }
Shape pool2d_shape(const Tensor& x, const AvgPool2d& options, const ImageSize& flat) { return shape_of(make(options), x, flat); }
Shape pool2d_shape(const Tensor& x, const AdaptivePool2d& options, const ImageSize& flat) {
  return shape_of(make_adaptive(options, false, x, flat), x, flat);
}

void max_pool2d(Context& ctx, const Tensor& x, const MaxPool2d& options, Tensor& y, Tensor* indices, const ImageSize& flat) {
  pool(ctx, make(options), x, y, indices, flat);
}
void avg_pool2d(Context& ctx, const Tensor& x, const AvgPool2d& options, Tensor& y, const ImageSize& flat) {
  pool(ctx, make(options), x, y, nullptr, flat);
}
void adaptive_max_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor& y, Tensor* indices, const ImageSize& flat) {
  pool(ctx, make_adaptive(options, true, x, flat), x, y, indices, flat);
}
void adaptive_avg_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor& y, const ImageSize& flat) {
  pool(ctx, make_adaptive(options, false, x, flat), x, y, nullptr, flat);
}

Tensor max_pool2d(Context& ctx, const Tensor& x, const MaxPool2d& options, Tensor* indices, const ImageSize& flat) {
  return fresh(ctx, make(options), x, indices, flat);
}
Tensor avg_pool2d(Context& ctx, const Tensor& x, const AvgPool2d& options, const ImageSize& flat) {
  return fresh(ctx, make(options), x, nullptr, flat);
}
Tensor adaptive_max_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor* indices, const ImageSize& flat) {
  return fresh(ctx, make_adaptive(options, true, x, flat), x, indices, flat);
}
Tensor adaptive_avg_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, const ImageSize& flat) {
  return fresh(ctx, make_adaptive(options, false, x, flat), x, nullptr, flat);
}
Tensor global_avg_pool2d(Context& ctx, const Tensor& x, ImageOrder order) {
  return adaptive_avg_pool2d(ctx, x, {.output = {1, 1}, .ttnn_strict = false, .order = order});
}

}  // namespace tessera::ops
