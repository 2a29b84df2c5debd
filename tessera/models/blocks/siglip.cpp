#include "tessera/models/blocks/siglip.h"

#include <array>
#include <cmath>
#include <string>

#include "tessera/ops/attention.h"
#include "tessera/ops/patch_embed.h"
#include "tessera/ops/resize.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;

/// The stored table, or its bicubic interpolation when the picture has another number of patches.
Tensor position_table(Context& ctx, const Tensor& stored, const VisionConfig& config) {
  if (config.positions == config.patches()) return stored;
  const auto from = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(config.positions))));
  const std::int64_t to = config.image / config.patch;
  Tensor table = Tensor::empty({to, to, config.hidden}, DType::f32);
  ops::interpolate_bicubic(ctx, stored.reshape({from, from, config.hidden}), table);
  return table.reshape({to * to, config.hidden});
}

}  // namespace

void SiglipBlock::operator()(Context& ctx, Tensor& x) const {
  const std::int64_t pictures = x.shape()[0];
  const std::int64_t patches = x.shape()[1];
  const std::int64_t hidden = x.shape()[2];
  {
    Scope scope(ctx.workspace());
    Tensor h = scope.tensor(x.shape(), qkv.input_dtype());
    ops::layer_norm(ctx, x, norm1, h);
    Tensor qkv_rows = scope.tensor({pictures, patches, 3 * hidden}, DType::f32);
    ops::linear(ctx, h, qkv, {}, qkv_rows);
    const ops::KeyValue kv{qkv_rows.columns(hidden, hidden), qkv_rows.columns(2 * hidden, hidden)};
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(hidden / heads)));
    ops::attention(ctx, qkv_rows.columns(0, hidden), std::span(&kv, 1), {.heads = heads, .kv_heads = heads, .scale = scale, .mask = {}}, h);
    ops::linear(ctx, h, out, {.activation = ops::Activation::none, .residual = x, .gate = {}}, x);
  }
  Scope scope(ctx.workspace());
  Tensor h = scope.tensor(x.shape(), fc1.input_dtype());
  ops::layer_norm(ctx, x, norm2, h);
  Tensor inner = scope.tensor({pictures, patches, fc1.n()}, fc2.input_dtype());
  ops::linear(ctx, h, fc1, {.activation = ops::Activation::gelu_tanh, .residual = {}, .gate = {}}, inner);
  ops::linear(ctx, inner, fc2, {.activation = ops::Activation::none, .residual = x, .gate = {}}, x);
}

void Siglip::operator()(Context& ctx, std::span<const Tensor> images, Tensor& features) const {
  Scope scope(ctx.workspace());
  Tensor x = scope.tensor(features.shape(), DType::f32);
  for (std::size_t i = 0; i < images.size(); ++i) {
    Tensor rows = x.narrow(static_cast<std::int64_t>(i), 1);
    ops::patch_embed(ctx, images[i].reshape({1, 3, config.image, config.image}), config.patch, patch, position, rows);
  }
  for (const SiglipBlock& block : blocks) block(ctx, x);
  ops::layer_norm(ctx, x, norm, features);
}

Siglip load_siglip(Context& ctx, BlockLoader& loader, const VisionConfig& config, std::int64_t width, DType precision) {
  const std::string tower = "paligemma_with_expert.paligemma.model.vision_tower.vision_model.";
  Siglip siglip;
  siglip.config = config;
  siglip.patch = loader.linear({{tower + "embeddings.patch_embedding", config.hidden}}, 3 * config.patch * config.patch, true, DType::f32);
  siglip.position = position_table(ctx, loader.f32(tower + "embeddings.position_embedding.weight"), config);
  for (std::int64_t l = 0; l < config.layers; ++l) {
    const std::string layer = tower + "encoder.layers." + std::to_string(l) + ".";
    const std::string attn = layer + "self_attn.";
    SiglipBlock block;
    block.heads = config.heads;
    block.norm1 = loader.layer_norm(layer + "layer_norm1", config.ln_eps);
    block.qkv = loader.linear({{attn + "q_proj", config.hidden}, {attn + "k_proj", config.hidden}, {attn + "v_proj", config.hidden}}, config.hidden,
                              true, precision);
    block.out = loader.linear({{attn + "out_proj", config.hidden}}, config.hidden, true, precision);
    block.norm2 = loader.layer_norm(layer + "layer_norm2", config.ln_eps);
    block.fc1 = loader.linear({{layer + "mlp.fc1", config.mlp}}, config.hidden, true, precision);
    block.fc2 = loader.linear({{layer + "mlp.fc2", config.hidden}}, config.mlp, true, precision);
    siglip.blocks.push_back(std::move(block));
  }
  siglip.norm = loader.layer_norm(tower + "post_layernorm", config.ln_eps);
  siglip.projector = loader.linear({{"paligemma_with_expert.paligemma.model.multi_modal_projector.linear", width}}, config.hidden, true, precision);
  return siglip;
}

}  // namespace tessera::models
