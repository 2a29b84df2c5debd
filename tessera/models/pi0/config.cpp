#include "tessera/models/pi0/config.h"

#include <cmath>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

constexpr std::int64_t kMaxSize = std::int64_t{1} << 20;
constexpr std::int64_t kMaxLayers = 1024;
constexpr int kMaxSteps = 1000;

const std::string kVlm = "paligemma_with_expert.paligemma.model.language_model.";
const std::string kExpert = "paligemma_with_expert.gemma_expert.model.";
const std::string kVision = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.";
const std::string kProjector = "paligemma_with_expert.paligemma.model.multi_modal_projector.linear";

struct Checker {
  std::string_view where;

  void size(std::string_view key, std::int64_t value, std::int64_t most = kMaxSize) const {
    if (value < 1 || value > most) fail_expected(where, std::string(key) + " from 1 to " + std::to_string(most), std::to_string(value));
  }
  void eps(std::string_view key, double value) const {
    if (!(value > 0) || !std::isfinite(value)) fail_expected(where, std::string(key) + " above 0", std::to_string(value));
  }
  void equal(std::string_view key, std::int64_t expert, std::int64_t vlm) const {
    if (expert != vlm)
      fail_expected(where, "expert." + std::string(key) + " equal to vlm." + std::string(key) + " = " + std::to_string(vlm), std::to_string(expert));
  }
  void gemma(const std::string& name, const GemmaConfig& c) const {
    size(name + ".width", c.width);
    size(name + ".depth", c.depth, kMaxLayers);
    size(name + ".mlp", c.mlp);
    size(name + ".heads", c.heads);
    size(name + ".kv_heads", c.kv_heads);
    size(name + ".head_dim", c.head_dim);
    if (c.heads % c.kv_heads != 0)
      fail_expected(where, name + ".heads to be a multiple of " + name + ".kv_heads = " + std::to_string(c.kv_heads), std::to_string(c.heads));
    if (c.head_dim % 2 != 0) fail_expected(where, "an even " + name + ".head_dim", std::to_string(c.head_dim));
    size(name + ".heads * head_dim", c.heads * c.head_dim);
  }
};

void add_linear(std::vector<TensorSpec>& list, const std::string& prefix, std::int64_t out, std::int64_t in, bool bias) {
  list.push_back({prefix + ".weight", {out, in}});
  if (bias) list.push_back({prefix + ".bias", {out}});
}

void add_layer_norm(std::vector<TensorSpec>& list, const std::string& prefix, std::int64_t n) {
  list.push_back({prefix + ".weight", {n}});
  list.push_back({prefix + ".bias", {n}});
}

void add_vision(std::vector<TensorSpec>& list, const VisionConfig& c, std::int64_t width) {
  list.push_back({kVision + "embeddings.patch_embedding.weight", {c.hidden, 3, c.patch, c.patch}});
  list.push_back({kVision + "embeddings.patch_embedding.bias", {c.hidden}});
  list.push_back({kVision + "embeddings.position_embedding.weight", {c.positions, c.hidden}});
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const std::string layer = kVision + "encoder.layers." + std::to_string(l) + ".";
    add_layer_norm(list, layer + "layer_norm1", c.hidden);
    for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"}) add_linear(list, layer + "self_attn." + part, c.hidden, c.hidden, true);
    add_layer_norm(list, layer + "layer_norm2", c.hidden);
    add_linear(list, layer + "mlp.fc1", c.mlp, c.hidden, true);
    add_linear(list, layer + "mlp.fc2", c.hidden, c.mlp, true);
  }
  add_layer_norm(list, kVision + "post_layernorm", c.hidden);
  add_linear(list, kProjector, width, c.hidden, true);
}

void add_norm(std::vector<TensorSpec>& list, const std::string& prefix, std::int64_t width, bool adaptive) {
  if (adaptive)
    add_linear(list, prefix + ".dense", 3 * width, width, true);
  else
    list.push_back({prefix + ".weight", {width}});
}

/// `keys_only`: the prefix's last layer, of which nothing but keys and values is read.
void add_gemma_layer(std::vector<TensorSpec>& list, const std::string& layer, const GemmaConfig& c, bool adaptive, bool keys_only) {
  add_norm(list, layer + "input_layernorm", c.width, adaptive);
  if (!keys_only) add_linear(list, layer + "self_attn.q_proj", c.heads * c.head_dim, c.width, false);
  add_linear(list, layer + "self_attn.k_proj", c.kv_heads * c.head_dim, c.width, false);
  add_linear(list, layer + "self_attn.v_proj", c.kv_heads * c.head_dim, c.width, false);
  if (keys_only) return;
  add_linear(list, layer + "self_attn.o_proj", c.width, c.heads * c.head_dim, false);
  add_norm(list, layer + "post_attention_layernorm", c.width, adaptive);
  add_linear(list, layer + "mlp.gate_proj", c.mlp, c.width, false);
  add_linear(list, layer + "mlp.up_proj", c.mlp, c.width, false);
  add_linear(list, layer + "mlp.down_proj", c.width, c.mlp, false);
}

}  // namespace

std::string_view name(TimeSchedule schedule) { return schedule == TimeSchedule::accumulated ? "accumulated" : "exact"; }

void Pi0Config::check(std::string_view where) const {
  const Checker check{where};
  check.size("vision.hidden", vision.hidden);
  check.size("vision.layers", vision.layers, kMaxLayers);
  check.size("vision.heads", vision.heads);
  check.size("vision.mlp", vision.mlp);
  check.size("vision.image", vision.image, 1 << 14);
  check.size("vision.patch", vision.patch, 1 << 10);
  check.size("vision.positions", vision.positions);
  check.eps("vision.ln_eps", static_cast<double>(vision.ln_eps));
  if (vision.hidden % vision.heads != 0)
    fail_expected(where, "vision.hidden to be a multiple of vision.heads = " + std::to_string(vision.heads), std::to_string(vision.hidden));
  if (vision.image % vision.patch != 0)
    fail_expected(where, "vision.image to be a multiple of vision.patch = " + std::to_string(vision.patch), std::to_string(vision.image));
  check.size("patches per picture", vision.patches(), 1 << 12);
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(vision.positions))));
  if (vision.positions != vision.patches() && side * side != vision.positions)
    fail_expected(where, "vision.positions to be " + std::to_string(vision.patches()) + " (the patches of a picture) or a square number",
                  std::to_string(vision.positions));
  check.gemma("vlm", vlm);
  check.gemma("expert", expert);
  check.equal("depth", expert.depth, vlm.depth);
  check.equal("heads", expert.heads, vlm.heads);
  check.equal("kv_heads", expert.kv_heads, vlm.kv_heads);
  check.equal("head_dim", expert.head_dim, vlm.head_dim);
  if (expert.width % 2 != 0 || expert.width < 4)
    fail_expected(where, "an even expert.width of 4 or more (half sine, half cosine of the time)", std::to_string(expert.width));
  check.size("vocab", vocab, std::int64_t{1} << 30);
  check.size("state_dim", state_dim, 1 << 16);
  check.size("action_dim", action_dim, 1 << 16);
  check.size("chunk", chunk, 1 << 12);
  check.size("num_steps", num_steps, kMaxSteps);
  check.size("max_prompt_tokens", max_prompt_tokens);
  check.eps("min_period", min_period);
  check.eps("max_period", max_period);
  check.eps("rope_theta", static_cast<double>(rope_theta));
  check.eps("rms_eps", static_cast<double>(rms_eps));
}

std::vector<float> time_schedule(TimeSchedule schedule, int steps) {
  if (steps < 1 || steps > kMaxSteps) fail_expected("time_schedule", "1 to " + std::to_string(kMaxSteps) + " Euler steps", std::to_string(steps));
  std::vector<float> times(static_cast<std::size_t>(steps));
  const double dt = -1.0 / steps;
  float accumulated = 1.0f;
  for (std::size_t i = 0; i < times.size(); ++i) {
    times[i] = schedule == TimeSchedule::exact ? static_cast<float>(1.0 + static_cast<double>(i) * dt) : accumulated;
    accumulated += static_cast<float>(dt);
  }
  return times;
}

std::vector<TensorSpec> required_tensors(const Pi0Config& config) {
  std::vector<TensorSpec> list;
  add_vision(list, config.vision, config.vlm.width);
  list.push_back({kVlm + "embed_tokens.weight", {config.vocab, config.vlm.width}});
  for (std::int64_t l = 0; l < config.vlm.depth; ++l)
    add_gemma_layer(list, kVlm + "layers." + std::to_string(l) + ".", config.vlm, false, l + 1 == config.vlm.depth);
  const GemmaConfig& expert = config.expert;
  if (!config.pi05) add_linear(list, "state_proj", expert.width, config.state_dim, true);
  add_linear(list, "action_in_proj", expert.width, config.action_dim, true);
  if (config.pi05) {
    add_linear(list, "time_mlp_in", expert.width, expert.width, true);
    add_linear(list, "time_mlp_out", expert.width, expert.width, true);
  } else {
    add_linear(list, "action_time_mlp_in", expert.width, 2 * expert.width, true);
    add_linear(list, "action_time_mlp_out", expert.width, expert.width, true);
  }
  for (std::int64_t l = 0; l < expert.depth; ++l) add_gemma_layer(list, kExpert + "layers." + std::to_string(l) + ".", expert, config.pi05, false);
  add_norm(list, kExpert + "norm", expert.width, config.pi05);
  add_linear(list, "action_out_proj", config.action_dim, expert.width, true);
  return list;
}

std::vector<std::string> unread_tensors(const Pi0Config& config) {
  const std::string last = kVlm + "layers." + std::to_string(config.vlm.depth - 1) + ".";
  return {
      "paligemma_with_expert.paligemma.lm_head.weight",
      "paligemma_with_expert.gemma_expert.lm_head.weight",
      kVlm + "norm.weight",
      last + "self_attn.q_proj.weight",
      last + "self_attn.o_proj.weight",
      last + "post_attention_layernorm.weight",
      last + "mlp.gate_proj.weight",
      last + "mlp.up_proj.weight",
      last + "mlp.down_proj.weight",
  };
}

}  // namespace tessera::models
