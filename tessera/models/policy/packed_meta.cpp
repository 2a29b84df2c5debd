// The meta object of a packed checkpoint as JSON and back.
#include <fmt/core.h>

#include <charconv>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/io/quote.h"
#include "tessera/models/policy/packed_checkpoint.h"

namespace tessera::models {
namespace {

constexpr std::string_view kKind = "pi0 policy";

DType read_dtype(const io::Json& json) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i8})
    if (json.string() == name(dtype)) return dtype;
  fail_expected(json.where(), "float32, bfloat16, float16 or int8", io::in_quotes(json.string()));
}

Precision read_precision(const io::Json& json) {
  for (const Precision precision : {Precision::f32, Precision::bf16, Precision::int8})
    if (json.string() == name(precision)) return precision;
  fail_expected(json.where(), "f32, bf16 or int8", io::in_quotes(json.string()));
}

io::Json strings_json(const std::vector<std::string>& words) {
  io::Json::Array array;
  for (const std::string& word : words) array.emplace_back(word);
  return array;
}

io::Json catalogue_json(const Catalogue& c) {
  io::Json::Array tensors;
  for (const auto& [name, info] : c.tensors) {
    io::Json::Array shape;
    for (const std::int64_t size : info.shape.sizes()) shape.emplace_back(size);
    io::Json::Object entry;
    entry.emplace_back("name", name);
    entry.emplace_back("dtype", tessera::name(info.dtype));
    entry.emplace_back("shape", std::move(shape));
    if (info.stored_name != name) entry.emplace_back("stored", info.stored_name);
    tensors.emplace_back(std::move(entry));
  }
  io::Json::Object types;
  for (const auto& [type, count] : c.stored_types) types.emplace_back(type, count);
  io::Json json;
  json.set("pi05", c.pi05).set("parameters", c.parameters).set("stored_types", std::move(types));
  json.set("model_prefix", c.traits.model_prefix).set("flat_siglip", c.traits.flat_siglip);
  json.set("early_lerobot", c.traits.early_lerobot).set("transformers", c.traits.transformers);
  json.set("foreign", strings_json(c.foreign)).set("notes", strings_json(c.notes)).set("tensors", std::move(tensors));
  return json;
}

Catalogue read_catalogue(const io::Json& json) {
  Catalogue c;
  c.pi05 = json.at("pi05").boolean();
  c.parameters = json.at("parameters").integer(0);
  for (const auto& [type, count] : json.at("stored_types").object()) c.stored_types[type] = count.integer(0);
  c.traits.model_prefix = json.at("model_prefix").boolean();
  c.traits.flat_siglip = json.at("flat_siglip").boolean();
  c.traits.early_lerobot = json.at("early_lerobot").boolean();
  c.traits.transformers = json.at("transformers").boolean();
  c.foreign = json.at("foreign").strings();
  c.notes = json.at("notes").strings();
  for (const io::Json& entry : json.at("tensors").array()) {
    WeightInfo info;
    std::vector<std::int64_t> sizes;
    for (const io::Json& size : entry.at("shape").array()) sizes.push_back(size.integer(0));
    info.shape = Shape(sizes);
    info.dtype = read_dtype(entry.at("dtype"));
    if (info.dtype == DType::i8) fail_expected(entry.at("dtype").where(), "float32, bfloat16 or float16", "int8");
    const std::string& name = entry.at("name").string();
    const io::Json* stored = entry.find("stored");
    info.stored_name = stored == nullptr ? name : stored->string();
    if (!c.tensors.emplace(name, std::move(info)).second) fail_expected(entry.where(), "different names of tensors", io::in_quotes(name) + " twice");
  }
  return c;
}

}  // namespace

io::Json PackedMeta::json() const {
  io::Json::Array list;
  for (const PackedRow& row : rows) {
    io::Json entry;
    entry.set("name", row.name).set("dtype", tessera::name(row.dtype)).set("layout", fmt::format("{:016x}", row.layout));
    list.push_back(std::move(entry));
  }
  io::Json options;
  options.set("robot", robot).set("allow_nonfinite", allow_nonfinite).set("padded_state_prompt", padded_state_prompt);
  options.set("any_prompt", any_prompt).set("legacy_resize", legacy_resize);
  if (schedule) options.set("time_schedule", name(*schedule));
  io::Json json;
  json.set("kind", kKind).set("made_by", made_by).set("source", source).set("family", catalogue.pi05 ? "pi05" : "pi0");
  json.set("precision", name(precision)).set("rows", std::move(list)).set("options", std::move(options)).set("catalogue", catalogue_json(catalogue));
  return json;
}

PackedMeta PackedMeta::read(const io::Json& json) {
  const io::Json& kind = json.at("kind");
  if (kind.string() != kKind) fail_expected(kind.where(), fmt::format("\"{}\"", kKind), io::in_quotes(kind.string()));
  PackedMeta meta;
  meta.made_by = io::printable(json.at("made_by").string());
  meta.source = io::printable(json.at("source").string());
  meta.precision = read_precision(json.at("precision"));
  for (const io::Json& entry : json.at("rows").array()) {
    PackedRow row;
    row.name = entry.at("name").string();
    row.dtype = read_dtype(entry.at("dtype"));
    const std::string& layout = entry.at("layout").string();
    const auto [end, error] = std::from_chars(layout.data(), layout.data() + layout.size(), row.layout, 16);
    if (error != std::errc() || end != layout.data() + layout.size())
      fail_expected(entry.at("layout").where(), "a hexadecimal number", io::in_quotes(layout));
    meta.rows.push_back(std::move(row));
  }
  const io::Json& options = json.at("options");
  meta.robot = options.at("robot").string();
  meta.allow_nonfinite = options.at("allow_nonfinite").boolean();
  meta.padded_state_prompt = options.at("padded_state_prompt").boolean();
  meta.any_prompt = options.at("any_prompt").boolean();
  meta.legacy_resize = options.at("legacy_resize").boolean();
  if (const io::Json* schedule = options.find("time_schedule")) {
    for (const TimeSchedule s : {TimeSchedule::exact, TimeSchedule::accumulated})
      if (schedule->string() == name(s)) meta.schedule = s;
    if (!meta.schedule) fail_expected(schedule->where(), "exact or accumulated", io::in_quotes(schedule->string()));
  }
  meta.catalogue = read_catalogue(json.at("catalogue"));
  return meta;
}

}  // namespace tessera::models
