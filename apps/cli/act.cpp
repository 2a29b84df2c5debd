// tessera act: one action chunk from pictures, state and sentence.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/plot.h"
#include "apps/cli/terminal.h"
#include "apps/cli/values.h"
#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/json.h"
#include "tessera/runtime/ceilings.h"

namespace tessera::cli {
namespace {

struct Act {
  std::string checkpoint;
  std::vector<std::string> images;
  std::string state;
  std::string prompt;
  int steps = 0;
  std::uint64_t seed = 0;
  std::string noise;
  int repeat = 1;
  bool exif = false;
  bool json = false;
  std::string out;
  std::string plot;
  std::vector<std::string> overlays;
  std::string profile;
  std::string previous;
  int executed = 0;
  std::string rtc_mode = "guided";
  std::string rtc_schedule = "linear";
  int inference_delay = 0;
  int execution_horizon = 10;
  double max_guidance_weight = 10;
  ContextFlags context;
  CheckpointFlags flags;

  int run() const;
  models::RealTimeChunking real_time_chunking() const;
};

/// Says how far a chunk is, from the stages that it passes: full-size models take seconds.
class Stages {
 public:
  Stages(const models::Policy& policy, int steps, ProgressLine& progress)
      : progress_(progress),
        depth_(static_cast<int>(policy.model().config().vlm.depth)),
        steps_(steps > 0 ? steps : policy.model().config().num_steps) {}
  models::Tap tap() const {
    return [this](std::string_view stage, const Tensor&) {
      // Pictures, layers of the prefix and steps take about a sixth, two thirds and a sixth of the time.
      const auto index = [&](std::string_view prefix) {
        int i = 0;
        std::from_chars(stage.data() + prefix.size(), stage.data() + stage.size(), i);
        return i + 1;
      };
      if (stage.starts_with("image_embs.")) progress_("pictures are encoded", 0.15);
      if (stage.starts_with("cache."))
        progress_(fmt::format("prefix, layer {} of {}", index("cache."), depth_), 0.15 + 0.65 * index("cache.") / depth_);
      if (stage.starts_with("v_t.")) progress_(fmt::format("step {} of {}", index("v_t."), steps_), 0.8 + 0.2 * index("v_t.") / steps_);
    };
  }

 private:
  ProgressLine& progress_;
  int depth_;
  int steps_;
};

std::string prompt_title(const std::string& prompt) {
  std::string title = prompt.substr(0, 80);
  std::ranges::replace_if(
      title, [](unsigned char c) { return c < 32; }, ' ');
  return title;
}

void print_chunk(const models::ActionChunk& chunk) {
  std::vector<std::pair<std::string, Align>> columns = {{"step", Align::right}};
  for (const std::string& name : chunk.names) columns.emplace_back(name, Align::right);
  Table table(std::move(columns));
  const auto dim = static_cast<std::size_t>(chunk.dim);
  for (std::int64_t t = 0; t < chunk.chunk; ++t) {
    std::vector<std::string> cells = {std::to_string(t)};
    for (std::size_t d = 0; d < dim; ++d) cells.push_back(fmt::format("{:.4f}", chunk.actions[static_cast<std::size_t>(t) * dim + d]));
    table.add(std::move(cells));
  }
  fmt::print("{}\n", table.str());
  std::size_t widest = 0;
  for (const std::string& name : chunk.names) widest = std::max(widest, name.size());
  for (std::size_t d = 0; d < dim; ++d) {
    std::vector<double> column;
    for (std::size_t i = d; i < chunk.actions.size(); i += dim) column.push_back(chunk.actions[i]);
    const auto [lo, hi] = std::ranges::minmax(column);
    fmt::print("{:>{}}  {}  {:.4f} to {:.4f}\n", chunk.names[d], widest, sparkline(column), lo, hi);
  }
}

io::Json chunk_json(const models::ActionChunk& chunk, const std::string& prompt) {
  io::Json::Array rows;
  for (std::int64_t t = 0; t < chunk.chunk; ++t) {
    io::Json::Array row;
    for (std::int64_t d = 0; d < chunk.dim; ++d) row.emplace_back(chunk.actions[static_cast<std::size_t>(t * chunk.dim + d)]);
    rows.emplace_back(std::move(row));
  }
  io::Json::Array names;
  for (const std::string& name : chunk.names) names.emplace_back(name);
  io::Json times;
  times.set("preprocess", chunk.times.preprocess).set("images", chunk.times.images).set("prefix", chunk.times.prefix);
  times.set("steps", chunk.times.steps).set("total", chunk.times.total);
  io::Json json;
  json.set("prompt", prompt)
      .set("steps", chunk.steps)
      .set("names", std::move(names))
      .set("actions", std::move(rows))
      .set("milliseconds", std::move(times));
  return json;
}

models::RealTimeChunking Act::real_time_chunking() const {
  models::RealTimeChunking rtc;
  rtc.mode = rtc_mode == "trained" ? models::RtcMode::trained : models::RtcMode::guided;
  using enum models::RtcSchedule;
  rtc.schedule = rtc_schedule == "exp" ? exp : rtc_schedule == "ones" ? ones : rtc_schedule == "zeros" ? zeros : linear;
  rtc.previous = read_array(previous, "model_actions");
  if (rtc.previous.shape().rank() == 2 && executed > 0) {
    if (executed >= rtc.previous.rows())
      throw UsageError(fmt::format("--executed: expected less than the {} rows of --previous, got {}", rtc.previous.rows(), executed));
    rtc.previous = rtc.previous.narrow(executed, rtc.previous.rows() - executed);
  }
  rtc.inference_delay = inference_delay;
  rtc.execution_horizon = execution_horizon;
  rtc.max_guidance_weight = static_cast<float>(max_guidance_weight);
  return rtc;
}

int Act::run() const {
  if (!out.empty()) check_actions_path(out);
  if (!plot.empty()) check_plot_path(plot);
  for (const auto& [option, file] : {std::pair("--out", out), std::pair("--plot", plot), std::pair("--profile", profile)}) check_folder(option, file);
  if (!overlays.empty() && plot.empty()) throw UsageError("--overlay: expected --plot with it");
  std::vector<std::pair<std::string, Tensor>> others;
  for (const std::string& word : overlays) {
    const auto [label, file] = split_assignment(word, "--overlay");
    others.emplace_back(label, read_array(file, "actions"));
  }
  models::Observation observation;
  for (const std::string& word : images) {
    const auto [slot, file] = split_assignment(word, "--image");
    if (!observation.images.emplace(slot, read_picture(file, exif)).second)
      throw UsageError(fmt::format("--image: camera '{}' is given twice", slot));
  }
  if (!state.empty()) observation.state = read_numbers(state, "--state");
  observation.prompt = prompt;

  Context ctx(context.options());
  models::PolicyOptions options = flags.options();
  auto progress = std::make_unique<ProgressLine>();
  options.progress = [&](std::string_view what, double share) { (*progress)(what, share); };
  models::Policy policy = models::Policy::load(ctx, checkpoint, options);
  for (const std::string& warning : policy.warnings()) fmt::print(stderr, "tessera: note: {}\n", warning);

  models::ActOptions act;
  act.steps = steps;
  act.seed = seed;
  if (!noise.empty()) act.noise = read_array(noise, "noise");
  if (!previous.empty()) act.rtc = real_time_chunking();
  models::ActionChunk chunk;
  // Not while a profile is taken: what says how far it is would be measured, too.
  const Stages stages(policy, act.steps, *progress);
  for (int i = 0; i < repeat; ++i) {
    const bool profiled = !profile.empty() && i + 1 == repeat;
    if (profiled) ctx.profiler().start();
    chunk = policy.act(ctx, observation, act, profiled || repeat > 1 ? models::Tap() : stages.tap());
    if (repeat > 1) (*progress)(fmt::format("chunk {} of {}", i + 1, repeat), static_cast<double>(i + 1) / repeat);
  }
  ctx.profiler().stop();
  progress.reset();

  if (json) {
    fmt::print("{}\n", chunk_json(chunk, prompt).dump());
  } else {
    print_chunk(chunk);
    const models::StageTimes& t = chunk.times;
    fmt::print("\n{} actions x {} dimensions, {} Euler steps, {} precision, {} thread{}\n", chunk.chunk, chunk.dim, chunk.steps,
               models::name(policy.model().precision()), ctx.threads(), ctx.threads() == 1 ? "" : "s");
    fmt::print("preprocess {:.1f} ms, images {:.1f} ms, prefix {:.1f} ms, steps {:.1f} ms, total {:.1f} ms\n", t.preprocess, t.images, t.prefix,
               t.steps, t.total);
  }
  for (const auto& [label, t] : others)
    if (t.cols() != chunk.dim || t.numel() == 0) fail_expected("--overlay " + label, fmt::format("rows of {} actions", chunk.dim), t.shape().str());
  if (!out.empty()) {
    write_actions(out, chunk, prompt);
    if (!json) fmt::print("wrote {}\n", out);
  }
  if (!plot.empty()) {
    Plot picture;
    picture.title = prompt.empty() ? "actions" : "“" + prompt_title(prompt) + "”";
    picture.names = chunk.names;
    picture.series.push_back({"Tessera", chunk.actions, chunk.chunk});
    for (const auto& [label, t] : others) picture.series.push_back({label, numbers_of(t), t.numel() / chunk.dim});
    write_plot(plot, picture);
    if (!json) fmt::print("wrote {}\n", plot);
  }
  if (!profile.empty()) {
    io::write_file(profile, ctx.profiler().trace_json());
    if (!json) {
      fmt::print("\n{}wrote {} (open it in a Chrome or Perfetto trace viewer)\n", ctx.profiler().table(runtime::measure_ceilings(ctx, 2).all),
                 profile);
    }
  }
  return 0;
}

}  // namespace

void add_act(CLI::App& app, Command& chosen) {
  auto act = std::make_shared<Act>();
  CLI::App* command = app.add_subcommand("act", "One action chunk from camera pictures, a state and a sentence");
  command->add_option("checkpoint", act->checkpoint, "LeRobot or openpi checkpoint folder, or a packed file (tessera pack)")->required();
  command->add_option("--image", act->images, "SLOT=FILE, once per camera: PNG, JPEG, .npy or .safetensors:TENSOR")
      ->required()
      ->expected(1)
      ->take_all();
  command->add_option("--state", act->state, "Robot state: a file, or \"0.1,0.2,...\" in the robot's units");
  command->add_option("--prompt", act->prompt, "What to do, e.g. \"open the faucet\" (some robot presets have a default)");
  command->add_option("--steps", act->steps, "Euler steps (default: the checkpoint's)")->check(CLI::Range(1, 1000));
  auto* seed =
      command->add_option("--seed", act->seed, "Seed of the noise that the chunk starts from (default 0)")->check([](const std::string& word) {
        const bool digits = !word.empty() && word.size() <= 19 && std::ranges::all_of(word, [](unsigned char c) { return std::isdigit(c) != 0; });
        return digits ? std::string() : fmt::format("expected a whole number from 0 to 10^19 - 1, got '{}'", word);
      });
  command->add_option("--noise", act->noise, "The noise itself: .npy or .safetensors:TENSOR, [chunk, action_dim]")->excludes(seed);
  command->add_option("--repeat", act->repeat, "Run so many times, report the last (the first run sizes the workspace)")
      ->check(CLI::Range(1, 100000));
  command->add_flag("--exif", act->exif, "Turn JPEGs as their EXIF orientation says");
  command->add_flag("--json", act->json, "Print JSON");
  command->add_option("--out", act->out, "Write the chunk: .json, .csv, .npy or .safetensors");
  command->add_option("--plot", act->plot, "Draw the chunk: .svg or .png");
  command->add_option("--overlay", act->overlays, "LABEL=FILE: further actions to draw in the plot")->expected(1)->take_all();
  command->add_option("--profile", act->profile, "Write a Chrome/Perfetto trace (.json) and print the profile table");
  auto* previous = command
                       ->add_option("--previous", act->previous,
                                    "Real-time chunking: the last chunk as the network left it, [rows, dims]: what --out FILE.safetensors wrote, "
                                    "or an array")
                       ->group("Real-time chunking");
  command->add_option("--executed", act->executed, "Actions of --previous that the robot has executed and that are dropped from it (default 0)")
      ->check(CLI::Range(0, 100000))
      ->needs(previous)
      ->group("Real-time chunking");
  command->add_option("--rtc", act->rtc_mode, "guided (default) or trained (pi0.5)")
      ->check(CLI::IsMember({"guided", "trained"}))
      ->needs(previous)
      ->group("Real-time chunking");
  command->add_option("--rtc-schedule", act->rtc_schedule, "linear (default), exp, ones or zeros")
      ->check(CLI::IsMember({"linear", "exp", "ones", "zeros"}))
      ->needs(previous)
      ->group("Real-time chunking");
  command->add_option("--inference-delay", act->inference_delay, "Actions executed before this chunk arrives (default 0)")
      ->check(CLI::Range(0, 100000))
      ->needs(previous)
      ->group("Real-time chunking");
  command->add_option("--execution-horizon", act->execution_horizon, "Actions of the last chunk that still pull (default 10)")
      ->check(CLI::Range(1, 100000))
      ->needs(previous)
      ->group("Real-time chunking");
  command->add_option("--max-guidance-weight", act->max_guidance_weight, "Largest guidance weight (default 10)")
      ->check(CLI::NonNegativeNumber)
      ->needs(previous)
      ->group("Real-time chunking");
  act->flags.add(*command);
  act->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera act CHECKPOINT --image scene=scene.png --image wrist=wrist.png --state \"0.1,0.4,0.2,1\" --prompt \"open the faucet\"\n"
      "  tessera act pi0_aloha/ --robot pi0_aloha --image cam_high=high.jpg --state state.csv --prompt \"fold the towel\" --out chunk.npy\n"
      "  tessera act CHECKPOINT --image front=obs.safetensors:front --state obs.safetensors:state --prompt \"stack\" --plot chunk.png");
  command->callback([act, &chosen] { chosen = [act] { return act->run(); }; });
}

}  // namespace tessera::cli
