#include "tessera/models/policy/normalise.h"

#include <fmt/core.h>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

constexpr double kOpenpiEps = 1e-6;

// In float32 and in the order of the references' torch expressions.
float lerobot_forward(NormMode mode, float x, float low, float high, float eps) {
  if (mode == NormMode::mean_std) return (x - low) / (high + eps);
  float denominator = high - low;
  if (denominator == 0.0f) denominator = eps;
  return 2.0f * (x - low) / denominator - 1.0f;
}

float lerobot_inverse(NormMode mode, float x, float low, float high, float eps) {
  if (mode == NormMode::mean_std) return x * high + low;
  float denominator = high - low;
  if (denominator == 0.0f) denominator = eps;
  if (mode == NormMode::min_max) return (x + 1.0f) / 2.0f * denominator + low;
  return (x + 1.0f) * denominator / 2.0f + low;
}

float early_forward(NormMode mode, float x, float low, float high, float eps) {
  if (mode == NormMode::mean_std) return (x - low) / (high + eps);
  return (x - low) / (high - low + eps) * 2.0f - 1.0f;
}

float early_inverse(NormMode mode, float x, float low, float high) {
  if (mode == NormMode::mean_std) return x * high + low;
  return (x + 1.0f) / 2.0f * (high - low) + low;
}

}  // namespace

NormMode parse_norm_mode(std::string_view word, std::string_view where) {
  if (word == "IDENTITY") return NormMode::identity;
  if (word == "MEAN_STD") return NormMode::mean_std;
  if (word == "MIN_MAX") return NormMode::min_max;
  if (word == "QUANTILES") return NormMode::quantiles;
  if (word == "QUANTILE10") return NormMode::quantile10;
  fail_expected(where, "IDENTITY, MEAN_STD, MIN_MAX, QUANTILES or QUANTILE10", fmt::format("'{}'", word));
}

std::string_view name(NormMode mode) {
  switch (mode) {
    case NormMode::identity: return "IDENTITY";
    case NormMode::mean_std: return "MEAN_STD";
    case NormMode::min_max: return "MIN_MAX";
    case NormMode::quantiles: return "QUANTILES";
    case NormMode::quantile10: return "QUANTILE10";
  }
  return "?";
}

void Normaliser::forward(std::vector<double>& x) const {
  if (mode == NormMode::identity || !statistics) return;
  if (x.size() > low.size() || (style != NormStyle::openpi && x.size() != low.size()))
    fail_expected("normalise", fmt::format("{} values, as the statistics have", low.size()), std::to_string(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto v = static_cast<float>(x[i]);
    const auto lo = static_cast<float>(low[i]);
    const auto hi = static_cast<float>(high[i]);
    if (style == NormStyle::lerobot)
      x[i] = static_cast<double>(lerobot_forward(mode, v, lo, hi, static_cast<float>(eps)));
    else if (style == NormStyle::early_lerobot)
      x[i] = static_cast<double>(early_forward(mode, v, lo, hi, static_cast<float>(eps)));
    else if (mode == NormMode::mean_std)
      x[i] = (x[i] - low[i]) / (high[i] + kOpenpiEps);
    else
      x[i] = (x[i] - low[i]) / (high[i] - low[i] + kOpenpiEps) * 2.0 - 1.0;
  }
}

void Normaliser::inverse(std::span<double> x) const {
  if (mode == NormMode::identity || !statistics) return;
  if (style != NormStyle::openpi && x.size() != low.size())
    fail_expected("unnormalise", fmt::format("{} values, as the statistics have", low.size()), std::to_string(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool known = i < low.size();
    if (style == NormStyle::openpi) {
      if (mode == NormMode::mean_std)
        x[i] = x[i] * ((known ? high[i] : 1.0) + kOpenpiEps) + (known ? low[i] : 0.0);
      else if (known)
        x[i] = (x[i] + 1.0) / 2.0 * (high[i] - low[i] + kOpenpiEps) + low[i];
      continue;
    }
    const auto v = static_cast<float>(x[i]);
    const auto lo = static_cast<float>(low[i]);
    const auto hi = static_cast<float>(high[i]);
    x[i] =
        static_cast<double>(style == NormStyle::lerobot ? lerobot_inverse(mode, v, lo, hi, static_cast<float>(eps)) : early_inverse(mode, v, lo, hi));
  }
}

std::string Normaliser::str() const {
  if (mode == NormMode::identity) return "IDENTITY";
  if (!statistics) return fmt::format("{} without statistics: values pass unchanged", name(mode));
  return fmt::format("{}, {} values", name(mode), low.size());
}

}  // namespace tessera::models
