#include "tessera/models/pi0/conditioning.h"

#include <cmath>
#include <numbers>
#include <string>

#include "tessera/models/blocks/loader.h"

namespace tessera::models {
namespace {

/// `count` floats at `start` of a tensor that outlives the view.
Tensor view(const Tensor& x, std::int64_t start, std::int64_t count) {
  return Tensor::borrow(const_cast<float*>(x.data<float>()) + start, {count}, DType::f32);
}

Tensor embeddings(const Pi0Config& config, std::span<const float> times) {
  const std::int64_t width = config.expert.width;
  Tensor rows = Tensor::empty({static_cast<std::int64_t>(times.size()), width}, DType::f32);
  for (std::size_t i = 0; i < times.size(); ++i)
    time_embedding(config, times[i], rows.span<float>().subspan(i * static_cast<std::size_t>(width), static_cast<std::size_t>(width)));
  return rows;
}

}  // namespace

void time_embedding(const Pi0Config& config, float t, std::span<float> embedding) {
  const std::size_t half = embedding.size() / 2;
  const double ratio = config.max_period / config.min_period;
  for (std::size_t i = 0; i < half; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(half - 1);
    const double period = config.min_period * std::pow(ratio, fraction);
    const double angle = 2 * std::numbers::pi / period * static_cast<double>(t);
    embedding[i] = static_cast<float>(std::sin(angle));
    embedding[half + i] = static_cast<float>(std::cos(angle));
  }
}

Modulation Conditioning::modulation(std::int64_t norm, std::int64_t row) const {
  if (!modulations.defined()) return {};
  const std::int64_t width = modulations.shape()[2] / 3;
  const std::int64_t start = (norm * modulations.shape()[1] + row) * 3 * width;
  return {view(modulations, start, width), view(modulations, start + width, width), view(modulations, start + 2 * width, width)};
}

std::size_t Conditioning::bytes() const noexcept {
  std::size_t total = times.size() * sizeof(float);
  for (const Tensor* tensor : {&action_bias, &cond, &modulations})
    if (tensor->defined()) total += tensor->bytes();
  return total;
}

Conditioning make_conditioning(Context& ctx, const Pi0Config& config, const TimeMlp& mlp, const WeightSource& source, int steps,
                               TimeSchedule schedule, const Progress& progress) {
  Conditioning c;
  c.steps = steps;
  c.schedule = schedule;
  c.times = time_schedule(schedule, steps);
  const std::int64_t width = config.expert.width;
  if (!config.pi05) {
    c.action_bias = ops::linear(ctx, embeddings(config, c.times), mlp.in);
    return c;
  }
  std::vector<float> times = c.times;
  times.push_back(0.0f);
  const ops::Linear silu{.activation = ops::Activation::silu, .residual = {}, .gate = {}};
  c.cond = ops::linear(ctx, ops::linear(ctx, embeddings(config, times), mlp.in, silu), mlp.out, silu);
  const std::int64_t rows = steps + 1;
  const std::int64_t norms = 2 * config.expert.depth + 1;
  c.modulations = Tensor::empty({norms, rows, 3 * width}, DType::f32);
  BlockLoader loader(ctx, source, {}, 1);
  for (std::int64_t norm = 0; norm < norms; ++norm) {
    std::string prefix = "paligemma_with_expert.gemma_expert.model.";
    if (norm < 2 * config.expert.depth)
      prefix.append("layers.").append(std::to_string(norm / 2)).append(norm % 2 == 0 ? ".input_layernorm" : ".post_attention_layernorm");
    else
      prefix.append("norm");
    const ops::PreparedLinear dense = loader.passing_linear({{prefix + ".dense", 3 * width}}, width, true, DType::f32);
    Tensor y = c.modulations.narrow(norm, 1).reshape({rows, 3 * width});
    ops::linear(ctx, c.cond, dense, {}, y);
    if (progress) progress("computing modulations", static_cast<double>(norm + 1) / static_cast<double>(norms));
  }
  return c;
}

}  // namespace tessera::models
