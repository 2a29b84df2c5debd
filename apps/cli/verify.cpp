// tessera verify: recorded inputs through the engine, stage by stage against what the reference gave.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/io/json.h"
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
    rows.push_back(std::move(row));
  }
  io::Json json;
  json.set("pass", report.pass).set("summary", report.summary).set("rows", std::move(rows));
  return json;
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
               r.judged ? fmt::format("{:.1e}", r.limit) : "",
               !r.judged ? ""
               : r.pass  ? "pass"
                         : "FAIL"});
    last = r.recording;
  }
  fmt::print("{}\n{}: {}\n", table.str(), report.pass ? good("PASS") : bad("FAIL"), report.summary);
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
    const models::ParityReport report = models::verify(ctx, checkpoint, recording.empty() ? checkpoint : recording, options);
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
  command->add_option("checkpoint", verify->checkpoint, "LeRobot or openpi checkpoint folder")->required();
  command->add_option("recording", verify->recording,
                      "io.safetensors, policy_io.safetensors, one recording of an index, or a folder (default: the checkpoint's)");
  command->add_flag("--json", verify->json, "Print JSON");
  verify->flags.add(*command);
  verify->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera verify CHECKPOINT\n"
      "  tessera verify CHECKPOINT observations/ --precision bf16\n"
      "\ntools/record_reference.py makes a recording from your own LeRobot policy. Exit status 1 when a stage misses its limit.");
  command->callback([verify, &chosen] { chosen = [verify] { return verify->run(); }; });
}

}  // namespace tessera::cli
