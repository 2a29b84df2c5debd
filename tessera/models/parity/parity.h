// Runs recorded inputs and compares every recorded stage: the proof that this engine gives what the reference gave.
// Test: tests/models/parity_test.cpp.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/models/policy/policy.h"

namespace tessera::models {

struct ParityRow {
  std::string recording;  // file name
  std::string stage;      // "vision.0", "cache.3.k", "v_t (10 steps)", "actions", "pre.tokens", ...
  double max_abs = 0;
  double max_rel = 0;         // max_abs / scale, where scale = max |reference| of the stage
  double rms = 0;             // root mean square of the difference
  double pcc = 1;             // Pearson correlation; 1 when both are constant and equal
  double reference_rms = -1;  // of the reference's own bf16 run against its f32 run; -1 when not recorded
  double limit = 0;           // on max_rel (f32, and stages before the network) or on rms (bf16 actions); infinite: none
  double pcc_limit = 0;       // at least; 0: none. On bf16 and int8 actions
  bool judged = true;         // false: printed for information only (inner stages in bf16 and int8)
  bool pass = true;
};

struct ParityReport {
  std::vector<ParityRow> rows;
  bool pass = true;
  std::string summary;  // one line: "8 recordings, 120 stages, worst 1.3e-6 of scale at cache.3.k of faucet-open-0"
};

/// `recording`: io.safetensors (model level), policy_io.safetensors with policy_io.json beside it, a recording named by an index.json, or a
/// folder: then every recording in it (io, policy_io, observations/index.json). Throws Error when there is nothing to run or a tensor that
/// the format needs is missing. f32: every stage within 2e-4 of its scale. bf16: RMS distance of the final actions from the f32 reference,
/// over all recordings of one index or file, at most twice the reference's own bf16 run's, and PCC >= 0.999. int8: that PCC alone.
ParityReport verify(Context& ctx, const std::filesystem::path& checkpoint, const std::filesystem::path& recording, const PolicyOptions& options = {});

}  // namespace tessera::models
