// One Gemma block, as the prefix language model and the action expert share it: grouped-query attention over keys and values that may come
// from elsewhere, then a gated MLP. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <span>
#include <string>

#include "tessera/core/tensor.h"
#include "tessera/models/blocks/loader.h"
#include "tessera/models/pi0/config.h"
#include "tessera/ops/attention.h"
#include "tessera/ops/linear.h"
#include "tessera/ops/norm.h"
#include "tessera/ops/rope.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// pi0.5's adaptive norm: rms(x) (1 + scale) + shift, and the residual's x + gate sublayer(..). f32 [width] for all tokens, or
/// [tokens, width]. All undefined: the norm has its own weight and the gate is 1.
struct Modulation {
  Tensor scale;
  Tensor shift;
  Tensor gate;
};

/// y = norm(x): Gemma's with (1 + weight), or the adaptive one when the modulation is defined.
void gemma_norm(Context& ctx, const Tensor& x, const ops::RmsNorm& norm, const Modulation& modulation, Tensor& y);

/// Tokens that attend to `before` and to each other; the rows of one block's input are one sequence or several.
struct Sequence {
  std::int64_t tokens = 0;
  ops::RopeTable rope;  // a row per token
  std::span<const ops::KeyValue> before;
  /// When defined, f32 [tokens, 2 kv_width]: receives the block's keys (after RoPE) and values.
  Tensor kept;
};

/// x += gate1 out(attention(norm1(x))); x += gate2 down(gelu(gate(norm2(x))) * up(norm2(x)))
struct GemmaBlock {
  GemmaConfig config;
  ops::RmsNorm norm1;
  ops::PreparedLinear qkv;  // stacked; keys and values alone in the prefix's last block
  ops::PreparedLinear out;  // undefined there, as are the rest
  ops::RmsNorm norm2;
  ops::PreparedLinear gate_up;
  ops::PreparedLinear down;

  std::int64_t q_width() const noexcept { return config.heads * config.head_dim; }
  std::int64_t kv_width() const noexcept { return config.kv_heads * config.head_dim; }

  /// x: f32 [tokens of all sequences, width], one after the other, in place. Weights are read once for all of them.
  void operator()(Context& ctx, Tensor& x, const Modulation& attention, const Modulation& mlp, std::span<const Sequence> sequences) const;
  /// Only what later tokens read of a block whose output nobody does: norm, keys and values.
  void keys_and_values(Context& ctx, const Tensor& x, const Modulation& attention, const ops::RopeTable& rope, Tensor& kept) const;
  /// Rotates queries and keys in `rows` (what qkv gave), keeps them where wanted, and lets the sequence attend.
  void attend(Context& ctx, Tensor& rows, const Sequence& sequence, Tensor& mixed) const;
  /// The two halves of `kept`.
  ops::KeyValue split(const Tensor& kept) const { return {kept.columns(0, kv_width()), kept.columns(kv_width(), kv_width())}; }
};

/// `layer`: "….layers.3."; `adaptive`: norms without weights; `keys_only`: the prefix's last block.
GemmaBlock load_gemma_block(BlockLoader& loader, const std::string& layer, const GemmaConfig& config, float eps, bool adaptive, bool keys_only,
                            DType precision);

}  // namespace tessera::models
