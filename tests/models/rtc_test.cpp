// Real-time chunking: weights and guidance against formulas written out in double, and both modes inside the model.
#include "tessera/models/pi0/rtc.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tests/models/small_model.h"
#include "tests/reference/pi0.h"

namespace tessera::models {
namespace {

using reference::Matrix;

/// LeRobot's get_prefix_weights, built as it builds them: a line without its ends, ones before, zeros after.
std::vector<double> slow_weights(RtcSchedule schedule, int delay, int horizon, int chunk) {
  const int start = std::min(delay, horizon);
  std::vector<double> w;
  if (schedule == RtcSchedule::ones || schedule == RtcSchedule::zeros) {
    for (int i = 0; i < chunk; ++i) w.push_back(i < (schedule == RtcSchedule::ones ? horizon : start) ? 1 : 0);
    return w;
  }
  w.assign(static_cast<std::size_t>(start), 1.0);
  const int points = horizon - start + 2;
  for (int i = 1; i + 1 < points; ++i) {
    double u = 1.0 - static_cast<double>(i) / (points - 1);
    if (schedule == RtcSchedule::exp) u = u * (std::exp(u) - 1) / (std::exp(1.0) - 1);
    w.push_back(u);
  }
  w.resize(static_cast<std::size_t>(chunk), 0.0);
  return w;
}

double slow_guidance(double t, double most) {
  const double tau = 1 - t;
  if (tau == 0) return most;
  return std::min(most, (1 - tau) / tau * ((1 - tau) * (1 - tau) + tau * tau) / ((1 - tau) * (1 - tau)));
}

TEST(Rtc, WeightsOfEverySchedule) {
  for (const RtcSchedule schedule : {RtcSchedule::linear, RtcSchedule::exp, RtcSchedule::ones, RtcSchedule::zeros})
    for (const int delay : {0, 1, 3, 6, 9})
      for (const int horizon : {1, 4, 6, 10}) {
        const std::vector<double> expected = slow_weights(schedule, delay, horizon, 10);
        const std::vector<float> got = rtc_weights(schedule, delay, horizon, 10);
        ASSERT_EQ(got.size(), 10u);
        for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-7) << static_cast<int>(schedule) << delay << horizon << i;
      }
  // A horizon beyond the chunk is the chunk.
  EXPECT_EQ(rtc_weights(RtcSchedule::linear, 2, 50, 6), rtc_weights(RtcSchedule::linear, 2, 6, 6));
  // Four of ten, no delay: the points of a line from 1 to 0 in five parts.
  EXPECT_FLOAT_EQ(rtc_weights(RtcSchedule::linear, 0, 4, 10)[0], 0.8f);
  EXPECT_FLOAT_EQ(rtc_weights(RtcSchedule::linear, 0, 4, 10)[3], 0.2f);
}

TEST(Rtc, GuidanceIsCappedAndFallsTowardsTheEnd) {
  EXPECT_EQ(rtc_guidance(1.0f, 10.0f), 10.0f);  // infinite
  EXPECT_EQ(rtc_guidance(1.0f, 3.0f), 3.0f);
  for (const float t : {0.95f, 0.9f, 0.7f, 0.5f, 0.3f, 0.1f})
    EXPECT_NEAR(rtc_guidance(t, 10.0f), slow_guidance(static_cast<double>(t), 10), 2e-5) << t;
}

struct Traced {
  std::map<std::string, Matrix, std::less<>> stages;
  Matrix actions;
};

Traced traced(Context& ctx, const Pi0& model, const Pi0Inputs& in, const Tensor& noise, const SampleOptions& options) {
  Traced t;
  const Tensor actions = sample(ctx, model, in, noise, options,
                                [&](std::string_view stage, const Tensor& x) { t.stages[std::string(stage)] = reference::to_matrix(x); });
  t.actions = reference::to_matrix(actions);
  return t;
}

void expect_near(const Matrix& got, const Matrix& expected, double limit, const std::string& what) {
  ASSERT_EQ(got.v.size(), expected.v.size()) << what;
  for (std::size_t i = 0; i < got.v.size(); ++i) ASSERT_NEAR(got.v[i], expected.v[i], limit) << what << " " << i;
}

class RtcModel : public testing::TestWithParam<bool> {
 protected:
  Pi0Config config = small_config(GetParam());
  std::shared_ptr<const WeightSource> source = random_weights(config, 21, DType::f32);
  Context ctx{{.threads = 2, .isa = ""}};
  Pi0 model = Pi0::load(ctx, source, config, Precision::f32);
  Pi0Inputs in = small_inputs(config);
  Tensor noise = make_noise(config, 1);
  Tensor previous = make_noise(config, 2).narrow(0, 5).columns(0, 4);  // 5 of 7 rows, 4 of 6 dimensions: the rest is pulled to zero
};
INSTANTIATE_TEST_SUITE_P(Families, RtcModel, testing::Bool(), [](const auto& info) { return info.param ? "pi05" : "pi0"; });

TEST_P(RtcModel, GuidedStepsFollowTheFormula) {
  SampleOptions options;
  options.steps = 5;
  RealTimeChunking rtc;
  rtc.previous = previous;
  rtc.inference_delay = 2;
  rtc.execution_horizon = 10;  // cut to the 5 rows of the tail
  rtc.max_guidance_weight = 4;
  options.rtc = rtc;
  const Traced t = traced(ctx, model, in, noise, options);
  const std::vector<double> w = slow_weights(rtc.schedule, 2, 5, 7);
  const std::vector<float> times = time_schedule(config.schedule, 5);
  for (std::size_t step = 0; step < 5; ++step) {
    const Matrix& x = t.stages.at("x_t." + std::to_string(step));
    Matrix v = t.stages.at("v_t." + std::to_string(step));
    const double time = static_cast<double>(times[step]);
    const Matrix& next = step == 4 ? t.actions : t.stages.at("x_t." + std::to_string(step + 1));
    Matrix expected = x;
    for (std::int64_t r = 0; r < x.rows; ++r)
      for (std::int64_t c = 0; c < x.cols; ++c) {
        const double p = r < 5 && c < 4 ? static_cast<double>(previous.data<float>()[r * previous.row_stride() + c]) : 0.0;
        const double pull = (p - (x.at(r, c) - time * v.at(r, c))) * w[static_cast<std::size_t>(r)];
        expected.at(r, c) -= (v.at(r, c) - slow_guidance(time, 4) * pull) / 5;
      }
    expect_near(next, expected, 2e-5, "step " + std::to_string(step));  // a few f32 roundings of values below 30
  }
  const Traced plain = traced(ctx, model, in, noise, {.steps = 5, .schedule = {}, .rtc = {}});
  double pulled = 0, free = 0;
  for (std::int64_t c = 0; c < 4; ++c) {
    const double p = static_cast<double>(previous.data<float>()[c]);
    pulled += std::abs(t.actions.at(0, c) - p);
    free += std::abs(plain.actions.at(0, c) - p);
  }
  EXPECT_LT(pulled, free);
}

TEST_P(RtcModel, WithoutATailOrWithZeroWeightsNothingChanges) {
  const Tensor plain = sample(ctx, model, in, noise);
  SampleOptions options;
  options.rtc.emplace();
  Tensor same = sample(ctx, model, in, noise, options);
  EXPECT_EQ(std::memcmp(plain.raw(), same.raw(), plain.bytes()), 0);
  options.rtc->previous = previous;
  options.rtc->max_guidance_weight = 0;
  same = sample(ctx, model, in, noise, options);
  EXPECT_EQ(std::memcmp(plain.raw(), same.raw(), plain.bytes()), 0);
}

TEST_P(RtcModel, TrainedModeHoldsTheFirstActionsAtTimeZero) {
  SampleOptions options;
  options.rtc.emplace();
  options.rtc->mode = RtcMode::trained;
  options.rtc->previous = previous;
  options.rtc->inference_delay = 3;
  if (!config.pi05) {
    EXPECT_THROW(sample(ctx, model, in, noise, options), Error);
    return;
  }
  const Traced t = traced(ctx, model, in, noise, options);
  const reference::Pi0 slow(*source, config);
  const reference::Pi0::Cache cache = slow.prefix(in);
  const std::vector<float> times = time_schedule(config.schedule, config.num_steps);
  for (std::size_t step = 0; step < times.size(); ++step) {
    const std::string index = std::to_string(step);
    const Matrix& x = t.stages.at("x_t." + index);
    std::vector<double> per_token(7, static_cast<double>(times[step]));
    for (std::int64_t r = 0; r < 3; ++r) {
      per_token[static_cast<std::size_t>(r)] = 0;
      for (std::int64_t c = 0; c < 6; ++c) EXPECT_EQ(x.at(r, c), c < 4 ? static_cast<double>(previous.data<float>()[r * 6 + c]) : 0.0);
    }
    expect_near(t.stages.at("v_t." + index), slow.velocity(cache, in.state, x, per_token), 1e-4, "v_t " + index);
  }
  for (std::int64_t r = 0; r < 3; ++r)
    for (std::int64_t c = 0; c < 4; ++c) EXPECT_EQ(t.actions.at(r, c), static_cast<double>(previous.data<float>()[r * 6 + c]));
  // A delay of 0 is a plain chunk.
  options.rtc->inference_delay = 0;
  const Tensor plain = sample(ctx, model, in, noise);
  const Tensor same = sample(ctx, model, in, noise, options);
  EXPECT_EQ(std::memcmp(plain.raw(), same.raw(), plain.bytes()), 0);
}

TEST_P(RtcModel, WrongNumbersAreRefused) {
  const auto refused = [&](auto&& change) {
    SampleOptions options;
    options.rtc.emplace();
    options.rtc->previous = previous;
    change(*options.rtc);
    EXPECT_THROW(sample(ctx, model, in, noise, options), Error);
  };
  refused([](RealTimeChunking& r) { r.inference_delay = -1; });
  refused([](RealTimeChunking& r) { r.execution_horizon = -1; });
  refused([](RealTimeChunking& r) { r.max_guidance_weight = std::numeric_limits<float>::quiet_NaN(); });
  refused([](RealTimeChunking& r) { r.previous = Tensor::zeros({8, 6}, DType::f32); });
  refused([](RealTimeChunking& r) { r.previous = Tensor::zeros({3, 7}, DType::f32); });
  refused([](RealTimeChunking& r) { r.previous = Tensor::zeros({3, 6}, DType::bf16); });
  EXPECT_THROW(rtc_weights(RtcSchedule::linear, 0, 1, 0), Error);
}

}  // namespace
}  // namespace tessera::models
