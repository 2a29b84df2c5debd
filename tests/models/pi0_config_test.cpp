// Sizes that are refused, times of the Euler steps, and the list of tensors against the released models' counts.
#include "tessera/models/pi0/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

Pi0Config released(bool pi05) {
  Pi0Config config;
  config.pi05 = pi05;
  return config;
}

TEST(Pi0ConfigCheck, ReleasedSizesPass) {
  EXPECT_NO_THROW(released(false).check("config"));
  EXPECT_NO_THROW(released(true).check("config"));
}

TEST(Pi0ConfigCheck, NamesTheSizeThatIsWrong) {
  const struct {
    const char* key;
    std::function<void(Pi0Config&)> change;
  } cases[] = {
      {"vision.hidden", [](Pi0Config& c) { c.vision.hidden = 0; }},
      {"vision.hidden", [](Pi0Config& c) { c.vision.hidden = 1150; }},
      {"vision.layers", [](Pi0Config& c) { c.vision.layers = -3; }},
      {"vision.heads", [](Pi0Config& c) { c.vision.heads = 0; }},
      {"vision.mlp", [](Pi0Config& c) { c.vision.mlp = std::int64_t{1} << 40; }},
      {"vision.image", [](Pi0Config& c) { c.vision.image = 225; }},
      {"vision.image", [](Pi0Config& c) { c.vision.image = 20000; }},
      {"vision.patch", [](Pi0Config& c) { c.vision.patch = 0; }},
      {"vision.positions", [](Pi0Config& c) { c.vision.positions = 250; }},
      {"vision.ln_eps", [](Pi0Config& c) { c.vision.ln_eps = 0; }},
      {"vlm.width", [](Pi0Config& c) { c.vlm.width = 0; }},
      {"vlm.depth", [](Pi0Config& c) { c.vlm.depth = 1 << 20; }},
      {"vlm.mlp", [](Pi0Config& c) { c.vlm.mlp = -1; }},
      {"vlm.kv_heads", [](Pi0Config& c) { c.vlm.kv_heads = 3; }},
      {"vlm.head_dim", [](Pi0Config& c) { c.vlm.head_dim = 255; }},
      {"expert.width", [](Pi0Config& c) { c.expert.width = 1023; }},
      {"expert.width", [](Pi0Config& c) { c.expert.width = 2; }},
      {"expert.depth", [](Pi0Config& c) { c.expert.depth = 17; }},
      {"expert.heads", [](Pi0Config& c) { c.expert.heads = 4; }},
      {"expert.kv_heads", [](Pi0Config& c) { c.expert.kv_heads = 2; }},
      {"expert.head_dim", [](Pi0Config& c) { c.expert.head_dim = 128; }},
      {"vocab", [](Pi0Config& c) { c.vocab = 0; }},
      {"state_dim", [](Pi0Config& c) { c.state_dim = -1; }},
      {"action_dim", [](Pi0Config& c) { c.action_dim = 0; }},
      {"chunk", [](Pi0Config& c) { c.chunk = 1 << 30; }},
      {"num_steps", [](Pi0Config& c) { c.num_steps = 0; }},
      {"max_prompt_tokens", [](Pi0Config& c) { c.max_prompt_tokens = 0; }},
      {"min_period", [](Pi0Config& c) { c.min_period = 0; }},
      {"max_period", [](Pi0Config& c) { c.max_period = std::numeric_limits<double>::infinity(); }},
      {"rope_theta", [](Pi0Config& c) { c.rope_theta = -1; }},
      {"rms_eps", [](Pi0Config& c) { c.rms_eps = std::numeric_limits<float>::quiet_NaN(); }},
  };
  for (const auto& [key, change] : cases) {
    Pi0Config config = released(false);
    change(config);
    try {
      config.check("config.json");
      ADD_FAILURE() << key << " passed";
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind("[config.json] expected ", 0), 0u) << message;
      EXPECT_NE(message.find(key), std::string::npos) << message;
    }
  }
}

TEST(TimeSchedule, AccumulatedAsOpenpi) {
  const float expected[] = {1.0f,         0.899999976f, 0.799999952f, 0.699999928f, 0.599999905f,
                            0.499999911f, 0.399999917f, 0.299999923f, 0.199999928f, 0.099999927f};
  const std::vector<float> times = time_schedule(TimeSchedule::accumulated, 10);
  ASSERT_EQ(times.size(), 10u);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(times[i], expected[i]) << i;
}

TEST(TimeSchedule, ExactIsRoundedOnce) {
  const std::vector<float> times = time_schedule(TimeSchedule::exact, 10);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(times[i], static_cast<float>(1.0 + static_cast<double>(i) * -0.1)) << i;
  EXPECT_EQ(time_schedule(TimeSchedule::exact, 1), std::vector<float>{1.0f});
  EXPECT_THROW(time_schedule(TimeSchedule::exact, 0), Error);
  EXPECT_THROW(time_schedule(TimeSchedule::exact, 1001), Error);
}

TEST(RequiredTensors, CountsAndSumsOfTheReleasedModels) {
  // The files hold 777 and 812 tensors (the token table stored once). Not read: the expert's lm_head, the VLM's last norm, and six of its
  // last layer.
  EXPECT_EQ(required_tensors(released(false)).size(), 777u - 8);
  EXPECT_EQ(required_tensors(released(true)).size(), 812u - 8);
  for (const bool pi05 : {false, true}) {
    std::int64_t sum = 0;
    std::set<std::string> names;
    for (const TensorSpec& spec : required_tensors(released(pi05))) {
      sum += spec.shape.numel();
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    }
    // In the file, less the expert's lm_head and what the last VLM layer does not need.
    const std::int64_t layer = 2 * 2048 * 2048 + 3 * 2048 * 16384 + 2048;
    EXPECT_EQ(sum, (pi05 ? 3616757520 : 3501372176) - 263323648 - layer - 2048);
    for (const std::string& name : unread_tensors(released(pi05))) EXPECT_FALSE(names.contains(name)) << name;
  }
  EXPECT_EQ(unread_tensors(released(false)).size(), 9u);
}

}  // namespace
}  // namespace tessera::models
