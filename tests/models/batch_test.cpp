// Several observations at once: every one gets the bits that it gets alone.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tests/models/small_model.h"

namespace tessera::models {
namespace {

class Batch : public testing::TestWithParam<bool> {
 protected:
  Pi0Config config = small_config(GetParam());
  Context ctx{{.threads = 2, .isa = {}}};

  /// Observations of different lengths, pictures and states.
  std::vector<Pi0Inputs> observations(std::size_t count) const {
    std::vector<Pi0Inputs> all;
    for (std::size_t i = 0; i < count; ++i) {
      all.push_back(small_inputs(config, {i % 2 == 0, true}, static_cast<std::int64_t>(2 + i % 6)));
      if (!config.pi05) all.back().state.data<float>()[0] = 0.1f * static_cast<float>(i);
    }
    return all;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, Batch, testing::Bool(), [](const auto& info) { return info.param ? "pi05" : "pi0"; });

TEST_P(Batch, EachIsAsAlone) {
  const auto source = random_weights(config, 11, DType::f32);
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
    const Pi0 model = Pi0::load(ctx, source, config, precision);
    for (const std::size_t count : {std::size_t{1}, std::size_t{3}, std::size_t{16}}) {
      const auto inputs = observations(count);
      std::vector<PrefixCache> caches(count);
      std::vector<Denoising> batch;
      for (std::size_t i = 0; i < count; ++i) {
        model.encode_images(ctx, inputs[i], caches[i]);
        model.encode_prefix(ctx, inputs[i], caches[i]);
        const Tensor noise = make_noise(config, i);
        batch.push_back({&caches[i], inputs[i].state, noise, Tensor::empty(noise.shape(), DType::f32)});
      }
      for (const int steps : {0, 3}) {
        SampleOptions options;
        options.steps = steps;
        model.denoise(ctx, batch, options);
        for (std::size_t i = 0; i < count; ++i) {
          const Tensor alone = sample(ctx, model, inputs[i], batch[i].noise, options);
          EXPECT_EQ(std::memcmp(alone.raw(), batch[i].actions.raw(), alone.bytes()), 0) << name(precision) << ", " << i << " of " << count;
        }
      }
    }
  }
}

TEST_P(Batch, WhatDoesNotFitIsAnError) {
  const Pi0 model = Pi0::load(ctx, random_weights(config, 11, DType::f32), config, Precision::f32);
  const Pi0Inputs in = small_inputs(config);
  PrefixCache cache;
  model.encode_images(ctx, in, cache);
  model.encode_prefix(ctx, in, cache);
  const Tensor noise = make_noise(config, 1);
  const Denoising good{&cache, in.state, noise, Tensor::empty(noise.shape(), DType::f32)};
  const auto expect = [&](const std::string& part, std::vector<Denoising> batch, const SampleOptions& options = {}) {
    try {
      model.denoise(ctx, batch, options);
      ADD_FAILURE() << "no error about " << part;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  };
  expect("1 to 16 observations", {});
  expect("1 to 16 observations", std::vector<Denoising>(17, good));
  PrefixCache empty;
  expect("a prefix cache", {good, {nullptr, in.state, noise, good.actions}});
  expect("a prefix cache", {good, {&empty, in.state, noise, good.actions}});
  expect("noise", {good, {&cache, in.state, {}, good.actions}});
  expect("actions", {good, {&cache, in.state, noise, {}}});
  expect("actions", {{&cache, in.state, noise, Tensor::zeros({1, 2}, DType::f32)}});
  if (!config.pi05) expect("the state", {{&cache, {}, noise, good.actions}});
  SampleOptions rtc;
  rtc.rtc.emplace();
  expect("real-time chunking", {good}, rtc);
}

}  // namespace
}  // namespace tessera::models
