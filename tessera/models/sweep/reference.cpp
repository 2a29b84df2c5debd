#include "tessera/models/sweep/reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>

namespace tessera::models {
namespace {

using ops::ImageSize;
using I = std::int64_t;

constexpr double kUnit = 0x1p-24;  // largest relative error of one rounding in f32
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t at(I i) { return static_cast<std::size_t>(i); }

/// Largest error of a sum of `terms` in f32, in units of kUnit times the sum of their magnitudes. Every order of adding stays below the number
/// of terms (four more for products, a bias, a divisor and the division); errors that are not all of one sign grow with its root, and
/// eight standard deviations of it are left.
double growth(double terms) { return std::min(terms + 4, 8 + 4 * std::sqrt(terms)); }

/// `rare`: one of rare + 1 is special.
float value(SweepRandom& random, SweepValues kind, std::uint64_t rare) {
  const std::uint64_t bits = random.next();
  const float noise = static_cast<float>(static_cast<I>(bits >> 40) - (I{1} << 23)) * 0x1p-22f;
  switch (kind) {
    case SweepValues::offset: return noise + 3;
    case SweepValues::grid: {
      const auto quarter = static_cast<float>(static_cast<I>(bits >> 16 & 63) - 47) * 0.25f;
      return quarter == 0 && (bits & 1) != 0 ? -0.0f : quarter;
    }
    case SweepValues::special: {
      constexpr float kInf = std::numeric_limits<float>::infinity();
      constexpr std::array<float, 4> kAll = {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf, -kInf};
      return (bits & rare) == 0 ? kAll[bits >> 16 & 3] : noise;
    }
    case SweepValues::noise: break;
  }
  return noise;
}

std::vector<float> values(SweepRandom& random, I count, SweepValues kind, DType dtype) {
  std::vector<float> all(at(count));
  const std::uint64_t rare = (std::uint64_t{16} << random.between(0, 3) * 3) - 1;  // 1 of 16 to 1 of 8192: of small and of large windows
  for (float& v : all) {
    v = value(random, kind, rare);
    if (dtype == DType::bf16) v = to_f32(to_bf16(v));
  }
  return all;
}

I windows(I in, I kernel, I stride, I before, I after, I dilation, bool ceil_mode) {
  const double steps = static_cast<double>(in + before + after - dilation * (kernel - 1) - 1) / static_cast<double>(stride);
  const I count = static_cast<I>(ceil_mode ? std::ceil(steps) : std::floor(steps)) + 1;
  return ceil_mode && (count - 1) * stride >= in + before ? count - 1 : count;
}

/// The part of a window along one axis that lies in the input: positions first, first + step, ... below last.
struct Reach {
  I first, last, step;
  I count() const { return first < last ? (last - first - 1) / step + 1 : 0; }
};

Reach reach(const SweepProblem& p, std::size_t axis, I i, I in, I out) {
  if (p.adaptive()) {
    const SweepWindow w = adaptive_window(i, in, out);
    return {w.first, w.last, 1};
  }
  const I start = i * p.stride[axis] - p.padding[2 * axis];
  I first = start;
  while (first < 0) first += p.dilation[axis];
  return {first, std::min(in, start + p.dilation[axis] * (p.kernel[axis] - 1) + 1), p.dilation[axis]};
}

/// Cells of an average's window along one axis that count with the padding, which the last window may leave.
I padded_cells(const SweepProblem& p, std::size_t axis, I i, I in) {
  const I start = i * p.stride[axis] - p.padding[2 * axis];
  return std::min(start + p.kernel[axis], in + p.padding[2 * axis + 1]) - start;
}

void pooled(const SweepProblem& p, const SweepData& data, SweepExpected& e) {
  const ImageSize& s = p.x;
  std::vector<double> sum(at(s.c)), magnitude(at(s.c));
  std::vector<I> index(at(s.c));
  for (I n = 0; n < s.n; ++n)
    for (I oy = 0; oy < e.y.h; ++oy)
      for (I ox = 0; ox < e.y.w; ++ox) {
        const Reach rows = reach(p, 0, oy, s.h, e.y.h), columns = reach(p, 1, ox, s.w, e.y.w);
        std::ranges::fill(sum, p.maximum() ? -kInfinity : 0.0);
        std::ranges::fill(magnitude, 0.0);
        std::ranges::fill(index, rows.first * s.w + columns.first);
        for (I y = rows.first; y < rows.last; y += rows.step)
          for (I x = columns.first; x < columns.last; x += columns.step) {
            const float* in = data.x.data() + ((n * s.h + y) * s.w + x) * s.c;
            if (p.maximum()) {
              for (std::size_t c = 0; c < sum.size(); ++c) {
                const auto v = static_cast<double>(in[c]);
                if (v > sum[c] || std::isnan(v)) sum[c] = v, index[c] = y * s.w + x;
              }
            } else {
              for (std::size_t c = 0; c < sum.size(); ++c) {
                const auto v = static_cast<double>(in[c]);
                sum[c] += v;
                magnitude[c] += std::fabs(v);
              }
            }
          }
        const I terms = rows.count() * columns.count();
        double divisor = static_cast<double>(p.divisor != 0 ? p.divisor : terms);
        if (p.divisor == 0 && !p.adaptive() && p.count_include_pad)
          divisor = static_cast<double>(padded_cells(p, 0, oy, s.h) * padded_cells(p, 1, ox, s.w));
        for (std::size_t c = 0; c < sum.size(); ++c) {
          e.value.push_back(p.maximum() ? sum[c] : sum[c] / divisor);
          if (p.maximum())
            e.index.push_back(index[c]);
          else
            e.limit.push_back(kUnit * growth(static_cast<double>(terms)) * magnitude[c] / std::fabs(divisor));
        }
      }
}

double activated(double v, ops::ConvActivation activation) {
  using enum ops::ConvActivation;
  switch (activation) {
    case relu: return v < 0 ? 0 : v;
    case relu6: return v < 0 ? 0 : v > 6 ? 6 : v;
    case silu: return v / (1 + std::exp(-v));
    case gelu: return v / 2 * std::erfc(-v / std::numbers::sqrt2);
    case hardswish: return v * std::clamp(v + 3, 0.0, 6.0) / 6;
    case none: break;
  }
  return v;
}

void convolved(const SweepProblem& p, const SweepData& data, SweepExpected& e) {
  const ImageSize& s = p.x;
  const I taps = p.kernel[0] * p.kernel[1], out = s.c * p.multiplier;
  std::vector<double> weight(at(taps * out));  // [tap][output channel]
  for (I o = 0; o < out; ++o)
    for (I t = 0; t < taps; ++t) weight[at(t * out + o)] = static_cast<double>(data.weight[at(o * taps + t)]);
  std::vector<double> sum(at(out)), magnitude(at(out));
  for (I n = 0; n < s.n; ++n)
    for (I oy = 0; oy < e.y.h; ++oy)
      for (I ox = 0; ox < e.y.w; ++ox) {
        double terms = data.bias.empty() ? 0 : 1;
        for (std::size_t o = 0; o < sum.size(); ++o) {
          sum[o] = data.bias.empty() ? 0 : static_cast<double>(data.bias[o]);
          magnitude[o] = std::fabs(sum[o]);
        }
        for (I t = 0; t < taps; ++t) {
          const I y = oy * p.stride[0] - p.padding[0] + t / p.kernel[1] * p.dilation[0];
          const I x = ox * p.stride[1] - p.padding[2] + t % p.kernel[1] * p.dilation[1];
          if (y < 0 || y >= s.h || x < 0 || x >= s.w) continue;
          ++terms;
          const float* in = data.x.data() + ((n * s.h + y) * s.w + x) * s.c;
          const double* w = weight.data() + t * out;
          for (I o = 0; o < out; ++o) {
            const double term = static_cast<double>(in[p.multiplier == 1 ? o : o / p.multiplier]) * w[o];
            sum[at(o)] += term;
            magnitude[at(o)] += std::fabs(term);
          }
        }
        for (std::size_t o = 0; o < sum.size(); ++o) {
          double v = activated(sum[o], p.activation);
          // Slopes of activations reach 1.5 (hardswish); their own arithmetic rounds a few times, the exponent of gelu and silu included.
          double limit = growth(terms) * magnitude[o];
          if (p.activation != ops::ConvActivation::none) limit = 1.5 * limit + 16 * std::fabs(sum[o]);
          if (!data.residual.empty()) {
            const auto r = static_cast<double>(data.residual[e.value.size()]);
            v += r;
            limit += std::fabs(r) + std::fabs(v);
          }
          e.value.push_back(v);
          e.limit.push_back(kUnit * limit);
        }
      }
}

}  // namespace

SweepWindow adaptive_window(std::int64_t i, std::int64_t in, std::int64_t out) noexcept { return {i * in / out, (i * in + in + out - 1) / out}; }

ImageSize expected_size(const SweepProblem& p) {
  if (p.adaptive()) return {p.x.n, p.output[0], p.output[1], p.x.c};
  const auto axis = [&](std::size_t i, I in) {
    return windows(in, p.kernel[i], p.stride[i], p.padding[2 * i], p.padding[2 * i + 1], p.dilation[i], p.ceil_mode);
  };
  return {p.x.n, axis(0, p.x.h), axis(1, p.x.w), p.x.c * p.multiplier};
}

SweepData make_data(const SweepProblem& p, DType dtype) {
  SweepRandom random(p.seed);
  SweepData data;
  data.x = values(random, p.x.n * p.x.h * p.x.w * p.x.c, p.values, dtype);
  if (!p.convolution()) return data;
  const I out = p.x.c * p.multiplier;
  data.weight = values(random, out * p.kernel[0] * p.kernel[1], SweepValues::noise, dtype);
  if (p.bias) data.bias = values(random, out, SweepValues::noise, dtype);
  const ImageSize y = expected_size(p);
  if (p.residual) data.residual = values(random, y.n * y.h * y.w * y.c, SweepValues::noise, dtype);
  return data;
}

SweepExpected expected(const SweepProblem& p, const SweepData& data) {
  SweepExpected e;
  e.y = expected_size(p);
  const std::size_t count = at(e.y.n * e.y.h * e.y.w * e.y.c);
  e.value.reserve(count);
  (p.maximum() ? e.index.reserve(count) : e.limit.reserve(count));
  if (p.convolution())
    convolved(p, data, e);
  else
    pooled(p, data, e);
  return e;
}

}  // namespace tessera::models
