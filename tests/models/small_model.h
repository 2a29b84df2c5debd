// Models of a few thousand weights with sizes that divide nothing, and inputs for them: what the model tests run on.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <vector>

#include "tessera/models/pi0/pi0.h"

namespace tessera::models {

/// pi0: two kv heads; pi0.5: one, and a position table of 9 rows for pictures of 16 patches.
inline Pi0Config small_config(bool pi05) {
  Pi0Config c;
  c.pi05 = pi05;
  c.vision.hidden = 24;
  c.vision.layers = 2;
  c.vision.heads = 3;
  c.vision.mlp = 41;
  c.vision.image = 28;
  c.vision.patch = 7;
  c.vision.positions = pi05 ? 9 : 16;
  c.vlm = {34, 3, 50, 4, pi05 ? 1 : 2, 10};
  c.expert = {22, 3, 37, 4, pi05 ? 1 : 2, 10};
  c.vocab = 60;
  c.state_dim = 5;
  c.action_dim = 6;
  c.chunk = 7;
  c.num_steps = 4;
  c.max_prompt_tokens = 9;
  return c;
}

/// Smooth made-up pictures, a prompt and a state. `present`: per camera slot.
inline Pi0Inputs small_inputs(const Pi0Config& config, std::vector<bool> present = {true, true}, std::int64_t tokens = 5) {
  Pi0Inputs in;
  double phase = 0.3;
  for (const bool there : present) {
    phase += 0.7;
    if (!there) {
      in.images.emplace_back();
      continue;
    }
    Tensor image = Tensor::empty({3, config.vision.image, config.vision.image}, DType::f32);
    double i = 0;
    for (float& value : image.span<float>()) value = static_cast<float>(std::sin(phase + 0.37 * i++));
    in.images.push_back(image);
  }
  for (std::int64_t t = 0; t < tokens; ++t) in.tokens.push_back(static_cast<std::int32_t>((7 * t + 3) % config.vocab));
  if (!config.pi05) {
    in.state = Tensor::empty({config.state_dim}, DType::f32);
    double i = 0;
    for (float& value : in.state.span<float>()) value = static_cast<float>(std::cos(0.9 * i++));
  }
  return in;
}

/// The whole chunk in one call.
inline Tensor sample(Context& ctx, const Pi0& model, const Pi0Inputs& in, const Tensor& noise, const SampleOptions& options = {},
                     const Tap& tap = {}) {
  PrefixCache cache;
  model.encode_images(ctx, in, cache, tap);
  model.encode_prefix(ctx, in, cache, tap);
  Tensor actions;
  model.denoise(ctx, cache, in, noise, options, actions, tap);
  return actions;
}

}  // namespace tessera::models
