// A checkpoint folder as one file that is mapped and used where it lies: weights packed for this machine's kernel rows, and everything else that a
// policy reads. Policy::load() takes the file in place of the folder. Test: tests/models/pack_test.cpp; page: docs/CHECKPOINTS.md.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tessera/models/policy/policy.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

struct PackReport {
  PackedContents contents;
  std::vector<std::string> warnings;  // Policy::warnings(), and a tokenizer that was not found
};

/// Loads the checkpoint as Policy::load() would (every check is made), and writes what it read to `out`. The options are remembered in the file:
/// robot, statistics, tokenizer, schedule and the others count when it is loaded, unless the caller says otherwise. `out` appears whole or not at
/// all. Throws Error as Policy::load() does, when `checkpoint` is a packed file itself, and when `out` is there and `replace` is false.
PackReport pack_checkpoint(Context& ctx, const std::filesystem::path& checkpoint, const std::filesystem::path& out, const PolicyOptions& options = {},
                           bool replace = false);

}  // namespace tessera::models
