// softmax(scale q k^T + mask) v, streamed over keys so that no score matrix is stored. Keys and values may come in several segments
// (a cached prefix and a fresh suffix) without being joined. Test: tests/ops/attention_test.cpp; page: docs/ops/attention.md.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// k and v: f32 or bf16 [tokens, kv_heads * head_dim] or [batch, tokens, kv_heads * head_dim]; rows may be strided.
struct KeyValue {
  Tensor k;
  Tensor v;
};

struct Attention {
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;  // heads % kv_heads == 0; query head h reads kv head h / (heads / kv_heads)
  float scale = 1.0f;         // multiplies q k^T
  /// u8 [q_tokens, all keys] (1: may see, 0: may not) or f32 of the same shape (added to the scaled logits); one mask for all batches and
  /// heads, keys in segment order. Undefined: every query sees every key.
  Tensor mask;
};

/// q: f32 or bf16 [q_tokens, heads * head_dim] or [batch, ...]; y the same shape, f32 or bf16; rows may be strided. Arithmetic and softmax in f32.
/// A query that may see no key yields zeros. NaN in a key that a query may not see (boolean mask) does not reach it.
/// FLOPs 4 q keys head_dim heads. Source: torch.nn.functional.scaled_dot_product_attention.
void attention(Context& ctx, const Tensor& q, std::span<const KeyValue> segments, const Attention& options, Tensor& y);

}  // namespace tessera::ops
