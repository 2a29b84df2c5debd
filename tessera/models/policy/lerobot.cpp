// LeRobot checkpoint folders: config.json, the two processor pipelines and the state files that they name.
#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <optional>
#include <set>

#include "tessera/core/error.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

constexpr std::string_view kState = "observation.state";
constexpr std::string_view kAction = "action";
constexpr std::string_view kEmptyCamera = "observation.images.empty_camera_";

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

/// The two statistics of a mode, as LeRobot calls them.
std::pair<const char*, const char*> statistic_names(NormMode mode) {
  switch (mode) {
    case NormMode::mean_std: return {"mean", "std"};
    case NormMode::min_max: return {"min", "max"};
    case NormMode::quantiles: return {"q01", "q99"};
    case NormMode::quantile10: return {"q10", "q90"};
    case NormMode::identity: break;
  }
  return {"", ""};
}

class Lerobot {
 public:
  Lerobot(const CheckpointFiles& files, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options)
      : files_(files), config_(config), source_(source), options_(options) {}

  PolicySpec read() {
    spec_.lerobot = true;
    spec_.model = config_.model;
    spec_.picture.side = config_.model.vision.image;
    spec_.picture.pad_left_top = options_.legacy_resize || config_.early_lerobot;
    spec_.prompt = config_.model.pi05 ? PromptForm::lerobot_state : PromptForm::lerobot;
    spec_.padded_state_prompt = options_.padded_state_prompt;
    // What LeRobot's own classes default to.
    spec_.state.mode = spec_.action.mode = config_.model.pi05 ? NormMode::quantiles : NormMode::mean_std;
    features();
    if (const io::Json* map = config_.json.find("normalization_mapping")) {
      spec_.state.mode = mode_of(*map, "STATE", spec_.state.mode);
      spec_.action.mode = mode_of(*map, "ACTION", spec_.action.mode);
      refuse_visual(*map);
    }
    const bool processors = files_.has("policy_preprocessor.json");
    if (processors) {
      pipeline("policy_preprocessor.json", true);
      if (!files_.has("policy_postprocessor.json"))
        fail_expected(files_.where(), "policy_postprocessor.json beside policy_preprocessor.json", "none");
      pipeline("policy_postprocessor.json", false);
    } else {
      buffers();
    }
    if (const auto given = given_statistics(files_, options_, "stats.json")) dataset_statistics(given->first, given->second);
    check_normaliser(spec_.state, kState, "state", spec_.robot_state_dim, "input_features", processors);
    check_normaliser(spec_.action, kAction, "actions", spec_.robot_action_dim, "output_features", processors);
    relative(processors);
    names();
    aliases();
    if (config_.early_lerobot) spec_.notes.emplace_back("LeRobot up to 0.3: pictures are padded left and top, time is summed in float32");
    return std::move(spec_);
  }

 private:
  void features() {
    const io::Json& json = config_.json;
    std::set<std::string> listed;
    for (const auto& [name, feature] : json.at("input_features").object()) {
      const std::string& type = feature.at("type").string();
      if (type == "VISUAL") {
        spec_.cameras.push_back({name, {}, false, name.starts_with(kEmptyCamera)});
        listed.insert(name);
      } else if (type == "STATE" && name == kState) {
        spec_.robot_state_dim = feature_size(feature);
        if (spec_.robot_state_dim > config_.model.state_dim)
          fail_expected(feature.at("shape").where(), fmt::format("at most {} (the model's padded state)", config_.model.state_dim),
                        std::to_string(spec_.robot_state_dim));
      }
    }
    if (const io::Json* count = json.find("empty_cameras")) {
      for (std::int64_t i = 0, n = count->integer(0, 64); i < n; ++i) {
        const std::string name = std::string(kEmptyCamera) + std::to_string(i);
        if (!listed.contains(name)) spec_.cameras.push_back({name, {}, false, true});
      }
    }
    if (std::ranges::none_of(spec_.cameras, [](const CameraSlot& s) { return !s.always_absent; }))
      fail_expected(json.at("input_features").where(), "at least one VISUAL feature", "none");
    if (spec_.cameras.size() > 256) fail_expected(json.at("input_features").where(), "at most 256 cameras", std::to_string(spec_.cameras.size()));
    spec_.robot_action_dim = config_.model.action_dim;
    const io::Json* outputs = json.find("output_features");
    if (const io::Json* action = outputs == nullptr ? nullptr : outputs->find(kAction)) {
      spec_.robot_action_dim = feature_size(*action);
      if (spec_.robot_action_dim > config_.model.action_dim)
        fail_expected(action->at("shape").where(), fmt::format("at most {} (the model's padded actions)", config_.model.action_dim),
                      std::to_string(spec_.robot_action_dim));
    }
  }

  static NormMode mode_of(const io::Json& map, std::string_view type, NormMode otherwise) {
    const io::Json* mode = map.find(type);
    return mode == nullptr ? otherwise : parse_norm_mode(mode->string(), mode->where());
  }

  static void refuse_visual(const io::Json& map) {
    if (mode_of(map, "VISUAL", NormMode::identity) == NormMode::identity) return;
    fail_expected(map.at("VISUAL").where(), "IDENTITY (pictures are not normalised by statistics)", map.at("VISUAL").string());
  }

  std::shared_ptr<const io::SafetensorsFile> state_file(const io::Json& step) const {
    const io::Json* file = step.find("state_file");
    if (file == nullptr) return nullptr;
    const std::string& name = file->string();
    if (name.empty() || name.find_first_of("/\\") != std::string::npos || name == "." || name == "..")
      fail_expected(file->where(), "the plain name of a file in the checkpoint folder", "'" + name + "'");
    return files_.safetensors(name);
  }

  static void statistics(Normaliser& n, const io::SafetensorsFile& file, std::string_view feature) {
    if (n.mode == NormMode::identity) return;
    const auto [low, high] = statistic_names(n.mode);
    const std::string prefix = std::string(feature) + ".";
    const bool any = std::ranges::any_of(file.tensors(), [&](const io::StoredTensor& t) { return t.name.starts_with(prefix); });
    if (!any) return;  // LeRobot passes values of a feature without statistics unchanged
    n.low = file.doubles(prefix + low);
    n.high = file.doubles(prefix + high);
    n.statistics = true;
    check_lengths(n, file.path().string() + ": " + prefix + low + " and " + high);
  }

  static void check_lengths(const Normaliser& n, const std::string& where) {
    if (n.low.size() != n.high.size() || n.low.empty())
      fail_expected(where, "two vectors of one length", fmt::format("{} and {} values", n.low.size(), n.high.size()));
  }

  /// norm_map, eps and statistics of a (un)normaliser step. A type that its map does not name is left alone.
  void normaliser_step(const io::Json& config, const io::Json& step, bool pre) {
    Normaliser& n = pre ? spec_.state : spec_.action;
    std::string type = pre ? "STATE" : "ACTION";
    bool listed = true;
    if (pre) {
      if (const io::Json* features = config.find("features")) {
        const io::Json* state = features->find(kState);
        listed = state != nullptr;
        if (listed) type = state->at("type").string();
      }
      if (const io::Json* keys = config.find("normalize_observation_keys")) {
        const std::vector<std::string> only = keys->strings();
        listed = listed && std::ranges::find(only, kState) != only.end();
      }
    }
    if (const io::Json* map = config.find("norm_map")) {
      n.mode = mode_of(*map, type, NormMode::identity);
      if (pre) refuse_visual(*map);
    }
    if (!listed) n.mode = NormMode::identity;
    if (const io::Json* eps = config.find("eps")) {
      n.eps = eps->number();
      if (!(n.eps >= 0) || !std::isfinite(n.eps)) fail_expected(eps->where(), "a number from 0", fmt::format("{}", n.eps));
    }
    if (const auto file = state_file(step)) statistics(n, *file, pre ? kState : kAction);
  }

  static void order(const io::Json& step, bool wrong, const char* rule) {
    if (wrong) fail_expected(step.where(), rule, "the other order", "the result would be another");
  }

  /// What a step may stand before or behind is checked where it would change the result; everything else may come in any order.
  void pipeline(const std::string& name, bool pre) {
    const io::Json json = files_.json(name);
    bool normalised = false, worded = false, tokenised = false, added = false;
    const io::Json empty = io::Json(io::Json::Object());
    for (const io::Json& step : json.at("steps").array()) {
      const io::Json* registered = step.find("registry_name");
      const std::string kind = registered != nullptr ? registered->string() : step.at("class").string();
      const io::Json* found = step.find("config");
      const io::Json& config = found == nullptr ? empty : *found;
      config.object();
      if (kind == "rename_observations_processor") {
        if (const io::Json* map = config.find("rename_map"))
          for (const auto& [from, to] : map->object()) spec_.renames[from] = to.string();
      } else if (kind == (pre ? "normalizer_processor" : "unnormalizer_processor")) {
        order(step, normalised, "one step that normalises");
        order(step, added, "un-normalising before the state is added");
        normaliser_step(config, step, pre);
        normalised = true;
      } else if (pre && kind == "tokenizer_processor") {
        tokenizer_step(config);
        tokenised = true;
      } else if (pre && kind == "pi05_prepare_state_tokenizer_processor_step") {
        order(step, tokenised, "the step that words the prompt before the tokenizer");
        order(step, !normalised && spec_.state.mode != NormMode::identity, "the normaliser before the step that spells the state");
        spec_.prompt = PromptForm::lerobot_state;
        worded = true;
      } else if (pre && kind == "pi0_new_line_processor") {
        order(step, tokenised, "the step that words the prompt before the tokenizer");
        if (!worded) spec_.prompt = PromptForm::lerobot;
        worded = true;
      } else if (pre && kind == "relative_actions_processor") {
        relative_step(config);
        order(step, normalised && relative_, "the step of relative actions before the normaliser");
      } else if (!pre && kind == "absolute_actions_processor") {
        const io::Json* enabled = config.find("enabled");
        absolute_ = added = enabled != nullptr && enabled->boolean();
        order(step, absolute_ && !normalised && spec_.action.mode != NormMode::identity, "un-normalising before the state is added");
      } else if (kind == "device_processor") {
        const io::Json* type = config.find("float_dtype");
        if (type != nullptr && type->string() != "float32" && type->string() != "torch.float32")
          fail_expected(type->where(), "null or \"float32\"", "\"" + type->string() + "\"");
      } else if (kind != "to_batch_processor") {
        fail_expected(step.where(), fmt::format("a {} step of pi0 or pi0.5", pre ? "preprocessor" : "postprocessor"), "'" + kind + "'",
                      "a step that is not understood may change the result");
      }
    }
    if (pre && tokenised && !worded) spec_.prompt = PromptForm::as_given;
  }

  void tokenizer_step(const io::Json& config) {
    if (const io::Json* length = config.find("max_length")) spec_.model.max_prompt_tokens = length->integer(1, 4096);
    if (const io::Json* cut = config.find("truncation"); cut != nullptr && !cut->boolean())
      fail_expected(cut->where(), "true (prompts are cut to max_length)", "false");
    if (const io::Json* side = config.find("padding_side"); side != nullptr && side->string() != "right")
      fail_expected(side->where(), "\"right\"", "\"" + side->string() + "\"");
  }

  void relative_step(const io::Json& config) {
    if (const io::Json* enabled = config.find("enabled")) relative_ = enabled->boolean();
    if (const io::Json* names = config.find("action_names")) spec_.action_names = names->strings();
    excluded_ = std::vector<std::string>();
    if (const io::Json* excluded = config.find("exclude_joints")) excluded_ = excluded->strings();
  }

  /// Before processors existed the statistics were buffers in the weights file.
  void buffers() {
    const auto take = [&](Normaliser& n, const std::string& name) {
      if (n.mode == NormMode::identity) return;
      const auto [low, high] = statistic_names(n.mode);
      for (const char* root : {"", "model."}) {
        n.low = source_.buffer(root + name + "." + low);
        n.high = source_.buffer(root + name + "." + high);
        if (n.low.empty() && n.high.empty()) continue;
        n.statistics = true;
        n.style = NormStyle::early_lerobot;
        check_lengths(n, source_.where() + ": " + root + name);
        spec_.notes.push_back("statistics from the buffers " + name + ".*");
        break;
      }
    };
    take(spec_.state, "normalize_inputs.buffer_observation_state");
    take(spec_.action, "unnormalize_outputs.buffer_action");
  }

  /// A data set's meta/stats.json in place of the checkpoint's statistics.
  void dataset_statistics(const std::string& file, const io::Json& json) {
    const auto take = [&](Normaliser& n, std::string_view feature) {
      if (n.mode == NormMode::identity) return;
      const io::Json& stats = json.at(feature);
      const auto [low, high] = statistic_names(n.mode);
      n.low = stats.at(low).numbers();
      n.high = stats.at(high).numbers();
      n.statistics = true;
      n.style = NormStyle::lerobot;
      check_lengths(n, stats.where());
    };
    take(spec_.state, kState);
    take(spec_.action, kAction);
    spec_.notes.push_back("statistics from " + file);
  }

  void check_normaliser(const Normaliser& n, std::string_view feature, const char* what, std::int64_t size, const char* listed, bool processors) {
    if (n.mode == NormMode::identity) return;
    if (!n.statistics && !processors)
      fail_expected(files_.where(), fmt::format("policy_preprocessor.json and policy_postprocessor.json (the {} are {})", what, name(n.mode)), "none",
                    "--norm-stats FILE takes a data set's meta/stats.json");
    if (!n.statistics) {
      spec_.warnings.push_back(
          fmt::format("no statistics for the {}: they pass unchanged, as in LeRobot (--norm-stats FILE takes a data set's meta/stats.json)", what));
      return;
    }
    if (size > 0 && static_cast<std::int64_t>(n.low.size()) != size)
      fail_expected(files_.where(), fmt::format("statistics of '{}' with {} values, as {} says", feature, size, listed),
                    std::to_string(n.low.size()));
    check_statistics(n, files_.where() + ": statistics of '" + std::string(feature) + "'", options_.allow_nonfinite);
  }

  void relative(bool processors) {
    const io::Json& json = config_.json;
    if (processors) {
      if (absolute_ && !excluded_)
        fail_expected(files_.where("policy_preprocessor.json"), "a relative_actions_processor, to which absolute_actions_processor refers", "none");
    } else if (const io::Json* flag = json.find("use_relative_actions")) {
      absolute_ = flag->boolean();
    }
    if (!absolute_) return;
    if (!processors) {
      if (const io::Json* names = json.find("action_feature_names")) spec_.action_names = names->strings();
      excluded_ = {"gripper"};
      if (const io::Json* excluded = json.find("relative_exclude_joints")) excluded_ = excluded->strings();
    }
    spec_.delta.assign(static_cast<std::size_t>(spec_.robot_action_dim), true);
    for (std::size_t d = 0; d < spec_.delta.size() && d < spec_.action_names.size(); ++d) {
      const std::string action = lower(spec_.action_names[d]);
      for (const std::string& word : *excluded_)
        if (!word.empty() && action.find(lower(word)) != std::string::npos) spec_.delta[d] = false;
    }
    if (spec_.robot_state_dim > 0 && spec_.robot_state_dim < spec_.robot_action_dim)
      fail_expected(files_.where(), "a state at least as long as the actions, which are relative to it",
                    fmt::format("{} and {}", spec_.robot_state_dim, spec_.robot_action_dim));
    spec_.notes.push_back(
        fmt::format("relative actions: the state is added to {} of {} dimensions", std::ranges::count(spec_.delta, true), spec_.delta.size()));
  }

  void names() {
    if (spec_.action_names.empty())
      if (const io::Json* list = config_.json.find("action_feature_names")) spec_.action_names = list->strings();
    if (spec_.action_names.size() != static_cast<std::size_t>(spec_.robot_action_dim)) spec_.action_names.clear();
    for (const std::string& name : spec_.action_names)
      if (std::ranges::any_of(name, [](unsigned char c) { return c < 32 || c == 127; }))
        fail_expected(files_.where(), "names of actions without control characters", fmt::format("one of {} bytes with some", name.size()));
  }

  /// The last part of a camera's name, and the names that the rename map knows, as far as they are nobody else's.
  void aliases() {
    std::map<std::string, int> uses;
    const auto each = [&](const std::function<void(CameraSlot&, const std::string&)>& f) {
      for (CameraSlot& slot : spec_.cameras) {
        if (slot.always_absent) continue;
        if (last_part(slot.name) != slot.name) f(slot, last_part(slot.name));
        for (const auto& [from, to] : spec_.renames) {
          if (to != slot.name) continue;
          f(slot, from);
          if (last_part(from) != from && last_part(from) != last_part(slot.name)) f(slot, last_part(from));
        }
      }
    };
    for (const CameraSlot& slot : spec_.cameras) ++uses[slot.name];
    each([&](CameraSlot&, const std::string& alias) { ++uses[alias]; });
    each([&](CameraSlot& slot, const std::string& alias) {
      if (uses[alias] == 1) slot.aliases.push_back(alias);
    });
  }

  const CheckpointFiles& files_;
  const CheckpointConfig& config_;
  const CheckpointSource& source_;
  const PolicyOptions& options_;
  PolicySpec spec_;
  bool relative_ = false;  // the preprocessor's step is enabled
  bool absolute_ = false;  // the postprocessor adds the state
  std::optional<std::vector<std::string>> excluded_;
};

}  // namespace

PolicySpec read_lerobot(const CheckpointFiles& files, const CheckpointConfig& config, const CheckpointSource& source, const PolicyOptions& options) {
  if (!options.robot.empty())
    fail_expected(files.where(), "no robot preset for a LeRobot checkpoint (its own processors say everything)", "'" + options.robot + "'");
  return Lerobot(files, config, source, options).read();
}

void check_statistics(const Normaliser& normaliser, std::string_view where, bool allow_nonfinite) {
  if (allow_nonfinite) return;
  for (const auto* values : {&normaliser.low, &normaliser.high})
    for (const double v : *values)
      if (!std::isfinite(v)) fail_expected(where, "finite statistics", fmt::format("{}", v), "--allow-nonfinite accepts them");
  for (std::size_t i = 0; i < normaliser.high.size() && i < normaliser.low.size(); ++i) {
    const bool deviation = normaliser.mode == NormMode::mean_std;
    const double least = deviation ? 0 : normaliser.low[i];
    if (normaliser.high[i] < least)
      fail_expected(where, deviation ? std::string("standard deviations of 0 or more") : fmt::format("an upper bound of at least {}", least),
                    fmt::format("{} at {}", normaliser.high[i], i));
  }
}

}  // namespace tessera::models
