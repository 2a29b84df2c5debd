// Normalisation of states and actions as LeRobot and openpi compute it. Private to models/policy (not installed).
// Test: tests/models/names_test.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::models {

enum class NormMode : std::uint8_t { identity, mean_std, min_max, quantiles, quantile10 };
/// "MEAN_STD", ...; throws Error on another word.
NormMode parse_norm_mode(std::string_view word, std::string_view where);
std::string_view name(NormMode mode);

/// Whose arithmetic: LeRobot computes in float32 (eps 1e-8 only against zero, or added to std when normalising), openpi in float64 with
/// 1e-6 added to every denominator. LeRobot's early form (statistics in the weights file, up to 0.3) adds 1e-8 to the spread of MIN_MAX.
enum class NormStyle : std::uint8_t { lerobot, early_lerobot, openpi };

struct Normaliser {
  NormMode mode = NormMode::identity;
  NormStyle style = NormStyle::lerobot;
  double eps = 1e-8;
  std::vector<double> low;   // mean, min, q01 or q10
  std::vector<double> high;  // std, max, q99 or q90
  bool statistics = false;   // false: nothing to normalise with, values pass

  /// Towards the model. Throws Error when there are more values than statistics, LeRobot's also when there are fewer.
  void forward(std::vector<double>& x) const;
  /// Towards the robot, one row in place. openpi: values beyond the statistics pass (mean 0, std 1 for MEAN_STD).
  void inverse(std::span<double> x) const;
  std::string str() const;
};

}  // namespace tessera::models
