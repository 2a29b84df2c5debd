// openpi checkpoint folders: config.json and norm_stats.json; everything else comes from the robot preset.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/models/policy/robots.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

constexpr std::array<const char*, 3> kSlots = {"base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"};

/// What a request calls the slots: with the path that openpi's server sees, or without it.
std::vector<CameraSlot> slots(const RobotPreset* robot) {
  std::vector<CameraSlot> cameras;
  for (std::size_t i = 0; i < kSlots.size(); ++i) cameras.push_back({kSlots[i], {}, robot != nullptr && i == 0, false});
  if (robot == nullptr) return cameras;
  const auto name = [&](std::size_t i, const std::string& path, const std::string& key) { cameras[i].aliases = {key, path + key}; };
  // DROID and LIBERO always send the wrist, ALOHA may leave its wrists out.
  cameras[1].required = robot->kind != RobotKind::aloha;
  switch (robot->kind) {
    case RobotKind::aloha:
      name(0, "images/", "cam_high");
      name(1, "images/", "cam_left_wrist");
      name(2, "images/", "cam_right_wrist");
      break;
    case RobotKind::droid:
      name(0, "observation/", "exterior_image_1_left");
      name(1, "observation/", "wrist_image_left");
      cameras[2].always_absent = true;
      break;
    case RobotKind::libero:
      name(0, "observation/", "image");
      name(1, "observation/", "wrist_image");
      cameras[2].always_absent = true;
      break;
  }
  return cameras;
}

std::int64_t state_size(RobotKind kind) { return kind == RobotKind::aloha ? 14 : 8; }
std::int64_t action_size(RobotKind kind) { return kind == RobotKind::aloha ? 14 : kind == RobotKind::droid ? 8 : 7; }

/// The option, else assets/<asset>/norm_stats.json, else the only norm_stats.json below assets/: where it stands, and what it says.
std::optional<std::pair<std::string, io::Json>> find_stats(const CheckpointFiles& files, const RobotPreset* robot, const PolicyOptions& options) {
  if (auto given = given_statistics(files, options, "norm_stats.json")) return given;
  const auto read = [&](const std::string& name) { return std::pair(files.where(name), files.json(name)); };
  if (robot != nullptr) {
    const std::string name = fmt::format("assets/{}/norm_stats.json", robot->asset);
    if (!files.has(name)) return std::nullopt;
    return read(name);
  }
  const std::vector<std::string> found = files.find("assets", "norm_stats.json");
  if (found.size() > 1) {
    std::string names;
    for (const std::string& name : found) names += (names.empty() ? "" : ", ") + files.where(name);
    fail_expected(files.where(), "one norm_stats.json, or --norm-stats or --robot to choose", names);
  }
  if (found.empty()) return std::nullopt;
  return read(found.front());
}

Normaliser read_stats(const io::Json& json, const char* key, bool quantiles) {
  Normaliser n;
  n.style = NormStyle::openpi;
  n.mode = quantiles ? NormMode::quantiles : NormMode::mean_std;
  const io::Json* wrapped = json.find("norm_stats");
  const io::Json& stats = (wrapped == nullptr ? json : *wrapped).at(key);
  n.low = stats.at(quantiles ? "q01" : "mean").numbers();
  n.high = stats.at(quantiles ? "q99" : "std").numbers();
  if (n.low.size() != n.high.size() || n.low.empty())
    fail_expected(stats.where(), "two arrays of one length", fmt::format("{} and {}", n.low.size(), n.high.size()));
  n.statistics = true;
  return n;
}

// ALOHA's gripper is recorded as a linear opening; pi0 knows the angle of the motor that drives it.
constexpr std::array<double, 7> kSigns = {1, -1, -1, 1, 1, 1, 1};
constexpr double kHornRadius = 0.022;
constexpr double kArmLength = 0.036;

double gripper_to_angle(double g) {
  const double opening = g * (0.05800 - 0.01844) + 0.01844;
  const double s = (kHornRadius * kHornRadius + opening * opening - kArmLength * kArmLength) / (2 * kHornRadius * opening);
  const double angle = std::asin(std::clamp(s, -1.0, 1.0));
  return (angle - 0.5476) / (1.6296 - 0.5476);
}

double gripper_from_angle(double a) { return (a + 0.5476 + 0.6213) / (1.4910 + 0.6213); }

}  // namespace

void aloha_state_to_pi(std::vector<double>& state) {
  for (std::size_t i = 0; i < state.size(); ++i) state[i] *= kSigns[i % 7];
  for (std::size_t i = 6; i < state.size(); i += 7) state[i] = gripper_to_angle(state[i]);
}

void aloha_actions_from_pi(std::span<double> row) {
  for (std::size_t i = 0; i < row.size(); ++i) row[i] *= kSigns[i % 7];
  for (std::size_t i = 6; i < row.size(); i += 7) row[i] = gripper_from_angle(row[i]);
}

namespace {

void apply(const RobotPreset& robot, const CheckpointConfig& config, PolicySpec& spec) {
  if (robot.pi05 != config.model.pi05)
    fail_expected("robot", config.model.pi05 ? "a pi0.5 preset for this checkpoint" : "a pi0 preset for this checkpoint",
                  fmt::format("'{}'", robot.name));
  spec.robot_name = robot.name;
  spec.robot_state_dim = state_size(robot.kind);
  spec.robot_action_dim = action_size(robot.kind);
  if (spec.robot_action_dim > config.model.action_dim || spec.robot_state_dim > config.model.state_dim)
    fail_expected("robot", fmt::format("a model of at least {} state and {} action dimensions", spec.robot_state_dim, spec.robot_action_dim),
                  fmt::format("{} and {}", config.model.state_dim, config.model.action_dim));
  for (const char c : robot.delta) spec.delta.push_back(c == 'd');
  if (robot.adapt_to_pi) spec.robot = RobotTransform::aloha;
  if (robot.kind == RobotKind::aloha) spec.ignored_cameras = {"cam_low", "images/cam_low"};
  spec.default_prompt = robot.default_prompt;
  if (robot.pi05 && !robot.state_in_prompt) spec.prompt = PromptForm::openpi;
  if (!config.chunk_given) spec.model.chunk = robot.chunk;
  if (!config.prompt_length_given) spec.model.max_prompt_tokens = robot.max_prompt_tokens;
  spec.notes.push_back(fmt::format("robot preset {}: {} delta dimensions{}", robot.name, std::ranges::count(spec.delta, true),
                                   robot.adapt_to_pi ? ", ALOHA joint conventions" : ""));
}

}  // namespace

PolicySpec read_openpi(const CheckpointFiles& files, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options) {
  const RobotPreset* robot = options.robot.empty() ? nullptr : &find_robot(options.robot);
  PolicySpec spec;
  spec.model = config.model;
  spec.cameras = slots(robot);
  spec.picture.side = config.model.vision.image;
  spec.picture.filter = ops::ResizeFilter::pil_bilinear;  // openpi's ResizeImages and its client use Pillow alike
  spec.picture.in_f32 = false;
  spec.robot_action_dim = config.model.action_dim;
  spec.prompt = config.model.pi05 ? PromptForm::openpi_state : PromptForm::openpi;
  if (robot != nullptr)
    apply(*robot, config, spec);
  else
    spec.notes.emplace_back("no robot preset: camera slots by their own names, no delta actions (--robot NAME chooses one)");
  if (source.traits().transformers) {
    spec.prompt = PromptForm::lerobot;  // its processor ends the prompt with one newline, too
    spec.notes.emplace_back("transformers' own processor files are not read: pictures are resized as openpi does");
  }
  const auto found = find_stats(files, robot, options);
  if (!found) {
    if (robot != nullptr)
      fail_expected(files.where(), fmt::format("assets/{}/norm_stats.json", robot->asset), "none",
                    "copy it there from openpi's checkpoint, or give --norm-stats FILE");
    spec.warnings.emplace_back("no norm_stats.json: state and actions stay normalised (--norm-stats FILE gives them)");
    return spec;
  }
  const auto& [stats, json] = *found;
  spec.state = read_stats(json, "state", config.model.pi05);
  spec.action = read_stats(json, "actions", config.model.pi05);
  check_statistics(spec.state, stats + ": state", options.allow_nonfinite);
  check_statistics(spec.action, stats + ": actions", options.allow_nonfinite);
  const auto states = static_cast<std::int64_t>(spec.state.low.size());
  const auto actions = static_cast<std::int64_t>(spec.action.low.size());
  if (states < spec.robot_state_dim)
    fail_expected(stats, fmt::format("statistics of at least {} state values, as '{}' has", spec.robot_state_dim, spec.robot_name),
                  std::to_string(states));
  if (robot != nullptr && actions < spec.robot_action_dim)
    fail_expected(stats, fmt::format("statistics of at least {} action values, as '{}' has", spec.robot_action_dim, spec.robot_name),
                  std::to_string(actions));
  if (robot == nullptr) spec.robot_action_dim = std::min(config.model.action_dim, actions);
  spec.notes.push_back("statistics from " + stats);
  return spec;
}

}  // namespace tessera::models
