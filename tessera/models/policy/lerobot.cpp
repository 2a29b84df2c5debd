// LeRobot checkpoint folders: config.json, the two processor pipelines and the state files that they name.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tessera/core/error.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

constexpr std::string_view kState = "observation.state";
constexpr std::string_view kAction = "action";

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::int64_t feature_size(const io::Json& feature) {
  const io::Json::Array& shape = feature.at("shape").array();
  if (shape.size() != 1) fail_expected(feature.at("shape").where(), "one size", fmt::format("{} sizes", shape.size()));
  return shape[0].integer(1, 1 << 16);
}

class Lerobot {
 public:
  Lerobot(const std::filesystem::path& folder, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options)
      : folder_(folder), config_(config), source_(source), options_(options) {}

  PolicySpec read() {
    spec_.format = "LeRobot";
    spec_.model = config_.model;
    spec_.present_first = true;
    spec_.legacy_resize = options_.legacy_resize;
    spec_.prompt = config_.model.pi05 ? PromptForm::lerobot_state : PromptForm::lerobot;
    spec_.padded_state_prompt = options_.padded_state_prompt;
    features();
    norm_modes(config_.json.find("normalization_mapping"));
    std::error_code ignored;
    if (std::filesystem::exists(folder_ / "policy_preprocessor.json", ignored)) {
      pipeline("policy_preprocessor.json", true);
      if (!std::filesystem::exists(folder_ / "policy_postprocessor.json", ignored))
        fail_expected(folder_.string(), "policy_postprocessor.json beside policy_preprocessor.json", "none");
      pipeline("policy_postprocessor.json", false);
    } else {
      buffers();
    }
    relative();
    if (!spec_.state.statistics && spec_.state.mode != NormMode::identity)
      spec_.notes.emplace_back("no statistics for the state: it reaches the model unchanged");
    if (!spec_.action.statistics && spec_.action.mode != NormMode::identity)
      spec_.notes.emplace_back("no statistics for the actions: they stay normalised");
    if (spec_.action.statistics && static_cast<std::int64_t>(spec_.action.low.size()) != spec_.robot_action_dim)
      fail_expected(folder_.string(), fmt::format("action statistics of {} values, as output_features says", spec_.robot_action_dim),
                    std::to_string(spec_.action.low.size()));
    if (spec_.state.statistics && spec_.robot_state_dim > 0 && static_cast<std::int64_t>(spec_.state.low.size()) != spec_.robot_state_dim)
      fail_expected(folder_.string(), fmt::format("state statistics of {} values, as input_features says", spec_.robot_state_dim),
                    std::to_string(spec_.state.low.size()));
    check_statistics(spec_.state, folder_.string() + ": " + std::string(kState), options_.allow_nonfinite);
    check_statistics(spec_.action, folder_.string() + ": " + std::string(kAction), options_.allow_nonfinite);
    names();
    return std::move(spec_);
  }

 private:
  void features() {
    const io::Json& json = config_.json;
    std::set<std::string> listed;
    for (const auto& [name, feature] : json.at("input_features").object()) {
      const std::string& type = feature.at("type").string();
      if (type == "VISUAL") {
        const bool empty = name.starts_with("observation.images.empty_camera_");
        spec_.cameras.push_back({name, empty ? std::vector<std::string>{} : std::vector<std::string>{last_part(name)}, false, empty});
        listed.insert(name);
      } else if (type == "STATE" && name == kState) {
        spec_.robot_state_dim = feature_size(feature);
        spec_.state_required = true;
        if (spec_.robot_state_dim > config_.model.state_dim)
          fail_expected(feature.at("shape").where(), fmt::format("at most {} (the model's padded state)", config_.model.state_dim),
                        std::to_string(spec_.robot_state_dim));
      }
    }
    if (const io::Json* count = json.find("empty_cameras")) {
      for (std::int64_t i = 0; i < count->integer(0, 64); ++i) {
        const std::string name = fmt::format("observation.images.empty_camera_{}", i);
        if (!listed.contains(name)) spec_.cameras.push_back({name, {}, false, true});
      }
    }
    if (std::ranges::none_of(spec_.cameras, [](const CameraSlot& s) { return !s.always_absent; }))
      fail_expected(json.at("input_features").where(), "at least one VISUAL feature", "none");
    spec_.robot_action_dim = config_.model.action_dim;
    if (const io::Json* outputs = json.find("output_features")) {
      if (const io::Json* action = outputs->find(kAction)) {
        spec_.robot_action_dim = feature_size(*action);
        if (spec_.robot_action_dim > config_.model.action_dim)
          fail_expected(action->at("shape").where(), fmt::format("at most {} (the model's padded actions)", config_.model.action_dim),
                        std::to_string(spec_.robot_action_dim));
      }
    }
  }

  void norm_modes(const io::Json* map) {
    if (map == nullptr) return;
    if (const io::Json* mode = map->find("STATE")) spec_.state.mode = parse_norm_mode(mode->string(), mode->where());
    if (const io::Json* mode = map->find("ACTION")) spec_.action.mode = parse_norm_mode(mode->string(), mode->where());
    if (const io::Json* mode = map->find("VISUAL"); mode != nullptr && parse_norm_mode(mode->string(), mode->where()) != NormMode::identity)
      fail_expected(mode->where(), "IDENTITY (pictures are not normalised by statistics)", mode->string());
  }

  std::shared_ptr<const io::SafetensorsFile> state_file(const io::Json& step) const {
    const io::Json* file = step.find("state_file");
    if (file == nullptr) return nullptr;
    const std::string& name = file->string();
    if (name.empty() || name.find_first_of("/\\") != std::string::npos || name == "." || name == "..")
      fail_expected(file->where(), "the plain name of a file in the checkpoint folder", "'" + name + "'");
    return io::SafetensorsFile::open(folder_ / name);
  }

  static void statistics(Normaliser& n, const io::SafetensorsFile& file, std::string_view feature) {
    if (n.mode == NormMode::identity) return;
    static constexpr std::pair<const char*, const char*> kNames[] = {{"", ""}, {"mean", "std"}, {"min", "max"}, {"q01", "q99"}, {"q10", "q90"}};
    const auto [low, high] = kNames[static_cast<std::size_t>(n.mode)];
    const std::string prefix = std::string(feature) + ".";
    const bool any = std::ranges::any_of(file.tensors(), [&](const io::StoredTensor& t) { return t.name.starts_with(prefix); });
    if (!any) return;  // LeRobot passes values of a feature without statistics unchanged
    n.low = file.doubles(prefix + low);
    n.high = file.doubles(prefix + high);
    if (n.low.size() != n.high.size())
      fail_expected(file.path().string(), fmt::format("{}{} and {} of one length", prefix, low, high),
                    fmt::format("{} and {}", n.low.size(), n.high.size()));
    n.statistics = true;
  }

  void normaliser_step(const io::Json& config, const io::Json& step, bool pre) {
    norm_modes(config.find("norm_map"));
    Normaliser& n = pre ? spec_.state : spec_.action;
    if (const io::Json* eps = config.find("eps")) n.eps = eps->number();
    const auto file = state_file(step);
    if (file != nullptr) statistics(n, *file, pre ? kState : kAction);
  }

  void pipeline(const std::string& name, bool pre) {
    const io::Json json = io::Json::read(folder_ / name);
    for (const io::Json& step : json.at("steps").array()) {
      const io::Json* registered = step.find("registry_name");
      const std::string kind = registered != nullptr ? registered->string() : step.at("class").string();
      const io::Json empty = io::Json(io::Json::Object());
      const io::Json* found = step.find("config");
      const io::Json& config = found == nullptr ? empty : *found;
      if (kind == "rename_observations_processor") {
        if (const io::Json* map = config.find("rename_map"))
          for (const auto& [from, to] : map->object()) spec_.renames[from] = to.string();
      } else if (kind == "normalizer_processor" || kind == "unnormalizer_processor") {
        normaliser_step(config, step, pre);
      } else if (kind == "tokenizer_processor") {
        if (const io::Json* length = config.find("max_length")) spec_.model.max_prompt_tokens = length->integer(1, 1 << 16);
      } else if (kind == "pi05_prepare_state_tokenizer_processor_step") {
        spec_.prompt = PromptForm::lerobot_state;
      } else if (kind == "pi0_new_line_processor") {
        spec_.prompt = PromptForm::lerobot;
      } else if (kind == "relative_actions_processor" || kind == "absolute_actions_processor") {
        if (const io::Json* enabled = config.find("enabled")) relative_ = relative_ || enabled->boolean();
        if (const io::Json* names = config.find("action_names")) spec_.action_names = names->strings();
        if (const io::Json* excluded = config.find("exclude_joints")) excluded_ = excluded->strings();
      } else if (kind != "to_batch_processor" && kind != "device_processor") {
        fail_expected(step.where(), "a processor step of pi0 or pi0.5", "'" + kind + "'", "a step that is not understood may change the result");
      }
    }
  }

  /// Before processors existed the statistics were buffers in the weights file.
  void buffers() {
    const auto take = [&](Normaliser& n, const std::string& prefix) {
      if (n.mode == NormMode::identity) return;
      const bool mean = n.mode == NormMode::mean_std;
      for (const char* root : {"", "model."}) {
        n.low = source_.buffer(root + prefix + (mean ? ".mean" : ".min"));
        n.high = source_.buffer(root + prefix + (mean ? ".std" : ".max"));
        n.statistics = !n.low.empty() && n.low.size() == n.high.size();
        if (n.statistics) break;
      }
      if (n.statistics) spec_.notes.push_back("statistics from the buffers " + prefix + ".*");
    };
    take(spec_.state, "normalize_inputs.buffer_observation_state");
    take(spec_.action, "unnormalize_outputs.buffer_action");
  }

  void relative() {
    const io::Json& json = config_.json;
    if (const io::Json* flag = json.find("use_relative_actions")) relative_ = relative_ || flag->boolean();
    if (!relative_) return;
    if (spec_.action_names.empty())
      if (const io::Json* names = json.find("action_feature_names")) spec_.action_names = names->strings();
    if (excluded_.empty())
      if (const io::Json* excluded = json.find("relative_exclude_joints")) excluded_ = excluded->strings();
    spec_.delta.assign(static_cast<std::size_t>(spec_.robot_action_dim), true);
    for (std::size_t d = 0; d < spec_.delta.size() && d < spec_.action_names.size(); ++d) {
      const std::string action = lower(spec_.action_names[d]);
      for (const std::string& word : excluded_)
        if (!word.empty() && action.find(lower(word)) != std::string::npos) spec_.delta[d] = false;
    }
    const auto count = std::ranges::count(spec_.delta, true);
    if (spec_.robot_state_dim > 0 && spec_.robot_state_dim < spec_.robot_action_dim)
      fail_expected(folder_.string(), "a state at least as long as the actions, which are relative to it",
                    fmt::format("{} and {}", spec_.robot_state_dim, spec_.robot_action_dim));
    spec_.notes.push_back(fmt::format("relative actions: the state is added to {} of {} dimensions", count, spec_.delta.size()));
  }

  void names() {
    if (spec_.action_names.empty())
      if (const io::Json* list = config_.json.find("action_feature_names")) spec_.action_names = list->strings();
    if (spec_.action_names.size() != static_cast<std::size_t>(spec_.robot_action_dim)) spec_.action_names.clear();
  }

  const std::filesystem::path& folder_;
  const CheckpointConfig& config_;
  const CheckpointSource& source_;
  const PolicyOptions& options_;
  PolicySpec spec_;
  bool relative_ = false;
  std::vector<std::string> excluded_;
};

}  // namespace

PolicySpec read_lerobot(const std::filesystem::path& folder, const CheckpointConfig& config, const CheckpointSource& source,
                        const PolicyOptions& options) {
  if (!options.robot.empty())
    fail_expected(folder.string(), "no robot preset for a LeRobot checkpoint (its own processors say everything)", "'" + options.robot + "'");
  if (!options.norm_stats.empty())
    fail_expected(folder.string(), "no norm_stats.json for a LeRobot checkpoint", "'" + options.norm_stats.string() + "'");
  return Lerobot(folder, config, source, options).read();
}

void check_statistics(const Normaliser& normaliser, std::string_view where, bool allow_nonfinite) {
  if (allow_nonfinite) return;
  for (const auto* values : {&normaliser.low, &normaliser.high})
    for (const double v : *values)
      if (!std::isfinite(v)) fail_expected(where, "finite statistics", fmt::format("{}", v), "--allow-nonfinite accepts them");
}

}  // namespace tessera::models
