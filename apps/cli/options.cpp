#include "apps/cli/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "tessera/core/error.h"
#include "tessera/device/cpu.h"

namespace tessera::cli {

void ContextFlags::add(CLI::App& command) {
  command.add_option("--threads", threads, "Threads (default: one per core, or TESSERA_THREADS)")->check(CLI::Range(1, 1024))->group("Machine");
  command.add_option("--isa", isa, "Highest instruction set to use (see tessera info)")->group("Machine")->check([](const std::string& word) {
    return device::parse_isa(word) ? std::string() : fmt::format("expected an instruction set that tessera info lists, got '{}'", word);
  });
}

void CheckpointFlags::add(CLI::App& command, bool one_precision, bool packed) {
  if (one_precision)
    command.add_option("--precision", precision, "f32, bf16 or int8 (default: what the checkpoint's config names)")
        ->check(CLI::IsMember({"f32", "bf16", "int8"}))
        ->group("Checkpoint");
  command.add_option("--robot", robot, "openpi robot preset, e.g. pi0_aloha, pi05_droid, pi05_libero")
      ->group("Checkpoint")
      ->check(CLI::IsMember(models::robot_presets()));
  command.add_option("--tokenizer", tokenizer, "tokenizer.model or tokenizer.json (default: searched in and beside the checkpoint)")
      ->group("Checkpoint");
  command.add_option("--norm-stats", norm_stats, "openpi's norm_stats.json (default: assets/<id>/norm_stats.json)")->group("Checkpoint");
  command.add_option("--time-schedule", schedule, "accumulated (openpi) or exact (LeRobot); default: by the checkpoint's family")
      ->check(CLI::IsMember({"accumulated", "exact"}))
      ->group("Checkpoint");
  command.add_flag("--allow-nonfinite", allow_nonfinite, "Accept NaN and infinities in weights, state and statistics")->group("Checkpoint");
  command.add_flag("--any-prompt", any_prompt, "Take an empty prompt, and cut one that is too long, as the references do")->group("Checkpoint");
  command.add_flag("--padded-state-prompt", padded_state_prompt, "pi0.5 trained with LeRobot 0.4: state in the prompt is zero-padded")
      ->group("Checkpoint");
  command.add_flag("--legacy-resize", legacy_resize, "LeRobot 0.3 and older: letterbox padding left and top")->group("Checkpoint");
  if (packed) command.add_flag("--skip-checksums", skip_checksums, "Packed files: do not look for damage in the weights")->group("Checkpoint");
}

std::string recordings_of(const std::string& checkpoint) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(checkpoint, ignored))
    fail_expected(checkpoint, "a recording", "none, and a packed file carries none", "give one after it");
  return checkpoint;
}

std::optional<models::Precision> parse_precision(const std::string& word) {
  if (word.empty()) return std::nullopt;
  return word == "f32" ? models::Precision::f32 : word == "bf16" ? models::Precision::bf16 : models::Precision::int8;
}

models::PolicyOptions CheckpointFlags::options() const {
  models::PolicyOptions o;
  o.precision = parse_precision(precision);
  o.robot = robot;
  o.tokenizer = tokenizer;
  o.norm_stats = norm_stats;
  o.allow_nonfinite = allow_nonfinite;
  o.any_prompt = any_prompt;
  o.padded_state_prompt = padded_state_prompt;
  o.legacy_resize = legacy_resize;
  o.skip_checksums = skip_checksums;
  if (!schedule.empty()) o.schedule = schedule == "exact" ? models::TimeSchedule::exact : models::TimeSchedule::accumulated;
  return o;
}

}  // namespace tessera::cli
