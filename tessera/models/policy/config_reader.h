// Sizes of a model from its tensors, and from config.json what tensors cannot say. Private to models/policy (not installed).
// Test: tests/models/names_test.cpp.
#pragma once

#include <optional>
#include <string>

#include "tessera/io/json.h"
#include "tessera/models/pi0/config.h"
#include "tessera/models/policy/checkpoint_files.h"
#include "tessera/models/policy/checkpoint_source.h"
#include "tessera/models/weights.h"

namespace tessera::models {

struct CheckpointConfig {
  Pi0Config model;
  bool lerobot = false;
  bool early_lerobot = false;  // LeRobot up to 0.3: other padding of pictures, time summed in float32, statistics in the weights file
  bool chunk_given = false;    // config.json says how long a chunk is
  bool prompt_length_given = false;
  std::optional<Precision> precision;  // what config.json asks for
  std::string source;                  // where sizes that tensors cannot tell came from, for people
  io::Json json;
};

/// Reads config.json (where there is none, the released sizes must do) and checks it against the tensors. Throws Error naming the file and
/// key on wrong types and sizes, on a disagreement with the tensors, and on options that this engine does not have.
CheckpointConfig read_config(const CheckpointFiles& files, const CheckpointSource& source);

}  // namespace tessera::models
