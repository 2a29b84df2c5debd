#include "tessera/models/parity/parity.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/models/parity/compare.h"
#include "tessera/models/parity/recording.h"

namespace tessera::models {
namespace {

constexpr double kF32Limit = 2e-4;      // of the stage's scale
constexpr double kBf16Share = 2.0;      // of the reference's own bf16 distance
constexpr double kCorrelation = 0.999;  // of the final actions, in every precision but f32
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> to_doubles(const Tensor& x) {
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(x.numel()));
  for (std::int64_t r = 0; r < x.rows(); ++r)
    for (std::int64_t c = 0; c < x.cols(); ++c) {
      const std::int64_t i = r * x.row_stride() + c;
      values.push_back(static_cast<double>(x.dtype() == DType::bf16 ? to_f32(x.data<bf16>()[i]) : x.data<float>()[i]));
    }
  return values;
}

/// "f32.v_t" -> "v_t"
std::string stage_of(const std::string& name) { return name.substr(name.find('.') + 1); }

class Run {
 public:
  Run(Context& ctx, Precision precision) : ctx_(ctx), precision_(precision) {}

  void model_level(const Pi0& model, const RecordingJob& job);
  void policy_level(Policy& policy, const RecordingJob& job);
  /// Judges the actions of a group of recordings together, where the rule is about all of them.
  void close_group(const std::string& name);
  ParityReport report(std::size_t recordings) const;

 private:
  void add(const Recording& recording, const std::string& stage, const Comparison& comparison, double limit, bool judged);
  void stage(const Recording& recording, const std::string& stage, const std::vector<double>& got, const std::string& name, bool network);
  void actions(const Recording& recording, const std::string& stage, const std::vector<double>& got, const std::string& reference,
               const std::string& bf16);
  void compare(const Recording& recording, Comparison& comparison, const std::string& stage, const std::vector<double>& got,
               const std::vector<double>& reference) const;

  Context& ctx_;
  Precision precision_;
  std::vector<ParityRow> rows_;
  std::map<std::string, std::pair<Comparison, int>> pooled_;  // stage -> distances and recordings of the group
};

void Run::compare(const Recording& recording, Comparison& comparison, const std::string& stage, const std::vector<double>& got,
                  const std::vector<double>& reference) const {
  if (got.size() != reference.size())
    fail_expected(recording.where(), fmt::format("{} values in stage '{}', as this checkpoint makes", got.size(), stage),
                  fmt::format("{}: was it recorded from another checkpoint?", reference.size()));
  comparison.add(got, reference);
}

void Run::add(const Recording& recording, const std::string& stage, const Comparison& comparison, double limit, bool judged) {
  ParityRow row = comparison.row();
  row.recording = recording.where();
  row.stage = stage;
  row.limit = limit;
  row.judged = judged;
  row.pass = !judged || row.max_rel <= limit;
  rows_.push_back(std::move(row));
}

/// A stage whose reference is stored as it is. `network`: judged in f32 only; else (what goes in) in every precision.
void Run::stage(const Recording& recording, const std::string& stage, const std::vector<double>& got, const std::string& name, bool network) {
  Comparison comparison;
  const std::vector<double> reference = recording.doubles(name);
  compare(recording, comparison, stage, got, reference);
  if (const std::string bf16 = "bf16." + stage_of(name); network && recording.has(bf16) && recording.shape(bf16) == recording.shape(name))
    comparison.add_bf16(recording.doubles(bf16), reference);
  add(recording, stage, comparison, kF32Limit, !network || precision_ == Precision::f32);
}

void Run::actions(const Recording& recording, const std::string& stage, const std::vector<double>& got, const std::string& reference,
                  const std::string& bf16) {
  Comparison comparison;
  const std::vector<double> expected = recording.doubles(reference);
  compare(recording, comparison, stage, got, expected);
  const bool recorded = recording.has(bf16) && recording.shape(bf16).numel() == static_cast<std::int64_t>(expected.size());
  const std::vector<double> own = recorded ? recording.doubles(bf16) : std::vector<double>();
  comparison.add_bf16(own, recorded ? expected : own);
  if (precision_ == Precision::f32) {
    add(recording, stage, comparison, kF32Limit, true);
    return;
  }
  add(recording, stage, comparison, 0, false);
  auto& [pool, count] = pooled_[stage];
  pool.add(got, expected);
  pool.add_bf16(own, recorded ? expected : own);
  ++count;
}

void Run::close_group(const std::string& name) {
  for (const auto& entry : pooled_) {
    const std::string& stage = entry.first;
    const auto& [pool, count] = entry.second;
    ParityRow row = pool.row();
    row.recording = name;
    row.stage = count == 1 ? stage : fmt::format("{} ({} recordings)", stage, count);
    // The reference has no int8 run: its bf16 distance stands beside for information.
    const bool distance = precision_ == Precision::bf16 && row.reference_rms >= 0;
    row.limit = distance ? kBf16Share * row.reference_rms : kInfinity;
    row.pcc_limit = kCorrelation;
    row.pass = row.rms <= row.limit && row.pcc >= row.pcc_limit;
    if (count == 1) std::erase_if(rows_, [&](const ParityRow& r) { return r.recording == name && r.stage == stage && !r.judged; });
    rows_.push_back(std::move(row));
  }
  pooled_.clear();
}

/// The recorded rows of real tokens: [.., heads, tokens, dim] (heads = 1 where there are none) as [tokens, heads * dim].
std::vector<double> real_rows(const Recording& recording, const std::string& name, const std::vector<bool>& mask, std::int64_t heads) {
  const Shape& shape = recording.shape(name);
  const std::int64_t dim = shape.cols();
  const auto tokens = static_cast<std::int64_t>(mask.size());
  if (shape.numel() != heads * tokens * dim) fail_expected(recording.where(), fmt::format("'{}' with {} tokens", name, tokens), shape.str());
  const std::vector<double> all = recording.doubles(name);
  std::vector<double> rows;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t h = 0; mask[static_cast<std::size_t>(t)] && h < heads; ++h) {
      const auto from = all.begin() + (h * tokens + t) * dim;
      rows.insert(rows.end(), from, from + dim);
    }
  return rows;
}

void Run::model_level(const Pi0& model, const RecordingJob& job) {
  const Recording recording(job.file);
  const Pi0Config& config = model.config();
  const ModelInputs in = read_model_inputs(recording, config);
  std::map<std::string, std::vector<double>, std::less<>> got;
  const Tap tap = [&](std::string_view stage, const Tensor& value) {
    // Steps are joined under one name: "v_t.3" -> "v_t".
    std::string name(stage);
    for (const std::string_view series : {"x_t.", "v_t.", "suffix_embs.", "adarms_cond."})
      if (stage.starts_with(series)) name = series.substr(0, series.size() - 1);
    std::vector<double> values = to_doubles(value);
    std::vector<double>& all = got[name];
    all.insert(all.end(), values.begin(), values.end());
  };
  PrefixCache cache;
  model.encode_images(ctx_, in.inputs, cache, tap);
  model.encode_prefix(ctx_, in.inputs, cache, tap);
  Tensor actions_out;
  SampleOptions options;
  options.steps = in.steps;
  options.schedule = recorded_schedule(recording, in.steps).value_or(config.schedule);
  model.denoise(ctx_, cache, in.inputs, in.noise, options, actions_out, tap);

  const auto plain = [&](const std::string& name, const std::string& label) {
    if (recording.has("f32." + name) && got.contains(name)) stage(recording, label, got[name], "f32." + name, true);
  };
  const auto masked = [&](const std::string& name, std::int64_t heads) {
    if (!recording.has("f32." + name) || !got.contains(name)) return;
    Comparison comparison;
    const std::vector<double> reference = real_rows(recording, "f32." + name, in.prefix_mask, heads);
    compare(recording, comparison, name, got[name], reference);
    if (recording.has("bf16." + name)) comparison.add_bf16(real_rows(recording, "bf16." + name, in.prefix_mask, heads), reference);
    add(recording, name, comparison, kF32Limit, precision_ == Precision::f32);
  };
  for (std::size_t slot = 0; slot < in.inputs.images.size(); ++slot) {
    plain("vision." + std::to_string(slot), "vision." + std::to_string(slot));
    plain("image_embs." + std::to_string(slot), "image_embs." + std::to_string(slot));
  }
  masked("prefix_embs", 1);
  if (recording.has("f32.prefix_position_ids")) {
    Comparison comparison;
    std::vector<double> positions(static_cast<std::size_t>(cache.tokens()));
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<double>(i);
    const std::vector<double> recorded = recording.doubles("f32.prefix_position_ids");
    std::vector<double> real;
    for (std::size_t t = 0; t < std::min(recorded.size(), in.prefix_mask.size()); ++t)
      if (in.prefix_mask[t]) real.push_back(recorded[t]);
    compare(recording, comparison, "prefix_position_ids", positions, real);
    add(recording, "prefix_position_ids", comparison, 0, true);
  }
  for (std::int64_t l = 0; l < config.vlm.depth; ++l) {
    masked("cache." + std::to_string(l) + ".k", config.vlm.kv_heads);
    masked("cache." + std::to_string(l) + ".v", config.vlm.kv_heads);
  }
  const int steps = in.steps == 0 ? config.num_steps : in.steps;
  const std::string series = fmt::format(" ({} steps)", steps);
  if (recording.has("f32.time")) {
    const std::vector<float> times = time_schedule(*options.schedule, steps);
    Comparison comparison;
    compare(recording, comparison, "time", std::vector<double>(times.begin(), times.end()), recording.doubles("f32.time"));
    add(recording, "time" + series, comparison, kF32Limit, true);
  }
  for (const char* name : {"adarms_cond", "x_t", "suffix_embs", "v_t"}) plain(name, name + series);
  actions(recording, "actions", got["actions"], "f32.actions", "bf16.actions");
}

void Run::policy_level(Policy& policy, const RecordingJob& job) {
  const Recording recording(job.file);
  const Observation observation = read_observation(recording, job);
  const PreparedObservation prepared = policy.prepare(ctx_, observation);

  const auto exact = [&](const std::string& stage, double wrong) {
    Comparison comparison;
    const std::vector<double> zero{0.0};
    const std::vector<double> got{wrong};
    comparison.add(got, zero);
    add(recording, stage, comparison, 0, true);
  };
  const std::size_t slots = recording.count("pre.images.");
  double wrong_slots = slots == 0 || slots == prepared.inputs.images.size() ? 0 : 1;
  for (std::size_t slot = 0; slot < std::min(slots, prepared.inputs.images.size()); ++slot) {
    const std::string index = std::to_string(slot);
    const Tensor& picture = prepared.inputs.images[slot];
    const std::vector<bool> mask = recording.mask("pre.image_masks." + index);
    if (mask.size() != 1 || mask[0] != picture.defined())
      ++wrong_slots;
    else if (picture.defined())
      stage(recording, "pre.images." + index, to_doubles(picture), "pre.images." + index, false);
  }
  if (slots > 0) exact("pre.image_masks", wrong_slots);
  if (recording.has("pre.tokens")) {
    const std::vector<std::int64_t> ids = recording.integers("pre.tokens");
    const std::vector<bool> mask = recording.mask("pre.token_mask");
    std::vector<std::int64_t> real;
    for (std::size_t i = 0; i < std::min(ids.size(), mask.size()); ++i)
      if (mask[i]) real.push_back(ids[i]);
    double wrong = real.size() == prepared.inputs.tokens.size() ? 0 : 1;
    for (std::size_t i = 0; i < std::min(real.size(), prepared.inputs.tokens.size()); ++i)
      if (real[i] != prepared.inputs.tokens[i]) ++wrong;
    exact("pre.tokens", wrong);
  }
  if (job.processed_prompt) exact("prompt", *job.processed_prompt == prepared.prompt ? 0 : 1);
  if (recording.has("pre.state")) stage(recording, "pre.state", prepared.normalised_state, "pre.state", false);

  const Pi0Config& config = policy.model().config();
  ActOptions options;
  options.steps = job.steps;
  options.noise = recording.f32("noise", {config.chunk, config.action_dim});
  const ActionChunk chunk = policy.act(ctx_, observation, options);
  if (recording.has("out.actions_normalised"))
    actions(recording, "actions_normalised", to_doubles(chunk.normalised), "out.actions_normalised", "bf16.actions_normalised");
  actions(recording, "actions", chunk.actions, "out.actions", "bf16.actions");
}

ParityReport Run::report(std::size_t recordings) const {
  ParityReport report;
  report.rows = rows_;
  const auto failed = static_cast<std::size_t>(std::ranges::count_if(rows_, [](const ParityRow& row) { return !row.pass; }));
  report.pass = failed == 0;
  const auto worst = [&](auto&& badness) -> const ParityRow& { return *std::ranges::max_element(rows_, {}, badness); };
  report.summary = fmt::format("{} recording{}, {} stages, ", recordings, recordings == 1 ? "" : "s", rows_.size());
  if (failed > 0) report.summary += fmt::format("{} FAILED, ", failed);
  if (precision_ == Precision::f32) {
    const ParityRow& row = worst([](const ParityRow& r) { return r.max_rel; });
    report.summary += fmt::format("worst {:.1e} of scale at {} of {}", row.max_rel, row.stage, row.recording);
  } else if (precision_ == Precision::bf16) {
    const auto share = [](const ParityRow& r) { return r.judged && r.reference_rms > 0 ? r.rms / r.reference_rms : 0.0; };
    const ParityRow& row = worst(share);
    report.summary += fmt::format("bf16 actions at most {:.2f} times as far from the f32 reference as its own bf16 run ({} of {})", share(row),
                                  row.stage, row.recording);
  } else {
    const ParityRow& row = worst([](const ParityRow& r) { return r.pcc_limit > 0 ? -r.pcc : -2.0; });
    report.summary +=
        fmt::format("int8 actions with a PCC of at least {:.5f} ({} of {})", std::floor(row.pcc * 1e5) * 1e-5, row.stage, row.recording);
  }
  return report;
}

}  // namespace

ParityReport verify(Context& ctx, const std::filesystem::path& checkpoint, const std::filesystem::path& recording, const PolicyOptions& given) {
  PolicyOptions options = given;
  options.any_prompt = true;  // the reference has taken it
  const std::vector<RecordingJob> jobs = find_recordings(recording);
  // The model alone needs no tokenizer and no statistics; a checkpoint without them can still be checked at model level.
  std::optional<Policy> policy;
  std::optional<Pi0> alone;
  if (std::ranges::any_of(jobs, [](const RecordingJob& job) { return job.policy_level; }))
    policy = Policy::load(ctx, checkpoint, options);
  else
    alone = Policy::load_model(ctx, checkpoint, options);
  const Pi0& model = policy ? policy->model() : *alone;
  Run run(ctx, model.precision());
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const RecordingJob& job = jobs[i];
    if (options.progress) options.progress("running recordings", static_cast<double>(i) / static_cast<double>(jobs.size()));
    if (job.policy_level)
      run.policy_level(*policy, job);
    else
      run.model_level(model, job);
    const bool last = i + 1 == jobs.size() || jobs[i + 1].group != job.group;
    const bool alone_in_group = (i == 0 || jobs[i - 1].group != job.group) && last;
    if (last) run.close_group(alone_in_group ? job.file.filename().string() : "all of " + job.file.parent_path().filename().string());
  }
  if (options.progress) options.progress("running recordings", 1.0);
  return run.report(jobs.size());
}

}  // namespace tessera::models
