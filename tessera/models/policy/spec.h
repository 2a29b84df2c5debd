// How a checkpoint's observations become model inputs and its outputs robot actions: data, filled by lerobot.cpp and openpi.cpp, carried out by
// policy.cpp. Private to models/policy (not installed).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/tokenizer.h"
#include "tessera/models/policy/checkpoint_source.h"
#include "tessera/models/policy/config_reader.h"
#include "tessera/models/policy/normalise.h"
#include "tessera/models/policy/policy.h"

namespace tessera::models {

enum class PromptForm : std::uint8_t {
  openpi,        // cleaned text, bos + text, then "\n" encoded on its own
  openpi_state,  // "Task: ..., State: ...;\nAction: ", cleaned
  lerobot,       // text as given plus one "\n", encoded as a whole
  lerobot_state  // as openpi_state
};

enum class RobotTransform : std::uint8_t { none, aloha };

struct PolicySpec {
  std::string format;  // "LeRobot", "openpi"
  Pi0Config model;
  std::vector<CameraSlot> cameras;
  std::map<std::string, std::string, std::less<>> renames;  // request name -> feature name (LeRobot)
  bool present_first = false;                               // LeRobot: present cameras take the first slots
  bool legacy_resize = false;
  Normaliser state;
  Normaliser action;
  std::int64_t robot_state_dim = 0;  // 0: any length up to the model's
  bool state_required = false;
  std::int64_t robot_action_dim = 0;  // of the answer
  PromptForm prompt = PromptForm::lerobot;
  bool padded_state_prompt = false;
  std::vector<bool> delta;  // action dimensions to which the raw state is added
  RobotTransform robot = RobotTransform::none;
  std::string robot_name;
  std::vector<std::string> action_names;
  std::string default_prompt;
  std::vector<std::string> notes;
};

/// Throws Error with file and key for everything that would change results and is not understood.
PolicySpec read_lerobot(const std::filesystem::path& folder, const CheckpointConfig& config, const CheckpointSource& source,
                        const PolicyOptions& options);
PolicySpec read_openpi(const std::filesystem::path& folder, const CheckpointConfig& config, const PolicyOptions& options);

/// The text that is tokenised. `state`: normalised, for the forms that spell it out.
std::string prompt_text(PromptForm form, std::string_view prompt, const std::vector<double>& state);
/// bos and the ids of `text`, cut to `most`.
std::vector<std::int32_t> prompt_tokens(PromptForm form, const io::Tokenizer& tokenizer, const std::string& text, std::int64_t most);
/// 256 left-closed bins over [-1, 1]; -1 below.
int state_bin(double value);

/// tokenizer.model or tokenizer.json in or beside the checkpoint. Throws Error that says which file to get.
std::filesystem::path find_tokenizer(const std::filesystem::path& folder, bool prefer_json);

/// Aloha's own coordinates to and from those that pi0 was trained in (openpi's adapt_to_pi), in place: 14 values.
void aloha_state_to_pi(std::vector<double>& state);
void aloha_actions_from_pi(std::span<double> row);

/// Throws Error naming file and feature on NaN or Inf.
void check_statistics(const Normaliser& normaliser, std::string_view where, bool allow_nonfinite);

}  // namespace tessera::models
