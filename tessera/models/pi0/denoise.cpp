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

/// One chunk's Euler loop: what stays the same over its steps.
struct Denoiser {
  Context& ctx;
  const Pi0::Impl& m;
  const PrefixCache::Impl& cache;
  const Conditioning& conditioning;
  const Tap& tap;
  Scope& scope;
  Tensor state_embedding;           // pi0: f32 [1, width]
  Tensor state_kv;                  // pi0: f32 [layers, 2 kv_width]
  std::int64_t fixed = 0;           // actions that trained real-time chunking holds fixed: their time is 0
  std::array<Tensor, 6> per_token;  // f32 [chunk, width] each, when `fixed`

  /// pi0's state token sees neither time nor actions, and nothing but its keys and values is read: once per chunk.
  void run_state(const Tensor& state);
  /// v(x, t of `step` | prefix)
  void velocity(const Tensor& x, std::int64_t step, Tensor& v);

 private:
  Tensor embed(Scope& scratch, const Tensor& x, std::int64_t step);
  Modulation modulation(std::int64_t norm, std::int64_t step, std::size_t buffers);
  void tap_suffix(const Tensor& h, std::int64_t step) const;
};

void Denoiser::run_state(const Tensor& state) {
  const Pi0Config& config = m.config;
  if (!state.defined() || state.dtype() != DType::f32 || state.numel() != config.state_dim || !state.is_contiguous())
    fail_expected("pi0", "the state as contiguous float32" + Shape{config.state_dim}.str(), state.defined() ? state.str() : "no tensor");
  state_embedding = scope.tensor({1, config.expert.width}, DType::f32);
  ops::linear(ctx, state.reshape({1, config.state_dim}), m.state_in, {}, state_embedding);
  state_kv = scope.tensor({config.expert.depth, 2 * m.expert.front().kv_width()}, DType::f32);
  Scope scratch(ctx.workspace());
  Tensor x = scratch.tensor({1, config.expert.width}, DType::f32);
  ops::typecast(ctx, state_embedding, x);
  const ops::RopeTable rope = cache.positions(cache.tokens, 1);
  for (std::size_t l = 0; l < m.expert.size(); ++l) {
    const GemmaBlock& block = m.expert[l];
    Tensor kept = state_kv.narrow(static_cast<std::int64_t>(l), 1);
    const ops::KeyValue prefix = block.split(cache.layer(l));
    if (l + 1 < m.expert.size())
      block(ctx, x, {}, {}, rope, std::span(&prefix, 1), kept);
    else
      block.keys_and_values(ctx, x, {}, rope, kept);
  }
}

Tensor Denoiser::embed(Scope& scratch, const Tensor& x, std::int64_t step) {
  const std::int64_t width = m.config.expert.width;
  Tensor h = scratch.tensor({m.config.chunk, width}, DType::f32);
  ops::linear(ctx, x, m.action_in, {}, h);
  if (m.config.pi05) return h;
  ops::add(ctx, h, conditioning.action_bias.narrow(step, 1), h);
  ops::silu(ctx, h, h);
  Tensor suffix = scratch.tensor({m.config.chunk, width}, DType::f32);
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
  std::copy_n(state_embedding.data<float>(), h.cols(), suffix.data<float>());
  std::copy_n(h.data<float>(), h.numel(), suffix.data<float>() + h.cols());
  tap("suffix_embs." + index, suffix);
}

void Denoiser::velocity(const Tensor& x, std::int64_t step, Tensor& v) {
  Scope scratch(ctx.workspace());
  const Pi0Config& config = m.config;
  Tensor h = embed(scratch, x, step);
  if (tap) tap_suffix(h, step);
  const std::int64_t first = cache.tokens + (config.pi05 ? 0 : 1);
  const ops::RopeTable rope = cache.positions(first, config.chunk);
  Tensor nothing;
  for (std::size_t l = 0; l < m.expert.size(); ++l) {
    const GemmaBlock& block = m.expert[l];
    const auto norm = static_cast<std::int64_t>(2 * l);
    const Modulation attention = modulation(norm, step, 0);
    const Modulation mlp = modulation(norm + 1, step, 3);
    std::array<ops::KeyValue, 2> before{block.split(cache.layer(l)), {}};
    if (!config.pi05) before[1] = block.split(state_kv.narrow(norm / 2, 1));
    block(ctx, h, attention, mlp, rope, std::span(before.data(), config.pi05 ? 1 : 2), nothing);
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
  if (cache.tokens() == 0 || cache.impl_->kv.size() != m.expert.size() || cache.impl_->kv.front().cols() != 2 * m.expert.front().kv_width())
    fail_expected("pi0", "a prefix cache that encode_prefix() of this model filled", "another or an empty one");
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

  Denoiser denoiser{ctx, m, *cache.impl_, *conditioning, tap, scope, {}, {}, 0, {}};
  if (!config.pi05) denoiser.run_state(inputs.state);

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

}  // namespace tessera::models
