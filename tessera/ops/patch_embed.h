// A picture as a row of patches, projected: fold + linear (a convolution whose stride is its kernel).
// Test: tests/ops/patch_embed_test.cpp; page: docs/ops/patch_embed.md.
#pragma once

#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// y [batch, (H/patch) * (W/patch), channels * patch * patch] from x [batch, channels, H, W] f32: patches row by row from the top left,
/// each flattened as (channel, row, column), the order of a conv2d weight [out, channels, patch, patch]. y f32 or bf16.
/// H and W must be multiples of patch.
void fold_patches(Context& ctx, const Tensor& x, std::int64_t patch, Tensor& y);

/// conv2d(x, weight, stride = patch) as fold + linear: y [batch, patches, n]. `w` holds weight.reshape(n, channels * patch * patch) and bias.
/// When `position` (f32 [patches, n]) is defined it is added to every picture.
void patch_embed(Context& ctx, const Tensor& x, std::int64_t patch, const PreparedLinear& w, const Tensor& position, Tensor& y);

}  // namespace tessera::ops
