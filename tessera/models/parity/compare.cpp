#include "tessera/models/parity/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tessera::models {
namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}

void Comparison::add(std::span<const double> got, std::span<const double> reference) {
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool same = got[i] == reference[i] || (std::isnan(got[i]) && std::isnan(reference[i]));
    const double difference = same ? 0.0 : std::abs(got[i] - reference[i]);
    max_abs_ = std::isnan(difference) ? kInfinity : std::max(max_abs_, difference);
    squares_ += max_abs_ == kInfinity ? kInfinity : difference * difference;
    if (std::isfinite(reference[i])) scale_ = std::max(scale_, std::abs(reference[i]));
    // Welford's update: sums of products would cancel for values far from zero.
    ++count_;
    const double n = static_cast<double>(count_);
    const double got_step = got[i] - got_mean_;
    const double reference_step = reference[i] - reference_mean_;
    got_mean_ += got_step / n;
    reference_mean_ += reference_step / n;
    got_variance_ += got_step * (got[i] - got_mean_);
    reference_variance_ += reference_step * (reference[i] - reference_mean_);
    covariance_ += got_step * (reference[i] - reference_mean_);
  }
}

void Comparison::add_bf16(std::span<const double> bf16, std::span<const double> reference) {
  for (std::size_t i = 0; i < bf16.size(); ++i) bf16_squares_ += (bf16[i] - reference[i]) * (bf16[i] - reference[i]);
  bf16_count_ += bf16.size();
}

double Comparison::max_rel() const noexcept {
  if (max_abs_ == 0) return 0;
  return scale_ > 0 ? max_abs_ / scale_ : kInfinity;
}

double Comparison::rms() const noexcept { return count_ == 0 ? 0 : std::sqrt(squares_ / static_cast<double>(count_)); }

double Comparison::pcc() const noexcept {
  if (max_abs_ == 0) return 1;
  const double norm = std::sqrt(got_variance_) * std::sqrt(reference_variance_);
  if (!(norm > 0) || !std::isfinite(norm)) return 0;
  return std::clamp(covariance_ / norm, -1.0, 1.0);
}

double Comparison::reference_rms() const noexcept {
  if (bf16_count_ == 0 || bf16_count_ != count_) return -1;
  return std::sqrt(bf16_squares_ / static_cast<double>(bf16_count_));
}

ParityRow Comparison::row() const {
  ParityRow row;
  row.max_abs = max_abs();
  row.max_rel = max_rel();
  row.rms = rms();
  row.pcc = pcc();
  row.reference_rms = reference_rms();
  return row;
}

}  // namespace tessera::models
