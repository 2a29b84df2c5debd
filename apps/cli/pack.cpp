// tessera pack: a checkpoint folder as one file that is mapped and used where it lies.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "apps/cli/values.h"
#include "tessera/io/json.h"
#include "tessera/models/policy/pack.h"

namespace tessera::cli {
namespace {

io::Json report_json(const std::string& out, const models::PackedContents& c, double seconds) {
  io::Json::Array rows;
  for (const auto& row : c.rows) {
    io::Json entry;
    entry.set("row", row.name).set("weights", row.count).set("bytes", static_cast<std::int64_t>(row.bytes));
    rows.push_back(std::move(entry));
  }
  io::Json json;
  json.set("path", out).set("precision", models::name(c.precision)).set("rows", std::move(rows));
  json.set("token_table_bytes", static_cast<std::int64_t>(c.table_bytes)).set("tensor_bytes", static_cast<std::int64_t>(c.tensor_bytes));
  json.set("file_bytes", static_cast<std::int64_t>(c.file_bytes)).set("bytes", static_cast<std::int64_t>(c.bytes)).set("seconds", seconds);
  return json;
}

void print_report(const std::string& out, const models::PackedContents& c, double seconds) {
  Table table({{"what", Align::left}, {"", Align::right}, {"size", Align::right}});
  const auto add = [&](const std::string& what, const std::string& count, std::size_t bytes) {
    table.add({what, count, bytes_text(static_cast<double>(bytes))});
  };
  for (const auto& row : c.rows) add("weights for " + row.name, std::to_string(row.count), row.bytes);
  add("token table", "", c.table_bytes);
  add("other tensors", "", c.tensor_bytes);
  add("carried files", std::to_string(c.files.size()), c.file_bytes);
  table.rule();
  add("the file", "", c.bytes);
  fmt::print("{}\npacked {} in {} precision into {} in {:.1f} s\n", table.str(), c.source, models::name(c.precision), out, seconds);
}

struct Pack {
  std::string checkpoint;
  std::string out;
  bool force = false;
  bool json = false;
  ContextFlags context;
  CheckpointFlags flags;

  int run() const {
    check_folder("OUT", out);
    const auto start = std::chrono::steady_clock::now();
    Context ctx(context.options());
    models::PolicyOptions options = flags.options();
    auto progress = std::make_unique<ProgressLine>();
    options.progress = [&](std::string_view what, double share) { (*progress)(what, share); };
    const models::PackReport report = models::pack_checkpoint(ctx, checkpoint, out, options, force);
    progress.reset();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const std::string& warning : report.warnings) fmt::print(stderr, "tessera: note: {}\n", warning);
    if (json)
      fmt::print("{}\n", report_json(out, report.contents, seconds).dump());
    else
      print_report(out, report.contents, seconds);
    return 0;
  }
};

}  // namespace

void add_pack(CLI::App& app, Command& chosen) {
  auto pack = std::make_shared<Pack>();
  CLI::App* command = app.add_subcommand("pack", "One file that loads in seconds and that processes share: weights laid out for this machine");
  command->add_option("checkpoint", pack->checkpoint, "LeRobot or openpi checkpoint folder")->required();
  command->add_option("out", pack->out, "The file to write, e.g. policy.tessera")->required();
  command->add_flag("--force", pack->force, "Replace the file when it is there");
  command->add_flag("--json", pack->json, "Print JSON");
  pack->flags.add(*command, true, false);
  pack->context.add(*command);
  command->footer(
      "Examples:\n"
      "  tessera pack CHECKPOINT policy.tessera\n"
      "  tessera pack CHECKPOINT policy.tessera --precision int8 --force\n"
      "  tessera pack pi05_droid/ droid.tessera --robot pi05_droid --tokenizer paligemma_tokenizer.model --precision bf16\n"
      "  tessera act policy.tessera --image scene=scene.png --state \"0.1,0.4,0.2,1\" --prompt \"open the faucet\"\n"
      "\nact, inspect, verify and bench take the file in place of the folder and need nothing beside it: the options given here are remembered.\n"
      "The weights are laid out for the kernel rows of this machine; another kind of machine refuses the file and needs its own.");
  command->callback([pack, &chosen] { chosen = [pack] { return pack->run(); }; });
}

}  // namespace tessera::cli
