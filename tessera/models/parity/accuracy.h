// The accuracy bill: how far the final actions of every precision are from the reference's, in the robot's own units, next to what the
// reference's own bf16 run costs. Judges nothing. Test: tests/models/accuracy_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "tessera/models/policy/policy.h"

namespace tessera::models {

/// One dimension of the actions over all recordings.
struct AccuracyDimension {
  std::string name;     // the checkpoint's name of it, or its number
  double max_abs = 0;   // largest distance from the reference
  double mean_abs = 0;  // mean distance
};

/// One line of the bill. Distances are from the reference's f32 run; an action that is not finite is infinitely far.
struct AccuracyRow {
  std::string name;            // "f32", "bf16", "int8", or "reference bf16"
  std::size_t recordings = 0;  // that it is made of
  double pcc = 1;              // Pearson correlation over all actions
  double max_abs = 0;
  double mean_abs = 0;
  double rms = 0;
  std::string max_where;     // of max_abs: "dimension x of action 12 of faucet-open-0.safetensors"; empty where all is equal
  std::size_t worst = 0;     // index in `dimensions`: the one with the largest mean distance
  double to_reference = -1;  // rms / that of the reference's own bf16 run; -1 unless every recording has one
  std::vector<AccuracyDimension> dimensions;
};

struct AccuracyReport {
  std::size_t recordings = 0;
  std::size_t actions = 0;         // of one row, over all recordings
  bool robot_units = true;         // false: normalised, and a note says why
  std::string units;               // in words
  std::vector<AccuracyRow> rows;   // in the order asked for; the reference's own bf16 run last, where it was recorded
  std::vector<std::string> notes;  // what the policy warns of, matrices kept in bf16, recordings without the reference's bf16 run
};

/// Runs `recordings` (files or folders, as verify() takes them) in every one of `precisions`, one model in memory at a time; `options.precision` is
/// not looked at. Model-level recordings are un-normalised with the checkpoint's statistics (relative actions then stay relative to the
/// state); where the folder makes no policy, their actions stay normalised, and the report says so. Throws Error as verify() does, and
/// when there is no precision.
AccuracyReport accuracy(Context& ctx, const std::filesystem::path& checkpoint, std::span<const std::filesystem::path> recordings,
                        std::span<const Precision> precisions, const PolicyOptions& options = {});

}  // namespace tessera::models
