// What checkpoints call their tensors, brought to openpi's converted names. Test: tests/models/names_test.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tessera::models {

/// The ways of naming that a file can mix (it normally has one).
struct NameTraits {
  bool model_prefix = false;   // LeRobot training: "model." before every name
  bool flat_siglip = false;    // newer transformers: no "vision_model." in the tower
  bool early_lerobot = false;  // February to September 2025: "paligemma.language_model.model."
  bool transformers = false;   // transformers' own PI0 class: "model.vlm.", "model.dit.", "embed_action_time."
  /// "openpi names", "model. prefix", "transformers PI0", ...
  std::string str() const;
};

/// Canonical name of a stored tensor, or nothing for what belongs to no pi0 (normalisation buffers, other modules). Names that are
/// canonical already come back unchanged. Notes in `traits` what it saw.
std::optional<std::string> canonical_name(std::string_view stored, NameTraits& traits);

}  // namespace tessera::models
