// Distances between what came out and what the reference gave, summed over one stage or pooled over many recordings. Private to models
// (not installed). Test: tests/models/parity_test.cpp.
#pragma once

#include <cstddef>
#include <span>

#include "tessera/models/parity/parity.h"

namespace tessera::models {

class Comparison {
 public:
  /// Equal lengths. A value that is not finite where the reference's differs counts as infinitely far.
  void add(std::span<const double> got, std::span<const double> reference);
  /// The reference's own bf16 run against the same reference.
  void add_bf16(std::span<const double> bf16, std::span<const double> reference);

  double max_abs() const noexcept { return max_abs_; }
  double max_rel() const noexcept;
  double rms() const noexcept;
  double pcc() const noexcept;
  /// -1 when the reference's bf16 run is not there for every element.
  double reference_rms() const noexcept;

  /// Everything but names and judgement.
  ParityRow row() const;

 private:
  std::size_t count_ = 0;
  std::size_t bf16_count_ = 0;
  double max_abs_ = 0;
  double scale_ = 0;
  double squares_ = 0;
  double bf16_squares_ = 0;
  double got_mean_ = 0;
  double reference_mean_ = 0;
  double got_variance_ = 0;  // times count, as the next two
  double reference_variance_ = 0;
  double covariance_ = 0;
};

}  // namespace tessera::models
