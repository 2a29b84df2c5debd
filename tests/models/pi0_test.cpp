// The network against plain double loops (tests/reference/pi0.h) on small models, and its promises: the same bits for any number of
// threads, masked cameras without influence, errors that say what came.
#include "tessera/models/pi0/pi0.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <thread>

#include "tessera/core/error.h"
#include "tests/models/small_model.h"
#include "tests/reference/pi0.h"

namespace tessera::models {
namespace {

using reference::Matrix;

// f32 sums of at most 588 products, eps 6e-8 each, through some forty layers of unit-scale values: errors add like a random walk, about
// sqrt(588) * 6e-8 * sqrt(40) = 1e-5 of the scale.
constexpr double kF32 = 2e-5;

bool equal_bits(const Tensor& a, const Tensor& b) { return a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0; }

double scale_of(const Matrix& m) {
  double scale = 0;
  for (const double v : m.v) scale = std::max(scale, std::abs(v));
  return scale;
}

void expect_near(const Matrix& got, const Matrix& expected, double limit, const std::string& what) {
  ASSERT_EQ(got.v.size(), expected.v.size()) << what;
  double worst = 0;
  for (std::size_t i = 0; i < got.v.size(); ++i) worst = std::max(worst, std::abs(got.v[i] - expected.v[i]));
  EXPECT_GT(scale_of(expected), 0) << what;
  EXPECT_LE(worst, limit * scale_of(expected)) << what;
}

template <class Fn>
std::string message_of(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class Pi0Model : public testing::TestWithParam<bool> {
 protected:
  Pi0Config config = small_config(GetParam());
  std::shared_ptr<const WeightSource> source = random_weights(config, 11, DType::f32);
  Context ctx{{.threads = 2, .isa = ""}};
  Tensor noise = make_noise(config, 5);
};
INSTANTIATE_TEST_SUITE_P(Families, Pi0Model, testing::Bool(), [](const auto& info) { return info.param ? "pi05" : "pi0"; });

TEST_P(Pi0Model, EveryStageMatchesTheReference) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  const reference::Pi0 slow(*source, config);
  const Pi0Inputs in = small_inputs(config, {true, false, true});  // the camera in the middle is absent
  std::map<std::string, Matrix, std::less<>> got;
  const Tensor actions =
      sample(ctx, model, in, noise, {}, [&](std::string_view stage, const Tensor& x) { got[std::string(stage)] = reference::to_matrix(x); });

  EXPECT_FALSE(got.contains("vision.1"));
  for (const char* slot : {"0", "2"}) expect_near(got["vision." + std::string(slot)], slow.siglip(in.images[std::stoul(slot)]), kF32, slot);
  expect_near(got["prefix_embs"], slow.prefix_embeddings(in), kF32, "prefix_embs");
  const reference::Pi0::Cache cache = slow.prefix(in);
  for (std::size_t l = 0; l < cache.k.size(); ++l) {
    expect_near(got["cache." + std::to_string(l) + ".k"], cache.k[l], kF32, "k " + std::to_string(l));
    expect_near(got["cache." + std::to_string(l) + ".v"], cache.v[l], kF32, "v " + std::to_string(l));
  }
  const std::vector<float> times = time_schedule(config.schedule, config.num_steps);
  for (std::size_t step = 0; step < times.size(); ++step) {
    const std::string index = std::to_string(step);
    const std::vector<double> t(static_cast<std::size_t>(config.chunk), static_cast<double>(times[step]));
    expect_near(got["v_t." + index], slow.velocity(cache, in.state, got["x_t." + index], t), kF32, "v_t " + index);
  }
  expect_near(reference::to_matrix(actions), slow.sample(in, noise, times), kF32, "actions");
  expect_near(got["actions"], reference::to_matrix(actions), 0, "actions tap");
  EXPECT_EQ(got.contains("adarms_cond.0"), config.pi05);
  EXPECT_EQ(got["suffix_embs.0"].rows, config.chunk + (config.pi05 ? 0 : 1));
}

TEST_P(Pi0Model, ReadsBf16Weights) {
  const auto stored = random_weights(config, 12, DType::bf16);
  const Pi0 model = Pi0::load(ctx, stored, config, Precision::f32);
  const Pi0Inputs in = small_inputs(config);
  const Matrix expected = reference::Pi0(*stored, config).sample(in, noise, time_schedule(config.schedule, config.num_steps));
  expect_near(reference::to_matrix(sample(ctx, model, in, noise)), expected, kF32, "actions");
}

TEST_P(Pi0Model, Bf16StaysNearF32) {
  const Pi0Inputs in = small_inputs(config);
  const Tensor f32 = sample(ctx, Pi0::load(ctx, source, config, Precision::f32), in, noise);
  const Pi0 model = Pi0::load(ctx, source, config, Precision::bf16);
  EXPECT_EQ(model.precision(), Precision::bf16);
  const Tensor bf16 = sample(ctx, model, in, noise);
  EXPECT_FALSE(equal_bits(f32, bf16));
  // bf16 rounds to 2^-9; some forty roundings in a row, half of them cancelling, on actions of unit scale.
  expect_near(reference::to_matrix(bf16), reference::to_matrix(f32), 0.03, "actions");
}

TEST_P(Pi0Model, SameBitsForAnyNumberOfThreadsAndEveryRun) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8}) {
    const Pi0 model = Pi0::load(ctx, source, config, precision);
    const Pi0Inputs in = small_inputs(config, {true, true, true}, 9);
    const Tensor expected = sample(ctx, model, in, noise);
    EXPECT_TRUE(equal_bits(expected, sample(ctx, model, in, noise))) << "second run";
    for (const int threads : {1, 2, 3, 8}) {
      Context other({.threads = threads, .isa = ""});
      EXPECT_TRUE(equal_bits(expected, sample(other, model, in, noise))) << threads << " threads";
    }
    // A model packed under another number of threads is the same model.
    Context eight({.threads = 8, .isa = ""});
    EXPECT_TRUE(equal_bits(expected, sample(eight, Pi0::load(eight, source, config, precision), in, noise)));
  }
}

TEST_P(Pi0Model, TwoThreadsShareOneModel) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  const Pi0Inputs in = small_inputs(config);
  std::vector<Tensor> expected;
  for (int steps = 1; steps <= 8; ++steps) expected.push_back(sample(ctx, model, in, noise, {.steps = steps, .schedule = {}, .rtc = {}}));
  std::vector<Tensor> got(8);
  const auto work = [&](int first) {
    Context own({.threads = 1, .isa = ""});
    for (int steps = first; steps <= 8; steps += 2)
      got[static_cast<std::size_t>(steps) - 1] = sample(own, model, in, noise, {.steps = steps, .schedule = {}, .rtc = {}});
  };
  std::thread odd(work, 1), even(work, 2);
  odd.join();
  even.join();
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(equal_bits(got[i], expected[i])) << i + 1 << " steps";
}

TEST_P(Pi0Model, SchedulesAndStepsMatchTheReference) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  const reference::Pi0 slow(*source, config);
  const Pi0Inputs in = small_inputs(config, {true});
  for (const TimeSchedule schedule : {TimeSchedule::exact, TimeSchedule::accumulated}) {
    const Tensor actions = sample(ctx, model, in, noise, {.steps = 7, .schedule = schedule, .rtc = {}});
    expect_near(reference::to_matrix(actions), slow.sample(in, noise, time_schedule(schedule, 7)), kF32, std::string(name(schedule)));
  }
}

TEST_P(Pi0Model, PicturesAreKeptForAnotherPrompt) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  Pi0Inputs in = small_inputs(config);
  PrefixCache cache;
  model.encode_images(ctx, in, cache);
  model.encode_prefix(ctx, in, cache);
  EXPECT_EQ(cache.tokens(), 2 * 16 + 5);
  in.tokens = {9, 8};
  model.encode_prefix(ctx, in, cache);
  EXPECT_EQ(cache.tokens(), 2 * 16 + 2);
  Tensor actions;
  model.denoise(ctx, cache, in, noise, {}, actions);
  EXPECT_TRUE(equal_bits(actions, sample(ctx, model, in, noise)));
  in.tokens.clear();  // an empty prompt is the pictures alone
  expect_near(reference::to_matrix(sample(ctx, model, in, noise)),
              reference::Pi0(*source, config).sample(in, noise, time_schedule(config.schedule, config.num_steps)), kF32, "no prompt");
}

TEST_P(Pi0Model, InputsThatMatterChangeTheActions) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  const Pi0Inputs in = small_inputs(config);
  const Tensor expected = sample(ctx, model, in, noise);
  Pi0Inputs picture = in;
  picture.images[1] = small_inputs(config, {true}).images[0];
  EXPECT_FALSE(equal_bits(expected, sample(ctx, model, picture, noise)));
  Pi0Inputs prompt = in;
  prompt.tokens.back() = 1;
  EXPECT_FALSE(equal_bits(expected, sample(ctx, model, prompt, noise)));
  if (!config.pi05) {
    Pi0Inputs state = in;
    state.state = Tensor::zeros({config.state_dim}, DType::f32);
    EXPECT_FALSE(equal_bits(expected, sample(ctx, model, state, noise)));
  }
}

TEST_P(Pi0Model, WrongInputsAreNamed) {
  const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  const Pi0Inputs good = small_inputs(config);
  PrefixCache cache;
  const auto encode = [&](const Pi0Inputs& in) {
    return message_of([&] {
      model.encode_images(ctx, in, cache);
      model.encode_prefix(ctx, in, cache);
    });
  };
  EXPECT_EQ(encode(good), "no error");
  Pi0Inputs in = good;
  in.images[1] = Tensor::zeros({3, 27, 28}, DType::f32);
  EXPECT_EQ(encode(in), "[pi0] expected picture 1 as contiguous float32[3, 28, 28], got float32[3, 27, 28] ROW_MAJOR INTERLEAVED DRAM");
  EXPECT_EQ(cache.tokens(), 0);
  in.images = {Tensor(), Tensor()};
  EXPECT_EQ(encode(in), "[pi0] expected a picture from at least one camera, got none");
  EXPECT_NE(message_of([&] { model.encode_prefix(ctx, in, cache); }).find("encode_images"), std::string::npos);
  in = good;
  in.tokens.assign(10, 1);
  EXPECT_EQ(encode(in), "[pi0] expected at most 9 prompt tokens, got 10");
  in.tokens = {60};
  EXPECT_NE(encode(in).find("60"), std::string::npos);
  in.tokens = {-1};
  EXPECT_NE(encode(in).find("-1"), std::string::npos);

  Tensor actions;
  const auto denoise = [&](const PrefixCache& c, const Pi0Inputs& i, const Tensor& n, SampleOptions options = {}) {
    return message_of([&] { model.denoise(ctx, c, i, n, options, actions); });
  };
  EXPECT_NE(denoise(PrefixCache(), good, noise).find("prefix cache"), std::string::npos);
  ASSERT_EQ(encode(good), "no error");
  EXPECT_EQ(denoise(cache, good, noise), "no error");
  EXPECT_EQ(denoise(cache, good, Tensor::zeros({7, 5}, DType::f32)),
            "[pi0] expected noise as contiguous float32[7, 6], got float32[7, 5] ROW_MAJOR INTERLEAVED DRAM");
  EXPECT_NE(denoise(cache, good, noise, {.steps = 1001, .schedule = {}, .rtc = {}}).find("1001"), std::string::npos);
  EXPECT_NE(denoise(cache, good, noise, {.steps = -1, .schedule = {}, .rtc = {}}).find("-1"), std::string::npos);
  actions = Tensor::zeros({7, 5}, DType::f32);
  EXPECT_NE(denoise(cache, good, noise).find("actions"), std::string::npos);
  if (!config.pi05) {
    actions = Tensor();
    in = good;
    in.state = Tensor();
    EXPECT_EQ(denoise(cache, in, noise), "[pi0] expected the state as contiguous float32[5], got no tensor");
  }
  Pi0Config deeper = config;
  deeper.vlm.depth = deeper.expert.depth = 4;
  const Pi0 other = Pi0::load(ctx, random_weights(deeper, 1, DType::f32), deeper, Precision::f32);
  EXPECT_NE(message_of([&] { other.denoise(ctx, cache, good, noise, {}, actions); }).find("prefix cache"), std::string::npos);
}

/// A source with some tensors gone and some of another shape.
class Damaged final : public WeightSource {
 public:
  explicit Damaged(const WeightSource& source) : source_(source), tensors_(source.tensors()) {}
  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override { return source_.load(name); }
  std::string where() const override { return "damaged"; }
  std::map<std::string, WeightInfo, std::less<>>& damage() { return tensors_; }

 private:
  const WeightSource& source_;
  std::map<std::string, WeightInfo, std::less<>> tensors_;
};

TEST_P(Pi0Model, EveryMissingAndMisshapenTensorIsListedAtOnce) {
  auto damaged = std::make_shared<Damaged>(*source);
  damaged->damage().erase("action_out_proj.bias");
  damaged->damage().erase("paligemma_with_expert.paligemma.model.vision_tower.vision_model.post_layernorm.weight");
  damaged->damage().at("action_in_proj.weight").shape = {1, 2};
  const std::string message = message_of([&] { Pi0::load(ctx, damaged, config, Precision::f32); });
  for (const char* part : {"action_out_proj.bias", "vision_model.post_layernorm.weight", "action_in_proj.weight", "[1, 2]", "[22, 6]"})
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
}

TEST_P(Pi0Model, ProgressRisesToOneAndBytesAreCounted) {
  double last = 0;
  bool rising = true;
  const Pi0 f32 = Pi0::load(ctx, source, config, Precision::f32, [&](std::string_view what, double share) {
    rising = rising && (what != "packing weights" || share >= last);
    if (what == "packing weights") last = share;
  });
  EXPECT_TRUE(rising);
  EXPECT_GT(last, 0.5);
  EXPECT_LE(last, 1.0);
  std::int64_t values = 0;
  for (const TensorSpec& spec : required_tensors(config)) values += spec.name.find("embed_tokens") == std::string::npos ? spec.shape.numel() : 0;
  // Padding of tiny matrices can be several times their size; less than the weights themselves would be a miscount.
  if (!config.pi05) {
    EXPECT_GE(f32.weight_bytes(), static_cast<std::size_t>(values) * 3);
  }
  const Pi0 bf16 = Pi0::load(ctx, source, config, Precision::bf16);
  EXPECT_LT(bf16.weight_bytes(), f32.weight_bytes());
}

TEST(Pi0Embedding, ScaleIsRoundedToTheTablesDtypeOnlyWhenAsked) {
  Pi0Config config = small_config(false);  // sqrt(34) = 5.83095, in bf16 5.84375
  Context ctx({.threads = 1, .isa = ""});
  const auto source = random_weights(config, 3, DType::bf16);
  const Pi0Inputs in = small_inputs(config, {true}, 1);
  float first[2];
  for (const bool rounded : {false, true}) {
    config.embed_scale_in_table_dtype = rounded;
    const Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
    PrefixCache cache;
    model.encode_images(ctx, in, cache);
    model.encode_prefix(ctx, in, cache, [&](std::string_view stage, const Tensor& x) {
      if (stage == "prefix_embs") first[rounded ? 1 : 0] = x.data<float>()[16 * x.cols()];
    });
  }
  const Tensor table = source->load("paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight");
  const float row = to_f32(table.data<bf16>()[3 * 34]);
  EXPECT_EQ(first[0], row * std::sqrt(34.0f));
  EXPECT_EQ(first[1], row * 5.84375f);
}

TEST(RandomWeights, AreTheSameEveryTimeAndHaveTheSpreadTheyClaim) {
  const Pi0Config config = small_config(true);
  const auto source = random_weights(config, 7, DType::f32);
  const std::string name = "paligemma_with_expert.gemma_expert.model.layers.1.input_layernorm.dense.weight";
  const Tensor w = source->load(name);
  EXPECT_TRUE(equal_bits(w, source->load(name)));
  EXPECT_FALSE(equal_bits(w, random_weights(config, 8, DType::f32)->load(name)));
  EXPECT_FALSE(equal_bits(w, source->load("paligemma_with_expert.gemma_expert.model.layers.2.input_layernorm.dense.weight")));
  double mean = 0, squares = 0;
  for (const float v : w.span<float>()) {
    mean += static_cast<double>(v) / static_cast<double>(w.numel());
    squares += static_cast<double>(v) * static_cast<double>(v) / static_cast<double>(w.numel());
  }
  // 1452 draws of deviation 1/sqrt(22): five standard errors.
  EXPECT_NEAR(mean, 0, 5 * std::sqrt(1.0 / 22 / 1452));
  EXPECT_NEAR(squares * 22, 1, 5 * std::sqrt(2.0 / 1452));
  const Tensor norm = source->load("paligemma_with_expert.paligemma.model.vision_tower.vision_model.encoder.layers.0.layer_norm1.weight");
  for (const float v : norm.span<float>()) EXPECT_NEAR(v, 1, 0.1);
  EXPECT_EQ(message_of([&] { source->load("nothing"); }), "[random weights] there is no tensor 'nothing'");
}

}  // namespace
}  // namespace tessera::models
