// Normalisation over the last dimension: LayerNorm, RMSNorm with Gemma's (1 + w), and pi0.5's adaptive RMSNorm.
// Statistics are f32 whatever the dtype. Test: tests/ops/norm_test.cpp; page: docs/ops/norm.md.
#pragma once

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct LayerNorm {
  Tensor weight = {};    // f32 or bf16 [n]; undefined: 1
  Tensor bias = {};      // likewise; undefined: 0
  float eps = 1e-6f;     // 0 or more
  Tensor residual = {};  // of x's shape, f32 or bf16: added to x first, in f32. Undefined: none
};
/// y = (x - mean) / sqrt(var + eps) * weight + bias, var biased. x, y: [..., n] f32 or bf16 each, rows may be strided; y may be x or the residual.
/// Source: torch.nn.LayerNorm.
void layer_norm(Context& ctx, const Tensor& x, const LayerNorm& options, Tensor& y);

struct RmsNorm {
  Tensor weight = {};       // f32 or bf16 [n]; undefined: the factor is 1
  float eps = 1e-6f;        // 0 or more
  bool unit_offset = true;  // the factor is 1 + weight, as in Gemma; false: the weight itself
  Tensor residual = {};     // of x's shape, f32 or bf16: added to x first, in f32. Undefined: none
};
/// y = x / sqrt(mean(x^2) + eps) * (1 + weight). Source: Gemma's RMSNorm (transformers GemmaRMSNorm); torch.nn.RMSNorm without the offset.
void rms_norm(Context& ctx, const Tensor& x, const RmsNorm& options, Tensor& y);

struct AdaptiveRmsNorm {
  Tensor scale;  // f32 [n] for all rows, or [rows, n]
  Tensor shift;  // as scale
  float eps = 1e-6f;
};
/// y = x / sqrt(mean(x^2) + eps) * (1 + scale) + shift: no learned weight. The gate that comes with them belongs to the residual
/// (ops::Linear::gate). Source: openpi's adaRMS.
void adaptive_rms_norm(Context& ctx, const Tensor& x, const AdaptiveRmsNorm& options, Tensor& y);

}  // namespace tessera::ops
