// Options that several commands share.
#pragma once

#include <optional>
#include <string>

#include "tessera/models/policy/policy.h"
#include "tessera/runtime/context.h"

namespace CLI {
class App;
}

namespace tessera::cli {

struct ContextFlags {
  int threads = 0;
  std::string isa;
  void add(CLI::App& command);
  ContextOptions options() const { return {.threads = threads, .isa = isa}; }
};

struct CheckpointFlags {
  std::string precision;  // "", "f32", "bf16", "int8"
  std::string robot;
  std::string tokenizer;
  std::string norm_stats;
  std::string schedule;
  bool allow_nonfinite = false;
  bool padded_state_prompt = false;
  bool any_prompt = false;
  bool legacy_resize = false;
  bool skip_checksums = false;
  /// Without `one_precision` the command has a --precision of its own. `packed`: it takes packed files, too.
  void add(CLI::App& command, bool one_precision = true, bool packed = true);
  models::PolicyOptions options() const;
};

/// The folder itself, whose recordings are meant when none is given. Throws Error for a packed file, which carries none.
std::string recordings_of(const std::string& checkpoint);

/// "f32", "bf16", "int8"; nothing for an empty word. (Other words do not pass the parser.)
std::optional<models::Precision> parse_precision(const std::string& word);

}  // namespace tessera::cli
