// tessera accuracy: the bill of every precision: how far the final actions are from the reference's, in the robot's own units.
#include "tessera/models/parity/accuracy.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/io/json.h"

namespace tessera::cli {
namespace {

io::Json report_json(const models::AccuracyReport& report) {
  io::Json::Array rows;
  for (const models::AccuracyRow& r : report.rows) {
    io::Json::Array dimensions;
    for (const models::AccuracyDimension& d : r.dimensions) {
      io::Json dimension;
      dimension.set("name", d.name).set("max", d.max_abs).set("mean", d.mean_abs);
      dimensions.push_back(std::move(dimension));
    }
    io::Json row;
    row.set("precision", r.name).set("recordings", static_cast<std::int64_t>(r.recordings)).set("pcc", r.pcc);
    row.set("max", r.max_abs).set("max_where", r.max_where).set("mean", r.mean_abs).set("rms", r.rms);
    if (r.to_reference >= 0) row.set("rms_of_reference_bf16", r.to_reference);
    row.set("worst_dimension", r.dimensions[r.worst].name).set("worst_mean", r.dimensions[r.worst].mean_abs).set("dimensions", std::move(dimensions));
    rows.push_back(std::move(row));
  }
  io::Json::Array notes;
  for (const std::string& note : report.notes) notes.emplace_back(note);
  io::Json json;
  json.set("recordings", static_cast<std::int64_t>(report.recordings)).set("actions", static_cast<std::int64_t>(report.actions));
  json.set("robot_units", report.robot_units).set("units", report.units).set("notes", std::move(notes)).set("rows", std::move(rows));
  return json;
}

void print_report(const models::AccuracyReport& report) {
  fmt::print("{} recording{}, {} actions of {} dimensions; errors in {}\n\n", report.recordings, report.recordings == 1 ? "" : "s", report.actions,
             report.rows.front().dimensions.size(), report.units);
  Table table({{"precision", Align::left},
               {"PCC", Align::right},
               {"max error", Align::right},
               {"mean error", Align::right},
               {"RMS", Align::right},
               {"/ ref. bf16", Align::right},
               {"worst dimension", Align::left},
               {"its mean", Align::right},
               {"its max", Align::right}});
  for (const models::AccuracyRow& r : report.rows) {
    const models::AccuracyDimension& worst = r.dimensions[r.worst];
    if (r.name == "reference bf16") table.rule();
    table.add({r.name, fmt::format("{:.7f}", r.pcc), fmt::format("{:.2e}", r.max_abs), fmt::format("{:.2e}", r.mean_abs),
               fmt::format("{:.2e}", r.rms), r.to_reference >= 0 ? fmt::format("{:.2g}", r.to_reference) : "", worst.name,
               fmt::format("{:.2e}", worst.mean_abs), fmt::format("{:.2e}", worst.max_abs)});
  }
  fmt::print("{}\n", table.str());
  for (const models::AccuracyRow& r : report.rows)
    if (!r.max_where.empty()) fmt::print("max error of {}: {}\n", r.name, r.max_where);
}

struct Accuracy {
  std::string checkpoint;
  std::vector<std::string> recordings;
  std::vector<std::string> precisions;  // none: all, or that of a packed file
  bool json = false;
  ContextFlags context;
  CheckpointFlags flags;

  int run() const {
    Context ctx(context.options());
    models::PolicyOptions options = flags.options();
    auto progress = std::make_unique<ProgressLine>();
    options.progress = [&](std::string_view what, double share) { (*progress)(what, share); };
    std::vector<std::filesystem::path> paths(recordings.begin(), recordings.end());
    if (paths.empty()) paths.emplace_back(recordings_of(checkpoint));
    std::vector<models::Precision> asked;
    std::error_code ignored;
    const bool packed = std::filesystem::is_regular_file(checkpoint, ignored);
    if (precisions.empty() && packed) {
      models::PolicyOptions glance = flags.options();
      glance.skip_checksums = true;  // loading looks at all of the file
      asked = {models::inspect_checkpoint(checkpoint, glance).packed->precision};
    }
    if (precisions.empty() && !packed) asked = {models::Precision::f32, models::Precision::bf16, models::Precision::int8};
    for (const std::string& word : precisions)
      if (const models::Precision p = *parse_precision(word); std::ranges::find(asked, p) == asked.end()) asked.push_back(p);
    const models::AccuracyReport report = models::accuracy(ctx, checkpoint, paths, asked, options);
    progress.reset();
    for (const std::string& note : report.notes) fmt::print(stderr, "tessera: note: {}\n", note);
    if (json)
      fmt::print("{}\n", report_json(report).dump());
    else
      print_report(report);
    return 0;
  }
};

}  // namespace

void add_accuracy(CLI::App& app, Command& chosen) {
  auto accuracy = std::make_shared<Accuracy>();
  CLI::App* command = app.add_subcommand("accuracy", "What each precision costs: errors of the final actions against recordings of the reference");
  command->add_option("checkpoint", accuracy->checkpoint, "LeRobot or openpi checkpoint folder, or a packed file (tessera pack)")->required();
  command->add_option("recordings", accuracy->recordings,
                      "io.safetensors, policy_io.safetensors, recordings of an index, or folders (default: the checkpoint's)");
  command->add_option("--precision", accuracy->precisions, "Precisions to bill, separated by commas (default: f32,bf16,int8; a packed file's own)")
      ->delimiter(',')
      ->check(CLI::IsMember({"f32", "bf16", "int8"}))
      ->allow_extra_args(false)
      ->group("Checkpoint");
  command->add_flag("--json", accuracy->json, "Print JSON, with every dimension");
  accuracy->flags.add(*command, false);
  accuracy->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera accuracy CHECKPOINT\n"
      "  tessera accuracy CHECKPOINT observations/ --precision bf16,int8\n"
      "  tessera accuracy CHECKPOINT monday/ tuesday/policy_io.safetensors --json\n"
      "\nErrors are distances from the reference's f32 run, in the robot's own units; the last line is the reference's own bf16 run where the\n"
      "recordings have one. The worst dimension is the one with the largest mean error. tessera verify judges; this command only measures.");
  command->callback([accuracy, &chosen] { chosen = [accuracy] { return accuracy->run(); }; });
}

}  // namespace tessera::cli
