#include "tessera/ops/interpolate.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

using Scope = runtime::Workspace::Scope;
constexpr const char* kOp = "interpolate";
constexpr std::int64_t kMostSide = std::int64_t{1} << 24;  // beyond it float coordinates skip pixels

/// What the outputs of one axis read: `count[o]` weighted inputs at index[o * most ...].
struct Taps {
  std::int64_t most = 0;
  std::int64_t* count = nullptr;
  std::int64_t* index = nullptr;
  double* weight = nullptr;
  bool identity = false;
};

double triangle(double x) { return std::max(0.0, 1.0 - std::fabs(x)); }

/// Keys' cubic.
double cubic(double x, double a) {
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
}

Taps make_taps(Scope& scope, const Interpolate& o, std::int64_t in, std::int64_t out, double factor) {
  Taps taps;
  const double ratio = factor > 0 ? 1 / factor : static_cast<double>(in) / static_cast<double>(out);
  const double corners = out > 1 ? static_cast<double>(in - 1) / static_cast<double>(out - 1) : 0;
  const double step = o.align_corners ? corners : ratio;
  const bool is_cubic = o.mode == InterpolateMode::bicubic;
  const double support = (is_cubic ? 2 : 1) * (o.antialias ? std::max(1.0, step) : 1.0);
  taps.most = o.mode == InterpolateMode::nearest ? 1 : std::min(in + 4, static_cast<std::int64_t>(std::ceil(support)) * 2 + 2);
  taps.count = scope.array<std::int64_t>(out);
  taps.index = scope.array<std::int64_t>(out * taps.most);
  taps.weight = scope.array<double>(out * taps.most);
  taps.identity = in == out && (o.align_corners || factor == 0 || factor == 1);
  for (std::int64_t i = 0; i < out; ++i) {
    std::int64_t* const index = taps.index + i * taps.most;
    double* const weight = taps.weight + i * taps.most;
    const double source = o.align_corners ? static_cast<double>(i) * step : (static_cast<double>(i) + 0.5) * step - 0.5;
    if (o.mode == InterpolateMode::nearest) {
      taps.count[i] = 1;
      index[0] = std::min(in - 1, static_cast<std::int64_t>(std::floor(static_cast<float>(i) * static_cast<float>(ratio))));
      weight[0] = 1;
    } else if (o.antialias) {
      const double inverse = step > 1 ? 1 / step : 1;
      const double center = source + 0.5;
      const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::trunc(center - support + 0.5)));
      const auto last = std::min(in, static_cast<std::int64_t>(std::trunc(center + support + 0.5)));
      double sum = 0;
      for (std::int64_t k = 0; k < last - first; ++k) {
        const double at = (static_cast<double>(k + first) - center + 0.5) * inverse;
        index[k] = first + k;
        weight[k] = is_cubic ? cubic(at, -0.5) : triangle(at);
        sum += weight[k];
      }
      taps.count[i] = last - first;
      for (std::int64_t k = 0; k < last - first && sum != 0; ++k) weight[k] /= sum;
    } else if (is_cubic) {
      const double base = std::floor(source);
      taps.count[i] = 4;
      for (int k = 0; k < 4; ++k) {
        index[k] = std::clamp<std::int64_t>(static_cast<std::int64_t>(base) - 1 + k, 0, in - 1);
        weight[k] = cubic(source - base + 1 - k, -0.75);
      }
    } else {
      const double at = std::max(0.0, source);
      const std::int64_t first = std::min(in - 1, static_cast<std::int64_t>(std::floor(at)));
      const double rest = std::clamp(at - static_cast<double>(first), 0.0, 1.0);
      taps.count[i] = 2;
      index[0] = first, index[1] = std::min(in - 1, first + 1);
      weight[0] = 1 - rest, weight[1] = rest;
    }
  }
  return taps;
}

float get(const float* p) { return *p; }
float get(const bf16* p) { return to_f32(*p); }
void put(float* p, float v) { *p = v; }
void put(bf16* p, float v) { *p = to_bf16(v); }

/// One picture [h, w, c] (or a plane: c = 1): rows are joined into a line of floats, then its columns.
template <class T>
void one_row(const T* x, std::int64_t w, std::int64_t c, const Taps& rows, const Taps& columns, std::int64_t oh, std::int64_t ow, float* line, T* y) {
  const std::int64_t wide = w * c;
  for (std::int64_t k = 0; k < rows.count[oh]; ++k) {
    const T* const from = x + rows.index[oh * rows.most + k] * wide;
    const auto weight = static_cast<float>(rows.weight[oh * rows.most + k]);
    for (std::int64_t i = 0; i < wide; ++i) line[i] = k == 0 ? weight * get(from + i) : line[i] + weight * get(from + i);
  }
  for (std::int64_t o = 0; o < ow; ++o)
    for (std::int64_t ch = 0; ch < c; ++ch) {
      float sum = 0;
      for (std::int64_t k = 0; k < columns.count[o]; ++k)
        sum += static_cast<float>(columns.weight[o * columns.most + k]) * line[columns.index[o * columns.most + k] * c + ch];
      put(y + o * c + ch, sum);
    }
}

template <class T>
void run(Context& ctx, Scope& scope, const Tensor& x, Tensor& y, std::int64_t pictures, std::int64_t h, std::int64_t w, std::int64_t c,
         std::int64_t oh, std::int64_t ow, const Taps& rows, const Taps& columns) {
  auto* const lines = scope.array<float>(w * c * ctx.threads());
  const T* px = x.data<T>();
  T* py = y.data<T>();
  ctx.pool().parallel_for(pictures * oh, [&](std::int64_t item, int thread) {
    one_row(px + item / oh * h * w * c, w, c, rows, columns, item % oh, ow, lines + w * c * thread, py + item * ow * c);
  });
}

/// torch's weights for bytes: as many bits behind the point as keep the largest in 16 bits.
struct ByteTaps {
  std::int16_t* weight = nullptr;
  int bits = 0;
};

ByteTaps byte_taps(Scope& scope, const Taps& taps, std::int64_t out) {
  double most = 0;
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t k = 0; k < taps.count[o]; ++k) most = std::max(most, taps.weight[o * taps.most + k]);
  ByteTaps bytes;
  while (bytes.bits < 22 && std::trunc(0.5 + most * static_cast<double>(1 << (bytes.bits + 1))) < 1 << 15) ++bytes.bits;
  bytes.weight = scope.array<std::int16_t>(out * taps.most);
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t k = 0; k < taps.count[o]; ++k) {
      const double v = taps.weight[o * taps.most + k] * static_cast<double>(1 << bytes.bits);
      bytes.weight[o * taps.most + k] = static_cast<std::int16_t>(std::trunc(v + (v < 0 ? -0.5 : 0.5)));
    }
  return bytes;
}

std::uint8_t rounded(std::int32_t sum, int bits) { return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255)); }

/// Horizontal pass first; an axis that keeps its size is left alone.
void run_bytes(Context& ctx, Scope& scope, const Tensor& x, Tensor& y, std::int64_t pictures, std::int64_t h, std::int64_t w, std::int64_t c,
               std::int64_t oh, std::int64_t ow, const Taps& rows, const Taps& columns) {
  const std::uint8_t* from = x.data<std::uint8_t>();
  if (!columns.identity) {
    const ByteTaps taps = byte_taps(scope, columns, ow);
    auto* wide = scope.array<std::uint8_t>(pictures * h * ow * c);
    ctx.pool().parallel_for(pictures * h, [&](std::int64_t r, int) {
      for (std::int64_t o = 0; o < ow; ++o)
        for (std::int64_t ch = 0; ch < c; ++ch) {
          std::int32_t sum = 1 << (taps.bits - 1);
          for (std::int64_t k = 0; k < columns.count[o]; ++k)
            sum += x.data<std::uint8_t>()[(r * w + columns.index[o * columns.most + k]) * c + ch] * taps.weight[o * columns.most + k];
          wide[(r * ow + o) * c + ch] = rounded(sum, taps.bits);
        }
    });
    from = wide;
  }
  const std::int64_t line = ow * c;
  auto* to = y.data<std::uint8_t>();
  const ByteTaps taps = byte_taps(scope, rows, oh);
  ctx.pool().parallel_for(pictures * oh, [&](std::int64_t item, int) {
    const std::int64_t o = item % oh;
    const std::uint8_t* const picture = from + item / oh * h * line;
    if (rows.identity) {
      std::memcpy(to + item * line, picture + o * line, static_cast<std::size_t>(line));
      return;
    }
    for (std::int64_t i = 0; i < line; ++i) {
      std::int32_t sum = 1 << (taps.bits - 1);
      for (std::int64_t k = 0; k < rows.count[o]; ++k) sum += picture[rows.index[o * rows.most + k] * line + i] * taps.weight[o * rows.most + k];
      to[item * line + i] = rounded(sum, taps.bits);
    }
  });
}

/// PyTorch derives the size from the factor; a false one would make filters of any length. The slack is for out / in, rounded.
void check_factor(double factor, std::int64_t in, std::int64_t out) {
  constexpr double kSlack = 1e-6;
  if (!(factor >= 0) || !std::isfinite(factor)) fail_expected(kOp, "scale factors above 0 (0: the ratio of the sizes)", std::to_string(factor));
  const double side = static_cast<double>(in) * factor;
  if (factor > 0 && (side < static_cast<double>(out) * (1 - kSlack) || side >= static_cast<double>(out + 1)))
    fail_expected(kOp, "scale factors of the sizes, floor(" + std::to_string(in) + " * factor) = " + std::to_string(out), std::to_string(factor));
}

void check(const Tensor& x, const Interpolate& o, const Tensor& y, const ImageSize& in, const ImageSize& out) {
  if (!x.is_contiguous() || (x.dtype() != DType::f32 && x.dtype() != DType::bf16 && x.dtype() != DType::u8))
    fail_expected(kOp, "x as contiguous row-major float32, bfloat16 or uint8", x.str());
  if (!y.is_contiguous() || y.dtype() != x.dtype() || y.shape().rank() != x.shape().rank() || in.n != out.n || in.c != out.c)
    fail_expected(kOp, "y of x's dtype, rank, batch and channels, " + x.str(), y.str());
  for (const std::int64_t side : {in.h, in.w, out.h, out.w})
    if (side < 1 || side > kMostSide) fail_expected(kOp, "heights and widths from 1 to 2^24", std::to_string(side));
  if (in.c < 1) fail_expected(kOp, "1 channel or more", std::to_string(in.c));
  if (o.mode == InterpolateMode::nearest && (o.align_corners || o.antialias))
    fail_expected(kOp, "neither align_corners nor antialias for nearest", o.antialias ? "antialias" : "align_corners");
  if (x.dtype() == DType::u8 && !o.antialias) fail_expected(kOp, "antialias for uint8", "none", "ops::typecast converts to float32");
  check_factor(o.scale_factor[0], in.h, out.h);
  check_factor(o.scale_factor[1], in.w, out.w);
  if (overlap(x, y)) fail_expected(kOp, "y in memory of its own", "memory that overlaps x");
}

}  // namespace

void interpolate(Context& ctx, const Tensor& x, const Interpolate& options, Tensor& y) {
  const ImageSize in = image_size(kOp, x, options.order), out = image_size(kOp, y, options.order);
  check(x, options, y, in, out);
  if (x.numel() == 0) return;
  const bool planes = options.order == ImageOrder::nchw;
  const std::int64_t pictures = planes ? in.n * in.c : in.n, c = planes ? 1 : in.c;
  Scope scope(ctx.workspace());
  const Taps rows = make_taps(scope, options, in.h, out.h, options.scale_factor[0]);
  const Taps columns = make_taps(scope, options, in.w, out.w, options.scale_factor[1]);
  runtime::Zone zone(ctx.profiler(), kOp, "scalar", 4.0 * static_cast<double>(y.numel()) * static_cast<double>(rows.most),
                     static_cast<double>(x.bytes() + y.bytes()));
  if (x.dtype() == DType::u8) return run_bytes(ctx, scope, x, y, pictures, in.h, in.w, c, out.h, out.w, rows, columns);
  if (x.dtype() == DType::f32) return run<float>(ctx, scope, x, y, pictures, in.h, in.w, c, out.h, out.w, rows, columns);
  run<bf16>(ctx, scope, x, y, pictures, in.h, in.w, c, out.h, out.w, rows, columns);
}

Tensor upsample(Context& ctx, const Tensor& x, std::array<std::int64_t, 2> scale, InterpolateMode mode, ImageOrder order) {
  ImageSize size = image_size("upsample", x, order);
  for (const std::int64_t s : scale)
    if (s < 1 || s > 1 << 12) fail_expected("upsample", "scale factors from 1 to 4096", std::to_string(s));
  if (mode == InterpolateMode::bicubic) fail_expected("upsample", "nearest or bilinear", "bicubic");
  for (const std::int64_t side : {size.h, size.w})
    if (side < 1 || side > kMostSide) fail_expected("upsample", "heights and widths from 1 to 2^24", std::to_string(side));
  if (size.c < 1) fail_expected("upsample", "1 channel or more", std::to_string(size.c));
  size.h *= scale[0], size.w *= scale[1];
  for (const std::int64_t side : {size.h, size.w})
    if (side > kMostSide) fail_expected("upsample", "results of at most 2^24 rows and columns", std::to_string(side));
  check_image_size("upsample", size);
  Tensor y = Tensor::empty(image_shape(x.shape(), order, {}, size), x.dtype());
  interpolate(ctx, x, {.mode = mode, .order = order}, y);
  return y;
}

}  // namespace tessera::ops
