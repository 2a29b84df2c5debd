// Rotary position embedding, split-half form, positions given. Test: tests/ops/rope_test.cpp; page: docs/ops/rope.md.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// cos and sin of pos * theta^(-2i/head_dim), i in [0, head_dim/2): f32 [tokens, head_dim/2], angles formed in double.
struct RopeTable {
  Tensor cos;
  Tensor sin;
};
/// head_dim must be even. Writes into tables of the right shape (for memory of the workspace), or makes them.
void rope_table(Context& ctx, std::span<const std::int32_t> positions, std::int64_t head_dim, float theta, RopeTable& table);
RopeTable rope_table(Context& ctx, std::span<const std::int32_t> positions, std::int64_t head_dim, float theta);

/// In place on x [tokens, heads * head_dim] f32, rows may be strided: lo' = lo cos - hi sin, hi' = hi cos + lo sin, where lo and hi are
/// the halves of each head. Source: transformers apply_rotary_pos_emb.
void rope(Context& ctx, Tensor& x, std::int64_t heads, const RopeTable& table);

}  // namespace tessera::ops
