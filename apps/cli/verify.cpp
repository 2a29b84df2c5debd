// tessera verify: recorded inputs through the engine, stage by stage against what the reference gave.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/io/json.h"
#include "tessera/models/parity/cases.h"
#include "tessera/models/parity/parity.h"

namespace tessera::cli {
namespace {

io::Json report_json(const models::ParityReport& report) {
  io::Json::Array rows;
  for (const models::ParityRow& r : report.rows) {
    io::Json row;
    row.set("recording", r.recording).set("stage", r.stage).set("max_abs", r.max_abs).set("max_rel", r.max_rel).set("rms", r.rms).set("pcc", r.pcc);
    if (r.reference_rms >= 0) row.set("reference_bf16_rms", r.reference_rms);
    if (r.judged) row.set("limit", r.limit).set("pass", r.pass);
    if (r.judged && r.pcc_limit > 0) row.set("pcc_limit", r.pcc_limit);
    rows.push_back(std::move(row));
  }
  io::Json json;
  json.set("pass", report.pass).set("summary", report.summary).set("rows", std::move(rows));
  return json;
}

std::string limit_text(const models::ParityRow& r) {
  if (!r.judged) return "";
  const std::string distance = std::isfinite(r.limit) ? fmt::format("{:.1e}", r.limit) : "";
  if (r.pcc_limit <= 0) return distance;
  return fmt::format("{}{}PCC {:.3f}", distance, distance.empty() ? "" : ", ", r.pcc_limit);
}

void print_report(const models::ParityReport& report) {
  Table table({{"recording", Align::left},
               {"stage", Align::left},
               {"max abs", Align::right},
               {"of scale", Align::right},
               {"rms", Align::right},
               {"ref. bf16 rms", Align::right},
               {"PCC", Align::right},
               {"limit", Align::right},
               {"", Align::left}});
  std::string last;
  for (const models::ParityRow& r : report.rows) {
    if (!last.empty() && r.recording != last) table.rule();
    table.add({r.recording == last ? "" : r.recording, r.stage, fmt::format("{:.2e}", r.max_abs), fmt::format("{:.2e}", r.max_rel),
               fmt::format("{:.2e}", r.rms), r.reference_rms >= 0 ? fmt::format("{:.2e}", r.reference_rms) : "", fmt::format("{:.7f}", r.pcc),
               limit_text(r),
               !r.judged ? ""
               : r.pass  ? "pass"
                         : "FAIL"});
    last = r.recording;
  }
  fmt::print("{}\n{}: {}\n", table.str(), report.pass ? good("PASS") : bad("FAIL"), report.summary);
}

io::Json cases_json(const models::CasesReport& report) {
  io::Json::Array rows;
  for (const models::CaseRow& r : report.rows) {
    io::Json row;
    row.set("family", r.family).set("case", r.name).set("runs", r.runs).set("worst", r.variant).set("max_abs", r.max_abs).set("limit", r.limit);
    row.set("ulp", r.ulp).set("pcc", r.pcc).set("pass", r.pass);
    if (!r.error.empty()) row.set("error", r.error);
    rows.push_back(std::move(row));
  }
  io::Json json;
  json.set("pass", report.pass).set("summary", report.summary).set("rows", std::move(rows));
  return json;
}

void print_cases(const models::CasesReport& report) {
  Table table({{"family", Align::left},
               {"case", Align::left},
               {"runs", Align::right},
               {"worst run", Align::left},
               {"max abs", Align::right},
               {"limit", Align::right},
               {"ULP", Align::right},
               {"PCC", Align::right},
               {"", Align::left}});
  std::string last;
  for (const models::CaseRow& r : report.rows) {
    if (!last.empty() && r.family != last) table.rule();
    table.add({r.family == last ? "" : r.family, r.name, std::to_string(r.runs), r.variant, fmt::format("{:.2e}", r.max_abs),
               fmt::format("{:.1e}", r.limit), fmt::format("{:.1f}", r.ulp), fmt::format("{:.7f}", r.pcc), r.pass ? "pass" : "FAIL"});
    last = r.family;
  }
  fmt::print("{}", table.str());
  for (const models::CaseRow& r : report.rows)
    if (!r.error.empty()) fmt::print("{} {}: {}\n", r.family, r.name, r.error);
  fmt::print("\n{}: {}\n", report.pass ? good("PASS") : bad("FAIL"), report.summary);
}

struct Verify {
  std::string checkpoint;
  std::string recording;
  bool json = false;
  ContextFlags context;
  CheckpointFlags flags;

  int run() const {
    Context ctx(context.options());
    models::PolicyOptions options = flags.options();
    auto progress = std::make_unique<ProgressLine>();
    options.progress = [&](std::string_view what, double share) { (*progress)(what, share); };
    if (recording.empty() && models::holds_cases(checkpoint)) {
      const models::CasesReport cases = models::verify_cases(ctx, checkpoint, options.progress);
      progress.reset();
      if (json)
        fmt::print("{}\n", cases_json(cases).dump());
      else
        print_cases(cases);
      return cases.pass ? 0 : 1;
    }
    const models::ParityReport report = models::verify(ctx, checkpoint, recording.empty() ? recordings_of(checkpoint) : recording, options);
    progress.reset();
    if (json)
      fmt::print("{}\n", report_json(report).dump());
    else
      print_report(report);
    return report.pass ? 0 : 1;
  }
};

}  // namespace

void add_verify(CLI::App& app, Command& chosen) {
  auto verify = std::make_shared<Verify>();
  CLI::App* command = app.add_subcommand("verify", "Runs recorded inputs and compares every recorded stage with the reference");
  command->add_option("checkpoint", verify->checkpoint, "LeRobot or openpi checkpoint folder, a packed file, or a directory of op cases (cases.json)")
      ->required();
  command->add_option("recording", verify->recording,
                      "io.safetensors, policy_io.safetensors, one recording of an index, or a folder (default: the checkpoint's)");
  command->add_flag("--json", verify->json, "Print JSON");
  verify->flags.add(*command);
  verify->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera verify CHECKPOINT\n"
      "  tessera verify tests/goldens/vision\n"
      "  tessera verify CHECKPOINT observations/ --precision bf16\n"
      "\ntools/record_reference.py makes a recording from your own LeRobot policy. Exit status 1 when a stage misses its limit.");
  command->callback([verify, &chosen] { chosen = [verify] { return verify->run(); }; });
}

}  // namespace tessera::cli
