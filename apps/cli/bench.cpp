// tessera bench: stage times of a full-size model with random weights (or of a checkpoint), against ceilings measured in the same run.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <tuple>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/json.h"
#include "tessera/models/pi0/pi0.h"
#include "tessera/models/policy/policy.h"
#include "tessera/runtime/ceilings.h"

namespace tessera::cli {
namespace {

using runtime::Ceilings;
using runtime::ZoneRecord;

struct Bench {
  std::string target;
  int cameras = 2;
  int masked_cameras = 0;
  int prompt_tokens = 0;
  int chunk = 0;
  int steps = 0;
  int repeat = 3;
  bool json = false;
  std::string profile;
  ContextFlags context;
  CheckpointFlags flags;

  int run() const;
  models::Pi0 load(Context& ctx, const models::PolicyOptions& options) const;
  models::Pi0Inputs inputs(const models::Pi0Config& config) const;
};

struct Stage {
  std::string name;
  std::vector<double> seconds;  // one per repetition
  double flops = 0;
  double bytes = 0;
  // In seconds. Every op at the ceiling of its own operands.
  double bound = 0;          // sum over ops of max(FLOPs / ceiling, bytes / bandwidth)
  double arithmetic = 0;     // sum over ops of FLOPs / ceiling
  double memory = 0;         // sum over ops of bytes / bandwidth
  double fastest_calls = 0;  // sum over ops of the fastest call of that row with as many FLOPs and bytes, in any repetition

  double fastest() const { return *std::ranges::min_element(seconds); }
  double median() const {
    const std::vector<double> sorted = in_order();
    const std::size_t n = sorted.size();
    return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  /// The smallest time that 99 of 100 repetitions do not exceed.
  double p99() const {
    const std::vector<double> sorted = in_order();
    return sorted[(99 * sorted.size() + 99) / 100 - 1];
  }
  double ratio_to_bound() const { return bound > 0 ? fastest() / bound : 0; }
  double fastest_calls_to_bound() const { return bound > 0 ? fastest_calls / bound : 0; }
  double larger_bound() const { return std::max(arithmetic, memory); }

 private:
  std::vector<double> in_order() const {
    std::vector<double> sorted = seconds;
    std::ranges::sort(sorted);
    return sorted;
  }
};

bool is_stage(const ZoneRecord& r) { return std::string_view(r.op).starts_with("stage: "); }

double seconds_of(const ZoneRecord& r) { return static_cast<double>(r.end_ns - r.start_ns) * 1e-9; }

std::string stage_name(const ZoneRecord& r) { return std::string(r.op).substr(7); }

/// Adds one repetition's time of every stage.
void add_times(const std::vector<ZoneRecord>& records, std::vector<Stage>& stages) {
  std::map<std::string, double> seconds;
  for (const ZoneRecord& r : records) {
    if (!is_stage(r)) continue;
    if (std::ranges::find(stages, stage_name(r), &Stage::name) == stages.end()) stages.push_back({stage_name(r), {}});
    seconds[stage_name(r)] += seconds_of(r);
  }
  for (Stage& s : stages)
    if (seconds.contains(s.name)) s.seconds.push_back(seconds[s.name]);
}

/// The fastest call of every op, told apart by row, FLOPs and bytes. A chunk has many calls of each, so that some of them meet a quiet moment also
/// where a whole chunk does not. A lower limit of a chunk's time: least times, and nothing between ops.
class FastestCalls {
 public:
  void add(const std::vector<ZoneRecord>& records) {
    for (const ZoneRecord& r : records) {
      const auto [place, added] = seconds_.try_emplace(key(r), seconds_of(r));
      if (!added) place->second = std::min(place->second, seconds_of(r));
    }
  }
  double of(const ZoneRecord& r) const { return seconds_.at(key(r)); }

 private:
  using Key = std::tuple<std::string_view, std::string_view, double, double>;
  static Key key(const ZoneRecord& r) { return {r.op, r.path, r.flops, r.bytes}; }
  std::map<Key, double> seconds_;
};

/// Sums the work of the ops below every stage of one repetition; an op inside another op is part of the outer one.
void add_work(const std::vector<ZoneRecord>& records, const Ceilings& ceilings, const FastestCalls& fastest, std::vector<Stage>& stages) {
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (!is_stage(records[i])) continue;
    Stage& stage = *std::ranges::find(stages, stage_name(records[i]), &Stage::name);
    int counted = 1 << 30;  // depth of the op that is being counted
    for (std::size_t j = i + 1; j < records.size() && records[j].depth > records[i].depth; ++j) {
      const ZoneRecord& r = records[j];
      if (r.depth > counted) continue;
      counted = 1 << 30;
      if (r.flops <= 0 && r.bytes <= 0) continue;
      counted = r.depth;
      const double arithmetic = r.flops / (ceilings.gflops(r.operands) * 1e9);
      const double memory = r.bytes / (ceilings.read_gbs * 1e9);
      stage.flops += r.flops;
      stage.bytes += r.bytes;
      stage.arithmetic += arithmetic;
      stage.memory += memory;
      stage.bound += std::max(arithmetic, memory);
      stage.fastest_calls += fastest.of(r);
    }
  }
}

/// The machine's ceilings as the better of two measurements: a neighbour on the machine may have slowed either.
Ceilings better(const Ceilings& a, const Ceilings& b) {
  return {std::max(a.f32_gflops, b.f32_gflops), std::max(a.bf16_gflops, b.bf16_gflops), std::max(a.int8_gflops, b.int8_gflops),
          std::max(a.read_gbs, b.read_gbs)};
}

models::Pi0 Bench::load(Context& ctx, const models::PolicyOptions& options) const {
  if (target != "pi0" && target != "pi05") return models::Policy::load_model(ctx, target, options);
  models::Pi0Config config;
  config.pi05 = target == "pi05";
  if (config.pi05) config.max_prompt_tokens = 200;
  config.max_prompt_tokens = std::max<std::int64_t>(config.max_prompt_tokens, prompt_tokens);
  if (chunk > 0) config.chunk = chunk;
  const models::Precision precision = options.precision.value_or(models::Precision::bf16);
  return models::Pi0::load(ctx, models::random_weights(config, 1, precision == models::Precision::f32 ? DType::f32 : DType::bf16), config, precision,
                           options.progress);
}

models::Pi0Inputs Bench::inputs(const models::Pi0Config& config) const {
  models::Pi0Inputs in;
  std::uint32_t state = 1;
  const auto random = [&state] {
    state = state * 1664525u + 1013904223u;
    return static_cast<float>(state >> 8) * 0x1p-24f;
  };
  for (int i = 0; i < cameras; ++i) {
    Tensor image = Tensor::empty(Shape{3, config.vision.image, config.vision.image}, DType::f32);
    for (float& v : image.span<float>()) v = 2 * random() - 1;
    in.images.push_back(image);
  }
  in.images.resize(in.images.size() + static_cast<std::size_t>(masked_cameras));
  const std::int64_t tokens = prompt_tokens > 0 ? prompt_tokens : config.max_prompt_tokens;
  for (std::int64_t i = 0; i < tokens; ++i)
    in.tokens.push_back(static_cast<std::int32_t>(random() * static_cast<float>(std::min<std::int64_t>(config.vocab, 1024) - 1)));
  if (!config.pi05) {
    in.state = Tensor::zeros(Shape{config.state_dim}, DType::f32);
    for (float& v : in.state.span<float>()) v = 2 * random() - 1;
  }
  return in;
}

int run_ceilings(Context& ctx, bool json) {
  const runtime::CeilingReport report = runtime::measure_ceilings(ctx);
  if (json) {
    io::Json::Array rows;
    for (const runtime::CeilingRow& r : report.rows) {
      io::Json row;
      row.set("what", r.what).set("unit", r.unit).set("one_thread", r.one_thread).set("all_threads", r.all_threads);
      rows.push_back(std::move(row));
    }
    io::Json out;
    out.set("cpu", device::cpu().model).set("threads", ctx.threads()).set("rows", std::move(rows));
    fmt::print("{}\n", out.dump());
    return 0;
  }
  Table table({{"ceiling", Align::left}, {"1 thread", Align::right}, {fmt::format("{} threads", ctx.threads()), Align::right}, {"", Align::left}});
  for (const runtime::CeilingRow& r : report.rows)
    table.add({r.what, fmt::format("{:.1f}", r.one_thread), fmt::format("{:.1f}", r.all_threads), r.unit});
  fmt::print("{}\n{}", device::cpu().model, table.str());
  return 0;
}

io::Json stage_json(const Stage& s, double ceiling) {
  io::Json json;
  json.set("stage", s.name)
      .set("min_ms", s.fastest() * 1e3)
      .set("median_ms", s.median() * 1e3)
      .set("p99_ms", s.p99() * 1e3)
      .set("gflop", s.flops * 1e-9)
      .set("gbyte", s.bytes * 1e-9);
  json.set("gflops", s.flops / s.fastest() * 1e-9).set("share_of_matrix_ceiling", s.flops / s.fastest() / ceiling);
  json.set("bound_ms", s.bound * 1e3).set("arithmetic_ms", s.arithmetic * 1e3).set("memory_ms", s.memory * 1e3);
  json.set("fastest_calls_ms", s.fastest_calls * 1e3);
  json.set("ratio_to_bound", s.ratio_to_bound()).set("share_of_larger_bound", s.larger_bound() / s.fastest());
  return json;
}

/// The figures that a chunk is judged by.
void print_summary(const std::vector<Stage>& stages, const Stage& whole, double ceiling) {
  fmt::print("whole chunk: {:.2f} times its bound of {:.1f} ms (each op the larger of FLOPs / its operands' ceiling and bytes / bandwidth)\n",
             whole.ratio_to_bound(), whole.bound * 1e3);
  fmt::print("  with every op at the fastest of its calls: {:.2f} times, what the kernels reach in quiet moments\n", whole.fastest_calls_to_bound());
  for (const Stage& s : stages) {
    if (s.name == "steps")
      fmt::print("{}: {:.0f} % of the larger of their two bounds (arithmetic {:.1f} ms, memory {:.1f} ms)\n", s.name,
                 100 * s.larger_bound() / s.fastest(), s.arithmetic * 1e3, s.memory * 1e3);
    else
      fmt::print("{}: {:.0f} % of the matrix ceiling\n", s.name, 100 * s.flops / s.fastest() / ceiling);
  }
}

int Bench::run() const {
  Context ctx(context.options());
  if (target == "ceilings") return run_ceilings(ctx, json);
  models::PolicyOptions options = flags.options();
  auto progress = std::make_unique<ProgressLine>();
  options.progress = [&](std::string_view what, double share) { (*progress)(what, share); };

  const auto load_start = std::chrono::steady_clock::now();
  const models::Pi0 model = load(ctx, options);
  const double load_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - load_start).count();
  const models::Pi0Config& config = model.config();
  if (chunk > 0 && chunk != config.chunk) throw UsageError(fmt::format("--chunk: this checkpoint's chunk is {}", config.chunk));
  const models::Pi0Inputs in = inputs(config);
  const Tensor noise = models::make_noise(config, 0);
  Tensor actions = Tensor::empty(noise.shape(), DType::f32);
  models::PrefixCache cache;
  models::SampleOptions sample;
  sample.steps = steps;

  std::vector<Stage> stages;
  Ceilings before;
  double first_chunk = 0;
  double rss = 0;
  std::vector<double> totals;
  FastestCalls fastest;
  for (int i = 0; i <= repeat; ++i) {  // the first call sizes the workspace and is not counted
    (*progress)(fmt::format("chunk {} of {}", i + 1, repeat + 1), static_cast<double>(i) / (repeat + 1));
    ctx.profiler().clear();
    ctx.profiler().start();
    const auto start = std::chrono::steady_clock::now();
    model.encode_images(ctx, in, cache);
    model.encode_prefix(ctx, in, cache);
    model.denoise(ctx, cache, in, noise, sample, actions);
    const double total = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    ctx.profiler().stop();
    if (i == 0) {
      first_chunk = total;
      rss = static_cast<double>(peak_rss());  // before the ceilings, which read memory of their own
      before = runtime::measure_ceilings(ctx, 3).all;
    }
    if (i == 0 && repeat > 0) continue;
    totals.push_back(total);
    add_times(ctx.profiler().records(), stages);
    fastest.add(ctx.profiler().records());
  }
  progress.reset();
  const std::vector<ZoneRecord> last = ctx.profiler().records();
  const Ceilings ceilings = better(before, runtime::measure_ceilings(ctx, 3).all);
  const double ceiling = ceilings.gflops(models::dtype_of(model.precision())) * 1e9;
  add_work(last, ceilings, fastest, stages);
  if (!profile.empty()) io::write_file(profile, ctx.profiler().trace_json());

  Stage whole{"chunk", totals};
  for (const Stage& s : stages) {
    whole.flops += s.flops;
    whole.bytes += s.bytes;
    whole.bound += s.bound;
    whole.arithmetic += s.arithmetic;
    whole.memory += s.memory;
    whole.fastest_calls += s.fastest_calls;
  }
  const auto held = static_cast<double>(model.weight_bytes());
  if (json) {
    io::Json::Array array;
    for (const Stage& s : stages) array.push_back(stage_json(s, ceiling));
    array.push_back(stage_json(whole, ceiling));
    io::Json limits;
    limits.set("matrix_gflops", ceiling * 1e-9)
        .set("f32_gflops", ceilings.f32_gflops)
        .set("bf16_gflops", ceilings.bf16_gflops)
        .set("int8_gflops", ceilings.int8_gflops)
        .set("read_gbs", ceilings.read_gbs);
    io::Json out;
    out.set("cpu", device::cpu().model)
        .set("isa", device::name(ctx.isa()))
        .set("threads", ctx.threads())
        .set("model", target)
        .set("precision", models::name(model.precision()));
    out.set("cameras", cameras)
        .set("masked_cameras", masked_cameras)
        .set("prompt_tokens", static_cast<std::int64_t>(in.tokens.size()))
        .set("prefix_tokens", cache.tokens())
        .set("chunk", config.chunk);
    out.set("steps", steps > 0 ? steps : config.num_steps)
        .set("repeat", repeat)
        .set("load_s", load_seconds)
        .set("first_chunk_s", first_chunk)
        .set("ratio_to_bound", whole.ratio_to_bound())
        .set("stages", std::move(array))
        .set("ceilings", std::move(limits));
    out.set("peak_rss_bytes", static_cast<std::int64_t>(rss)).set("weight_bytes", static_cast<std::int64_t>(held));
    if (model.precision() == models::Precision::int8) out.set("matrices_kept_in_bf16", static_cast<std::int64_t>(model.int8_exceptions().size()));
    fmt::print("{}\n", out.dump());
    return 0;
  }
  fmt::print("{}, {}, {} thread{}\n", device::cpu().model, device::name(ctx.isa()), ctx.threads(), ctx.threads() == 1 ? "" : "s");
  fmt::print("{} {}, {} weights; {} camera{}{}, {} prompt tokens, prefix of {}, chunk {}, {} steps; {} repetition{}\n\n", target,
             models::name(model.precision()), target == "pi0" || target == "pi05" ? "random" : "the checkpoint's", cameras, cameras == 1 ? "" : "s",
             masked_cameras > 0 ? fmt::format(" and {} masked", masked_cameras) : "", in.tokens.size(), cache.tokens(), config.chunk,
             steps > 0 ? steps : config.num_steps, repeat, repeat == 1 ? "" : "s");
  Table table({{"stage", Align::left},
               {"min ms", Align::right},
               {"median ms", Align::right},
               {"FLOPs", Align::right},
               {"bytes", Align::right},
               {"GFLOP/s", Align::right},
               {"of ceiling", Align::right},
               {"bound ms", Align::right},
               {"time/bound", Align::right},
               {"at fastest calls", Align::right}});
  const auto add = [&](const Stage& s) {
    table.add({s.name, fmt::format("{:.2f}", s.fastest() * 1e3), fmt::format("{:.2f}", s.median() * 1e3), flops_text(s.flops), bytes_text(s.bytes),
               fmt::format("{:.1f}", s.flops / s.fastest() * 1e-9), fmt::format("{:.0f} %", 100 * s.flops / s.fastest() / ceiling),
               fmt::format("{:.2f}", s.bound * 1e3), s.bound > 0 ? fmt::format("{:.2f}", s.ratio_to_bound()) : "",
               s.bound > 0 ? fmt::format("{:.2f}", s.fastest_calls_to_bound()) : ""});
  };
  for (const Stage& s : stages) add(s);
  table.rule();
  add(whole);
  fmt::print("{}\n", table.str());
  fmt::print("ceilings in this run: {:.0f} GFLOP/s f32, {:.0f} GFLOP/s bf16 operands, {:.0f} GOP/s int8, {:.1f} GB/s read from memory\n",
             ceilings.f32_gflops, ceilings.bf16_gflops, ceilings.int8_gflops, ceilings.read_gbs);
  print_summary(stages, whole, ceiling);
  fmt::print("load and pack {:.1f} s, first chunk {:.2f} s; hot weights {}, peak resident set {} ({:+.2f} GB)\n", load_seconds, first_chunk,
             bytes_text(held), bytes_text(rss), (rss - held) * 1e-9);
  if (!profile.empty()) fmt::print("\n{}wrote {}\n", ctx.profiler().table(ceilings), profile);
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& chosen) {
  auto bench = std::make_shared<Bench>();
  CLI::App* command = app.add_subcommand("bench", "Stage times, FLOPs, bytes and the share of this machine's ceilings");
  command->add_option("target", bench->target, "pi0 or pi05 (full size, random weights), a checkpoint folder or packed file, or ceilings")
      ->required();
  command->add_option("--cameras", bench->cameras, "Cameras present (default 2)")->check(CLI::Range(1, 16));
  command->add_option("--masked-cameras", bench->masked_cameras, "Camera slots without a picture, after those present (default 0)")
      ->check(CLI::Range(0, 16));
  command->add_option("--prompt-tokens", bench->prompt_tokens, "Prompt tokens (default: the model's most, 48 for pi0, 200 for pi0.5)")
      ->check(CLI::Range(1, 4096));
  command->add_option("--chunk", bench->chunk, "Actions per chunk (default 50)")->check(CLI::Range(1, 4096));
  command->add_option("--steps", bench->steps, "Euler steps (default 10)")->check(CLI::Range(1, 1000));
  command->add_option("--repeat", bench->repeat, "Timed repetitions after one warm-up (default 3; 0: the warm-up itself)")
      ->check(CLI::Range(0, 100000));
  command->add_option("--profile", bench->profile, "Write a Chrome/Perfetto trace of the last repetition and print the profile table");
  command->add_flag("--json", bench->json, "Print JSON");
  bench->flags.add(*command);
  bench->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera bench pi0 --cameras 2 --prompt-tokens 48 --precision bf16 --threads 2\n"
      "  tessera bench pi0 --masked-cameras 1 --prompt-tokens 16\n"
      "  tessera bench pi05 --precision f32 --repeat 1 --json\n"
      "  tessera bench CHECKPOINT --repeat 50\n"
      "  tessera bench ceilings");
  command->callback([bench, &chosen] { chosen = [bench] { return bench->run(); }; });
}

}  // namespace tessera::cli
