// The sizes and constants of one pi0 or pi0.5 model. A value; nothing here is tied to the released sizes.
// Test: tests/models/pi0_config_test.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/shape.h"

namespace tessera::models {

struct VisionConfig {  // SigLIP
  std::int64_t hidden = 1152;
  std::int64_t layers = 27;
  std::int64_t heads = 16;
  std::int64_t mlp = 4304;
  std::int64_t image = 224;  // pixels per side that the picture is brought to
  std::int64_t patch = 14;
  std::int64_t positions = 256;  // rows of the stored position table; interpolated when the picture has another patch count
  float ln_eps = 1e-6f;
  std::int64_t patches() const noexcept { return (image / patch) * (image / patch); }
  friend bool operator==(const VisionConfig&, const VisionConfig&) = default;
};

struct GemmaConfig {
  std::int64_t width = 2048;
  std::int64_t depth = 18;
  std::int64_t mlp = 16384;
  std::int64_t heads = 8;
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 256;
  friend bool operator==(const GemmaConfig&, const GemmaConfig&) = default;
};

/// Which t the Euler steps see: openpi adds dt in float32, LeRobot (since 0.4.3) forms 1 + i dt in double and rounds once.
enum class TimeSchedule : std::uint8_t { accumulated, exact };
std::string_view name(TimeSchedule schedule);

struct Pi0Config {
  bool pi05 = false;
  VisionConfig vision;
  GemmaConfig vlm;
  GemmaConfig expert{1024, 18, 4096, 8, 1, 256};
  std::int64_t vocab = 257152;
  std::int64_t state_dim = 32;   // padded
  std::int64_t action_dim = 32;  // padded
  std::int64_t chunk = 50;       // actions per chunk (horizon)
  int num_steps = 10;            // Euler steps by default
  std::int64_t max_prompt_tokens = 48;
  // Doubles: the shortest period multiplies t by 2 pi 250, and a float's rounding of it would show in the time embedding.
  double min_period = 4e-3;
  double max_period = 4.0;
  float rope_theta = 10000.0f;
  float rms_eps = 1e-6f;
  TimeSchedule schedule = TimeSchedule::exact;
  /// Prompt embeddings are table row * sqrt(width). openpi's torch code multiplies by the f32 number; LeRobot (transformers >= 5.4) and JAX
  /// round it to the table's dtype first (45.25 instead of 45.2548 for a bf16 table).
  bool embed_scale_in_table_dtype = false;

  /// Throws Error naming the first size that is wrong: zero, negative or huge sizes, heads that do not divide, an odd head_dim, expert heads
  /// that differ from the VLM's, a picture that is not a multiple of the patch.
  void check(std::string_view where) const;
  friend bool operator==(const Pi0Config&, const Pi0Config&) = default;
};

/// t of every Euler step, from 1 towards 0. Throws Error unless 1 <= steps <= 1000.
std::vector<float> time_schedule(TimeSchedule schedule, int steps);

struct TensorSpec {
  std::string name;  // canonical
  Shape shape;
};
/// Every tensor that a model of these sizes reads, in order of use. The two lm_head tensors are not among them.
std::vector<TensorSpec> required_tensors(const Pi0Config& config);
/// Canonical names that a whole checkpoint of these sizes holds and that inference never reads: the lm_heads, the VLM's final norm, and all
/// of its last layer but what makes keys and values. Known, so not to be reported as unused.
std::vector<std::string> unread_tensors(const Pi0Config& config);

}  // namespace tessera::models
