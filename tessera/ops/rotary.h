// Rotary position embedding by caches of cosines and sines that hold both halves of a head. Test: tests/ops/rotary_test.cpp; page:
// docs/ops/rotary.md.
#pragma once

#include <cstdint>
#include <optional>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// y = x * cos + rotate_half(x) * sin, where rotate_half is (-x2, x1) of a row's halves. x and y [..., s, d] f32 or bf16 each, d even; cos and sin
/// [cache, d], ones in front allowed, f32 or bf16, cache >= s: row i of the last dimension but one takes row i of the caches, or, with `token`, all
/// rows take that one (then only token < cache is asked for). All row-major, contiguous; y may be x, and overlaps nothing otherwise. f32 arithmetic,
/// products and sums rounded one by one, y rounded once. Source: ttnn.experimental.rotary_embedding; transformers apply_rotary_pos_emb.
void rotary_embedding(Context& ctx, const Tensor& x, const Tensor& cos, const Tensor& sin, Tensor& y, std::optional<std::int64_t> token = {});

}  // namespace tessera::ops
