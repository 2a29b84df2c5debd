#include "tessera/models/pi0/rtc.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "tessera/core/error.h"

namespace tessera::models {

void rtc_weights(RtcSchedule schedule, int inference_delay, int execution_horizon, std::span<float> weights) {
  const auto chunk = static_cast<std::int64_t>(weights.size());
  const std::int64_t end = std::clamp<std::int64_t>(execution_horizon, 0, chunk);
  const std::int64_t start = std::clamp<std::int64_t>(inference_delay, 0, end);
  const double e = std::exp(1.0);
  for (std::int64_t i = 0; i < chunk; ++i) {
    double weight = 0;
    if (i < start || (schedule == RtcSchedule::ones && i < end)) {
      weight = 1;
    } else if (i < end && (schedule == RtcSchedule::linear || schedule == RtcSchedule::exp)) {
      // Interior points of a straight line from 1 to 0 with end - start + 2 points.
      weight = 1.0 - static_cast<double>(i - start + 1) / static_cast<double>(end - start + 1);
      if (schedule == RtcSchedule::exp) weight *= std::expm1(weight) / (e - 1.0);
    }
    weights[static_cast<std::size_t>(i)] = static_cast<float>(weight);
  }
}

std::vector<float> rtc_weights(RtcSchedule schedule, int inference_delay, int execution_horizon, std::int64_t chunk) {
  if (chunk < 1) fail_expected("rtc_weights", "a chunk of 1 or more actions", std::to_string(chunk));
  std::vector<float> weights(static_cast<std::size_t>(chunk));
  rtc_weights(schedule, inference_delay, execution_horizon, weights);
  return weights;
}

float rtc_guidance(float t, float most) {
  const float tau = 1.0f - t;
  const float rest = (1.0f - tau) * (1.0f - tau);
  float c = (1.0f - tau) / tau;
  if (std::isinf(c)) c = most;
  float guidance = c * ((rest + tau * tau) / rest);
  if (std::isinf(guidance)) guidance = most;
  return std::min(guidance, most);
}

void check(const RealTimeChunking& rtc, const Pi0Config& config) {
  const std::string_view where = "real-time chunking";
  if (rtc.inference_delay < 0) fail_expected(where, "an inference delay of 0 or more actions", std::to_string(rtc.inference_delay));
  if (rtc.execution_horizon < 0) fail_expected(where, "an execution horizon of 0 or more actions", std::to_string(rtc.execution_horizon));
  if (!std::isfinite(rtc.max_guidance_weight) || rtc.max_guidance_weight < 0)
    fail_expected(where, "a finite guidance weight of 0 or more", std::to_string(rtc.max_guidance_weight));
  if (rtc.mode == RtcMode::trained && !config.pi05) fail_expected(where, "a pi0.5 model for the trained mode", "pi0", "use the guided mode");
  if (!rtc.previous.defined()) return;
  const Tensor& p = rtc.previous;
  if (p.dtype() != DType::f32 || p.shape().rank() != 2 || p.layout() != Layout::row_major || p.rows() > config.chunk || p.cols() < 1 ||
      p.cols() > config.action_dim)
    fail_expected(
        where,
        "the previous chunk's tail as float32 [at most " + std::to_string(config.chunk) + ", at most " + std::to_string(config.action_dim) + "]",
        p.str());
}

void rtc_guide(const Tensor& x, const Tensor& previous, std::span<const float> weights, float t, float guidance, Tensor& v) {
  const std::int64_t cols = x.cols();
  for (std::int64_t r = 0; r < x.rows(); ++r) {
    const float* x_row = x.data<float>() + r * cols;
    const float* p_row = previous.data<float>() + r * cols;
    float* v_row = v.data<float>() + r * cols;
    for (std::int64_t c = 0; c < cols; ++c) {
      const float estimate = x_row[c] - t * v_row[c];
      const float correction = (p_row[c] - estimate) * weights[static_cast<std::size_t>(r)];
      v_row[c] = v_row[c] - guidance * correction;
    }
  }
}

}  // namespace tessera::models
