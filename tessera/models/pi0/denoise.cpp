#include <algorithm>
#include <array>
#include <span>
#include <string>

#include "tessera/core/error.h"
#include "tessera/models/pi0/model.h"
#include "tessera/models/pi0/rtc.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;

void check_actions(std::string_view what, const Tensor& x, const Pi0Config& config) {
  const Shape shape{config.chunk, config.action_dim};
  if (!x.defined() || x.dtype() != DType::f32 || x.shape() != shape || !x.is_contiguous())
    fail_expected("pi0", std::string(what) + " as contiguous float32" + shape.str(), x.defined() ? x.str() : "no tensor");
}

void check_cache(const PrefixCache::Impl* cache, const Pi0::Impl& m) {
  if (cache == nullptr || cache->tokens == 0 || cache->kv.size() != m.expert.size() || cache->kv.front().cols() != 2 * m.expert.front().kv_width())
    fail_expected("pi0", "a prefix cache that encode_prefix() of this model filled", "another or an empty one");
}

/// The previous chunk's tail, zero-padded to the chunk and to action_dim.
Tensor padded_tail(Scope& scope, const Tensor& previous, const Pi0Config& config) {
  Tensor padded = scope.tensor({config.chunk, config.action_dim}, DType::f32);
  float* to = padded.data<float>();
  std::fill(to, to + padded.numel(), 0.0f);
  const float* from = previous.data<float>();
  for (std::int64_t r = 0; r < previous.rows(); ++r)
    std::copy(from + r * previous.row_stride(), from + r * previous.row_stride() + previous.cols(), to + r * config.action_dim);
  return padded;
}

constexpr std::size_t kMostAtOnce = 16;

/// What is one observation's own.
struct Item {
  const PrefixCache::Impl* cache = nullptr;
  Tensor state_embedding;  // pi0: f32 [1, width]
  Tensor state_kv;         // pi0: f32 [layers, 2 kv_width]
};

/// The Euler loop of one chunk, or of several at once: what stays the same over its steps. Rows of x, v and h are those of the items, in turn.
struct Denoiser {
  Context& ctx;
  const Pi0::Impl& m;
  const Conditioning& conditioning;
  const Tap& tap;  // of one item only
  Scope& scope;
  std::size_t count = 0;
  std::array<Item, kMostAtOnce> items;
  std::int64_t fixed = 0;           // of one item only: actions that trained real-time chunking holds fixed, whose time is 0
  std::array<Tensor, 6> per_token;  // f32 [chunk, width] each, when `fixed`

  /// `cache`: checked.
  void add(const PrefixCache::Impl* cache, const Tensor& state);
  /// v(x, t of `step` | prefix)
  void velocity(const Tensor& x, std::int64_t step, Tensor& v);

 private:
  /// pi0's state token sees neither time nor actions, and nothing but its keys and values is read: once per chunk.
  void run_state(Item& item, const Tensor& state);
  Tensor embed(Scope& scratch, const Tensor& x, std::int64_t step);
  Modulation modulation(std::int64_t norm, std::int64_t step, std::size_t buffers);
  void tap_suffix(const Tensor& h, std::int64_t step) const;
};

void Denoiser::add(const PrefixCache::Impl* cache, const Tensor& state) {
  Item& item = items[count++];
  item.cache = cache;
  if (!m.config.pi05) run_state(item, state);
}

void Denoiser::run_state(Item& item, const Tensor& state) {
  const Pi0Config& config = m.config;
  if (!state.defined() || state.dtype() != DType::f32 || state.numel() != config.state_dim || !state.is_contiguous())
    fail_expected("pi0", "the state as contiguous float32" + Shape{config.state_dim}.str(), state.defined() ? state.str() : "no tensor");
  item.state_embedding = scope.tensor({1, config.expert.width}, DType::f32);
  ops::linear(ctx, state.reshape({1, config.state_dim}), m.state_in, {}, item.state_embedding);
  item.state_kv = scope.tensor({config.expert.depth, 2 * m.expert.front().kv_width()}, DType::f32);
  Scope scratch(ctx.workspace());
  Tensor x = scratch.tensor({1, config.expert.width}, DType::f32);
  ops::typecast(ctx, item.state_embedding, x);
  const ops::RopeTable rope = item.cache->positions(item.cache->tokens, 1);
  for (std::size_t l = 0; l < m.expert.size(); ++l) {
    const GemmaBlock& block = m.expert[l];
    Tensor kept = item.state_kv.narrow(static_cast<std::int64_t>(l), 1);
    const ops::KeyValue prefix = block.split(item.cache->layer(l));
    if (l + 1 < m.expert.size())
      block(ctx, x, {}, {}, std::array{Sequence{1, rope, std::span(&prefix, 1), kept}});
    else
      block.keys_and_values(ctx, x, {}, rope, kept);
  }
}

Tensor Denoiser::embed(Scope& scratch, const Tensor& x, std::int64_t step) {
  const std::int64_t width = m.config.expert.width;
  Tensor h = scratch.tensor({x.rows(), width}, DType::f32);
  ops::linear(ctx, x, m.action_in, {}, h);
  if (m.config.pi05) return h;
  ops::add(ctx, h, conditioning.action_bias.narrow(step, 1), h);
  ops::silu(ctx, h, h);
  Tensor suffix = scratch.tensor({x.rows(), width}, DType::f32);
  ops::linear(ctx, h, m.action_mlp, {}, suffix);
  return suffix;
}

Modulation Denoiser::modulation(std::int64_t norm, std::int64_t step, std::size_t buffers) {
  const Modulation moving = conditioning.modulation(norm, step);
  if (fixed == 0) return moving;
  const Modulation held = conditioning.modulation(norm, conditioning.zero_row());
  const std::int64_t width = m.config.expert.width;
  const auto spread = [&](const Tensor& zero, const Tensor& t, Tensor& rows) {
    for (std::int64_t r = 0; r < m.config.chunk; ++r) {
      const float* from = (r < fixed ? zero : t).data<float>();
      std::copy(from, from + width, rows.data<float>() + r * width);
    }
    return rows;
  };
  return {spread(held.scale, moving.scale, per_token[buffers]), spread(held.shift, moving.shift, per_token[buffers + 1]),
          spread(held.gate, moving.gate, per_token[buffers + 2])};
}

void Denoiser::tap_suffix(const Tensor& h, std::int64_t step) const {
  const std::string index = std::to_string(step);
  if (m.config.pi05) {
    tap("adarms_cond." + index, conditioning.cond.narrow(step, 1));
    tap("suffix_embs." + index, h);
    return;
  }
  Tensor suffix = Tensor::empty({h.rows() + 1, h.cols()}, DType::f32);
  std::copy_n(items[0].state_embedding.data<float>(), h.cols(), suffix.data<float>());
  std::copy_n(h.data<float>(), h.numel(), suffix.data<float>() + h.cols());
  tap("suffix_embs." + index, suffix);
}

void Denoiser::velocity(const Tensor& x, std::int64_t step, Tensor& v) {
  Scope scratch(ctx.workspace());
  const Pi0Config& config = m.config;
  Tensor h = embed(scratch, x, step);
  if (tap) tap_suffix(h, step);
  std::array<Sequence, kMostAtOnce> sequences;
  std::array<std::array<ops::KeyValue, 2>, kMostAtOnce> before;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t first = items[i].cache->tokens + (config.pi05 ? 0 : 1);
    sequences[i] = {config.chunk, items[i].cache->positions(first, config.chunk), std::span(before[i].data(), config.pi05 ? 1 : 2), {}};
  }
  for (std::size_t l = 0; l < m.expert.size(); ++l) {
    const GemmaBlock& block = m.expert[l];
    const auto norm = static_cast<std::int64_t>(2 * l);
    const Modulation attention = modulation(norm, step, 0);
    const Modulation mlp = modulation(norm + 1, step, 3);
    for (std::size_t i = 0; i < count; ++i) {
      before[i][0] = block.split(items[i].cache->layer(l));
      if (!config.pi05) before[i][1] = block.split(items[i].state_kv.narrow(norm / 2, 1));
    }
    block(ctx, h, attention, mlp, std::span(sequences.data(), count));
  }
  Tensor last = scratch.tensor(h.shape(), DType::f32);
  gemma_norm(ctx, h, m.expert_norm, modulation(2 * config.expert.depth, step, 0), last);
  ops::linear(ctx, last, m.action_out, {}, v);
}

}  // namespace

void Pi0::denoise(Context& ctx, const PrefixCache& cache, const Pi0Inputs& inputs, const Tensor& noise, const SampleOptions& options, Tensor& actions,
                  const Tap& tap) const {
  runtime::Zone zone(ctx.profiler(), "stage: steps");
  const Impl& m = *impl_;
  const Pi0Config& config = m.config;
  check_cache(cache.impl_.get(), m);
  check_actions("noise", noise, config);
  if (!actions.defined()) actions = Tensor::empty(noise.shape(), DType::f32);
  check_actions("actions", actions, config);
  const RealTimeChunking* rtc = options.rtc ? &*options.rtc : nullptr;
  if (rtc != nullptr) check(*rtc, config);
  if (rtc != nullptr && !rtc->previous.defined()) rtc = nullptr;

  const int steps = options.steps == 0 ? config.num_steps : options.steps;
  const std::shared_ptr<const Conditioning> conditioning = m.conditioning(ctx, steps, options.schedule.value_or(config.schedule));
  Scope scope(ctx.workspace());
  Tensor& x = actions;
  ops::typecast(ctx, noise, x);
  Tensor v = scope.tensor(x.shape(), DType::f32);

  Denoiser denoiser{ctx, m, *conditioning, tap, scope, 0, {}, 0, {}};
  denoiser.add(cache.impl_.get(), inputs.state);

  Tensor previous;
  std::span<float> weights;
  if (rtc != nullptr) {
    previous = padded_tail(scope, rtc->previous, config);
    const auto rows = static_cast<int>(rtc->previous.rows());
    if (rtc->mode == RtcMode::trained) {
      denoiser.fixed = std::min(rtc->inference_delay, rows);
      for (Tensor& buffer : denoiser.per_token) buffer = scope.tensor({config.chunk, config.expert.width}, DType::f32);
    } else {
      weights = std::span(scope.array<float>(config.chunk), static_cast<std::size_t>(config.chunk));
      rtc_weights(rtc->schedule, rtc->inference_delay, std::min(rtc->execution_horizon, rows), weights);
    }
  }
  const auto hold = [&] { std::copy_n(previous.data<float>(), denoiser.fixed * config.action_dim, x.data<float>()); };

  const float dt = static_cast<float>(-1.0 / steps);
  for (int step = 0; step < steps; ++step) {
    const float t = conditioning->times[static_cast<std::size_t>(step)];
    if (denoiser.fixed > 0) hold();
    if (tap) tap("x_t." + std::to_string(step), x);
    denoiser.velocity(x, step, v);
    if (tap) tap("v_t." + std::to_string(step), v);
    if (!weights.empty()) rtc_guide(x, previous, weights, t, rtc_guidance(t, rtc->max_guidance_weight), v);
    ops::axpy(ctx, dt, v, x);
    if (denoiser.fixed > 0) hold();
  }
  if (tap) tap("actions", x);
}

void Pi0::denoise(Context& ctx, std::span<Denoising> batch, const SampleOptions& options) const {
  runtime::Zone zone(ctx.profiler(), "stage: steps");
  const Impl& m = *impl_;
  const Pi0Config& config = m.config;
  if (batch.empty() || batch.size() > kMostAtOnce)
    fail_expected("pi0", "1 to " + std::to_string(kMostAtOnce) + " observations at once", std::to_string(batch.size()));
  if (options.rtc) fail_expected("pi0", "no real-time chunking for several observations at once", "it", "denoise() of one observation does it");
  for (const Denoising& item : batch) {
    if (item.prefix == nullptr) fail_expected("pi0", "a prefix cache for every observation", "none");
    check_cache(item.prefix->impl_.get(), m);
    check_actions("noise", item.noise, config);
    check_actions("actions", item.actions, config);
  }
  const int steps = options.steps == 0 ? config.num_steps : options.steps;
  const std::shared_ptr<const Conditioning> conditioning = m.conditioning(ctx, steps, options.schedule.value_or(config.schedule));
  Scope scope(ctx.workspace());
  const Tap no_tap;
  Denoiser denoiser{ctx, m, *conditioning, no_tap, scope, 0, {}, 0, {}};
  const auto count = static_cast<std::int64_t>(batch.size());
  Tensor x = scope.tensor({count * config.chunk, config.action_dim}, DType::f32);
  Tensor v = scope.tensor(x.shape(), DType::f32);
  for (std::int64_t i = 0; i < count; ++i) {
    const Denoising& item = batch[static_cast<std::size_t>(i)];
    denoiser.add(item.prefix->impl_.get(), item.state);
    Tensor rows = x.narrow(i * config.chunk, config.chunk);
    ops::typecast(ctx, item.noise, rows);
  }
  const float dt = static_cast<float>(-1.0 / steps);
  for (int step = 0; step < steps; ++step) {
    denoiser.velocity(x, step, v);
    ops::axpy(ctx, dt, v, x);
  }
  for (std::int64_t i = 0; i < count; ++i) ops::typecast(ctx, x.narrow(i * config.chunk, config.chunk), batch[static_cast<std::size_t>(i)].actions);
}

}  // namespace tessera::models
