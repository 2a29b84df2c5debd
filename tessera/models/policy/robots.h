// openpi's released robot configurations as data: what its Python configs say and its checkpoints do not. Private to models/policy (not installed).
// Test: tests/models/policy_test.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tessera::models {

enum class RobotKind : std::uint8_t { aloha, droid, libero };

struct RobotPreset {
  std::string_view name;
  bool pi05;
  RobotKind kind;
  std::int64_t chunk;
  std::int64_t max_prompt_tokens;
  bool state_in_prompt;
  bool adapt_to_pi;        // ALOHA's joint conventions
  std::string_view delta;  // one character per action dimension: 'd' relative to the state, 'a' absolute; empty: none
  std::string_view asset;  // folder below assets/ with norm_stats.json
  std::string_view default_prompt;
};

std::span<const RobotPreset> robots();
/// Throws Error that lists the names.
const RobotPreset& find_robot(std::string_view name);

}  // namespace tessera::models
