// Everything of the Euler steps that depends on t alone, computed once per schedule: pi0's time half of the action-time MLP, pi0.5's
// condition and all modulations of the expert's norms. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <span>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/blocks/gemma.h"
#include "tessera/models/pi0/config.h"
#include "tessera/models/weights.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// [sin(2 pi t / period_i), cos(..)], i in [0, width/2), periods geometric from min_period to max_period; in double, rounded once.
void time_embedding(const Pi0Config& config, float t, std::span<float> embedding);

struct TimeMlp {
  ops::PreparedLinear in;   // pi0: the time half of action_time_mlp_in, action_in_proj's bias folded in; pi0.5: time_mlp_in
  ops::PreparedLinear out;  // pi0.5: time_mlp_out
};

struct Conditioning {
  int steps = 0;
  TimeSchedule schedule = TimeSchedule::exact;
  std::vector<float> times;
  Tensor action_bias;  // pi0: f32 [steps, width], what action_in's product is added to
  Tensor cond;         // pi0.5: f32 [steps + 1, width]; the last row is t = 0 (actions that trained real-time chunking holds fixed)
  Tensor modulations;  // pi0.5: f32 [norms, steps + 1, 3 width]

  std::int64_t zero_row() const noexcept { return steps; }
  /// Of one norm (2 l and 2 l + 1: layer l's; 2 depth: the last) at one row of times; all undefined for pi0.
  Modulation modulation(std::int64_t norm, std::int64_t row) const;
  std::size_t bytes() const noexcept;
};

/// Reads the norms' dense weights from the source (pi0.5) and lets them go again.
Conditioning make_conditioning(Context& ctx, const Pi0Config& config, const TimeMlp& mlp, const WeightSource& source, int steps,
                               TimeSchedule schedule, const Progress& progress);

}  // namespace tessera::models
