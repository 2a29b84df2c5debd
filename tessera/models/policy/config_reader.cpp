#include "tessera/models/policy/config_reader.h"

#include <fmt/core.h>

#include <cmath>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

const std::string kTower = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.";
const std::string kVlm = "paligemma_with_expert.paligemma.model.language_model.";
const std::string kExpert = "paligemma_with_expert.gemma_expert.model.";
constexpr std::int64_t kMost = 1 << 20;

class Reader {
 public:
  Reader(const io::Json& json, const CheckpointSource& source, std::string file) : json_(json), source_(source), file_(std::move(file)) {}

  /// Size of dimension `dim` of a tensor; missing tensors are all reported later, so they count as 1 here.
  std::int64_t dim(const std::string& name, std::int64_t dim) const {
    const auto found = source_.tensors().find(name);
    if (found == source_.tensors().end()) return 1;
    const Shape& shape = found->second.shape;
    if (static_cast<std::int64_t>(shape.rank()) <= dim)
      fail_expected(source_.where(), fmt::format("tensor '{}' of rank {} or more", found->second.stored_name, dim + 1), shape.str());
    return shape[dim];
  }
  bool has(const std::string& name) const { return source_.tensors().contains(name); }
  std::int64_t layers(const std::string& prefix, const std::string& suffix) const {
    std::int64_t n = 0;
    while (n < 4096 && has(prefix + std::to_string(n) + suffix)) ++n;
    return n;
  }

  const io::Json* object(std::string_view key) const {
    const io::Json* value = json_.find(key);
    if (value != nullptr) value->object();
    return value;
  }
  /// A size from config.json; `fallback` when the key is not there.
  static std::int64_t size(const io::Json* object, std::string_view key, std::int64_t fallback, std::int64_t most = kMost) {
    const io::Json* value = object == nullptr ? nullptr : object->find(key);
    return value == nullptr ? fallback : value->integer(1, most);
  }
  static double positive(const io::Json* object, std::string_view key, double fallback) {
    const io::Json* value = object == nullptr ? nullptr : object->find(key);
    if (value == nullptr) return fallback;
    const double v = value->number();
    if (!(v > 0) || !std::isfinite(v)) fail_expected(value->where(), "a number above 0", fmt::format("{}", v));
    return v;
  }
  /// A size that tensors tell; config.json must agree where it names it.
  std::int64_t agreed(const io::Json* object, std::string_view key, std::int64_t from_tensors) const {
    const std::int64_t named = size(object, key, from_tensors, std::int64_t{1} << 40);
    if (named != from_tensors) fail_expected(object->find(key)->where(), fmt::format("{}, as the tensors say", from_tensors), std::to_string(named));
    return from_tensors;
  }
  const std::string& file() const { return file_; }

 private:
  const io::Json& json_;
  const CheckpointSource& source_;
  std::string file_;
};

VisionConfig read_vision(const Reader& r, const io::Json& json, std::string& source) {
  const io::Json* named = r.object("vision");
  VisionConfig v;
  v.hidden = r.agreed(named, "hidden", r.dim(kTower + "embeddings.patch_embedding.weight", 0));
  v.patch = r.agreed(named, "patch", r.dim(kTower + "embeddings.patch_embedding.weight", 2));
  v.positions = r.dim(kTower + "embeddings.position_embedding.weight", 0);
  v.layers = r.agreed(named, "layers", std::max<std::int64_t>(1, r.layers(kTower + "encoder.layers.", ".layer_norm1.weight")));
  v.mlp = r.agreed(named, "mlp", r.dim(kTower + "encoder.layers.0.mlp.fc1.weight", 0));
  v.ln_eps = static_cast<float>(Reader::positive(named, "ln_eps", 1e-6));
  if (named != nullptr && named->has("heads")) {
    v.heads = Reader::size(named, "heads", 1);
  } else if (v.hidden == 1152) {
    v.heads = 16;
    source += "SigLIP So400m/14 (16 heads)";
  } else {
    fail_expected(r.file(), fmt::format("\"vision\": {{\"heads\": N}} for a tower of width {}", v.hidden), "no such key",
                  "tensors cannot tell the number of heads");
  }
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(v.positions))));
  v.image = Reader::size(named, "image", side * v.patch, 1 << 14);
  if (const io::Json* resolution = json.find("image_resolution")) {
    if (resolution->array().size() != 2) fail_expected(resolution->where(), "[height, width]", fmt::format("{} numbers", resolution->array().size()));
    const std::int64_t height = resolution->array()[0].integer(1, 1 << 14);
    const std::int64_t width = resolution->array()[1].integer(1, 1 << 14);
    if (height != width) fail_expected(resolution->where(), "a square picture", fmt::format("{} x {}", height, width));
    v.image = height;
  }
  return v;
}

GemmaConfig read_gemma(const Reader& r, const io::Json& json, const std::string& key, const std::string& prefix, const char* variant_key,
                       std::string& source) {
  const io::Json* named = r.object(key);
  const std::string layer = prefix + "layers.0.";
  GemmaConfig g;
  g.width = r.agreed(named, "width", r.dim(layer + "self_attn.k_proj.weight", 1));
  g.depth = r.agreed(named, "depth", std::max<std::int64_t>(1, r.layers(prefix + "layers.", ".self_attn.k_proj.weight")));
  g.mlp = r.agreed(named, "mlp", r.dim(layer + "mlp.gate_proj.weight", 0));
  if (named != nullptr && named->has("heads") && named->has("kv_heads") && named->has("head_dim")) {
    g.heads = Reader::size(named, "heads", 1);
    g.kv_heads = Reader::size(named, "kv_heads", 1);
    g.head_dim = Reader::size(named, "head_dim", 1);
  } else {
    const io::Json* variant = json.find(variant_key);
    if (variant == nullptr)
      fail_expected(r.file(), fmt::format("\"{}\" with heads, kv_heads and head_dim, or \"{}\"", key, variant_key), "neither",
                    "tensors cannot tell the number of heads");
    std::string name = variant->string();
    if (name.ends_with("_lora")) name.resize(name.size() - 5);
    if (name == "gemma_2b" || name == "gemma_300m" || name == "gemma_2b_lora")
      g.heads = 8, g.kv_heads = 1, g.head_dim = 256;
    else if (name == "dummy")
      g.heads = 8, g.kv_heads = 1, g.head_dim = 16;
    else
      fail_expected(variant->where(), "gemma_2b, gemma_300m or dummy", "'" + name + "'");
    source += fmt::format("{}{}: {} ({} heads of {})", source.empty() ? "" : ", ", key, name, g.heads, g.head_dim);
  }
  const auto check = [&](const char* projection, std::int64_t heads) {
    const std::string tensor = layer + projection;
    if (r.has(tensor) && r.dim(tensor, 0) != heads * g.head_dim)
      fail_expected(r.file(), fmt::format("{} heads x head_dim = {}, the rows of {}", key, r.dim(tensor, 0), tensor),
                    fmt::format("{} x {}", heads, g.head_dim));
  };
  check("self_attn.q_proj.weight", g.heads);
  check("self_attn.k_proj.weight", g.kv_heads);
  return g;
}

void refuse_flag(const io::Json& json, std::string_view key) {
  const io::Json* value = json.find(key);
  if (value != nullptr && value->kind() == io::Json::Kind::boolean && value->boolean()) fail(value->where(), "this engine does not have that option");
}

}  // namespace

CheckpointConfig read_config(const std::filesystem::path& folder, const CheckpointSource& source) {
  const std::filesystem::path file = folder / "config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) fail_expected(folder.string(), "a checkpoint folder with config.json", "none");
  CheckpointConfig c;
  c.json = io::Json::read(file);
  const io::Json& json = c.json;
  json.object();
  const Reader r(json, source, file.string());

  if (const io::Json* type = json.find("type")) {
    const std::string& word = type->string();
    if (word != "pi0" && word != "pi05") fail_expected(type->where(), "\"pi0\" or \"pi05\"", "\"" + word + "\"");
  }
  for (const char* key : {"use_visual_memory", "use_proprioceptive_memory", "use_peft"}) refuse_flag(json, key);
  c.lerobot =
      json.has("input_features") || json.has("normalization_mapping") || std::filesystem::exists(folder / "policy_preprocessor.json", ignored);

  Pi0Config& m = c.model;
  m.pi05 = source.pi05();
  m.vision = read_vision(r, json, c.source);
  m.vlm = read_gemma(r, json, "vlm", kVlm, "paligemma_variant", c.source);
  m.expert = read_gemma(r, json, "expert", kExpert, "action_expert_variant", c.source);
  if (c.source.empty()) c.source = "config.json";
  m.vocab = r.agreed(&json, "vocab", r.dim(std::string(kEmbedTokens), 0));
  m.action_dim = r.dim("action_in_proj.weight", 1);
  for (const char* key : {"action_dim", "max_action_dim"}) r.agreed(&json, key, m.action_dim);
  m.state_dim = m.pi05 ? Reader::size(&json, "max_state_dim", Reader::size(&json, "state_dim", 32, 1 << 16), 1 << 16) : r.dim("state_proj.weight", 1);
  if (!m.pi05)
    for (const char* key : {"state_dim", "max_state_dim"}) r.agreed(&json, key, m.state_dim);
  c.chunk_given = json.has("chunk_size") || json.has("action_horizon");
  m.chunk = Reader::size(&json, "chunk_size", Reader::size(&json, "action_horizon", 50, 1 << 16), 1 << 16);
  m.num_steps = static_cast<int>(Reader::size(&json, "num_inference_steps", Reader::size(&json, "num_steps", 10, 1000), 1000));
  c.prompt_length_given = json.has("tokenizer_max_length");
  m.max_prompt_tokens = Reader::size(&json, "tokenizer_max_length", m.pi05 ? 200 : 48, 1 << 16);
  m.min_period = Reader::positive(&json, "min_period", 4e-3);
  m.max_period = Reader::positive(&json, "max_period", 4.0);
  m.rope_theta = static_cast<float>(Reader::positive(&json, "rope_theta", 10000.0));
  m.rms_eps = static_cast<float>(Reader::positive(&json, "rms_eps", 1e-6));
  m.schedule = c.lerobot ? TimeSchedule::exact : TimeSchedule::accumulated;
  m.embed_scale_in_table_dtype = c.lerobot;

  for (const char* key : {"dtype", "precision"}) {
    const io::Json* value = json.find(key);
    if (value == nullptr || c.precision) continue;
    if (value->string() == "bfloat16")
      c.precision = Precision::bf16;
    else if (value->string() == "float32")
      c.precision = Precision::f32;
    else
      fail_expected(value->where(), "\"float32\" or \"bfloat16\"", "\"" + value->string() + "\"");
  }
  return c;
}

}  // namespace tessera::models
