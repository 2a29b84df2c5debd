#include "tessera/models/policy/policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer.h"
#include "tessera/models/policy/spec.h"
#include "tessera/ops/elementwise.h"
#include "tessera/ops/resize.h"

namespace tessera::models {
namespace {

using Clock = std::chrono::steady_clock;
double milliseconds(Clock::time_point from) { return std::chrono::duration<double, std::milli>(Clock::now() - from).count(); }

/// Looks at every weight as it is packed, so that no file is read twice.
class FiniteSource : public WeightSource {
 public:
  FiniteSource(std::shared_ptr<const CheckpointSource> source, Context& ctx) : source_(std::move(source)), ctx_(&ctx) {}
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
  std::shared_ptr<const CheckpointSource> source_;
  Context* ctx_;  // only used while the model is being loaded
};

/// The token table is read again on every prompt, long after loading: from the file itself, without the look at every weight.
class LoadedSource : public WeightSource {
 public:
  LoadedSource(std::shared_ptr<const CheckpointSource> source, Context* ctx)
      : source_(source), checked_(ctx == nullptr ? nullptr : new FiniteSource(source, *ctx)) {}
  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return source_->tensors(); }
  void release(std::string_view name) const override { source_->release(name); }
  std::string where() const override { return source_->where(); }
  Tensor load(std::string_view name) const override { return checked_ != nullptr ? checked_->load(name) : source_->load(name); }
  void loaded() { checked_.reset(); }

 private:
  std::shared_ptr<const CheckpointSource> source_;
  std::unique_ptr<FiniteSource> checked_;
};

struct Folder {
  std::shared_ptr<const CheckpointSource> source;
  CheckpointConfig config;
};

Folder open_folder(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error))
    fail_expected(path.string(), "a checkpoint folder", std::filesystem::exists(path, error) ? "a file" : "nothing there");
  if (!std::filesystem::exists(path / "config.json", error)) fail_expected(path.string(), "a checkpoint folder with config.json", "none");
  Folder folder;
  folder.source = CheckpointSource::open(path);
  folder.config = read_config(path, *folder.source);
  return folder;
}

PolicySpec read_spec(const std::filesystem::path& path, const Folder& folder, const PolicyOptions& options) {
  PolicySpec spec = folder.config.lerobot ? read_lerobot(path, folder.config, *folder.source, options) : read_openpi(path, folder.config, options);
  if (options.schedule) spec.model.schedule = *options.schedule;
  spec.model.check(path.string());
  return spec;
}

Pi0 load_network(Context& ctx, const Folder& folder, const Pi0Config& config, const PolicyOptions& options) {
  const Precision precision = options.precision.value_or(folder.config.precision.value_or(Precision::f32));
  auto source = std::make_shared<LoadedSource>(folder.source, options.allow_nonfinite ? nullptr : &ctx);
  Pi0 model = Pi0::load(ctx, source, config, precision, options.progress);
  source->loaded();
  return model;
}

}  // namespace

struct Policy::Impl {
  PolicySpec spec;
  std::optional<Pi0> model;
  std::shared_ptr<const io::Tokenizer> tokenizer;
  bool allow_nonfinite = false;
  PrefixCache cache;
  bool cached = false;

  std::size_t slot_of(const std::string& request) const;
  Tensor picture(Context& ctx, const Tensor& image, const std::string& name) const;
};

std::size_t Policy::Impl::slot_of(const std::string& request) const {
  const auto renamed = spec.renames.find(request);
  const std::string& name = renamed == spec.renames.end() ? request : renamed->second;
  std::string choices;
  for (std::size_t i = 0; i < spec.cameras.size(); ++i) {
    const CameraSlot& slot = spec.cameras[i];
    if (slot.always_absent) continue;
    if (slot.name == name || std::ranges::find(slot.aliases, name) != slot.aliases.end()) return i;
    choices += (choices.empty() ? "" : ", ") + slot.name;
    if (!slot.aliases.empty()) choices += " (or " + slot.aliases.front() + ")";
  }
  fail_expected("observation", "a camera of this policy: " + choices, "'" + request + "'");
}

Tensor Policy::Impl::picture(Context& ctx, const Tensor& image, const std::string& name) const {
  const std::string where = "observation camera '" + name + "'";
  const bool u8 = image.defined() && image.dtype() == DType::u8;
  if (!image.defined() || (!u8 && image.dtype() != DType::f32) || image.shape().rank() != 3 || !image.is_contiguous())
    fail_expected(where, "uint8 [height, width, 3], or float32 [height, width, 3] or [3, height, width]", image.str());
  const bool chw = !u8 && image.shape()[0] == 3 && image.shape()[2] != 3;
  const std::int64_t h = image.shape()[chw ? 1 : 0];
  const std::int64_t w = image.shape()[chw ? 2 : 1];
  if (image.shape()[chw ? 0 : 2] != 3 || h < 1 || w < 1 || h > (1 << 15) || w > (1 << 15))
    fail_expected(where, "3 channels and sides from 1 to 32768", image.shape().str());
  if (!u8 && !allow_nonfinite && !ops::all_finite(ctx, image)) fail_expected(where, "finite values", "NaN or infinity");

  const std::int64_t side = spec.model.vision.image;
  const bool lerobot = spec.format == "LeRobot";
  // LeRobot works on [0, 1] in float32; openpi's server on uint8 (floats become trunc(255 x)).
  Tensor in = Tensor::empty(Shape{h, w, 3}, lerobot ? DType::f32 : DType::u8);
  const auto value = [&](std::int64_t y, std::int64_t x, std::int64_t c) {
    return chw ? image.data<float>()[(c * h + y) * w + x] : image.data<float>()[(y * w + x) * 3 + c];
  };
  for (std::int64_t y = 0; y < h; ++y) {
    for (std::int64_t i = 0; i < w * 3; ++i) {
      const std::int64_t at = y * w * 3 + i;
      if (lerobot)
        in.data<float>()[at] = u8 ? static_cast<float>(image.data<std::uint8_t>()[at]) / 255.0f : value(y, i / 3, i % 3);
      else
        in.data<std::uint8_t>()[at] =
            u8 ? image.data<std::uint8_t>()[at] : static_cast<std::uint8_t>(std::clamp(255.0f * value(y, i / 3, i % 3), 0.0f, 255.0f));
    }
  }
  ops::ResizeWithPad resize;
  resize.height = resize.width = side;
  resize.filter = lerobot ? ops::ResizeFilter::torch_bilinear : ops::ResizeFilter::jax_linear;
  resize.pad_left_top = spec.legacy_resize;
  resize.clip = lerobot;
  Tensor sized = Tensor::empty(Shape{side, side, 3}, in.dtype());
  ops::resize_with_pad(ctx, in, resize, sized);

  Tensor out = Tensor::empty(Shape{3, side, side}, DType::f32);
  float* to = out.data<float>();
  for (std::int64_t p = 0; p < side * side; ++p) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float v = lerobot ? sized.data<float>()[p * 3 + c] : static_cast<float>(sized.data<std::uint8_t>()[p * 3 + c]) / 255.0f;
      to[c * side * side + p] = v * 2.0f - 1.0f;
    }
  }
  return out;
}

Policy::Policy() : impl_(std::make_unique<Impl>()) {}
Policy::~Policy() = default;
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
const Pi0& Policy::model() const noexcept { return *impl_->model; }
const std::vector<CameraSlot>& Policy::cameras() const noexcept { return impl_->spec.cameras; }
std::int64_t Policy::state_dim() const noexcept { return impl_->spec.robot_state_dim; }
std::int64_t Policy::action_dim() const noexcept { return impl_->spec.robot_action_dim; }

Policy Policy::load(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options) {
  const Folder folder = open_folder(path);
  Policy policy;
  Impl& p = *policy.impl_;
  p.spec = read_spec(path, folder, options);
  p.allow_nonfinite = options.allow_nonfinite;
  // Small things first: a missing tokenizer must not be told after a minute of packing.
  const bool json_first = folder.config.lerobot;
  p.tokenizer = io::read_tokenizer(options.tokenizer.empty() ? find_tokenizer(path, json_first) : options.tokenizer);
  p.model.emplace(load_network(ctx, folder, p.spec.model, options));
  return policy;
}

Pi0 Policy::load_model(Context& ctx, const std::filesystem::path& path, const PolicyOptions& options) {
  const Folder folder = open_folder(path);
  Pi0Config config = folder.config.model;
  if (options.schedule) config.schedule = *options.schedule;
  return load_network(ctx, folder, config, options);
}

PreparedObservation Policy::prepare(Context& ctx, const Observation& observation) const {
  const Impl& p = *impl_;
  const PolicySpec& spec = p.spec;
  PreparedObservation prepared;

  std::vector<const Tensor*> by_slot(spec.cameras.size(), nullptr);
  for (const auto& [name, image] : observation.images) {
    const std::size_t slot = p.slot_of(name);
    if (by_slot[slot] != nullptr)
      fail_expected("observation", "one picture for camera '" + spec.cameras[slot].name + "'", "two, one as '" + name + "'");
    by_slot[slot] = &image;
  }
  if (std::ranges::all_of(by_slot, [](const Tensor* t) { return t == nullptr; })) {
    std::string names;
    for (const CameraSlot& slot : spec.cameras)
      if (!slot.always_absent) names += (names.empty() ? "" : ", ") + slot.name;
    fail_expected("observation", "a picture of at least one camera (" + names + ")", "none");
  }
  std::size_t absent = 0;
  for (std::size_t i = 0; i < by_slot.size(); ++i) {
    if (by_slot[i] != nullptr) {
      prepared.inputs.images.push_back(p.picture(ctx, *by_slot[i], spec.cameras[i].name));
    } else {
      if (spec.cameras[i].required) fail_expected("observation", "a picture of camera '" + spec.cameras[i].name + "'", "none");
      if (spec.present_first)
        ++absent;
      else
        prepared.inputs.images.emplace_back();
    }
  }
  prepared.inputs.images.resize(prepared.inputs.images.size() + absent);

  std::vector<double> state = observation.state;
  const auto size = static_cast<std::int64_t>(state.size());
  if (spec.robot_state_dim > 0 && size != spec.robot_state_dim)
    fail_expected("observation", fmt::format("a state of {} numbers", spec.robot_state_dim), size == 0 ? std::string("none") : std::to_string(size));
  if (size > spec.model.state_dim)
    fail_expected("observation", fmt::format("a state of at most {} numbers", spec.model.state_dim), std::to_string(size));
  for (std::size_t i = 0; i < state.size(); ++i)
    if (!p.allow_nonfinite && !std::isfinite(state[i]))
      fail_expected("observation", "a finite state", fmt::format("{} at {}", state[i], i), "--allow-nonfinite accepts it");
  if (spec.robot == RobotTransform::aloha) aloha_state_to_pi(state);
  prepared.raw_state = state;
  spec.state.forward(state);
  prepared.normalised_state = state;
  if (!spec.model.pi05) {
    prepared.inputs.state = Tensor::zeros(Shape{spec.model.state_dim}, DType::f32);
    std::ranges::transform(state, prepared.inputs.state.data<float>(), [](double v) { return static_cast<float>(v); });
  }

  std::vector<double> spoken = state;
  if (spec.padded_state_prompt) spoken.resize(static_cast<std::size_t>(spec.model.state_dim), 0.0);
  const std::string& sentence = observation.prompt.empty() ? spec.default_prompt : observation.prompt;
  prepared.prompt = prompt_text(spec.prompt, sentence, spoken);
  prepared.inputs.tokens = prompt_tokens(spec.prompt, *p.tokenizer, prepared.prompt, spec.model.max_prompt_tokens);
  return prepared;
}

ActionChunk Policy::act(Context& ctx, const Observation& observation, const ActOptions& options, const Tap& tap) {
  Impl& p = *impl_;
  const Pi0Config& config = p.spec.model;
  const auto start = Clock::now();
  ActionChunk chunk;
  const PreparedObservation prepared = prepare(ctx, observation);
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
  chunk.times.preprocess = milliseconds(start);

  if (options.reuse_prefix && !p.cached) fail_expected("act", "an earlier call whose pictures and prompt can be reused", "none");
  if (!options.reuse_prefix) {
    p.cached = false;
    auto stage = Clock::now();
    p.model->encode_images(ctx, prepared.inputs, p.cache, tap);
    chunk.times.images = milliseconds(stage);
    stage = Clock::now();
    p.model->encode_prefix(ctx, prepared.inputs, p.cache, tap);
    chunk.times.prefix = milliseconds(stage);
    p.cached = true;
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
  chunk.times.total = milliseconds(start);
  return chunk;
}

void Policy::finish(const PreparedObservation& prepared, const Tensor& model_actions, ActionChunk& chunk) const {
  const PolicySpec& spec = impl_->spec;
  const std::int64_t dim = spec.robot_action_dim;
  const std::int64_t width = spec.model.action_dim;
  const bool lerobot = spec.format == "LeRobot";
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

CheckpointReport inspect_checkpoint(const std::filesystem::path& path, const PolicyOptions& options) {
  const Folder folder = open_folder(path);
  const CheckpointSource& source = *folder.source;
  CheckpointReport r;
  r.path = path.string();
  r.format = folder.config.lerobot ? "LeRobot" : "openpi";
  r.names_variant = source.traits().str();
  r.config = folder.config.model;
  r.config_source = folder.config.source;
  r.parameters = source.parameters();
  r.stored_dtypes = source.stored_types();
  r.notes = source.notes();

  WeightReader reader(source);
  for (const TensorSpec& spec : required_tensors(r.config)) {
    reader.need(spec.name, spec.shape);
    if (spec.name != kEmbedTokens) r.hot_parameters += spec.shape.numel();
  }
  for (const std::string& name : unread_tensors(r.config)) reader.ignore(name);
  r.missing = reader.missing();
  r.misshapen = reader.misshapen();
  r.unused = reader.unused();
  r.unused.insert(r.unused.end(), source.foreign().begin(), source.foreign().end());
  r.memory["f32"] = static_cast<std::size_t>(r.hot_parameters) * 4;
  r.memory["bf16"] = static_cast<std::size_t>(r.hot_parameters) * 2;

  try {
    const PolicySpec spec = read_spec(path, folder, options);
    r.config = spec.model;
    r.cameras = spec.cameras;
    r.state_norm = spec.state.str();
    r.action_norm = spec.action.str();
    r.state_dim = spec.robot_state_dim;
    r.action_dim = spec.robot_action_dim;
    r.robot = spec.robot_name;
    r.notes.insert(r.notes.end(), spec.notes.begin(), spec.notes.end());
  } catch (const Error& e) {
    // What the processors lack is for people to read here; act and verify refuse.
    r.notes.emplace_back(e.what());
  }
  try {
    const auto file = options.tokenizer.empty() ? find_tokenizer(path, folder.config.lerobot) : options.tokenizer;
    r.tokenizer = io::read_tokenizer(file)->describe();
  } catch (const Error& e) {
    r.tokenizer = e.what();
  }
  return r;
}

}  // namespace tessera::models
