#include "tessera/models/policy/robots.h"

#include <array>
#include <string>

#include "tessera/core/error.h"
#include "tessera/models/policy/policy.h"

namespace tessera::models {
namespace {

constexpr std::string_view kAlohaDelta = "ddddddadddddda";
constexpr std::string_view kDroidDelta = "ddddddda";
constexpr std::string_view kLiberoDelta = "dddddda";
constexpr std::string_view kLibero = "physical-intelligence/libero";

using enum RobotKind;
constexpr std::array kRobots = {
    RobotPreset{"pi0_aloha", false, aloha, 50, 48, false, true, kAlohaDelta, "trossen", ""},
    RobotPreset{"pi0_aloha_towel", false, aloha, 50, 48, false, true, kAlohaDelta, "trossen", "fold the towel"},
    RobotPreset{"pi0_aloha_tupperware", false, aloha, 50, 48, false, true, kAlohaDelta, "trossen",
                "open the tupperware and put the food on the plate"},
    RobotPreset{"pi0_aloha_pen_uncap", false, aloha, 50, 48, false, true, kAlohaDelta, "trossen", "uncap the pen"},
    RobotPreset{"pi05_aloha", true, aloha, 50, 200, true, true, kAlohaDelta, "trossen", ""},
    RobotPreset{"pi05_aloha_pen_uncap", true, aloha, 50, 200, true, true, kAlohaDelta, "trossen", "uncap the pen"},
    RobotPreset{"pi0_aloha_sim", false, aloha, 50, 48, false, true, "", "lerobot/aloha_sim_transfer_cube_human", "Transfer cube"},
    RobotPreset{"pi0_droid", false, droid, 10, 48, false, false, "", "droid", ""},
    RobotPreset{"pi05_droid", true, droid, 15, 200, true, false, "", "droid", ""},
    RobotPreset{"pi05_droid_finetune", true, droid, 16, 200, true, false, "", "droid", ""},
    RobotPreset{"pi05_full_droid_finetune", true, droid, 16, 200, true, false, kDroidDelta, "droid", ""},
    RobotPreset{"pi05_droid_jointpos_polaris", true, droid, 15, 200, true, false, kDroidDelta, "droid", ""},
    RobotPreset{"pi0_libero", false, libero, 50, 48, false, false, kLiberoDelta, kLibero, ""},
    RobotPreset{"pi05_libero", true, libero, 10, 200, false, false, "", kLibero, ""},
};

}  // namespace

std::span<const RobotPreset> robots() { return kRobots; }

const RobotPreset& find_robot(std::string_view name) {
  std::string names;
  for (const RobotPreset& robot : kRobots) {
    if (robot.name == name) return robot;
    names.append(names.empty() ? "" : ", ").append(robot.name);
  }
  fail_expected("robot", "one of " + names, std::string("'").append(name).append("'"));
}

std::vector<std::string> robot_presets() {
  std::vector<std::string> names;
  for (const RobotPreset& robot : kRobots) names.emplace_back(robot.name);
  return names;
}

}  // namespace tessera::models
