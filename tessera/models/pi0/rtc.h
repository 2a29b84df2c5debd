// Real-time chunking inside the Euler loop: weights, guidance and clamping. Private to models (not installed).
// Test: tests/models/rtc_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/models/pi0/pi0.h"

namespace tessera::models {

/// As the public rtc_weights(), into memory of the caller (one weight per action of the chunk).
void rtc_weights(RtcSchedule schedule, int inference_delay, int execution_horizon, std::span<float> weights);

/// Strength of the pull at time t: min((1 - tau) / tau * ((1 - tau)^2 + tau^2) / (1 - tau)^2, most), tau = 1 - t; `most` where it is infinite.
float rtc_guidance(float t, float most);

/// Throws Error unless the tail fits the model: [1 .. chunk, 1 .. action_dim] f32, sensible numbers, trained mode only where `pi05`.
void check(const RealTimeChunking& rtc, const Pi0Config& config);

/// v -= guidance * (previous - (x - t v)) * weight of the row. The Jacobian of the estimate is left out, as LeRobot does.
/// x, v, previous: f32 [chunk, action_dim].
void rtc_guide(const Tensor& x, const Tensor& previous, std::span<const float> weights, float t, float guidance, Tensor& v);

}  // namespace tessera::models
