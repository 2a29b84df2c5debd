// Scaled dot-product attention of heads that stand apart, [batch, heads, tokens, head_dim], as TTNN and PyTorch have them: attention() over other
// strides, with causality, windows and sinks. Test: tests/ops/sdpa_test.cpp; page: docs/ops/sdpa.md.
#pragma once

#include <cstdint>
#include <optional>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct Sdpa {
  bool causal = true;                               // query i sees keys j <= i; sq == sk then
  std::optional<float> scale = {};                  // of q k^T; none: 1 / sqrt(d)
  Tensor mask = {};                                 // f32 or bf16 [1 or b, 1 or hq, sq, sk]: added to the scaled logits. Undefined: none
  std::optional<std::int64_t> sliding_window = {};  // w, 1 or more. causal: keys i - w < j <= i; else |i - j| <= w / 2 (whole-number division)
  Tensor sink = {};         // f32 or bf16 [hq] or [1, hq, 1, 1]: the logit of one more key, whose value is zero. Undefined: none
  bool scale_sink = false;  // the sink is multiplied by the scale, as TTNN does
};

/// q [b, hq, sq, d], k and v [b, hkv, sk, d], hq % hkv == 0 (query head h reads head h / (hq / hkv)), y as q; f32 or bf16 each, row-major,
/// contiguous; y overlaps none of the others. What may be seen is what causal, mask and window all allow. Arithmetic and softmax in f32, y rounded
/// once. A query that sees no key yields zeros; NaN in a key hidden by causality or window does not reach it. FLOPs 4 b hq sq sk d. Source:
/// ttnn.transformer.scaled_dot_product_attention; torch.nn.functional.scaled_dot_product_attention.
void sdpa(Context& ctx, const Tensor& q, const Tensor& k, const Tensor& v, const Sdpa& options, Tensor& y);

}  // namespace tessera::ops
