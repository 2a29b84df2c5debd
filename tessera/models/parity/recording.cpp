#include "tessera/models/parity/recording.h"

#include <algorithm>

#include "tessera/core/error.h"
#include "tessera/io/json.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

int steps_of(const io::Json& json) {
  const io::Json* steps = json.find("num_steps");
  return steps == nullptr ? 0 : static_cast<int>(steps->integer(1, 1000));
}

/// What a recording's sentence is called in policy_io.json ("task") and in an index ("sentence"; "task" is the simulator's there).
std::string sentence_of(const io::Json& json) {
  const io::Json* sentence = json.find("sentence");
  return sentence != nullptr ? sentence->string() : json.at("task").string();
}

std::optional<std::string> prompt_of(const io::Json& json) {
  const io::Json* prompt = json.find("prompt_after_processing");
  if (prompt == nullptr) return std::nullopt;
  if (prompt->is_string()) return prompt->string();
  const std::vector<std::string> prompts = prompt->strings();
  return prompts.empty() ? std::nullopt : std::optional(prompts.front());
}

RecordingJob policy_job(const fs::path& file, const io::Json& top, const io::Json& entry) {
  RecordingJob job;
  job.file = file;
  job.policy_level = true;
  job.sentence = sentence_of(entry);
  job.processed_prompt = prompt_of(entry);
  job.steps = steps_of(top);
  if (const io::Json* feature = top.find("state_feature")) job.state_feature = feature->string();
  return job;
}

/// Every recording of an index, or only `wanted`.
std::vector<RecordingJob> index_jobs(const fs::path& index, const std::string& wanted = {}) {
  const io::Json json = io::Json::read(index);
  std::vector<RecordingJob> jobs;
  for (const io::Json& entry : json.at("observations").array()) {
    const std::string& name = entry.at("recording").string();
    if (!wanted.empty() && name != wanted) continue;
    jobs.push_back(policy_job(index.parent_path() / name, json, entry));
  }
  return jobs;
}

std::vector<RecordingJob> file_jobs(const fs::path& file) {
  if (file.extension() == ".json") return index_jobs(file);
  const Recording recording(file);
  if (recording.has("in.noise")) {
    RecordingJob job;
    job.file = file;
    return {job};
  }
  if (!recording.has("noise")) fail_expected(file.string(), "a recording with 'in.noise' (model level) or 'noise' (policy level)", "neither");
  fs::path beside = file;
  beside.replace_extension(".json");
  if (fs::exists(beside)) {
    const io::Json json = io::Json::read(beside);
    return {policy_job(file, json, json)};
  }
  const fs::path index = file.parent_path() / "index.json";
  if (!fs::exists(index)) fail_expected(file.string(), "its sentence in " + beside.filename().string() + " or index.json beside it", "neither file");
  std::vector<RecordingJob> jobs = index_jobs(index, file.filename().string());
  if (jobs.empty()) fail_expected(index.string(), "an observation whose recording is '" + file.filename().string() + "'", "none");
  return jobs;
}

std::vector<std::int64_t> without_batch(const Recording& recording, std::string_view name, std::size_t rank) {
  const std::span<const std::int64_t> sizes = recording.shape(name).sizes();
  std::vector<std::int64_t> kept(sizes.begin(), sizes.end());
  if (kept.size() == rank + 1 && kept.front() == 1) kept.erase(kept.begin());
  if (kept.size() != rank)
    fail_expected(recording.where(), "'" + std::string(name) + "' with " + std::to_string(rank) + " dimensions, or a batch of 1 before them",
                  recording.shape(name).str());
  return kept;
}

}  // namespace

std::vector<RecordingJob> find_recordings(const fs::path& path) {
  if (!fs::exists(path)) fail_expected(path.string(), "a recording or a folder with recordings", "nothing there");
  std::vector<RecordingJob> all;
  std::size_t group = 0;
  const auto take = [&](std::vector<RecordingJob> jobs) {
    for (RecordingJob& job : jobs) {
      job.group = group;
      all.push_back(std::move(job));
    }
    ++group;
  };
  if (!fs::is_directory(path)) {
    take(file_jobs(path));
  } else {
    for (const char* name : {"io.safetensors", "policy_io.safetensors", "observations/index.json", "index.json"})
      if (fs::exists(path / name)) take(file_jobs(path / name));
  }
  if (all.empty())
    fail_expected(path.string(), "io.safetensors, policy_io.safetensors, observations/index.json or index.json in the folder", "no recording",
                  "tools/record_reference.py makes one");
  return all;
}

const Shape& Recording::shape(std::string_view name) const {
  const io::StoredTensor* tensor = file_->find(name);
  if (tensor == nullptr) fail_expected(where(), "tensor '" + std::string(name) + "'", "a recording without it");
  return tensor->shape;
}

std::vector<double> Recording::doubles(std::string_view name) const {
  shape(name);
  return file_->doubles(name);
}

std::vector<std::int64_t> Recording::integers(std::string_view name) const {
  shape(name);
  return file_->integers(name);
}

Tensor Recording::f32(std::string_view name, const Shape& expected) const {
  if (Shape(std::span<const std::int64_t>(without_batch(*this, name, expected.rank()))) != expected)
    fail_expected(where(), "'" + std::string(name) + "' of shape " + expected.str() + " (the checkpoint's), or a batch of 1 of it",
                  shape(name).str());
  const std::vector<float> values = file_->floats(name);
  return Tensor::from(std::span<const float>(values), expected);
}

std::vector<bool> Recording::mask(std::string_view name) const {
  without_batch(*this, name, 1);
  const std::vector<std::int64_t> values = file_->integers(name);
  std::vector<bool> mask;
  for (const std::int64_t value : values) mask.push_back(value != 0);
  return mask;
}

std::size_t Recording::count(const std::string& prefix) const {
  std::size_t n = 0;
  while (has(prefix + std::to_string(n))) ++n;
  return n;
}

ModelInputs read_model_inputs(const Recording& recording, const Pi0Config& config) {
  ModelInputs result;
  const std::size_t slots = recording.count("in.images.");
  if (slots == 0) recording.shape("in.images.0");
  const std::int64_t side = config.vision.image;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::string index = std::to_string(slot);
    const std::vector<bool> mask = recording.mask("in.image_masks." + index);
    if (mask.size() != 1) fail_expected(recording.where(), "one value in 'in.image_masks." + index + "'", std::to_string(mask.size()));
    result.inputs.images.push_back(mask[0] ? recording.f32("in.images." + index, {3, side, side}) : Tensor());
    result.prefix_mask.insert(result.prefix_mask.end(), static_cast<std::size_t>(config.vision.patches()), mask[0]);
  }
  const std::vector<std::int64_t> tokens = recording.integers("in.tokens");
  const std::vector<bool> token_mask = recording.mask("in.token_mask");
  if (tokens.size() != token_mask.size())
    fail_expected(recording.where(), "as many values in 'in.token_mask' as in 'in.tokens': " + std::to_string(tokens.size()),
                  std::to_string(token_mask.size()));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!token_mask[i]) continue;
    if (tokens[i] < 0 || tokens[i] >= config.vocab)
      fail_expected(recording.where(), "token ids below the vocabulary's " + std::to_string(config.vocab), std::to_string(tokens[i]));
    result.inputs.tokens.push_back(static_cast<std::int32_t>(tokens[i]));
  }
  result.prefix_mask.insert(result.prefix_mask.end(), token_mask.begin(), token_mask.end());
  if (!config.pi05) result.inputs.state = recording.f32("in.state", {config.state_dim});
  result.noise = recording.f32("in.noise", {config.chunk, config.action_dim});
  if (recording.has("f32.time"))
    result.steps = static_cast<int>(recording.shape("f32.time").numel());
  else if (recording.has("f32.v_t"))
    result.steps = static_cast<int>(recording.shape("f32.v_t")[0]);
  return result;
}

std::optional<TimeSchedule> recorded_schedule(const Recording& recording, int steps) {
  if (!recording.has("f32.time")) return std::nullopt;
  const std::vector<double> recorded = recording.doubles("f32.time");
  for (const TimeSchedule schedule : {TimeSchedule::exact, TimeSchedule::accumulated}) {
    const std::vector<float> times = time_schedule(schedule, steps);
    if (std::ranges::equal(times, recorded, [](float a, double b) { return static_cast<double>(a) == b; })) return schedule;
  }
  return std::nullopt;
}

Observation read_observation(const Recording& recording, const RecordingJob& job) {
  Observation observation;
  observation.prompt = job.sentence;
  constexpr std::string_view kPrefix = "obs.";
  for (const io::StoredTensor& tensor : recording.file().tensors()) {
    if (!tensor.name.starts_with(kPrefix)) continue;
    const std::string key = tensor.name.substr(kPrefix.size());
    if (key == job.state_feature)
      observation.state = recording.doubles(tensor.name);
    else if (tensor.shape.rank() == 3)
      observation.images[key] = recording.file().tensor(tensor.name);
    else
      fail_expected(recording.where(), "'" + tensor.name + "' to be the state ('" + job.state_feature + "') or a picture", tensor.shape.str());
  }
  if (observation.images.empty()) fail_expected(recording.where(), "raw pictures 'obs.<camera>'", "none");
  return observation;
}

}  // namespace tessera::models
