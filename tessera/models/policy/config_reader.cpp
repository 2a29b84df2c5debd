#include "tessera/models/policy/config_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <utility>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

const std::string kTower = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.";
const std::string kProjector = "paligemma_with_expert.paligemma.model.multi_modal_projector.linear.weight";
const std::string kVlm = "paligemma_with_expert.paligemma.model.language_model.";
const std::string kExpert = "paligemma_with_expert.gemma_expert.model.";

// No policy comes near these. A file that asks for more would take hours or all of the memory.
constexpr std::int64_t kMostHeads = 1 << 12;
constexpr std::int64_t kMostLayers = 1024;
constexpr std::int64_t kMostImage = 2048;
constexpr std::int64_t kMostChunk = 4096;
constexpr std::int64_t kMostPromptTokens = 4096;
constexpr std::int64_t kMostState = 1 << 16;
constexpr std::int64_t kMostSteps = 1000;
constexpr std::int64_t kAnySize = std::int64_t{1} << 40;

class Reader {
 public:
  Reader(const io::Json& json, const CheckpointSource& source, std::string file) : json_(json), source_(source), file_(std::move(file)) {}

  /// A size that several tensors show: the first that is there tells it. 0 when none is: they are all reported as missing later.
  std::int64_t dim(std::initializer_list<std::pair<std::string, std::size_t>> places) const {
    for (const auto& [name, dim] : places) {
      const auto found = source_.tensors().find(name);
      if (found == source_.tensors().end()) continue;
      const Shape& shape = found->second.shape;
      if (shape.rank() <= dim)
        fail_expected(source_.where(), fmt::format("tensor '{}' of rank {} or more", found->second.stored_name, dim + 1), shape.str());
      return shape[static_cast<std::int64_t>(dim)];
    }
    return 0;
  }
  /// One more than the highest number that follows `prefix` in a tensor's name; a layer that is missing in between is reported as missing.
  std::int64_t layers(const std::string& prefix) const {
    std::int64_t count = 0;
    for (auto it = source_.tensors().lower_bound(prefix); it != source_.tensors().end() && it->first.starts_with(prefix); ++it) {
      std::int64_t number = 0;
      const char* from = it->first.data() + prefix.size();
      const char* to = it->first.data() + it->first.size();
      const auto [end, error] = std::from_chars(from, to, number);
      if (error != std::errc() || end == to || *end != '.' || number < 0) continue;
      if (number >= kMostLayers) fail_expected(source_.where(), fmt::format("at most {} layers", kMostLayers), it->second.stored_name);
      count = std::max(count, number + 1);
    }
    return count;
  }

  /// An object of config.json; null pointer when it is not there.
  const io::Json* object(std::string_view key, const io::Json* in = nullptr) const {
    const io::Json* value = (in == nullptr ? json_ : *in).find(key);
    if (value != nullptr) value->object();
    return value;
  }
  /// The keys that may name one size: they must agree with each other. `fallback` when none is there.
  std::int64_t size(const io::Json* object, std::initializer_list<std::string_view> keys, std::int64_t fallback, std::int64_t most) const {
    const io::Json* first = nullptr;
    std::int64_t size = fallback;
    for (const std::string_view key : keys) {
      const io::Json* value = object == nullptr ? nullptr : object->find(key);
      if (value == nullptr) continue;
      const std::int64_t here = value->integer(1, most);
      if (first != nullptr && here != size) fail_expected(value->where(), fmt::format("{}, as {}", size, first->where()), std::to_string(here));
      size = here;
      first = value;
    }
    return size;
  }
  std::int64_t size(std::initializer_list<std::string_view> keys, std::int64_t fallback, std::int64_t most) const {
    return size(&json_, keys, fallback, most);
  }
  /// A size that tensors tell; config.json must agree where it names it.
  std::int64_t agreed(const io::Json* object, std::initializer_list<std::string_view> keys, std::int64_t from_tensors) const {
    if (from_tensors == 0) return size(object, keys, 1, kAnySize);
    for (const std::string_view key : keys) {
      const std::int64_t named = size(object, {key}, from_tensors, kAnySize);
      if (named != from_tensors)
        fail_expected(object->find(key)->where(), fmt::format("{}, as the tensors say", from_tensors), std::to_string(named));
    }
    return from_tensors;
  }
  double positive(const io::Json* object, std::string_view key, double fallback) const {
    const io::Json* value = object == nullptr ? nullptr : object->find(key);
    if (value == nullptr) return fallback;
    const double v = value->number();
    if (!(v > 0) || !std::isfinite(static_cast<float>(v)) || static_cast<float>(v) == 0.0f)
      fail_expected(value->where(), "a number above 0", fmt::format("{}", v));
    return v;
  }
  const io::Json& json() const { return json_; }
  const std::string& file() const { return file_; }

 private:
  const io::Json& json_;
  const CheckpointSource& source_;
  std::string file_;
};

/// Pixels per side that pictures are brought to.
std::int64_t read_image_size(const Reader& r, const io::Json* named, std::int64_t from_table) {
  std::int64_t image = r.size(named, {"image", "image_size"}, 0, kMostImage);
  const char* const keys[] = {"image_resolution", "resize_imgs_with_padding"};
  for (const char* key : keys) {
    const io::Json* resolution = r.json().find(key);
    if (resolution == nullptr) continue;
    const io::Json::Array& sides = resolution->array();
    if (sides.size() != 2) fail_expected(resolution->where(), "[height, width]", fmt::format("{} numbers", sides.size()));
    const std::int64_t height = sides[0].integer(1, kMostImage);
    const std::int64_t width = sides[1].integer(1, kMostImage);
    if (height != width) fail_expected(resolution->where(), "a square picture", fmt::format("{} x {}", height, width));
    if (image != 0 && image != height)
      fail_expected(resolution->where(), fmt::format("{}, the other size of the picture in this file", image), std::to_string(height));
    image = height;
  }
  return image == 0 ? from_table : image;
}

VisionConfig read_vision(const Reader& r, std::string& source) {
  const io::Json* named = r.object("vision");
  if (const io::Json* vlm = r.object("vlm_config"); named == nullptr && vlm != nullptr)
    named = r.object("vision_config", vlm);  // transformers' class
  const std::string block = kTower + "encoder.layers.0.";
  VisionConfig v;
  v.hidden = r.agreed(named, {"hidden", "hidden_size"},
                      r.dim({{kTower + "embeddings.patch_embedding.weight", 0}, {kTower + "post_layernorm.weight", 0}, {kProjector, 1}}));
  v.patch = r.agreed(named, {"patch", "patch_size"}, r.dim({{kTower + "embeddings.patch_embedding.weight", 2}}));
  v.positions = std::max<std::int64_t>(1, r.dim({{kTower + "embeddings.position_embedding.weight", 0}}));
  v.layers = r.agreed(named, {"layers", "num_hidden_layers"}, r.layers(kTower + "encoder.layers."));
  v.mlp = r.agreed(named, {"mlp", "intermediate_size"}, r.dim({{block + "mlp.fc1.weight", 0}, {block + "mlp.fc2.weight", 1}}));
  v.ln_eps = static_cast<float>(r.positive(named, "ln_eps", r.positive(named, "layer_norm_eps", 1e-6)));
  v.heads = r.size(named, {"heads", "num_attention_heads"}, 0, kMostHeads);
  if (v.heads == 0 && v.hidden == 1152) {
    v.heads = 16;
    source += "SigLIP So400m/14 (16 heads)";
  }
  if (v.heads == 0)
    fail_expected(r.file(), fmt::format("\"vision\": {{\"heads\": N}} for a tower of width {}", v.hidden), "no such key",
                  "tensors cannot tell the number of heads");
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(v.positions))));
  if (side > kMostImage || v.patch > kMostImage)
    fail_expected(r.file(), fmt::format("pictures of at most {} pixels a side", kMostImage), fmt::format("{} patches of {}", side, v.patch));
  v.image = read_image_size(r, named, side * v.patch);
  return v;
}

/// Heads of a Gemma whose tensors are there, by its size objects, transformers' names, openpi's variant, or the released sizes.
void read_heads(const Reader& r, const io::Json* named, const char* key, const char* variant_key, std::int64_t query_rows, std::int64_t key_rows,
                GemmaConfig& g, std::string& source) {
  const auto take = [&](std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim, const std::string& from) {
    g.heads = heads, g.kv_heads = kv_heads, g.head_dim = head_dim;
    source += fmt::format("{}{}: {} ({} heads of {})", source.empty() ? "" : ", ", key, from, heads, head_dim);
  };
  g.heads = r.size(named, {"heads", "num_attention_heads"}, 0, kMostHeads);
  g.kv_heads = r.size(named, {"kv_heads", "num_key_value_heads"}, 0, kMostHeads);
  g.head_dim = r.size(named, {"head_dim"}, 0, kMostHeads);
  const int given = (g.heads > 0 ? 1 : 0) + (g.kv_heads > 0 ? 1 : 0) + (g.head_dim > 0 ? 1 : 0);
  if (given == 3) return;
  if (given > 0) fail_expected(r.file(), fmt::format("\"{}\" with heads, kv_heads and head_dim", key), "not all of them");
  if (const io::Json* variant = r.json().find(variant_key)) {
    std::string name = variant->string();
    if (name.ends_with("_lora")) name.resize(name.size() - 5);  // adapters that were merged
    if (name == "gemma_2b" || name == "gemma_300m") return take(8, 1, 256, name);
    if (name == "dummy") return take(8, 1, 16, name);
    fail_expected(variant->where(), "gemma_2b, gemma_300m or dummy", "'" + name + "'");
  }
  // Files that name no variant (LeRobot's before October 2025, openpi's training): only the released sizes are certain.
  if ((g.width == 2048 || g.width == 1024) && query_rows == 2048 && key_rows == 256)
    return take(8, 1, 256, g.width == 2048 ? "the sizes of gemma_2b" : "the sizes of gemma_300m");
  fail_expected(r.file(), fmt::format("\"{}\": {{\"heads\": N, \"kv_heads\": N, \"head_dim\": N}}, or \"{}\"", key, variant_key), "neither",
                "tensors cannot tell the number of heads");
}

GemmaConfig read_gemma(const Reader& r, const char* key, const io::Json* named, const std::string& prefix, const char* variant_key,
                       std::initializer_list<std::pair<std::string, std::size_t>> widths, std::string& source) {
  const std::string layer = prefix + "layers.0.";
  GemmaConfig g;
  g.width = r.agreed(named, {"width", "hidden_size"}, r.dim(widths));
  g.depth = r.agreed(named, {"depth", "num_hidden_layers"}, r.layers(prefix + "layers."));
  g.mlp = r.agreed(named, {"mlp", "intermediate_size"},
                   r.dim({{layer + "mlp.gate_proj.weight", 0}, {layer + "mlp.up_proj.weight", 0}, {layer + "mlp.down_proj.weight", 1}}));
  const std::int64_t query_rows = r.dim({{layer + "self_attn.q_proj.weight", 0}, {layer + "self_attn.o_proj.weight", 1}});
  const std::int64_t key_rows = r.dim({{layer + "self_attn.k_proj.weight", 0}, {layer + "self_attn.v_proj.weight", 0}});
  read_heads(r, named, key, variant_key, query_rows, key_rows, g, source);
  const auto check = [&](const char* what, std::int64_t heads, std::int64_t rows) {
    if (rows != 0 && rows != heads * g.head_dim)
      fail_expected(r.file(), fmt::format("{} {} x head_dim = {}, the rows of layer 0's projection", key, what, rows),
                    fmt::format("{} x {}", heads, g.head_dim),
                    fmt::format("\"{}\": {{\"heads\": N, \"kv_heads\": N, \"head_dim\": N}} says it", key));
  };
  check("heads", g.heads, query_rows);
  check("kv_heads", g.kv_heads, key_rows);
  return g;
}

void refuse_flag(const io::Json& json, std::string_view key) {
  const io::Json* value = json.find(key);
  if (value != nullptr && value->boolean()) fail_expected(value->where(), "false", "true", "this engine does not have that option");
}

void read_sizes(const Reader& r, const CheckpointSource& source, CheckpointConfig& c) {
  Pi0Config& m = c.model;
  m.pi05 = source.pi05();
  m.vision = read_vision(r, c.source);
  const io::Json* transformers = r.object("vlm_config");
  const io::Json* vlm = r.object("vlm");
  const io::Json* expert = r.object("expert");
  if (vlm == nullptr && transformers != nullptr) vlm = r.object("text_config", transformers);
  if (expert == nullptr) expert = r.object("dit_config");
  m.vlm = read_gemma(r, "vlm", vlm, kVlm, "paligemma_variant",
                     {{kVlm + "layers.0.self_attn.k_proj.weight", 1}, {std::string(kEmbedTokens), 1}, {kProjector, 0}}, c.source);
  m.expert = read_gemma(r, "expert", expert, kExpert, "action_expert_variant",
                        {{kExpert + "layers.0.self_attn.k_proj.weight", 1}, {"action_in_proj.weight", 0}, {"action_out_proj.weight", 1}}, c.source);
  if (c.source.empty()) c.source = "config.json";
  const io::Json* json = &r.json();
  r.agreed(json, {"projection", "vlm_projection_dim"}, r.dim({{kProjector, 0}}));
  m.vocab = r.agreed(json, {"vocab"}, r.dim({{std::string(kEmbedTokens), 0}}));
  m.action_dim = r.agreed(json, {"action_dim", "max_action_dim"}, r.dim({{"action_in_proj.weight", 1}, {"action_out_proj.weight", 0}}));
  m.state_dim = m.pi05 ? r.size({"max_state_dim", "state_dim"}, 32, kMostState)
                       : r.agreed(json, {"state_dim", "max_state_dim"}, r.dim({{"state_proj.weight", 1}}));
  c.chunk_given = json->has("chunk_size") || json->has("action_horizon");
  m.chunk = r.size({"chunk_size", "action_horizon"}, 50, kMostChunk);
  m.num_steps = static_cast<int>(r.size({"num_inference_steps", "num_steps"}, 10, kMostSteps));
  c.prompt_length_given = json->has("tokenizer_max_length");
  m.max_prompt_tokens = r.size({"tokenizer_max_length"}, m.pi05 ? 200 : 48, kMostPromptTokens);
  m.min_period = r.positive(json, "min_period", 4e-3);
  m.max_period = r.positive(json, "max_period", 4.0);
  m.rope_theta = static_cast<float>(r.positive(json, "rope_theta", 10000.0));
  m.rms_eps = static_cast<float>(r.positive(json, "rms_eps", 1e-6));
}

}  // namespace

CheckpointConfig read_config(const CheckpointFiles& files, const CheckpointSource& source) {
  CheckpointConfig c;
  // openpi's PyTorch training writes no config.json: the released sizes need none.
  c.json = files.has("config.json") ? files.json("config.json") : io::Json(io::Json::Object());
  const io::Json& json = c.json;
  json.object();
  const Reader r(json, source, files.where("config.json"));

  for (const char* key : {"type", "model_type"}) {
    const io::Json* type = json.find(key);
    if (type == nullptr) continue;
    const std::string& word = type->string();
    if (word != "pi0" && word != "pi05") fail_expected(type->where(), "\"pi0\" or \"pi05\"", "\"" + word + "\"");
    if ((word == "pi05") != source.pi05())
      fail_expected(type->where(), source.pi05() ? "\"pi05\", as the tensors say" : "\"pi0\", as the tensors say", "\"" + word + "\"");
  }
  for (const char* key : {"use_visual_memory", "use_proprioceptive_memory", "use_peft", "adapt_to_pi_aloha", "use_delta_joint_actions_aloha"})
    refuse_flag(json, key);
  c.early_lerobot = json.has("resize_imgs_with_padding");
  c.lerobot = json.has("input_features") || json.has("normalization_mapping") || c.early_lerobot || files.has("policy_preprocessor.json");
  read_sizes(r, source, c);
  // LeRobot summed t in float32, as openpi does, until 0.4.3; the early files come from long before.
  c.model.schedule = c.lerobot && !c.early_lerobot ? TimeSchedule::exact : TimeSchedule::accumulated;
  c.model.embed_scale_in_table_dtype = (c.lerobot && !c.early_lerobot) || source.traits().transformers;

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
