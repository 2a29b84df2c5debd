// From raw pictures, state and sentence to what the network sees and back, against the references' recordings.
#include "tessera/models/policy/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/safetensors.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

fs::path golden(const std::string& name) { return fs::path(TESSERA_SOURCE_DIR) / "tests" / "goldens" / name; }

PolicyOptions for_robot(const std::string& robot) {
  PolicyOptions options;
  options.robot = robot;
  return options;
}

Observation recorded(const io::SafetensorsFile& file, const std::string& prompt) {
  Observation o;
  o.prompt = prompt;
  for (const io::StoredTensor& t : file.tensors()) {
    if (!t.name.starts_with("obs.")) continue;
    const std::string name = t.name.substr(4);
    if (name == "observation.state")
      o.state = file.doubles(t.name);
    else
      o.images[name] = file.tensor(t.name);
  }
  return o;
}

class Lerobot : public ::testing::TestWithParam<const char*> {};

TEST_P(Lerobot, ObservationReachesTheModelAsRecorded) {
  const fs::path folder = golden(GetParam());
  Context ctx({.threads = 2, .isa = {}});
  const Policy policy = Policy::load(ctx, folder);
  const auto file = io::SafetensorsFile::open(folder / "policy_io.safetensors");
  const io::Json info = io::Json::read(folder / "policy_io.json");
  const PreparedObservation got = policy.prepare(ctx, recorded(*file, info.at("task").string()));

  EXPECT_EQ(got.prompt, info.at("prompt_after_processing").strings()[0]);
  const auto tokens = file->integers("pre.tokens");
  const auto mask = file->integers("pre.token_mask");
  std::vector<std::int32_t> real;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (mask[i] != 0) real.push_back(static_cast<std::int32_t>(tokens[i]));
  EXPECT_EQ(got.inputs.tokens, real);

  const auto state = file->doubles("pre.state");
  ASSERT_GE(got.normalised_state.size(), state.size());
  for (std::size_t i = 0; i < state.size(); ++i)
    EXPECT_NEAR(got.normalised_state[i], state[i], 1e-6 * (1 + std::fabs(state[i])));  // a few float32 roundings

  for (std::size_t i = 0; i < got.inputs.images.size(); ++i) {
    const std::string index = std::to_string(i);
    const bool present = file->integers("pre.image_masks." + index)[0] != 0;
    ASSERT_EQ(got.inputs.images[i].defined(), present) << i;
    if (!present) continue;
    const auto reference = file->floats("pre.images." + index);
    ASSERT_EQ(static_cast<std::size_t>(got.inputs.images[i].numel()), reference.size());
    // Bilinear weights in float32, sums of four in another order: a few units in the last place of values up to 1, doubled.
    for (std::size_t k = 0; k < reference.size(); ++k) ASSERT_NEAR(got.inputs.images[i].data<float>()[k], reference[k], 4e-5) << i << " " << k;
  }
}

TEST_P(Lerobot, ActionsAreUnnormalisedAsRecorded) {
  const fs::path folder = golden(GetParam());
  Context ctx({.threads = 2, .isa = {}});
  Policy policy = Policy::load(ctx, folder);
  const auto file = io::SafetensorsFile::open(folder / "policy_io.safetensors");
  const io::Json info = io::Json::read(folder / "policy_io.json");
  const auto normalised = file->floats("out.actions_normalised");
  const std::int64_t dim = policy.action_dim();
  const std::int64_t chunk_size = policy.model().config().chunk;
  Tensor model = Tensor::zeros(Shape{chunk_size, policy.model().config().action_dim}, DType::f32);
  for (std::int64_t t = 0; t < chunk_size; ++t) std::copy_n(normalised.data() + t * dim, dim, model.data<float>() + t * model.cols());
  ActionChunk chunk;
  policy.finish(policy.prepare(ctx, recorded(*file, info.at("task").string())), model, chunk);
  const auto reference = file->doubles("out.actions");
  ASSERT_EQ(chunk.actions.size(), reference.size());
  for (std::size_t i = 0; i < reference.size(); ++i) EXPECT_NEAR(chunk.actions[i], reference[i], 1e-6 * (1 + std::fabs(reference[i]))) << i;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Lerobot, ::testing::Values("pi0/lerobot_pi0_a", "pi0/lerobot_pi05_a"));

/// The openpi fixture with statistics and a tokenizer, as a folder of its own.
class Openpi : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "tessera_openpi_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    fs::create_directories(folder_ / "assets" / "trossen");
    for (const char* f : {"model.safetensors", "config.json"}) fs::create_symlink(golden("pi0/openpi_pi0_a") / f, folder_ / f);
    fs::create_symlink(golden("policies/metaworld_pi0/tokenizer.model"), folder_ / "tokenizer.model");
    io::Json stats;
    for (const char* key : {"state", "actions"}) {
      io::Json::Array mean, std, q01, q99;
      for (int i = 0; i < 14; ++i) {
        mean.emplace_back(0.1 * i - 0.3);
        std.emplace_back(0.5 + 0.05 * i);
        q01.emplace_back(-1.0 - 0.1 * i);
        q99.emplace_back(1.0 + 0.2 * i);
      }
      io::Json one;
      one.set("mean", mean).set("std", std).set("q01", q01).set("q99", q99);
      stats.set(key, one);
    }
    io::Json root;
    root.set("norm_stats", stats);
    std::ofstream(folder_ / "assets" / "trossen" / "norm_stats.json") << root.dump();
  }
  void TearDown() override { fs::remove_all(folder_); }

  Observation aloha() const {
    Observation o;
    for (int i = 0; i < 14; ++i) o.state.push_back(0.05 * i - 0.2);
    o.state[6] = 0.4;
    o.state[13] = 0.9;
    Tensor image = Tensor::empty(Shape{480, 640, 3}, DType::u8);
    for (std::int64_t i = 0; i < image.numel(); ++i) image.data<std::uint8_t>()[i] = static_cast<std::uint8_t>((i / 3 % 640 + i / 1920) % 256);
    o.images["cam_high"] = image;
    o.prompt = " fold_the towel\n";
    return o;
  }

  fs::path folder_;
};

// openpi's ALOHA conventions written out: signs per joint, the gripper's linear opening as the angle of its motor.
double aloha_joint(double v, int i) {
  const int j = i % 7;
  if (j == 6) {
    const double y = v * (0.05800 - 0.01844) + 0.01844;
    const double s = (0.022 * 0.022 + y * y - 0.036 * 0.036) / (2 * 0.022 * y);
    return (std::asin(std::min(1.0, std::max(-1.0, s))) - 0.5476) / (1.6296 - 0.5476);
  }
  return j == 1 || j == 2 ? -v : v;
}

TEST_F(Openpi, AlohaStateIsAdaptedAndNormalised) {
  Context ctx({.threads = 1, .isa = {}});
  const Policy policy = Policy::load(ctx, folder_, for_robot("pi0_aloha"));
  const Observation o = aloha();
  const PreparedObservation p = policy.prepare(ctx, o);
  for (int i = 0; i < 14; ++i) {
    const double adapted = aloha_joint(o.state[static_cast<std::size_t>(i)], i);
    EXPECT_NEAR(p.normalised_state[static_cast<std::size_t>(i)], (adapted - (0.1 * i - 0.3)) / (0.5 + 0.05 * i + 1e-6), 1e-12) << i;
  }
  EXPECT_EQ(p.prompt, "fold the towel");
  ASSERT_EQ(p.inputs.images.size(), 3u);
  EXPECT_TRUE(p.inputs.images[0].defined());
  EXPECT_FALSE(p.inputs.images[1].defined());
  EXPECT_EQ(p.inputs.images[0].shape(), (Shape{3, 56, 56}));
  // 480 x 640 letterboxed into 56 x 56: 42 rows of picture, 7 of padding above, which is -1.
  EXPECT_EQ(p.inputs.images[0].data<float>()[0], -1.0f);
  EXPECT_EQ(p.inputs.images[0].data<float>()[6 * 56], -1.0f);
  EXPECT_NE(p.inputs.images[0].data<float>()[20 * 56 + 20], -1.0f);
}

TEST_F(Openpi, AlohaActionsComeBackInTheRobotsUnits) {
  Context ctx({.threads = 1, .isa = {}});
  const Policy policy = Policy::load(ctx, folder_, for_robot("pi0_aloha"));
  const Observation o = aloha();
  Tensor model = Tensor::empty(Shape{7, 32}, DType::f32);
  for (std::int64_t i = 0; i < model.numel(); ++i) model.data<float>()[i] = std::sin(0.7f * static_cast<float>(i));
  ActionChunk chunk;
  policy.finish(policy.prepare(ctx, o), model, chunk);
  ASSERT_EQ(chunk.dim, 14);
  for (std::int64_t t = 0; t < 7; ++t) {
    for (int d = 0; d < 14; ++d) {
      double a = static_cast<double>(model.data<float>()[t * 32 + d]) * (0.5 + 0.05 * d + 1e-6) + (0.1 * d - 0.3);
      if (d % 7 != 6) a += aloha_joint(o.state[static_cast<std::size_t>(d)], d);  // joints are relative, grippers absolute
      if (d % 7 == 1 || d % 7 == 2) a = -a;
      if (d % 7 == 6) a = (a + 0.5476 - -0.6213) / (1.4910 - -0.6213);
      EXPECT_NEAR(chunk.actions[static_cast<std::size_t>(t * 14 + d)], a, 1e-9) << t << " " << d;
    }
  }
}

TEST_F(Openpi, ActIsDeterministicAndReusesThePrefix) {
  Context ctx({.threads = 2, .isa = {}});
  Policy policy = Policy::load(ctx, folder_, for_robot("pi0_aloha"));
  ActOptions options;
  options.seed = 3;
  options.reuse_prefix = true;
  EXPECT_THROW(policy.act(ctx, aloha(), options), Error);  // nothing to reuse yet
  options.reuse_prefix = false;
  const ActionChunk first = policy.act(ctx, aloha(), options);
  EXPECT_EQ(policy.act(ctx, aloha(), options).actions, first.actions);
  options.reuse_prefix = true;
  EXPECT_EQ(policy.act(ctx, aloha(), options).actions, first.actions);
  options.reuse_prefix = false;
  options.seed = 4;
  EXPECT_NE(policy.act(ctx, aloha(), options).actions, first.actions);
}

TEST_F(Openpi, RefusesWhatDoesNotFit) {
  Context ctx({.threads = 1, .isa = {}});
  const auto load = [&](const std::string& robot) { return Policy::load(ctx, folder_, for_robot(robot)); };
  EXPECT_THROW(load("pi05_aloha"), Error);  // a pi0 checkpoint
  EXPECT_THROW(load("pi0_droid"), Error);   // no statistics of that robot
  EXPECT_THROW(load("r2d2"), Error);
  const Policy policy = load("pi0_aloha");
  Observation o = aloha();
  o.images.clear();
  EXPECT_THROW(policy.prepare(ctx, o), Error);
  o = aloha();
  o.images["cam_left_wrist"] = o.images["cam_high"];
  o.images.erase("cam_high");
  EXPECT_THROW(policy.prepare(ctx, o), Error);  // the base camera is required
  o = aloha();
  o.state.pop_back();
  EXPECT_THROW(policy.prepare(ctx, o), Error);
}

TEST(Robots, ReleasedConfigsAreThere) {
  const std::vector<std::string> names = robot_presets();
  for (const char* name :
       {"pi0_aloha", "pi0_aloha_towel", "pi0_aloha_tupperware", "pi0_aloha_pen_uncap", "pi05_aloha", "pi05_aloha_pen_uncap", "pi0_aloha_sim",
        "pi0_droid", "pi05_droid", "pi05_droid_finetune", "pi05_full_droid_finetune", "pi05_droid_jointpos_polaris", "pi0_libero", "pi05_libero"})
    EXPECT_NE(std::ranges::find(names, name), names.end()) << name;
}

}  // namespace
}  // namespace tessera::models
