#include "tessera/models/policy/names.h"

#include <array>

namespace tessera::models {
namespace {

bool take_prefix(std::string& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.erase(0, prefix.size());
  return true;
}

constexpr std::string_view kRoot = "paligemma_with_expert.";
constexpr std::string_view kTower = "paligemma_with_expert.paligemma.model.vision_tower.";
constexpr std::array<std::string_view, 7> kProjections = {"state_proj.",          "action_in_proj.", "action_out_proj.", "action_time_mlp_in.",
                                                          "action_time_mlp_out.", "time_mlp_in.",    "time_mlp_out."};

bool replace_prefix(std::string& name, std::string_view from, std::string_view to) {
  if (!name.starts_with(from)) return false;
  name.replace(0, from.size(), to);
  return true;
}

}  // namespace

std::string NameTraits::str() const {
  std::string text;
  const auto add = [&](bool on, std::string_view word) {
    if (on) text.append(text.empty() ? "" : ", ").append(word);
  };
  add(transformers, "transformers PI0 class");
  add(early_lerobot, "LeRobot names before 0.4");
  add(model_prefix, "model. prefix");
  add(flat_siglip, "flattened SigLIP");
  return text.empty() ? "openpi names" : text;
}

std::optional<std::string> canonical_name(std::string_view stored, NameTraits& traits) {
  std::string name(stored);
  // transformers' PI0ForConditionalGeneration.
  if (replace_prefix(name, "model.vlm.", "paligemma_with_expert.paligemma.model.") ||
      replace_prefix(name, "model.dit.", "paligemma_with_expert.gemma_expert.model.") || take_prefix(name, "embed_action_time.") ||
      take_prefix(name, "model.embed_action_time.")) {
    traits.transformers = true;
  } else if (take_prefix(name, "model.")) {
    traits.model_prefix = true;
  }
  for (const std::string_view projection : kProjections)
    if (name.starts_with(projection)) return name;
  if (!name.starts_with(kRoot)) return std::nullopt;

  // LeRobot, February to September 2025: the language model one level deeper, the tower and the projector one level higher.
  const bool early =
      replace_prefix(name, "paligemma_with_expert.paligemma.language_model.model.", "paligemma_with_expert.paligemma.model.language_model.") ||
      replace_prefix(name, "paligemma_with_expert.paligemma.language_model.lm_head.", "paligemma_with_expert.paligemma.lm_head.") ||
      replace_prefix(name, "paligemma_with_expert.paligemma.vision_tower.", kTower) ||
      replace_prefix(name, "paligemma_with_expert.paligemma.multi_modal_projector.", "paligemma_with_expert.paligemma.model.multi_modal_projector.");
  traits.early_lerobot = traits.early_lerobot || early;

  for (const std::string_view part : {"embeddings.", "encoder.", "post_layernorm."}) {
    const std::string flat = std::string(kTower).append(part);
    if (!name.starts_with(flat)) continue;
    traits.flat_siglip = true;
    name.insert(kTower.size(), "vision_model.");
    break;
  }
  return name;
}

}  // namespace tessera::models
