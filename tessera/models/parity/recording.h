// Finds recordings and reads them: what a file or folder holds, at model level (io.safetensors) and at policy level (raw observations).
// Trusts no shape in them. Private to models (not installed). Test: tests/models/parity_test.cpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/io/safetensors.h"
#include "tessera/models/policy/policy.h"

namespace tessera::models {

/// One recording to run. `group`: recordings whose bf16 distances are pooled (those of one index).
struct RecordingJob {
  std::filesystem::path file;
  bool policy_level = false;
  std::string sentence;
  std::optional<std::string> processed_prompt;
  std::string state_feature = "observation.state";
  int steps = 0;  // 0: the checkpoint's
  std::size_t group = 0;
};

/// Throws Error when there is nothing to run.
std::vector<RecordingJob> find_recordings(const std::filesystem::path& path);

/// Typed, shape-checked reading; errors name file and tensor.
class Recording {
 public:
  explicit Recording(const std::filesystem::path& path) : file_(io::SafetensorsFile::open(path)) {}

  bool has(std::string_view name) const { return file_->find(name) != nullptr; }
  /// Throws Error when it is missing.
  const Shape& shape(std::string_view name) const;
  std::vector<double> doubles(std::string_view name) const;
  std::vector<std::int64_t> integers(std::string_view name) const;
  /// f32, under `shape`: the stored one, a leading batch of 1 dropped.
  Tensor f32(std::string_view name, const Shape& shape) const;
  /// A mask [n] or [1, n].
  std::vector<bool> mask(std::string_view name) const;
  /// Number of names prefix0, prefix1, ... that follow each other.
  std::size_t count(const std::string& prefix) const;
  std::string where() const { return file_->path().filename().string(); }
  const io::SafetensorsFile& file() const { return *file_; }

 private:
  std::shared_ptr<const io::SafetensorsFile> file_;
};

/// What a model-level recording feeds the network with: masked cameras left undefined, padding tokens dropped.
struct ModelInputs {
  Pi0Inputs inputs;
  Tensor noise;
  std::vector<bool> prefix_mask;  // of the recorded prefix's rows
  int steps = 0;
};
ModelInputs read_model_inputs(const Recording& recording, const Pi0Config& config);

/// The schedule whose times are the recorded ones bit for bit, if there is one: a recording is replayed with its own times.
std::optional<TimeSchedule> recorded_schedule(const Recording& recording, int steps);

/// The raw observation of a policy-level recording.
Observation read_observation(const Recording& recording, const RecordingJob& job);

}  // namespace tessera::models
