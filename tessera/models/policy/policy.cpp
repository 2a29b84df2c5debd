#include "tessera/models/policy/policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer.h"
#include "tessera/models/pi0/rtc.h"
#include "tessera/models/policy/spec.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {
namespace {

using Clock = std::chrono::steady_clock;
double milliseconds(Clock::time_point from) { return std::chrono::duration<double, std::milli>(Clock::now() - from).count(); }

/// Looks at every weight as it is packed, so that no file is read twice.
class FiniteSource : public WeightSource {
 public:
  FiniteSource(std::shared_ptr<const WeightSource> source, Context& ctx) : source_(std::move(source)), ctx_(&ctx) {}
  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return source_->tensors(); }
  void release(std::string_view name) const override { source_->release(name); }
  std::string where() const override { return source_->where(); }
  Tensor load(std::string_view name) const override {
    Tensor tensor = source_->load(name);
    const bool table = name == kEmbedTokens;  // rows of gigabytes: looked at in stretches that are let go again
    const std::int64_t step = table ? std::max<std::int64_t>(1, (std::int64_t{64} << 20) / std::max<std::int64_t>(1, tensor.cols() * 4))
                                    : std::max<std::int64_t>(1, tensor.shape()[0]);
    for (std::int64_t i = 0; i < tensor.shape()[0]; i += step) {
      const Tensor part = tensor.narrow(i, std::min(step, tensor.shape()[0] - i));
      if (!ops::all_finite(*ctx_, part))
        fail_expected(where(), fmt::format("finite weights in '{}'", tensors().find(name)->second.stored_name), "NaN or infinity",
                      "--allow-nonfinite accepts them");
      if (table) source_->release(name);
    }
    return tensor;
  }

 private:
  std::shared_ptr<const WeightSource> source_;
  Context* ctx_;  // only used while the model is being loaded
};

/// The token table is read again on every prompt, long after loading: from the file itself, without the look at every weight.
class LoadedSource : public WeightSource {
 public:
  LoadedSource(const std::shared_ptr<const WeightSource>& source, Context* ctx)
      : source_(source), checked_(ctx == nullptr ? nullptr : new FiniteSource(source, *ctx)) {}
  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return source_->tensors(); }
  void release(std::string_view name) const override { source_->release(name); }
  std::string where() const override { return source_->where(); }
  Tensor load(std::string_view name) const override { return checked_ != nullptr ? checked_->load(name) : source_->load(name); }
  void was_packed(std::string_view name, std::span<const std::string> tensors, const PackedWeights& packed) const override {
    source_->was_packed(name, tensors, packed);
  }
  void loaded() { checked_.reset(); }

 private:
  std::shared_ptr<const WeightSource> source_;
  std::unique_ptr<FiniteSource> checked_;
};

}  // namespace

Pi0 load_network(Context& ctx, const OpenCheckpoint& checkpoint, const Pi0Config& config, std::shared_ptr<const WeightSource> source) {
  const PolicyOptions& options = checkpoint.options;
  const Precision precision = options.precision.value_or(checkpoint.config.precision.value_or(Precision::f32));
  if (checkpoint.packed != nullptr) {  // finite, as far as it was asked for when it was packed
    checkpoint.packed->check_options(options);
    checkpoint.packed->check_rows(ctx);
    if (!options.skip_checksums) checkpoint.packed->check_sums(ctx, options.progress);
    return Pi0::load(ctx, checkpoint.source, config, precision, options.progress);
  }
  if (source == nullptr) source = checkpoint.source;
  auto loading = std::make_shared<LoadedSource>(std::move(source), options.allow_nonfinite ? nullptr : &ctx);
  Pi0 model = Pi0::load(ctx, loading, config, precision, options.progress);
  loading->loaded();
  return model;
}

OpenCheckpoint open_checkpoint(const std::filesystem::path& path, const PolicyOptions& options) {
  std::error_code error;
  OpenCheckpoint checkpoint;
  checkpoint.options = options;
  if (std::filesystem::is_regular_file(path, error)) {
    checkpoint.packed = PackedCheckpoint::open(io::PackedFile::open(path));
    checkpoint.files = checkpoint.packed->file();
    checkpoint.source = checkpoint.packed->source();
    checkpoint.packed->complete(checkpoint.options);
    checkpoint.config = read_config(checkpoint.files, *checkpoint.source);
    return checkpoint;
  }
  if (!std::filesystem::is_directory(path, error))
    fail_expected(path.string(), "a checkpoint folder or a file that tessera pack made",
                  std::filesystem::exists(path, error) ? "another kind of file" : "nothing there");
  // openpi's PyTorch training leaves assets/ and no config.json.
  const bool training = !options.robot.empty() || std::filesystem::is_directory(path / "assets", error);
  if (!training && !std::filesystem::exists(path / "config.json", error))
    fail_expected(path.string(), "a checkpoint folder with config.json", "none");
  checkpoint.files = path;
  checkpoint.source = CheckpointSource::open(path);
  checkpoint.config = read_config(checkpoint.files, *checkpoint.source);
  return checkpoint;
}

PolicySpec read_spec(const OpenCheckpoint& c) {
  PolicySpec spec = c.config.lerobot ? read_lerobot(c.files, c.config, *c.source, c.options) : read_openpi(c.files, c.config, *c.source, c.options);
  if (c.options.schedule) spec.model.schedule = *c.options.schedule;
  spec.model.check(c.files.where());
  return spec;
}

std::optional<std::pair<std::string, io::Json>> given_statistics(const CheckpointFiles& files, const PolicyOptions& options, const char* name) {
  if (options.norm_stats.empty()) {
    if (!files.has(kGivenStatistics) || !files.packed()) return std::nullopt;
    return std::pair(files.where(kGivenStatistics), files.json(kGivenStatistics));
  }
  std::error_code ignored;
  const std::filesystem::path file = std::filesystem::is_directory(options.norm_stats, ignored) ? options.norm_stats / name : options.norm_stats;
  return std::pair(file.string(), io::Json::read(file));
}

std::shared_ptr<const io::Tokenizer> open_tokenizer(const OpenCheckpoint& c) {
  if (!c.options.tokenizer.empty()) return io::read_tokenizer(c.options.tokenizer);
  if (c.packed == nullptr) return io::read_tokenizer(find_tokenizer(c.files.path(), c.config.lerobot));
  for (const char* name : {"tokenizer.model", "tokenizer.json"})
    if (c.files.has(name)) return io::parse_tokenizer(c.files.bytes(name), c.files.where(name));
  fail_expected(c.files.where(), "a tokenizer in the packed file", "none", "give --tokenizer FILE, or pack the checkpoint again with it");
}

struct Policy::Impl {
  PolicySpec spec;
  std::optional<Pi0> model;
  std::shared_ptr<const io::Tokenizer> tokenizer;
  bool allow_nonfinite = false;
  bool any_prompt = false;
  PrefixCache cache;
  std::optional<std::vector<std::int32_t>> cached;  // prompt tokens that the cache holds

  std::size_t slot_of(const std::string& request) const;
  std::string camera_names() const;
  PreparedObservation prepare(Context& ctx, const Observation& observation, bool with_pictures) const;
  void pictures(Context& ctx, const Observation& observation, PreparedObservation& prepared) const;
  std::vector<double> normalised_state(const Observation& observation, PreparedObservation& prepared) const;
  void words(const Observation& observation, std::vector<double> state, PreparedObservation& prepared) const;
  void expect_finite(const char* what, std::span<const double> values, std::string_view when) const;
};

std::string Policy::Impl::camera_names() const {
  std::string names;
  for (const CameraSlot& slot : spec.cameras) {
    if (slot.always_absent) continue;
    names += (names.empty() ? "" : ", ") + slot.name;
    if (!slot.aliases.empty()) names += " (or " + slot.aliases.front() + ")";
  }
  return names;
}

std::size_t Policy::Impl::slot_of(const std::string& request) const {
  const auto renamed = spec.renames.find(request);
  const std::string& name = renamed == spec.renames.end() ? request : renamed->second;
  for (std::size_t i = 0; i < spec.cameras.size(); ++i) {
    const CameraSlot& slot = spec.cameras[i];
    if (!slot.always_absent && (slot.name == name || std::ranges::find(slot.aliases, name) != slot.aliases.end())) return i;
  }
  fail_expected("observation", "a camera of this policy: " + camera_names(), "'" + request + "'");
}

PreparedObservation Policy::Impl::prepare(Context& ctx, const Observation& observation, bool with_pictures) const {
  PreparedObservation prepared;
  if (with_pictures) pictures(ctx, observation, prepared);
  const std::vector<double> state = normalised_state(observation, prepared);
  words(observation, state, prepared);
  return prepared;
}

void Policy::Impl::pictures(Context& ctx, const Observation& observation, PreparedObservation& prepared) const {
  std::vector<const Tensor*> by_slot(spec.cameras.size(), nullptr);
  for (const auto& [name, image] : observation.images) {
    if (std::ranges::find(spec.ignored_cameras, name) != spec.ignored_cameras.end()) continue;
    const std::size_t slot = slot_of(name);
    if (by_slot[slot] != nullptr)
      fail_expected("observation", "one picture for camera '" + spec.cameras[slot].name + "'", "two, one as '" + name + "'");
    by_slot[slot] = &image;
  }
  if (std::ranges::all_of(by_slot, [](const Tensor* t) { return t == nullptr; }))
    fail_expected("observation", "a picture of at least one camera (" + camera_names() + ")", "none");
  std::size_t absent = 0;
  for (std::size_t i = 0; i < by_slot.size(); ++i) {
    const std::string& name = spec.cameras[i].name;
    if (by_slot[i] != nullptr)
      prepared.inputs.images.push_back(prepare_picture(ctx, *by_slot[i], spec.picture, name, allow_nonfinite));
    else if (spec.cameras[i].required)
      fail_expected("observation", "a picture of camera '" + name + "'", "none");
    else if (spec.lerobot)  // present cameras take the first slots
      ++absent;
    else
      prepared.inputs.images.emplace_back();
  }
  prepared.inputs.images.resize(prepared.inputs.images.size() + absent);
}

std::vector<double> Policy::Impl::normalised_state(const Observation& observation, PreparedObservation& prepared) const {
  std::vector<double> state = observation.state;
  const auto size = static_cast<std::int64_t>(state.size());
  const std::string got = size == 0 ? std::string("none") : std::to_string(size);
  if (spec.robot_state_dim > 0 && size != spec.robot_state_dim)
    fail_expected("observation", fmt::format("a state of {} numbers", spec.robot_state_dim), got);
  if (size > spec.model.state_dim) fail_expected("observation", fmt::format("a state of at most {} numbers", spec.model.state_dim), got);
  if (size == 0 && (!spec.model.pi05 || spells_state(spec.prompt))) fail_expected("observation", "a state", got);
  if (size < static_cast<std::int64_t>(spec.delta.size()) && std::ranges::find(spec.delta, true) != spec.delta.end())
    fail_expected("observation", fmt::format("a state of at least {} numbers, as the actions are relative to it", spec.delta.size()), got);
  for (std::size_t i = 0; i < state.size(); ++i) {
    if (spec.lerobot) state[i] = static_cast<double>(static_cast<float>(state[i]));  // its processors work in float32
    if (!allow_nonfinite && !std::isfinite(state[i]))
      fail_expected("observation", "a finite state", fmt::format("{} at {}", state[i], i), "--allow-nonfinite accepts it");
  }
  if (spec.robot == RobotTransform::aloha) aloha_state_to_pi(state);
  prepared.raw_state = state;
  spec.state.forward(state);
  for (double& v : state)  // what the network is given is float32
    if (std::fabs(v) > static_cast<double>(std::numeric_limits<float>::max())) v = std::copysign(std::numeric_limits<double>::infinity(), v);
  expect_finite("observation: state", state, "after normalisation");
  prepared.normalised_state = state;
  if (!spec.model.pi05) {
    prepared.inputs.state = Tensor::zeros(Shape{spec.model.state_dim}, DType::f32);
    std::ranges::transform(state, prepared.inputs.state.data<float>(), [](double v) { return static_cast<float>(v); });
  }
  return state;
}

void Policy::Impl::words(const Observation& observation, std::vector<double> state, PreparedObservation& prepared) const {
  if (spec.padded_state_prompt) state.resize(static_cast<std::size_t>(spec.model.state_dim), 0.0);
  const std::string& sentence = observation.prompt.empty() ? spec.default_prompt : observation.prompt;
  if (!any_prompt && std::ranges::all_of(sentence, [](unsigned char c) { return std::isspace(c) != 0; }))
    fail_expected("observation", "a prompt that says what to do", "an empty one");
  prepared.prompt = prompt_text(spec.prompt, sentence, state);
  const auto most = static_cast<std::size_t>(spec.model.max_prompt_tokens);
  prepared.inputs.tokens = prompt_tokens(spec.prompt, *tokenizer, prepared.prompt);
  // Only ids that are used count: PaliGemma's tokenizer has a special one beyond the table.
  for (const std::int32_t id : prepared.inputs.tokens)
    if (id >= spec.model.vocab)
      fail_expected("observation", fmt::format("prompt tokens below {}, the rows of the checkpoint's token table", spec.model.vocab),
                    fmt::format("{} from the {}", id, tokenizer->describe()), "another model's tokenizer? --tokenizer FILE chooses one");
  if (!any_prompt && prepared.inputs.tokens.size() > most)
    fail_expected("observation", fmt::format("a prompt of at most {} tokens{}", most, spells_state(spec.prompt) ? ", the state in it included" : ""),
                  std::to_string(prepared.inputs.tokens.size()), "--any-prompt cuts it, as the references do");
  if (prepared.inputs.tokens.size() > most) prepared.inputs.tokens.resize(most);
}

void Policy::Impl::expect_finite(const char* what, std::span<const double> values, std::string_view when) const {
  if (allow_nonfinite) return;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      fail_expected(what, fmt::format("finite values {}", when), fmt::format("{} at {}", values[i], i), "--allow-nonfinite accepts them");
}

Policy::Policy() : impl_(std::make_unique<Impl>()) {}
Policy::~Policy() = default;
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
const Pi0& Policy::model() const noexcept { return *impl_->model; }
const std::vector<CameraSlot>& Policy::cameras() const noexcept { return impl_->spec.cameras; }
std::int64_t Policy::state_dim() const noexcept { return impl_->spec.robot_state_dim; }
std::int64_t Policy::action_dim() const noexcept { return impl_->spec.robot_action_dim; }
const std::vector<std::string>& Policy::warnings() const noexcept { return impl_->spec.warnings; }

Policy Policy::load(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options) {
  const OpenCheckpoint checkpoint = open_checkpoint(path, options);
  Policy policy;
  Impl& p = *policy.impl_;
  p.spec = read_spec(checkpoint);
  p.allow_nonfinite = checkpoint.options.allow_nonfinite;
  p.any_prompt = checkpoint.options.any_prompt;
  // Small things first: a missing tokenizer must not be told after a minute of packing.
  p.tokenizer = open_tokenizer(checkpoint);
  p.model.emplace(load_network(ctx, checkpoint, p.spec.model));
  return policy;
}

Pi0 Policy::load_model(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options) {
  const OpenCheckpoint checkpoint = open_checkpoint(path, options);
  Pi0Config config = checkpoint.config.model;
  if (checkpoint.options.schedule) config.schedule = *checkpoint.options.schedule;
  config.check(path.string());
  return load_network(ctx, checkpoint, config);
}

PreparedObservation Policy::prepare(Context& ctx, const Observation& observation) const { return impl_->prepare(ctx, observation, true); }

ActionChunk Policy::act(Context& ctx, const Observation& observation, const ActOptions& options, const Tap& tap) {
  Impl& p = *impl_;
  const Pi0Config& config = p.spec.model;
  const auto start = Clock::now();
  ActionChunk chunk;
  if (options.reuse_prefix && !p.cached) fail_expected("act", "an earlier call whose pictures and prompt can be reused", "none");
  const PreparedObservation prepared = p.prepare(ctx, observation, !options.reuse_prefix);
  // pi0.5 spells the state in its prompt: another state is another prefix.
  if (options.reuse_prefix && *p.cached != prepared.inputs.tokens) fail_expected("act", "the prompt of the call whose prefix is reused", "another");
  Tensor noise = options.noise;
  const Shape shape{config.chunk, config.action_dim};
  if (noise.defined()) {
    if (noise.dtype() != DType::f32 || noise.numel() != shape.numel() || noise.cols() != config.action_dim || !noise.is_contiguous())
      fail_expected("noise", "float32 " + shape.str(), noise.str());
    if (!p.allow_nonfinite && !ops::all_finite(ctx, noise)) fail_expected("noise", "finite values", "NaN or infinity");
    noise = noise.reshape(shape);
  } else {
    noise = make_noise(config, options.seed);
  }
  if (options.rtc && options.rtc->previous.defined()) {
    check(*options.rtc, config);
    if (!p.allow_nonfinite && !ops::all_finite(ctx, options.rtc->previous))
      fail_expected("real-time chunking", "a previous chunk of finite values", "NaN or infinity");
  }
  chunk.times.preprocess = milliseconds(start);

  if (!options.reuse_prefix) {
    p.cached.reset();
    auto stage = Clock::now();
    p.model->encode_images(ctx, prepared.inputs, p.cache, tap);
    chunk.times.images = milliseconds(stage);
    stage = Clock::now();
    p.model->encode_prefix(ctx, prepared.inputs, p.cache, tap);
    chunk.times.prefix = milliseconds(stage);
    p.cached = prepared.inputs.tokens;
  }
  const auto stage = Clock::now();
  SampleOptions sample;
  sample.steps = options.steps;
  sample.rtc = options.rtc;
  chunk.model = Tensor::empty(shape, DType::f32);
  p.model->denoise(ctx, p.cache, prepared.inputs, noise, sample, chunk.model, tap);
  chunk.times.steps = milliseconds(stage);
  chunk.steps = options.steps > 0 ? options.steps : config.num_steps;
  finish(prepared, chunk.model, chunk);
  p.expect_finite("act", chunk.actions, "as actions; inputs, weights or statistics are out of range");
  chunk.times.total = milliseconds(start);
  return chunk;
}

void Policy::finish(const PreparedObservation& prepared, const Tensor& model_actions, ActionChunk& chunk) const {
  const PolicySpec& spec = impl_->spec;
  const std::int64_t dim = spec.robot_action_dim;
  const std::int64_t width = spec.model.action_dim;
  const bool lerobot = spec.lerobot;
  if (model_actions.shape().rank() < 2 || model_actions.cols() != width || model_actions.dtype() != DType::f32 || !model_actions.is_contiguous())
    fail_expected("finish", fmt::format("float32 [chunk, {}]", width), model_actions.str());
  chunk.chunk = model_actions.rows();
  chunk.dim = dim;
  chunk.names = spec.action_names;
  if (chunk.names.empty())
    for (std::int64_t d = 0; d < dim; ++d) chunk.names.push_back(std::to_string(d));
  chunk.normalised = Tensor::empty(Shape{chunk.chunk, dim}, DType::f32);
  chunk.actions.resize(static_cast<std::size_t>(chunk.chunk * dim));

  std::vector<double> state = prepared.raw_state;
  // LeRobot cuts to the robot's dimensions before it un-normalises; openpi works on all and cuts last.
  std::vector<double> row(static_cast<std::size_t>(lerobot ? dim : width));
  const float* from = model_actions.data<float>();
  for (std::int64_t t = 0; t < chunk.chunk; ++t, from += width) {
    std::copy_n(from, dim, chunk.normalised.data<float>() + t * dim);
    std::copy_n(from, row.size(), row.begin());
    spec.action.inverse(row);
    for (std::size_t d = 0; d < spec.delta.size() && d < state.size() && d < row.size(); ++d) {
      if (!spec.delta[d]) continue;
      row[d] = lerobot ? static_cast<double>(static_cast<float>(row[d]) + static_cast<float>(state[d])) : row[d] + state[d];
    }
    if (spec.robot == RobotTransform::aloha) aloha_actions_from_pi(std::span(row).first(static_cast<std::size_t>(dim)));
    std::copy_n(row.begin(), dim, chunk.actions.begin() + t * dim);
  }
}

}  // namespace tessera::models
