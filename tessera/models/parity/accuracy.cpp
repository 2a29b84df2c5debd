#include "tessera/models/parity/accuracy.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/models/parity/compare.h"
#include "tessera/models/parity/recording.h"

namespace tessera::models {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A chunk in the bill's units, [actions, dimensions] row by row.
struct Chunk {
  std::vector<double> values;
  std::vector<std::string> names;
};

/// One recording in one precision.
struct Outcome {
  Chunk got;
  std::vector<double> reference;
  std::vector<double> bf16;  // the reference's own; empty when it was not recorded
};

/// One line of the bill while it is summed up.
class Line {
 public:
  explicit Line(std::string name) { row_.name = std::move(name); }

  void add(const std::string& recording, const std::vector<std::string>& names, std::span<const double> got, std::span<const double> reference) {
    if (row_.dimensions.empty())
      for (const std::string& name : names) row_.dimensions.push_back({name});
    comparison_.add(got, reference);
    ++row_.recordings;
    const std::size_t dims = names.size();
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool same = got[i] == reference[i] || (std::isnan(got[i]) && std::isnan(reference[i]));
      double distance = same ? 0.0 : std::abs(got[i] - reference[i]);
      if (std::isnan(distance)) distance = kInfinity;
      AccuracyDimension& dimension = row_.dimensions[i % dims];
      dimension.max_abs = std::max(dimension.max_abs, distance);
      dimension.mean_abs += distance;
      if (distance > row_.max_abs) {
        row_.max_abs = distance;
        row_.max_where = fmt::format("dimension {} of action {} of {}", names[i % dims], i / dims, recording);
      }
    }
    actions_ += got.size() / dims;
  }
  /// The reference's own bf16 run of a recording that was added.
  void add_bf16(std::span<const double> bf16, std::span<const double> reference) { comparison_.add_bf16(bf16, reference); }

  AccuracyRow row() const {
    AccuracyRow row = row_;
    row.pcc = comparison_.pcc();
    row.rms = comparison_.rms();
    for (AccuracyDimension& dimension : row.dimensions) {
      dimension.mean_abs /= static_cast<double>(actions_);
      row.mean_abs += dimension.mean_abs / static_cast<double>(row.dimensions.size());
    }
    const auto worst = std::ranges::max_element(row.dimensions, {}, &AccuracyDimension::mean_abs);
    row.worst = static_cast<std::size_t>(worst - row.dimensions.begin());
    if (const double reference = comparison_.reference_rms(); reference > 0) row.to_reference = row.rms / reference;
    return row;
  }
  std::size_t actions() const noexcept { return actions_; }
  std::size_t recordings() const noexcept { return row_.recordings; }

 private:
  AccuracyRow row_;
  Comparison comparison_;
  std::size_t actions_ = 0;
};

/// A checkpoint in one precision: a policy where the folder makes one, the network alone where it does not and needs not.
struct Loaded {
  std::optional<Policy> policy;
  std::optional<Pi0> alone;
  std::string why_alone;

  const Pi0& model() const { return policy ? policy->model() : *alone; }
};

Loaded load(Context& ctx, const std::filesystem::path& checkpoint, const PolicyOptions& options, bool needs_policy) {
  Loaded loaded;
  try {
    loaded.policy = Policy::load(ctx, checkpoint, options);
  } catch (const Error& error) {
    if (needs_policy) throw;
    loaded.why_alone = error.what();
  }
  // An Error that was about the network comes again here.
  if (!loaded.policy) loaded.alone = Policy::load_model(ctx, checkpoint, options);
  return loaded;
}

/// From the network's units to the bill's.
Chunk in_units(const Loaded& loaded, const Tensor& actions) {
  Chunk chunk;
  if (loaded.policy) {
    ActionChunk finished;
    loaded.policy->finish({}, actions, finished);
    chunk.values = std::move(finished.actions);
    chunk.names = std::move(finished.names);
    return chunk;
  }
  const std::span<const float> values = actions.span<float>();
  chunk.values.assign(values.begin(), values.end());
  for (std::int64_t d = 0; d < actions.cols(); ++d) chunk.names.push_back(std::to_string(d));
  return chunk;
}

Outcome model_level(Context& ctx, const Loaded& loaded, const Recording& recording) {
  const Pi0& model = loaded.model();
  const Pi0Config& config = model.config();
  const ModelInputs in = read_model_inputs(recording, config);
  const Shape shape{config.chunk, config.action_dim};
  Outcome outcome;
  outcome.reference = in_units(loaded, recording.f32("f32.actions", shape)).values;
  if (recording.has("bf16.actions")) outcome.bf16 = in_units(loaded, recording.f32("bf16.actions", shape)).values;
  PrefixCache cache;
  model.encode_images(ctx, in.inputs, cache);
  model.encode_prefix(ctx, in.inputs, cache);
  SampleOptions options;
  options.steps = in.steps;
  options.schedule = recorded_schedule(recording, in.steps).value_or(config.schedule);
  Tensor actions = Tensor::empty(shape, DType::f32);
  model.denoise(ctx, cache, in.inputs, in.noise, options, actions);
  outcome.got = in_units(loaded, actions);
  return outcome;
}

Outcome policy_level(Context& ctx, Policy& policy, const Recording& recording, const RecordingJob& job) {
  const Observation observation = read_observation(recording, job);
  const Pi0Config& config = policy.model().config();
  ActOptions options;
  options.steps = job.steps;
  options.noise = recording.f32("noise", {config.chunk, config.action_dim});
  Outcome outcome;
  outcome.reference = recording.doubles("out.actions");
  if (recording.has("bf16.actions")) outcome.bf16 = recording.doubles("bf16.actions");
  ActionChunk chunk = policy.act(ctx, observation, options);
  outcome.got = {std::move(chunk.actions), std::move(chunk.names)};
  return outcome;
}

void check_sizes(const Recording& recording, const Outcome& outcome) {
  const std::size_t size = outcome.got.values.size();
  const auto check = [&](std::string_view name, std::size_t recorded) {
    if (recorded != size)
      fail_expected(recording.where(), fmt::format("{} values in '{}', as this checkpoint makes", size, name),
                    fmt::format("{}: was it recorded from another checkpoint?", recorded));
  };
  check("actions", outcome.reference.size());
  if (!outcome.bf16.empty()) check("bf16.actions", outcome.bf16.size());
}

}  // namespace

AccuracyReport accuracy(Context& ctx, const std::filesystem::path& checkpoint, std::span<const std::filesystem::path> recordings,
                        std::span<const Precision> precisions, const PolicyOptions& given) {
  if (precisions.empty()) fail_expected("accuracy", "at least one precision", "none");
  std::vector<RecordingJob> jobs;
  for (const std::filesystem::path& path : recordings) std::ranges::move(find_recordings(path), std::back_inserter(jobs));
  if (jobs.empty()) fail_expected("accuracy", "at least one recording", "none");
  const bool needs_policy = std::ranges::any_of(jobs, &RecordingJob::policy_level);

  AccuracyReport report;
  report.recordings = jobs.size();
  Line reference("reference bf16");
  std::vector<std::string> kept_notes;
  for (const Precision precision : precisions) {
    PolicyOptions options = given;
    options.any_prompt = true;  // the reference has taken it
    options.precision = precision;
    Loaded loaded = load(ctx, checkpoint, options, needs_policy);
    Line line{std::string(name(precision))};
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (options.progress)
        options.progress(fmt::format("running recordings in {}", name(precision)), static_cast<double>(i) / static_cast<double>(jobs.size()));
      const Recording recording(jobs[i].file);
      const Outcome outcome = jobs[i].policy_level ? policy_level(ctx, *loaded.policy, recording, jobs[i]) : model_level(ctx, loaded, recording);
      check_sizes(recording, outcome);
      line.add(recording.where(), outcome.got.names, outcome.got.values, outcome.reference);
      if (outcome.bf16.empty()) continue;
      line.add_bf16(outcome.bf16, outcome.reference);
      if (precision == precisions.front()) reference.add(recording.where(), outcome.got.names, outcome.bf16, outcome.reference);
    }
    report.rows.push_back(line.row());
    if (const std::size_t kept = loaded.model().int8_exceptions().size(); kept > 0)
      kept_notes.push_back(fmt::format("int8: {} {} bf16, where int8 would cost too much", kept, kept == 1 ? "matrix stays" : "matrices stay"));
    if (precision != precisions.front()) continue;
    report.actions = line.actions();
    report.robot_units = loaded.policy.has_value();
    report.units = report.robot_units ? "the robot's own units" : "normalised units";
    if (loaded.policy)
      report.notes = loaded.policy->warnings();
    else
      report.notes.push_back("normalised units, because this folder makes no policy: " + loaded.why_alone);
  }
  std::ranges::move(kept_notes, std::back_inserter(report.notes));
  if (reference.recordings() > 0) report.rows.push_back(reference.row());
  if (reference.recordings() < jobs.size())
    report.notes.push_back(fmt::format("the reference's own bf16 run stands in {} of {} recordings", reference.recordings(), jobs.size()));
  if (given.progress) given.progress("running recordings", 1.0);
  return report;
}

}  // namespace tessera::models
