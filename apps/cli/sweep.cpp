// tessera sweep: many sizes of an op, each compared with plain loops in double, as a table per op and a line of CSV per case.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/models/sweep/sweep.h"

namespace tessera::cli {
namespace {

using models::SweepOp;
using models::SweepReport;
using models::SweepRow;
using models::SweepSummary;

constexpr const char* kHeader =
    "op,size,shape,output,dtype,layout,options,plan,uniform_plan,row,runs,pcc,max_abs,limit,of_limit,pass,time_us,memory_overhead_percent,error\n";

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

std::string csv_line(const SweepRow& r) {
  return fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{:.6g},{:.6g},{:.4g},{},{:.2f},{},{}\n", name(r.op), r.size, r.shape, r.output, r.dtype,
                     r.layout, quoted(r.options), r.plan, r.uniform_plan, r.row, r.runs, r.pcc ? fmt::format("{:.9f}", *r.pcc) : "", r.max_abs,
                     r.limit, r.of_limit, r.pass ? "pass" : "fail", r.time_us, r.memory_overhead > 0 ? fmt::format("{:.2f}", r.memory_overhead) : "",
                     quoted(r.error));
}

/// Lines go to the file as they come: a long sweep can be watched.
class Csv {
 public:
  explicit Csv(const std::string& path) : path_(path) {
    if (path.empty()) return;
    errno = 0;
    file_.open(path, std::ios::binary | std::ios::trunc);
    if (!file_.is_open() || !(file_ << kHeader << std::flush)) throw UsageError(fmt::format("--csv: cannot write '{}': {}", path, reason()));
  }
  void add(const SweepRow& row) {
    if (!file_.is_open()) return;
    if (!(file_ << csv_line(row))) fail(path_, "writing failed: " + reason());
  }
  void close() {
    if (!file_.is_open()) return;
    file_.close();
    if (file_.fail()) fail(path_, "writing failed: " + reason());
  }

 private:
  static std::string reason() { return errno == 0 ? "no reason given" : std::strerror(errno); }
  std::string path_;
  std::ofstream file_;
};

std::string kinds_text(const SweepSummary& s) {
  std::string text;
  for (const auto& [kind, count] : s.kinds) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", kind, count);
  return text;
}

/// The command that runs this size again.
std::string repeat(const SweepRow& r, bool full, std::uint64_t seed) {
  return fmt::format("tessera sweep {} --suite {} --seed {} --only {}", name(r.op), full ? "full" : "short", seed, r.size);
}

struct Sweep {
  std::vector<std::string> ops;
  std::string suite = "short";
  std::string csv;
  std::uint64_t seed = 1;
  std::int64_t sizes = models::SweepOptions{}.sizes;
  std::int64_t only = -1;
  double limits = 1;
  bool json = false;
  ContextFlags context;

  std::vector<SweepOp> chosen() const {
    std::vector<SweepOp> all;
    for (const SweepOp op : models::all_sweep_ops()) {
      const bool named = std::ranges::any_of(ops, [&](const std::string& word) { return word == "all" || word == name(op); });
      if (named) all.push_back(op);
    }
    return all;
  }

  void print(const SweepReport& report, double seconds) const {
    Table table({{"op", Align::left},
                 {"sizes", Align::right},
                 {"cases", Align::right},
                 {"runs", Align::right},
                 {"failures", Align::right},
                 {"f32 worst / limit", Align::right},
                 {"bf16", Align::right}});
    for (const SweepSummary& s : report.ops)
      table.add({std::string(name(s.op)), std::to_string(s.sizes), std::to_string(s.cases), std::to_string(s.runs), std::to_string(s.failures),
                 fmt::format("{:.2f}", s.worst_f32), fmt::format("{:.2f}", s.worst_bf16)});
    fmt::print("{}\nsizes by plan, path and option:\n", table.str());
    for (const SweepSummary& s : report.ops)
      if (!s.kinds.empty()) fmt::print("  {}: {}\n", name(s.op), kinds_text(s));
    for (const SweepRow& r : report.failures)
      fmt::print("\n{} {} {} -> {} {} {}, {}, row {}\n  {}\n  again: {}\n", bad("FAIL"), name(r.op), r.shape, r.output, r.dtype, r.layout, r.options,
                 r.row, r.error, repeat(r, suite == "full", seed));
    fmt::print("\n{}: {} in {:.1f} s\n", report.pass ? good("PASS") : bad("FAIL"), report.summary, seconds);
  }

  void print_json(const SweepReport& report, double seconds) const {
    io::Json::Array all, failures;
    for (const SweepSummary& s : report.ops) {
      io::Json kinds{io::Json::Object{}}, one;
      for (const auto& [kind, count] : s.kinds) kinds.set(kind, count);
      one.set("op", name(s.op)).set("sizes", s.sizes).set("cases", s.cases).set("runs", s.runs).set("failures", s.failures);
      one.set("worst_of_limit_f32", s.worst_f32).set("worst_of_limit_bf16", s.worst_bf16).set("kinds", std::move(kinds));
      all.push_back(std::move(one));
    }
    for (const SweepRow& r : report.failures) {
      io::Json one;
      one.set("op", name(r.op)).set("shape", r.shape).set("output", r.output).set("dtype", r.dtype).set("layout", r.layout);
      one.set("options", r.options).set("row", r.row).set("error", r.error).set("again", repeat(r, suite == "full", seed));
      failures.push_back(std::move(one));
    }
    io::Json json;
    json.set("pass", report.pass).set("summary", report.summary).set("seconds", seconds);
    json.set("ops", std::move(all)).set("failures", std::move(failures));
    fmt::print("{}\n", json.dump());
  }

  int run() const {
    Csv file(csv);
    Context ctx(context.options());
    models::SweepOptions options;
    options.ops = chosen();
    options.suite = suite == "full" ? models::SweepSuite::full : models::SweepSuite::brief;
    options.seed = seed;
    options.sizes = sizes;
    options.only = only;
    options.limits = limits;
    auto progress = std::make_unique<ProgressLine>();
    const auto start = std::chrono::steady_clock::now();
    const SweepReport report = models::sweep(
        ctx, options, [&](const SweepRow& row) { file.add(row); }, [&](std::string_view what, double share) { (*progress)(what, share); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    progress.reset();
    file.close();
    if (json)
      print_json(report, seconds);
    else
      print(report, seconds);
    return report.pass ? 0 : 1;
  }
};

}  // namespace

void add_sweep(CLI::App& app, Command& chosen) {
  auto sweep = std::make_shared<Sweep>();
  std::vector<std::string> names = {"all"};
  for (const SweepOp op : models::all_sweep_ops()) names.emplace_back(name(op));
  CLI::App* command = app.add_subcommand("sweep", "Runs pools and depthwise convolutions of many sizes against plain loops in double");
  command->add_option("op", sweep->ops, "One or more of the ops, or all")->required()->check(CLI::IsMember(names));
  command->add_option("--suite", sweep->suite, "short: sizes of known networks; full: tens of thousands of generated ones")
      ->check(CLI::IsMember({"short", "full"}))
      ->capture_default_str();
  command->add_option("--csv", sweep->csv, "Write one line per case to this file");
  command->add_option("--seed", sweep->seed, "Of the generated sizes and of all values")->check(CLI::NonNegativeNumber)->capture_default_str();
  command->add_option("--sizes", sweep->sizes, "Generated sizes per op")->check(CLI::Range(1, 100000000))->capture_default_str();
  command->add_option("--only", sweep->only, "Run this size alone, by its number in the suite")->check(CLI::Range(0, 100000000));
  command->add_option("--limits", sweep->limits, "Times what rounding in f32 may add; 0 allows none")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--json", sweep->json, "Print JSON");
  sweep->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera sweep all --suite short\n"
      "  tessera sweep adaptive_max_pool2d max_pool2d --suite full --csv pools.csv\n"
      "  tessera sweep depthwise_conv2d --suite full --seed 7 --sizes 1000\n"
      "  tessera sweep depthwise_conv2d --suite full --only 4711\n"
      "\nEvery case runs with each kernel row forced by name. Sizes are spread over the threads; times are of one thread. Exit status 1 when a\n"
      "case misses its limit.");
  command->callback([sweep, &chosen] { chosen = [sweep] { return sweep->run(); }; });
}

}  // namespace tessera::cli
