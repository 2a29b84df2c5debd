#include "tessera/ops/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

using Scope = runtime::Workspace::Scope;

/// One picture in memory; `pitch` is the distance of rows, so that a resized picture can be written into the middle of a padded one.
template <class T>
struct Picture {
  T* data = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::int64_t pitch = 0;

  T* row(std::int64_t y) const { return data + y * pitch; }
};

/// What every output position of one axis reads: `count[o]` inputs from `begin[o]` on, with weights[o * most ...].
template <class W>
struct Taps {
  std::int64_t* begin = nullptr;
  std::int64_t* count = nullptr;
  W* weights = nullptr;
  std::int64_t most = 0;
};

/// Clipping of float results; none: lowest and highest are infinite.
struct Range {
  float lowest = -INFINITY;
  float highest = INFINITY;
};

/// To the nearest whole number, ties to even; for |x| < 2^22.
float round_even(float x) { return (x + 12582912.0f) - 12582912.0f; }

void store(float& to, float x, const Range& range) { to = x < range.lowest ? range.lowest : x > range.highest ? range.highest : x; }
void store(std::uint8_t& to, float x, const Range&) { to = static_cast<std::uint8_t>(round_even(std::min(255.0f, std::max(0.0f, x)))); }

/// Calls fn(row, thread) for all rows, in a few pieces a thread.
template <class Fn>
void for_rows(Context& ctx, std::int64_t rows, Fn fn) {
  const std::int64_t piece = std::max<std::int64_t>(1, rows / (8 * ctx.threads()));
  ctx.pool().parallel_for((rows + piece - 1) / piece, [&](std::int64_t item, int thread) {
    for (std::int64_t y = item * piece; y < std::min(rows, (item + 1) * piece); ++y) fn(y, thread);
  });
}

// ---- PIL: weights in double, then fixed point with 22 bits; each pass rounds to uint8 ----

constexpr int kPilBits = 22;

/// Half width 1.
double pil_triangle(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

/// Keys' cubic, half width 2.
double pil_cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

Taps<std::int32_t> pil_taps(Scope& scope, std::int64_t in, std::int64_t out, ResizeFilter filter) {
  const bool cubic = filter == ResizeFilter::pil_bicubic;
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);           // of the filter, where the picture shrinks
  const double support = (cubic ? 2.0 : 1.0) * stretch;  // its half width in input pixels
  Taps<std::int32_t> taps;
  taps.most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 1;
  taps.begin = scope.array<std::int64_t>(out);
  taps.count = scope.array<std::int64_t>(out);
  taps.weights = scope.array<std::int32_t>(out * taps.most);
  double* const exact = scope.array<double>(taps.most);
  for (std::int64_t o = 0; o < out; ++o) {
    const double center = (static_cast<double>(o) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::trunc(center - support + 0.5)));
    const auto last = std::min(in, static_cast<std::int64_t>(std::trunc(center + support + 0.5)));
    double sum = 0;
    for (std::int64_t i = first; i < last; ++i) {
      const double distance = (static_cast<double>(i) - center + 0.5) * (1.0 / stretch);
      exact[i - first] = cubic ? pil_cubic(distance) : pil_triangle(distance);
      sum += exact[i - first];
    }
    taps.begin[o] = first;
    taps.count[o] = last - first;
    for (std::int64_t i = 0; i < last - first; ++i) {
      const double w = sum != 0 ? exact[i] / sum : exact[i];
      taps.weights[o * taps.most + i] = static_cast<std::int32_t>(std::trunc((w < 0 ? -0.5 : 0.5) + w * (1 << kPilBits)));
    }
  }
  return taps;
}

std::uint8_t pil_round(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kPilBits, 0, 255)); }

void pil_horizontal(const std::uint8_t* from, std::int64_t channels, const Taps<std::int32_t>& taps, std::int64_t width, std::uint8_t* to) {
  for (std::int64_t x = 0; x < width; ++x) {
    const std::int32_t* const w = taps.weights + x * taps.most;
    const std::uint8_t* const p = from + taps.begin[x] * channels;
    const std::int64_t count = taps.count[x];
    if (channels == 3) {
      std::int32_t sum[3] = {1 << (kPilBits - 1), 1 << (kPilBits - 1), 1 << (kPilBits - 1)};
      for (std::int64_t i = 0; i < count; ++i)
        for (int c = 0; c < 3; ++c) sum[c] += p[i * 3 + c] * w[i];
      for (int c = 0; c < 3; ++c) to[x * 3 + c] = pil_round(sum[c]);
      continue;
    }
    for (std::int64_t c = 0; c < channels; ++c) {
      std::int32_t sum = 1 << (kPilBits - 1);
      for (std::int64_t i = 0; i < count; ++i) sum += p[i * channels + c] * w[i];
      to[x * channels + c] = pil_round(sum);
    }
  }
}

void resize_pil(Context& ctx, const Picture<const std::uint8_t>& x, ResizeFilter filter, const Picture<std::uint8_t>& y) {
  Scope scope(ctx.workspace());
  Picture<const std::uint8_t> wide = x;  // after the horizontal pass
  if (x.width != y.width) {
    const Taps<std::int32_t> taps = pil_taps(scope, x.width, y.width, filter);
    std::uint8_t* const memory = scope.array<std::uint8_t>(x.height * y.width * x.channels);
    wide = {memory, x.height, y.width, x.channels, y.width * x.channels};
    for_rows(ctx, x.height, [&](std::int64_t r, int) { pil_horizontal(x.row(r), x.channels, taps, y.width, memory + r * wide.pitch); });
  }
  const std::int64_t columns = y.width * y.channels;
  if (x.height == y.height) {
    for_rows(ctx, y.height, [&](std::int64_t r, int) { std::memcpy(y.row(r), wide.row(r), static_cast<std::size_t>(columns)); });
    return;
  }
  const Taps<std::int32_t> taps = pil_taps(scope, x.height, y.height, filter);
  std::int32_t* const sums = scope.array<std::int32_t>(columns * ctx.threads());
  for_rows(ctx, y.height, [&](std::int64_t r, int thread) {
    std::int32_t* const sum = sums + thread * columns;
    for (std::int64_t c = 0; c < columns; ++c) sum[c] = 1 << (kPilBits - 1);
    for (std::int64_t i = 0; i < taps.count[r]; ++i) {
      const std::int32_t w = taps.weights[r * taps.most + i];
      const std::uint8_t* const from = wide.row(taps.begin[r] + i);
      for (std::int64_t c = 0; c < columns; ++c) sum[c] += from[c] * w;
    }
    std::uint8_t* const to = y.row(r);
    for (std::int64_t c = 0; c < columns; ++c) to[c] = pil_round(sum[c]);
  });
}

// ---- jax.image: the same triangle with f32 weights, no rounding between the passes ----

Taps<float> jax_taps(Scope& scope, std::int64_t in, std::int64_t out) {
  // The scale is out / in and its inverse is taken again, both in double, as jax.image.resize does.
  const double inverse = 1.0 / (static_cast<double>(out) / static_cast<double>(in));
  const auto step = static_cast<float>(inverse);
  const auto support = static_cast<float>(std::max(inverse, 1.0));
  Taps<float> taps;
  taps.most = static_cast<std::int64_t>(std::ceil(support)) * 2 + 2;
  taps.begin = scope.array<std::int64_t>(out);
  taps.count = scope.array<std::int64_t>(out);
  taps.weights = scope.array<float>(out * taps.most);
  for (std::int64_t o = 0; o < out; ++o) {
    float* const weights = taps.weights + o * taps.most;
    if (in == out) {  // an axis that keeps its size is left alone
      taps.begin[o] = o;
      taps.count[o] = 1;
      weights[0] = 1;
      continue;
    }
    const float sample = (static_cast<float>(o) + 0.5f) * step - 0.5f;
    const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor(sample - support)), 0, in - 1);
    std::int64_t count = 0;
    float sum = 0;
    taps.begin[o] = first;
    for (std::int64_t i = first; i < std::min(in, first + taps.most); ++i) {
      const float w = std::max(0.0f, 1.0f - std::fabs(sample - static_cast<float>(i)) / support);
      if (w == 0 && count == 0) {
        taps.begin[o] = i + 1;
      } else if (w == 0) {
        break;
      } else {
        weights[count++] = w;
        sum += w;
      }
    }
    taps.count[o] = count;
    for (std::int64_t i = 0; i < count; ++i) weights[i] = weights[i] / sum;
  }
  return taps;
}

template <class T>
void resize_jax(Context& ctx, const Picture<const T>& x, const Picture<T>& y, const Range& range) {
  Scope scope(ctx.workspace());
  const Taps<float> rows = jax_taps(scope, x.height, y.height);
  const Taps<float> columns = jax_taps(scope, x.width, y.width);
  const std::int64_t channels = x.channels;
  const std::int64_t width = x.width * channels;
  float* const lines = scope.array<float>(width * ctx.threads());
  for_rows(ctx, y.height, [&](std::int64_t r, int thread) {
    float* const line = lines + thread * width;
    for (std::int64_t i = 0; i < rows.count[r]; ++i) {
      const float w = rows.weights[r * rows.most + i];
      const T* const from = x.row(rows.begin[r] + i);
      if (i == 0)
        for (std::int64_t c = 0; c < width; ++c) line[c] = static_cast<float>(from[c]) * w;
      else
        for (std::int64_t c = 0; c < width; ++c) line[c] += static_cast<float>(from[c]) * w;
    }
    T* const to = y.row(r);
    for (std::int64_t o = 0; o < y.width; ++o) {
      const float* const w = columns.weights + o * columns.most;
      const float* const from = line + columns.begin[o] * channels;
      const std::int64_t count = columns.count[o];
      for (std::int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (std::int64_t i = 0; i < count; ++i) sum += from[i * channels + c] * w[i];
        store(to[o * channels + c], sum, range);
      }
    }
  });
}

// ---- torch: two neighbours an axis, or four ----

/// a * b + c, rounded once: the product of two floats is exact in double. (The sum is rounded to double first, which changes the float
/// with a probability of about 2^-29.)
float fused(float a, float b, float c) { return static_cast<float>(static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c)); }

/// Where output position o lies among the inputs, before any clamping.
float torch_source(std::int64_t in, std::int64_t out, std::int64_t o) {
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  return fused(scale, static_cast<float>(o) + 0.5f, -0.5f);
}

struct Neighbours {
  std::int64_t first = 0;
  std::int64_t second = 0;
  float w_first = 1;
  float w_second = 0;
};

Neighbours* torch_neighbours(Scope& scope, std::int64_t in, std::int64_t out) {
  Neighbours* const all = scope.array<Neighbours>(out);
  for (std::int64_t o = 0; o < out; ++o) {
    const float source = std::max(0.0f, torch_source(in, out, o));
    const auto first = std::min(static_cast<std::int64_t>(source), in - 1);
    const float weight = std::clamp(source - static_cast<float>(first), 0.0f, 1.0f);
    all[o] = {first, std::min(first + 1, in - 1), 1.0f - weight, weight};
  }
  return all;
}

template <class T>
void resize_torch(Context& ctx, const Picture<const T>& x, const Picture<T>& y, const Range& range) {
  Scope scope(ctx.workspace());
  const Neighbours* const rows = torch_neighbours(scope, x.height, y.height);
  const Neighbours* const columns = torch_neighbours(scope, x.width, y.width);
  const std::int64_t channels = x.channels;
  for_rows(ctx, y.height, [&](std::int64_t r, int) {
    const Neighbours v = rows[r];
    const T* const upper = x.row(v.first);
    const T* const lower = x.row(v.second);
    T* const to = y.row(r);
    for (std::int64_t o = 0; o < y.width; ++o) {
      const Neighbours h = columns[o];
      const float w00 = v.w_first * h.w_first;
      const float w01 = v.w_first * h.w_second;
      const float w10 = v.w_second * h.w_first;
      const float w11 = v.w_second * h.w_second;
      const std::int64_t left = h.first * channels;
      const std::int64_t right = h.second * channels;
      // The order of torch's kernel, which gives its bits.
      for (std::int64_t c = 0; c < channels; ++c) {
        float sum = w01 * static_cast<float>(upper[right + c]);
        sum = fused(w00, static_cast<float>(upper[left + c]), sum);
        sum = fused(w10, static_cast<float>(lower[left + c]), sum);
        sum = fused(w11, static_cast<float>(lower[right + c]), sum);
        store(to[o * channels + c], sum, range);
      }
    }
  });
}

struct Cubic {
  std::int64_t index[4];
  float weight[4];
};

/// Keys' cubic kernel with a = -0.75, at the distances 1 + t, t, 1 - t, 2 - t; neighbours beyond the edge repeat the edge.
Cubic* torch_cubic(Scope& scope, std::int64_t in, std::int64_t out) {
  constexpr float a = -0.75f;
  const auto near = [](float x) { return ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f; };
  const auto far = [](float x) { return ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a; };
  Cubic* const all = scope.array<Cubic>(out);
  for (std::int64_t o = 0; o < out; ++o) {
    const float source = torch_source(in, out, o);
    const auto base = static_cast<std::int64_t>(std::floor(source));
    const float t = std::clamp(source - static_cast<float>(base), 0.0f, 1.0f);
    all[o] = {{}, {far(t + 1.0f), near(t), near(1.0f - t), far(2.0f - t)}};
    for (int i = 0; i < 4; ++i) all[o].index[i] = std::clamp<std::int64_t>(base - 1 + i, 0, in - 1);
  }
  return all;
}

// ---- checks ----

template <class T>
Picture<const T> picture(const Tensor& t) {
  return {t.data<T>(), t.shape()[0], t.shape()[1], t.shape()[2], t.shape()[1] * t.shape()[2]};
}
template <class T>
Picture<T> picture(Tensor& t) {
  return {t.data<T>(), t.shape()[0], t.shape()[1], t.shape()[2], t.shape()[1] * t.shape()[2]};
}

void check_picture(const char* op, const char* what, const Tensor& t) {
  const bool fits = t.defined() && t.layout() == Layout::row_major && t.shape().rank() == 3 && t.numel() > 0 && t.is_contiguous() &&
                    (t.dtype() == DType::u8 || t.dtype() == DType::f32);
  if (!fits) fail_expected(op, std::string(what) + " as a contiguous uint8 or float32 [height, width, channels] of at least one pixel", t.str());
}

void check_pair(const char* op, const Tensor& x, const Tensor& y) {
  check_picture(op, "x", x);
  check_picture(op, "y", y);
  if (y.dtype() != x.dtype() || y.shape()[2] != x.shape()[2]) fail_expected(op, "y with the dtype and channels of x " + x.str(), y.str());
}

const char* name(ResizeFilter filter) {
  switch (filter) {
    case ResizeFilter::pil_bilinear: return "pil_bilinear";
    case ResizeFilter::pil_bicubic: return "pil_bicubic";
    case ResizeFilter::jax_linear: return "jax_linear";
    case ResizeFilter::torch_bilinear: return "torch_bilinear";
  }
  return "?";
}

bool is_pil(ResizeFilter filter) { return filter == ResizeFilter::pil_bilinear || filter == ResizeFilter::pil_bicubic; }

void check_filter(const char* op, ResizeFilter filter, const Tensor& x) {
  if (std::strcmp(name(filter), "?") == 0) fail_expected(op, "a filter", std::to_string(static_cast<int>(filter)));
  if (is_pil(filter) && x.dtype() != DType::u8) fail_expected(op, std::string("uint8 for ") + name(filter), x.str());
}

/// Multiplications and additions of the two passes (torch: of the four products).
double flops(ResizeFilter filter, const Tensor& x, std::int64_t new_height, std::int64_t new_width) {
  const auto height = static_cast<double>(x.shape()[0]);
  const auto width = static_cast<double>(x.shape()[1]);
  const auto channels = static_cast<double>(x.shape()[2]);
  const auto out_height = static_cast<double>(new_height);
  const auto out_width = static_cast<double>(new_width);
  if (filter == ResizeFilter::torch_bilinear) return 8 * out_height * out_width * channels;
  const double taps = filter == ResizeFilter::pil_bicubic ? 4 : 2;
  const double across = taps * std::max(1.0, width / out_width);  // taps of an output position
  const double down = taps * std::max(1.0, height / out_height);
  if (is_pil(filter)) return 2 * channels * (height * out_width * across + out_height * out_width * down);
  return 2 * channels * (out_height * width * down + out_height * out_width * across);
}

double traffic(const Tensor& x, const Tensor& y) { return static_cast<double>(x.bytes()) + static_cast<double>(y.bytes()); }

template <class T>
void resize_into(Context& ctx, const Picture<const T>& x, ResizeFilter filter, const Picture<T>& y, const Range& range) {
  if constexpr (std::is_same_v<T, std::uint8_t>) {
    if (is_pil(filter)) return resize_pil(ctx, x, filter, y);
  }
  if (filter == ResizeFilter::jax_linear) return resize_jax(ctx, x, y, range);
  resize_torch(ctx, x, y, range);
}

template <class T>
void pad_into(Context& ctx, const Tensor& x, const ResizeWithPad& o, std::int64_t height, std::int64_t width, Tensor& y) {
  const Picture<const T> from = picture<T>(x);
  const Picture<T> to = picture<T>(y);
  const std::int64_t top = o.pad_left_top ? o.height - height : (o.height - height) / 2;
  const std::int64_t left = o.pad_left_top ? o.width - width : (o.width - width) / 2;
  const auto value = static_cast<T>(o.pad_value);
  for_rows(ctx, o.height, [&](std::int64_t r, int) {
    T* const row = to.row(r);
    if (r < top || r >= top + height) {
      std::fill(row, row + to.pitch, value);
    } else {
      std::fill(row, row + left * to.channels, value);
      std::fill(row + (left + width) * to.channels, row + to.pitch, value);
    }
  });
  const Picture<T> inner{to.row(top) + left * to.channels, height, width, to.channels, to.pitch};
  resize_into(ctx, from, o.filter, inner, o.clip ? Range{o.clip_min, o.clip_max} : Range{});
}

}  // namespace

void resize(Context& ctx, const Tensor& x, ResizeFilter filter, Tensor& y) {
  check_pair("resize", x, y);
  check_filter("resize", filter, x);
  runtime::Zone zone(ctx.profiler(), "resize", name(filter), flops(filter, x, y.shape()[0], y.shape()[1]), traffic(x, y));
  if (x.dtype() == DType::u8)
    resize_into(ctx, picture<std::uint8_t>(x), filter, picture<std::uint8_t>(y), {});
  else
    resize_into(ctx, picture<float>(x), filter, picture<float>(y), {});
}

void resize_with_pad(Context& ctx, const Tensor& x, const ResizeWithPad& options, Tensor& y) {
  constexpr const char* kOp = "resize_with_pad";
  check_pair(kOp, x, y);
  check_filter(kOp, options.filter, x);
  if (options.height < 1 || options.width < 1 || y.shape()[0] != options.height || y.shape()[1] != options.width)
    fail_expected(kOp, "y of height and width " + std::to_string(options.height) + " and " + std::to_string(options.width), y.str());
  if (x.dtype() == DType::u8 && !(options.pad_value >= 0 && options.pad_value <= 255 && std::floor(options.pad_value) == options.pad_value))
    fail_expected(kOp, "a whole pad_value from 0 to 255 for uint8", std::to_string(options.pad_value));
  if (options.clip && !(options.clip_min <= options.clip_max))
    fail_expected(kOp, "clip_min <= clip_max", std::to_string(options.clip_min) + " and " + std::to_string(options.clip_max));
  if (x.shape() == y.shape()) {
    runtime::Zone zone(ctx.profiler(), kOp, "copy", 0, traffic(x, y));
    std::memcpy(y.raw(), x.raw(), x.bytes());
    return;
  }
  const auto in_height = static_cast<double>(x.shape()[0]);
  const auto in_width = static_cast<double>(x.shape()[1]);
  const double ratio = std::max(in_width / static_cast<double>(options.width), in_height / static_cast<double>(options.height));
  const std::int64_t height = std::clamp<std::int64_t>(static_cast<std::int64_t>(in_height / ratio), 1, options.height);
  const std::int64_t width = std::clamp<std::int64_t>(static_cast<std::int64_t>(in_width / ratio), 1, options.width);
  runtime::Zone zone(ctx.profiler(), kOp, name(options.filter), flops(options.filter, x, height, width), traffic(x, y));
  if (x.dtype() == DType::u8)
    pad_into<std::uint8_t>(ctx, x, options, height, width, y);
  else
    pad_into<float>(ctx, x, options, height, width, y);
}

void interpolate_bicubic(Context& ctx, const Tensor& x, Tensor& y) {
  constexpr const char* kOp = "interpolate_bicubic";
  check_pair(kOp, x, y);
  if (x.dtype() != DType::f32) fail_expected(kOp, "float32", x.str());
  const Picture<const float> from = picture<float>(x);
  const Picture<float> to = picture<float>(y);
  // Five sums of four products an element.
  runtime::Zone zone(ctx.profiler(), kOp, "f32", 40 * static_cast<double>(y.numel()), traffic(x, y));
  Scope scope(ctx.workspace());
  const Cubic* const rows = torch_cubic(scope, from.height, to.height);
  const Cubic* const columns = torch_cubic(scope, from.width, to.width);
  const std::int64_t channels = from.channels;
  for_rows(ctx, to.height, [&](std::int64_t r, int) {
    float* const out = to.row(r);
    for (std::int64_t o = 0; o < to.width; ++o) {
      const Cubic& h = columns[o];
      for (std::int64_t c = 0; c < channels; ++c) {
        float sum = 0;
        for (int i = 0; i < 4; ++i) {
          const float* const row = from.row(rows[r].index[i]) + c;
          const float across = row[h.index[0] * channels] * h.weight[0] + row[h.index[1] * channels] * h.weight[1] +
                               row[h.index[2] * channels] * h.weight[2] + row[h.index[3] * channels] * h.weight[3];
          sum += across * rows[r].weight[i];
        }
        out[o * channels + c] = sum;
      }
    }
  });
}

}  // namespace tessera::ops
