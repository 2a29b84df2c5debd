#include "tessera/models/policy/names.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tessera/core/error.h"
#include "tessera/io/safetensors.h"
#include "tessera/models/policy/checkpoint_source.h"
#include "tessera/models/policy/normalise.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

TEST(Names, EveryVariantBecomesOpenpis) {
  const std::string q = "paligemma_with_expert.paligemma.model.language_model.layers.3.self_attn.q_proj.weight";
  const std::string tower = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias";
  const std::string expert = "paligemma_with_expert.gemma_expert.model.layers.0.mlp.up_proj.weight";
  const std::pair<std::string, std::string> cases[] = {
      {q, q},
      {"model." + q, q},
      {"model.vlm.language_model.layers.3.self_attn.q_proj.weight", q},
      {"model.paligemma_with_expert.paligemma.language_model.model.layers.3.self_attn.q_proj.weight", q},
      {"paligemma_with_expert.paligemma.model.vision_tower.encoder.layers.0.mlp.fc1.bias", tower},
      {"model.paligemma_with_expert.paligemma.vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias", tower},
      {"model.vlm.vision_tower.encoder.layers.0.mlp.fc1.bias", tower},
      {"model.vlm.vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias", tower},
      {"model.dit.layers.0.mlp.up_proj.weight", expert},
      {"model.paligemma_with_expert.paligemma.language_model.lm_head.weight", "paligemma_with_expert.paligemma.lm_head.weight"},
      {"model.paligemma_with_expert.paligemma.multi_modal_projector.linear.weight",
       "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.weight"},
      {"embed_action_time.action_in_proj.weight", "action_in_proj.weight"},
      {"model.state_proj.bias", "state_proj.bias"},
      {"time_mlp_in.weight", "time_mlp_in.weight"},
  };
  for (const auto& [stored, canonical] : cases) {
    NameTraits traits;
    EXPECT_EQ(canonical_name(stored, traits), canonical) << stored;
  }
  NameTraits traits;
  EXPECT_FALSE(canonical_name("normalize_inputs.buffer_observation_state.mean", traits));
  EXPECT_FALSE(canonical_name("optimizer.step", traits));
}

class Source : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("tessera_names_" + std::to_string(reinterpret_cast<std::uintptr_t>(this)));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::shared_ptr<const CheckpointSource> open(const std::vector<std::pair<std::string, float>>& tensors) {
    std::vector<std::pair<std::string, Tensor>> list;
    for (const auto& [name, value] : tensors) list.emplace_back(name, Tensor::from<float>(std::vector<float>(4, value), Shape{2, 2}));
    io::write_safetensors(folder_ / "model.safetensors", list);
    return CheckpointSource::open(folder_);
  }
  fs::path folder_;
};

TEST_F(Source, EmbedTokensWinsOverTheHead) {
  const auto both = open({{"model." + std::string(kVlmHead), 1.0f}, {"model." + std::string(kEmbedTokens), 2.0f}});
  EXPECT_EQ(both->load(kEmbedTokens).data<float>()[0], 2.0f);
  const auto head = open({{std::string(kVlmHead), 1.0f}});
  EXPECT_EQ(head->load(kEmbedTokens).data<float>()[0], 1.0f);
}

TEST_F(Source, OneTensorUnderTwoNamesIsRefused) {
  EXPECT_THROW(open({{"action_in_proj.weight", 1.0f}, {"model.action_in_proj.weight", 2.0f}}), Error);
}

TEST_F(Source, StrayTimeMlpNamesFollowTheFamily) {
  const auto pi0 = open({{"time_mlp_in.weight", 1.0f}, {"state_proj.weight", 1.0f}});
  EXPECT_FALSE(pi0->pi05());
  EXPECT_TRUE(pi0->tensors().contains("action_time_mlp_in.weight"));
  const auto pi05 = open({{"action_time_mlp_in.weight", 1.0f},
                          {"state_proj.weight", 1.0f},
                          {"paligemma_with_expert.gemma_expert.model.layers.0.input_layernorm.dense.weight", 1.0f}});
  EXPECT_TRUE(pi05->pi05());
  EXPECT_TRUE(pi05->tensors().contains("time_mlp_in.weight"));
  EXPECT_FALSE(pi05->tensors().contains("state_proj.weight"));
}

TEST_F(Source, MemoryModelsAreRefused) { EXPECT_THROW(open({{"model.proprio_history_proj.weight", 1.0f}}), Error); }

TEST_F(Source, ReaderListsEverythingThatIsWrong) {
  const auto source = open({{"action_in_proj.weight", 1.0f}, {"action_out_proj.weight", 1.0f}, {"state_proj.bias", 1.0f}});
  WeightReader reader(*source);
  EXPECT_TRUE(reader.get("action_in_proj.weight", Shape{2, 2}).defined());
  EXPECT_FALSE(reader.get("action_out_proj.weight", Shape{2, 3}).defined());
  EXPECT_FALSE(reader.get("nowhere.weight", Shape{1}).defined());
  EXPECT_EQ(reader.unused(), std::vector<std::string>{"state_proj.bias"});
  try {
    reader.check();
    FAIL();
  } catch (const Error& e) {
    const std::string what = e.what();
    EXPECT_NE(what.find("nowhere.weight"), std::string::npos);
    EXPECT_NE(what.find("action_out_proj.weight: expected [2, 3], got [2, 2]"), std::string::npos) << what;
  }
}

TEST(Normalise, RoundTripsInEveryMode) {
  using enum NormMode;
  for (const NormStyle style : {NormStyle::lerobot, NormStyle::openpi}) {
    for (const NormMode mode : {identity, mean_std, min_max, quantiles, quantile10}) {
      const Normaliser n{mode, style, 1e-8, {-1.0, 0.5, 2.0}, {1.5, 0.75, 4.0}, true};
      std::vector<double> x = {0.3, 0.6, -7.0};
      const std::vector<double> before = x;
      n.forward(x);
      n.inverse(x);
      // lerobot: float32, and eps is added to std on the way in only; both are below 1e-6 of these values
      for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(x[i], before[i], 2e-6 * std::fabs(before[i]) + 1e-6);
    }
  }
}

TEST(Normalise, FormulasOfBothReferences) {
  std::vector<double> x = {3.0};
  Normaliser{NormMode::mean_std, NormStyle::openpi, 0, {1.0}, {0.5}, true}.forward(x);
  EXPECT_DOUBLE_EQ(x[0], 2.0 / (0.5 + 1e-6));
  x = {3.0};
  Normaliser{NormMode::quantiles, NormStyle::openpi, 0, {1.0}, {2.0}, true}.forward(x);
  EXPECT_DOUBLE_EQ(x[0], 2.0 / (1.0 + 1e-6) * 2 - 1);
  x = {3.0};
  Normaliser{NormMode::min_max, NormStyle::lerobot, 1e-8, {1.0}, {1.0}, true}.forward(x);  // no spread: eps instead
  EXPECT_NEAR(x[0], 2 * 2.0 / 1e-8 - 1, 100);
  x = {0.25, 0.25};
  Normaliser{NormMode::mean_std, NormStyle::openpi, 0, {1.0}, {0.5}, true}.inverse(x);
  EXPECT_DOUBLE_EQ(x[1], 0.25 * (1 + 1e-6));  // beyond the statistics: mean 0, std 1
  std::vector<double> two = {1.0, 2.0};
  EXPECT_THROW((Normaliser{NormMode::mean_std, NormStyle::openpi, 0, {1.0}, {0.5}, true}.forward(two)), Error);
}

TEST(Prompt, BinsAndForms) {
  EXPECT_EQ(state_bin(-1.0), 0);
  EXPECT_EQ(state_bin(-1.0000001), -1);
  EXPECT_EQ(state_bin(0.0), 128);
  EXPECT_EQ(state_bin(0.9999), 255);
  EXPECT_EQ(state_bin(50.0), 255);
  EXPECT_EQ(prompt_text(PromptForm::openpi, " pick_up\nit ", {}), "pick up it");
  EXPECT_EQ(prompt_text(PromptForm::lerobot, " pick_up", {}), " pick_up\n");
  EXPECT_EQ(prompt_text(PromptForm::lerobot, "a\n", {}), "a\n");
  EXPECT_EQ(prompt_text(PromptForm::lerobot_state, "a_b ", {-2.0, 0.0}), "Task: a b, State: -1 128;\nAction: ");
}

}  // namespace
}  // namespace tessera::models
