// A checkpoint (a folder, or a packed file) as a policy: camera pictures, a state and a sentence in; un-normalised robot actions out. Knows LeRobot's
// and openpi's formats and robots; does no arithmetic of the network. Test: tests/models/policy_test.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/pi0/pi0.h"
#include "tessera/models/weights.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

struct PolicyOptions {
  std::optional<Precision> precision;    // nothing: what the checkpoint's config asks for
  std::string robot;                     // name of an openpi robot preset ("pi0_aloha", "pi05_droid", ...); empty: none
  std::filesystem::path tokenizer;       // tokenizer.model or tokenizer.json; empty: searched in and beside the checkpoint
  std::filesystem::path norm_stats;      // openpi norm_stats.json; empty: assets/<id>/norm_stats.json
  bool allow_nonfinite = false;          // accept NaN and Inf in weights, state and statistics
  bool padded_state_prompt = false;      // pi0.5 checkpoints trained with LeRobot 0.4.x: the state in the prompt is zero-padded to state_dim
  bool any_prompt = false;               // take an empty prompt, and cut one that is too long, as the references do; else both are errors
  bool legacy_resize = false;            // LeRobot <= 0.3: padding left and top
  std::optional<TimeSchedule> schedule;  // nothing: by family (openpi accumulated, LeRobot exact)
  bool skip_checksums = false;           // of packed files: trust that the weights arrived whole
  Progress progress;
};

struct Observation {
  /// By camera name: the full feature name ("observation.images.front"), its last part ("front"), an openpi slot ("base_0_rgb") or the robot's
  /// request key ("cam_high"). uint8 [H, W, 3], or f32 [H, W, 3] / [3, H, W] in [0, 1].
  std::map<std::string, Tensor> images;
  /// The robot's own units and length.
  std::vector<double> state;
  std::string prompt;
};

struct ActOptions {
  int steps = 0;  // 0: the checkpoint's
  std::uint64_t seed = 0;
  Tensor noise;  // f32 [chunk, action_dim] or [1, chunk, action_dim]; undefined: from the seed
  /// The caller says that pictures and prompt are those of the last call: keys and values of the prefix are reused.
  bool reuse_prefix = false;
  std::optional<RealTimeChunking> rtc;
};

struct StageTimes {  // milliseconds
  double preprocess = 0;
  double images = 0;
  double prefix = 0;
  double steps = 0;
  double total = 0;
};

struct ActionChunk {
  Tensor normalised;            // f32 [chunk, dim], cut to the robot's action dim
  Tensor model;                 // f32 [chunk, action_dim], as the network left it (RTC's next `previous`)
  std::vector<double> actions;  // [chunk * dim], the robot's own units, row-major
  std::int64_t chunk = 0;
  std::int64_t dim = 0;
  std::vector<std::string> names;  // of the action dimensions, when the checkpoint has them; else "0", "1", ...
  int steps = 0;
  StageTimes times;
};

/// What reaches the network, and what was made of the prompt: compared with recordings by `tessera verify`.
struct PreparedObservation {
  Pi0Inputs inputs;
  std::string prompt;                    // after processing
  std::vector<double> normalised_state;  // not yet padded
  std::vector<double> raw_state;         // after robot transforms, before normalising (delta actions need it)
};

struct CameraSlot {
  std::string name;                  // canonical name of the slot
  std::vector<std::string> aliases;  // what a request may call it
  bool required = false;
  bool always_absent = false;  // LeRobot's empty_camera_i
};

/// What a packed file holds (see policy/pack.h).
struct PackedContents {
  struct Row {
    std::string name;     // of the kernel row whose layout the weights have
    std::string missing;  // why this machine cannot run it, else empty
    std::int64_t count = 0;
    std::size_t bytes = 0;
  };
  std::string made_by;  // "tessera 0.1.0"
  std::string source;   // name of the folder that was packed
  Precision precision = Precision::f32;
  bool allow_nonfinite = false;  // weights were not looked at
  std::vector<Row> rows;
  std::size_t tensor_bytes = 0;  // what is not packed for a row: norms, positions, ...
  std::size_t table_bytes = 0;   // the token table
  std::size_t file_bytes = 0;    // carried files
  std::vector<std::string> files;
  std::size_t bytes = 0;  // of the whole file
};

/// Everything `tessera inspect` prints; filled without packing weights.
struct CheckpointReport {
  std::string path;
  std::string format;         // "LeRobot", "openpi"
  std::string names_variant;  // "openpi names", "model. prefix", "pre-0.4 names", "transformers PI0"
  Pi0Config config;
  std::string config_source;                          // where sizes that tensors cannot tell came from
  std::int64_t parameters = 0;                        // in the file
  std::int64_t hot_parameters = 0;                    // that the model multiplies with
  std::map<std::string, std::int64_t> stored_dtypes;  // "BF16" -> number of tensors
  std::map<std::string, std::size_t> memory;          // "f32", "bf16", "int8" -> bytes of hot weights
  /// When int8 is asked for, or the file was packed in it: matrices that stay bf16, and what int8 would have lost of them.
  std::optional<std::vector<Int8Exception>> int8_exceptions;
  std::vector<std::string> missing;
  std::vector<std::string> misshapen;
  std::vector<std::string> unused;
  std::vector<CameraSlot> cameras;
  std::string state_norm;  // "MEAN_STD", "QUANTILES", ..., "none (no statistics)"
  std::string action_norm;
  std::int64_t state_dim = 0;       // the robot's
  std::int64_t action_dim = 0;      // the robot's
  std::string robot;                // preset, if any
  std::string tokenizer;            // description, or what is missing
  std::vector<std::string> notes;   // relative actions, delta masks, adapt_to_pi, tied tables, missing statistics, ...
  std::vector<std::string> errors;  // why `act` would refuse this folder: processors, statistics, robot
  std::optional<PackedContents> packed;
};
CheckpointReport inspect_checkpoint(const std::filesystem::path& path, const PolicyOptions& options = {});

class Policy {
 public:
  /// `path`: a checkpoint folder, or a file that pack_checkpoint() made. Throws Error that names file, tensor or key, what was expected and what to
  /// do.
  static Policy load(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options = {});
  /// The network alone with pre-made inputs, for model-level recordings: no tokenizer, processors or statistics needed.
  static Pi0 load_model(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options = {});
  ~Policy();
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;

  const Pi0& model() const noexcept;
  const std::vector<CameraSlot>& cameras() const noexcept;
  std::int64_t state_dim() const noexcept;   // the robot's; 0 when any length up to the model's is taken
  std::int64_t action_dim() const noexcept;  // the robot's
  /// What a user should know before trusting the actions: statistics that are missing, so that state or actions pass unchanged.
  const std::vector<std::string>& warnings() const noexcept;

  /// Processors only. Throws Error on a wrong camera name (lists the right ones), no picture, a state of the wrong length,
  /// NaN in the state, or a prompt that is empty or too long.
  PreparedObservation prepare(Context& ctx, const Observation& observation) const;
  /// Throws Error, besides, when an action is NaN or infinite (unless allow_nonfinite).
  ActionChunk act(Context& ctx, const Observation& observation, const ActOptions& options = {}, const Tap& tap = {});
  /// From the network's output to the robot's units: [chunk, action_dim] f32 -> ActionChunk::normalised and ::actions.
  void finish(const PreparedObservation& prepared, const Tensor& model_actions, ActionChunk& chunk) const;

 private:
  Policy();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Names of the openpi robot presets (pi0.md's table of released configs).
std::vector<std::string> robot_presets();

}  // namespace tessera::models
