// tessera inspect: what a checkpoint is, before anything is run.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands.h"
#include "apps/cli/options.h"
#include "apps/cli/terminal.h"
#include "tessera/io/json.h"
#include "tessera/io/quote.h"

namespace tessera::cli {
namespace {

io::Json strings_json(const std::vector<std::string>& words) {
  io::Json::Array array;
  for (const std::string& w : words) array.emplace_back(w);
  return array;
}

io::Json gemma_json(const models::GemmaConfig& g) {
  io::Json json;
  json.set("width", g.width).set("depth", g.depth).set("mlp", g.mlp).set("heads", g.heads).set("kv_heads", g.kv_heads).set("head_dim", g.head_dim);
  return json;
}

io::Json packed_json(const models::PackedContents& p) {
  io::Json::Array rows;
  for (const auto& row : p.rows) {
    io::Json entry;
    entry.set("row", row.name).set("weights", row.count).set("bytes", static_cast<std::int64_t>(row.bytes)).set("runs_here", row.missing.empty());
    rows.push_back(std::move(entry));
  }
  io::Json json;
  json.set("made_by", p.made_by).set("source", p.source).set("precision", models::name(p.precision)).set("allow_nonfinite", p.allow_nonfinite);
  json.set("rows", std::move(rows)).set("token_table_bytes", static_cast<std::int64_t>(p.table_bytes));
  json.set("tensor_bytes", static_cast<std::int64_t>(p.tensor_bytes)).set("file_bytes", static_cast<std::int64_t>(p.file_bytes));
  json.set("files", strings_json(p.files)).set("bytes", static_cast<std::int64_t>(p.bytes));
  return json;
}

io::Json report_json(const models::CheckpointReport& r) {
  const models::Pi0Config& c = r.config;
  io::Json vision;
  vision.set("hidden", c.vision.hidden).set("layers", c.vision.layers).set("heads", c.vision.heads).set("mlp", c.vision.mlp);
  vision.set("image", c.vision.image).set("patch", c.vision.patch).set("positions", c.vision.positions);
  io::Json json;
  json.set("path", r.path).set("family", c.pi05 ? "pi0.5" : "pi0").set("format", r.format).set("names", r.names_variant);
  json.set("sizes_from", r.config_source).set("vision", std::move(vision)).set("vlm", gemma_json(c.vlm)).set("expert", gemma_json(c.expert));
  json.set("vocab", c.vocab).set("chunk", c.chunk).set("steps", c.num_steps).set("time_schedule", models::name(c.schedule));
  json.set("max_prompt_tokens", c.max_prompt_tokens).set("parameters", r.parameters).set("hot_parameters", r.hot_parameters);
  io::Json dtypes;
  for (const auto& [name, count] : r.stored_dtypes) dtypes.set(name, count);
  io::Json memory;
  for (const auto& [name, bytes] : r.memory) memory.set(name, static_cast<std::int64_t>(bytes));
  json.set("stored_dtypes", std::move(dtypes)).set("memory_bytes", std::move(memory));
  io::Json::Array cameras;
  for (const models::CameraSlot& slot : r.cameras) {
    io::Json camera;
    camera.set("name", slot.name).set("aliases", strings_json(slot.aliases)).set("required", slot.required).set("always_absent", slot.always_absent);
    cameras.push_back(std::move(camera));
  }
  json.set("cameras", std::move(cameras)).set("state_dim", r.state_dim).set("action_dim", r.action_dim);
  json.set("state_normalisation", r.state_norm).set("action_normalisation", r.action_norm).set("robot", r.robot).set("tokenizer", r.tokenizer);
  if (r.int8_exceptions) {
    io::Json::Array kept;
    for (const models::Int8Exception& e : *r.int8_exceptions) {
      io::Json one;
      one.set("name", e.name).set("error", e.error);
      kept.push_back(std::move(one));
    }
    json.set("int8_kept_in_bf16", std::move(kept));
  }
  json.set("missing", strings_json(r.missing))
      .set("misshapen", strings_json(r.misshapen))
      .set("unused", strings_json(r.unused))
      .set("notes", strings_json(r.notes))
      .set("errors", strings_json(r.errors));
  if (r.packed) json.set("packed", packed_json(*r.packed));
  return json;
}

void print_list(const char* title, const std::vector<std::string>& words, bool trouble) {
  if (words.empty()) return;
  const std::string head = fmt::format("{} ({})", title, words.size());
  fmt::print("\n{}\n", trouble ? bad(head) : head);
  for (const std::string& w : words) fmt::print("  {}\n", io::printable(w, 4096));
}

std::string gemma_text(const models::GemmaConfig& g) {
  return fmt::format("width {}, depth {}, mlp {}, {} heads, {} kv head{}, head_dim {}", g.width, g.depth, g.mlp, g.heads, g.kv_heads,
                     g.kv_heads == 1 ? "" : "s", g.head_dim);
}

void print_exceptions(const std::vector<models::Int8Exception>& all) {
  std::vector<std::string> lines;
  for (const models::Int8Exception& e : all) lines.push_back(fmt::format("{:5.1f} %  {}", 100 * e.error, e.name));
  print_list("matrices that int8 keeps in bf16, and what it would lose of their weights", lines, false);
  if (lines.empty())
    fmt::print("\nint8 takes every matrix of the blocks: none would lose more than {:.0f} % of its weights\n", 100 * models::kMostInt8Error);
}

void add_packed(Table& table, const models::PackedContents& p) {
  const auto size = [](std::size_t bytes) { return bytes_text(static_cast<double>(bytes)); };
  table.add({"packed", fmt::format("{} from {} by {}, {}{}", models::name(p.precision), p.source, p.made_by, size(p.bytes),
                                   p.allow_nonfinite ? ", weights not checked for NaN" : "")});
  for (const auto& row : p.rows)
    table.add({"for " + row.name, fmt::format("{} weights, {}{}", row.count, size(row.bytes),
                                              row.missing.empty() ? std::string() : " (cannot run here: " + row.missing + ")")});
  table.add({"not packed", fmt::format("token table {}, other tensors {}, {} files {}", size(p.table_bytes), size(p.tensor_bytes), p.files.size(),
                                       size(p.file_bytes))});
}

void print_report(const models::CheckpointReport& r) {
  const models::Pi0Config& c = r.config;
  Table table({{"what", Align::left}, {"value", Align::left}});
  table.add({"family", c.pi05 ? "pi0.5" : "pi0"});
  table.add({"format", fmt::format("{}, {}", r.format, r.names_variant)});
  table.add({"sizes from", r.config_source});
  table.add(
      {"vision", fmt::format("SigLIP width {}, {} layers, mlp {}, {} heads, picture {}x{}, patch {}, {} tokens", c.vision.hidden, c.vision.layers,
                             c.vision.mlp, c.vision.heads, c.vision.image, c.vision.image, c.vision.patch, c.vision.patches())});
  table.add({"vlm", "Gemma " + gemma_text(c.vlm)});
  table.add({"expert", "Gemma " + gemma_text(c.expert)});
  table.add({"chunk", fmt::format("{} actions x {} (robot: {}), {} Euler steps, time {}", c.chunk, c.action_dim, r.action_dim, c.num_steps,
                                  models::name(c.schedule))});
  table.add({"state", fmt::format("{} (robot: {}), {}", c.state_dim, r.state_dim, r.state_norm)});
  table.add({"actions", r.action_norm});
  table.add({"prompt", fmt::format("at most {} tokens of {}", c.max_prompt_tokens, c.vocab)});
  table.add({"tokenizer", r.tokenizer});
  if (!r.robot.empty()) table.add({"robot", r.robot});
  std::string dtypes;
  for (const auto& [name, count] : r.stored_dtypes) dtypes += fmt::format("{}{} x {}", dtypes.empty() ? "" : ", ", count, io::printable(name));
  table.add({"stored", dtypes});
  table.add({"parameters", fmt::format("{:.4g} M in the file, {:.4g} M multiplied with", static_cast<double>(r.parameters) / 1e6,
                                       static_cast<double>(r.hot_parameters) / 1e6)});
  for (const auto& [name, bytes] : r.memory) table.add({"memory, " + name, bytes_text(static_cast<double>(bytes))});
  if (r.packed) add_packed(table, *r.packed);
  fmt::print("{}\n{}", r.path, table.str());
  Table cameras({{"camera", Align::left}, {"also called", Align::left}, {"", Align::left}});
  for (const models::CameraSlot& slot : r.cameras) {
    std::string aliases;
    for (const std::string& a : slot.aliases) aliases += (aliases.empty() ? "" : ", ") + a;
    cameras.add({slot.name, aliases, slot.always_absent ? "always absent" : slot.required ? "required" : ""});
  }
  fmt::print("\n{}", cameras.str());
  if (r.int8_exceptions) print_exceptions(*r.int8_exceptions);
  print_list("notes", r.notes, false);
  print_list("missing", r.missing, true);
  print_list("misshapen", r.misshapen, true);
  print_list("unused", r.unused, false);
  print_list("act would refuse this checkpoint", r.errors, true);
}

struct Inspect {
  std::string checkpoint;
  bool json = false;
  CheckpointFlags flags;

  int run() const {
    const models::CheckpointReport report = models::inspect_checkpoint(checkpoint, flags.options());
    if (json)
      fmt::print("{}\n", report_json(report).dump());
    else
      print_report(report);
    return report.missing.empty() && report.misshapen.empty() && report.errors.empty() ? 0 : 1;
  }
};

}  // namespace

void add_inspect(CLI::App& app, Command& chosen) {
  auto inspect = std::make_shared<Inspect>();
  CLI::App* command =
      app.add_subcommand("inspect", "What a checkpoint is: family, sizes, memory, cameras, normalisation, missing and unused tensors");
  command->add_option("checkpoint", inspect->checkpoint, "LeRobot or openpi checkpoint folder, or a packed file (tessera pack)")->required();
  command->add_flag("--json", inspect->json, "Print JSON");
  inspect->flags.add(*command);
  command->footer(
      "Examples:\n  tessera inspect CHECKPOINT\n  tessera inspect CHECKPOINT --precision int8   which matrices int8 would keep in bf16\n  tessera "
      "inspect pi05_droid/ --robot pi05_droid --json\n\nExit status 1 when tensors are missing or "
      "misshapen.");
  command->callback([inspect, &chosen] { chosen = [inspect] { return inspect->run(); }; });
}

}  // namespace tessera::cli
