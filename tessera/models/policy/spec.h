// How a checkpoint's observations become model inputs and its outputs robot actions: data, filled by lerobot.cpp and openpi.cpp, carried out by
// policy.cpp. Private to models/policy (not installed).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/tokenizer.h"
#include "tessera/models/policy/checkpoint_files.h"
#include "tessera/models/policy/checkpoint_source.h"
#include "tessera/models/policy/config_reader.h"
#include "tessera/models/policy/normalise.h"
#include "tessera/models/policy/packed_checkpoint.h"
#include "tessera/models/policy/policy.h"
#include "tessera/ops/resize.h"

namespace tessera::models {

enum class PromptForm : std::uint8_t {
  openpi,         // cleaned text, bos + text, then "\n" encoded on its own
  openpi_state,   // "Task: ..., State: ...;\nAction: ", cleaned
  lerobot,        // text as given plus one "\n", encoded as a whole
  lerobot_state,  // as openpi_state
  as_given        // a LeRobot pipeline without a step that changes the text
};
/// Whether the text spells the state.
constexpr bool spells_state(PromptForm form) { return form == PromptForm::openpi_state || form == PromptForm::lerobot_state; }

enum class RobotTransform : std::uint8_t { none, aloha };

/// How a camera picture becomes model input.
struct PictureSpec {
  std::int64_t side = 224;
  ops::ResizeFilter filter = ops::ResizeFilter::torch_bilinear;
  bool in_f32 = true;         // LeRobot resizes [0, 1] in float32 and clips; openpi resizes uint8 (floats become trunc(255 x))
  bool pad_left_top = false;  // LeRobot <= 0.3
};

struct PolicySpec {
  bool lerobot = false;
  Pi0Config model;
  std::vector<CameraSlot> cameras;
  std::map<std::string, std::string, std::less<>> renames;  // request name -> feature name (LeRobot)
  std::vector<std::string> ignored_cameras;                 // accepted and left out, as the reference does
  PictureSpec picture;
  Normaliser state;
  Normaliser action;
  std::int64_t robot_state_dim = 0;   // 0: any length up to the model's
  std::int64_t robot_action_dim = 0;  // of the answer
  PromptForm prompt = PromptForm::lerobot;
  bool padded_state_prompt = false;
  std::vector<bool> delta;  // action dimensions to which the raw state is added
  RobotTransform robot = RobotTransform::none;
  std::string robot_name;
  std::vector<std::string> action_names;
  std::string default_prompt;
  std::vector<std::string> notes;
  std::vector<std::string> warnings;  // Policy::warnings()
};

/// A checkpoint that was opened, and what its config says.
struct OpenCheckpoint {
  CheckpointFiles files;
  std::shared_ptr<const CheckpointSource> source;
  CheckpointConfig config;
  PolicyOptions options;                           // the caller's; what they leave open, as they were given when the file was packed
  std::shared_ptr<const PackedCheckpoint> packed;  // null: a folder
};
/// Throws Error that says what a checkpoint is when this is none.
OpenCheckpoint open_checkpoint(const std::filesystem::path& path, const PolicyOptions& options);
/// The processors of either format, checked against the model.
PolicySpec read_spec(const OpenCheckpoint& checkpoint);
/// The checkpoint's own, or the option's.
std::shared_ptr<const io::Tokenizer> open_tokenizer(const OpenCheckpoint& checkpoint);
/// Checks and packs weights, or takes them from a packed file. `source`: in place of the checkpoint's own.
Pi0 load_network(Context& ctx, const OpenCheckpoint& checkpoint, const Pi0Config& config, std::shared_ptr<const WeightSource> source = {});

/// Throws Error with file and key for everything that would change results and is not understood.
PolicySpec read_lerobot(const CheckpointFiles& files, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options);
PolicySpec read_openpi(const CheckpointFiles& files, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options);
/// The statistics of the option --norm-stats (a file, or a folder that has one of `name`), or those given when the file was packed: where they stand
/// and what they say. Nothing when there are none.
std::optional<std::pair<std::string, io::Json>> given_statistics(const CheckpointFiles& files, const PolicyOptions& options, const char* name);
/// How a packed file calls them.
inline constexpr std::string_view kGivenStatistics = "given/norm_stats.json";

/// f32 [3, side, side] in [-1, 1] from uint8 [H, W, 3], or f32 [H, W, 3] or [3, H, W] in [0, 1]. Throws Error naming the camera.
Tensor prepare_picture(Context& ctx, const Tensor& image, const PictureSpec& spec, std::string_view camera, bool allow_nonfinite);

/// The text that is tokenised. `state`: normalised, for the forms that spell it out.
std::string prompt_text(PromptForm form, std::string_view prompt, const std::vector<double>& state);
/// bos and the ids of `text`.
std::vector<std::int32_t> prompt_tokens(PromptForm form, const io::Tokenizer& tokenizer, const std::string& text);
/// 256 left-closed bins over [-1, 1]; -1 below, 255 above and for NaN.
int state_bin(double value);

/// tokenizer.model or tokenizer.json in or beside the checkpoint. Throws Error that says which file to get.
std::filesystem::path find_tokenizer(const std::filesystem::path& folder, bool prefer_json);

/// Aloha's own coordinates to and from those that pi0 was trained in (openpi's adapt_to_pi), in place: 14 values.
void aloha_state_to_pi(std::vector<double>& state);
void aloha_actions_from_pi(std::span<double> row);

/// Throws Error naming file and feature on NaN or Inf.
void check_statistics(const Normaliser& normaliser, std::string_view where, bool allow_nonfinite);

}  // namespace tessera::models
