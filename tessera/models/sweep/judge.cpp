#include "tessera/models/sweep/judge.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>

namespace tessera::models {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string place(const ops::ImageSize& y, std::size_t element) {
  const auto i = static_cast<std::int64_t>(element);
  return fmt::format("n {}, row {}, column {}, channel {}", i / (y.h * y.w * y.c), i / (y.w * y.c) % y.h, i / y.c % y.w, i % y.c);
}

/// Pearson's coefficient over the elements that are finite on both sides.
std::optional<double> correlation(std::span<const double> a, std::span<const float> b) {
  double n = 0, mean_a = 0, mean_b = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) continue;
    ++n;
    mean_a += a[i];
    mean_b += static_cast<double>(b[i]);
  }
  if (n < 2) return std::nullopt;
  mean_a /= n, mean_b /= n;
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) continue;
    const double x = a[i] - mean_a, y = static_cast<double>(b[i]) - mean_b;
    aa += x * x;
    bb += y * y;
    ab += x * y;
  }
  if (!(aa > 0) || !(bb > 0)) return std::nullopt;
  return std::fmin(1, ab / (std::sqrt(aa) * std::sqrt(bb)));
}

/// Half the distance of neighbours in bf16 around v.
double half_step(double v) { return v == 0 ? 0 : std::ldexp(1.0, std::ilogb(v) - 8); }

}  // namespace

SweepVerdict judge(const SweepExpected& want, std::span<const float> got, DType dtype) {
  SweepVerdict v;
  const auto fails = [&](const std::string& what) {
    v.pass = false;
    v.of_limit = kInfinity;
    if (v.first.empty()) v.first = what;
  };
  if (got.size() != want.value.size()) {
    fails(fmt::format("{} values, expected {}", got.size(), want.value.size()));
    return v;
  }
  const bool exact = want.limit.empty();
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto g = static_cast<double>(got[i]);
    const double e = want.value[i];
    const auto element = [&] { return fmt::format("{}: {} for {}", place(want.y, i), g, e); };
    if (std::isnan(g) || std::isnan(e)) {
      if (!std::isnan(g) || !std::isnan(e)) fails(element());
      continue;
    }
    if (exact || std::isinf(g) || std::isinf(e)) {
      const bool same = g == e && (!exact || std::signbit(g) == std::signbit(e));
      if (!same) fails(element());
      if (!same) v.max_abs = std::fmax(v.max_abs, std::fabs(g - e));
      continue;
    }
    const double difference = std::fabs(g - e);
    double limit = want.limit[i];
    if (dtype == DType::bf16) limit += half_step(std::fabs(e) + limit);
    if (!(difference <= limit)) fails(fmt::format("{}, which may differ by {}", element(), limit));
    if (difference == 0) continue;
    v.of_limit = std::fmax(v.of_limit, limit > 0 ? difference / limit : kInfinity);
    if (difference > v.max_abs) v.max_abs = difference, v.limit = limit;
  }
  v.pcc = correlation(want.value, got);
  return v;
}

SweepVerdict judge_indices(const SweepExpected& want, std::span<const std::int32_t> got) {
  SweepVerdict v;
  if (got.size() != want.index.size()) return {false, 0, 0, kInfinity, {}, fmt::format("{} indices, expected {}", got.size(), want.index.size())};
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i] != want.index[i])
      return {false, kInfinity, 0, kInfinity, {}, fmt::format("{}: index {} for {}", place(want.y, i), got[i], want.index[i])};
  return v;
}

}  // namespace tessera::models
