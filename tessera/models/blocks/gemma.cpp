#include "tessera/models/blocks/gemma.h"

#include <array>
#include <cmath>

#include "tessera/core/error.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;
constexpr std::size_t kMaxSegments = 4;

}  // namespace

void gemma_norm(Context& ctx, const Tensor& x, const ops::RmsNorm& norm, const Modulation& modulation, Tensor& y) {
  if (modulation.scale.defined())
    ops::adaptive_rms_norm(ctx, x, {.scale = modulation.scale, .shift = modulation.shift, .eps = norm.eps}, y);
  else
    ops::rms_norm(ctx, x, norm, y);
}

void GemmaBlock::attend(Context& ctx, Tensor& rows, const Sequence& sequence, Tensor& mixed) const {
  if (sequence.before.size() + 1 > kMaxSegments) fail_expected("gemma", "at most 3 segments of earlier keys", std::to_string(sequence.before.size()));
  Tensor q = rows.columns(0, q_width());
  Tensor kv = rows.columns(q_width(), 2 * kv_width());
  Tensor k = kv.columns(0, kv_width());
  ops::rope(ctx, q, config.heads, sequence.rope);
  ops::rope(ctx, k, config.kv_heads, sequence.rope);
  Tensor kept = sequence.kept;
  if (kept.defined()) ops::typecast(ctx, kv, kept);
  std::array<ops::KeyValue, kMaxSegments> segments;
  std::size_t count = 0;
  for (const ops::KeyValue& segment : sequence.before) segments[count++] = segment;
  segments[count++] = split(kv);
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.head_dim)));
  ops::attention(ctx, q, std::span(segments.data(), count), {.heads = config.heads, .kv_heads = config.kv_heads, .scale = scale, .mask = {}}, mixed);
}

void GemmaBlock::operator()(Context& ctx, Tensor& x, const Modulation& attention, const Modulation& mlp, std::span<const Sequence> sequences) const {
  const std::int64_t tokens = x.rows();
  {
    Scope scope(ctx.workspace());
    Tensor h = scope.tensor({tokens, config.width}, qkv.input_dtype());
    gemma_norm(ctx, x, norm1, attention, h);
    Tensor rows = scope.tensor({tokens, q_width() + 2 * kv_width()}, DType::f32);
    ops::linear(ctx, h, qkv, {}, rows);
    Tensor mixed = scope.tensor({tokens, q_width()}, out.input_dtype());
    std::int64_t first = 0;
    for (const Sequence& sequence : sequences) {
      Tensor of_rows = rows.narrow(first, sequence.tokens);
      Tensor of_mixed = mixed.narrow(first, sequence.tokens);
      attend(ctx, of_rows, sequence, of_mixed);
      first += sequence.tokens;
    }
    ops::linear(ctx, mixed, out, {.activation = ops::Activation::none, .residual = x, .gate = attention.gate}, x);
  }
  Scope scope(ctx.workspace());
  Tensor h = scope.tensor({tokens, config.width}, gate_up.input_dtype());
  gemma_norm(ctx, x, norm2, mlp, h);
  Tensor inner = scope.tensor({tokens, config.mlp}, down.input_dtype());
  ops::linear(ctx, h, gate_up, {.activation = ops::Activation::gelu_tanh, .residual = {}, .gate = {}}, inner);
  ops::linear(ctx, inner, down, {.activation = ops::Activation::none, .residual = x, .gate = mlp.gate}, x);
}

void GemmaBlock::keys_and_values(Context& ctx, const Tensor& x, const Modulation& attention, const ops::RopeTable& rope, Tensor& kept) const {
  Scope scope(ctx.workspace());
  Tensor h = scope.tensor({x.rows(), config.width}, qkv.input_dtype());
  gemma_norm(ctx, x, norm1, attention, h);
  if (qkv.n() == 2 * kv_width()) {
    ops::linear(ctx, h, qkv, {}, kept);
  } else {
    Tensor rows = scope.tensor({x.rows(), qkv.n()}, DType::f32);
    ops::linear(ctx, h, qkv, {}, rows);
    ops::typecast(ctx, rows.columns(q_width(), 2 * kv_width()), kept);
  }
  Tensor k = kept.columns(0, kv_width());
  ops::rope(ctx, k, config.kv_heads, rope);
}

GemmaBlock load_gemma_block(BlockLoader& loader, const std::string& layer, const GemmaConfig& config, float eps, bool adaptive, bool keys_only,
                            DType precision) {
  GemmaBlock block;
  block.config = config;
  const std::string attn = layer + "self_attn.";
  block.norm1.eps = eps;
  block.norm2.eps = eps;
  if (!adaptive) block.norm1 = loader.rms_norm(layer + "input_layernorm", eps);
  if (keys_only) {
    block.qkv = loader.linear({{attn + "k_proj", block.kv_width()}, {attn + "v_proj", block.kv_width()}}, config.width, false, precision);
    return block;
  }
  block.qkv = loader.linear({{attn + "q_proj", block.q_width()}, {attn + "k_proj", block.kv_width()}, {attn + "v_proj", block.kv_width()}},
                            config.width, false, precision);
  block.out = loader.linear({{attn + "o_proj", config.width}}, block.q_width(), false, precision);
  if (!adaptive) block.norm2 = loader.rms_norm(layer + "post_attention_layernorm", eps);
  block.gate_up = loader.gated_linear(layer + "mlp.gate_proj", layer + "mlp.up_proj", config.mlp, config.width, precision);
  block.down = loader.linear({{layer + "mlp.down_proj", config.width}}, config.mlp, false, precision);
  return block;
}

}  // namespace tessera::models
