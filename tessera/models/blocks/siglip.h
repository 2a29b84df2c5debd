// SigLIP: pictures to one feature row per patch. Pre-norm transformer blocks with full attention inside each picture, then the linear
// projection into the language model's width. Private to models (not installed). Test: tests/models/pi0_test.cpp.
#pragma once

#include <span>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/blocks/loader.h"
#include "tessera/models/pi0/config.h"
#include "tessera/ops/linear.h"
#include "tessera/ops/norm.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// x += out(attention(norm1(x))); x += fc2(gelu(fc1(norm2(x))))
struct SiglipBlock {
  std::int64_t heads = 1;
  ops::LayerNorm norm1;
  ops::PreparedLinear qkv;  // stacked: one product
  ops::PreparedLinear out;
  ops::LayerNorm norm2;
  ops::PreparedLinear fc1;
  ops::PreparedLinear fc2;

  /// x: f32 [pictures, patches, hidden], in place.
  void operator()(Context& ctx, Tensor& x) const;
};

struct Siglip {
  VisionConfig config;
  ops::PreparedLinear patch;  // f32 in every precision
  Tensor position;            // f32 [patches, hidden]
  std::vector<SiglipBlock> blocks;
  ops::LayerNorm norm;
  ops::PreparedLinear projector;

  /// images: f32 [3, image, image] each; features: f32 [pictures, patches, hidden], after the last norm.
  void operator()(Context& ctx, std::span<const Tensor> images, Tensor& features) const;
};

/// `width`: of the language model. Names as in required_tensors().
Siglip load_siglip(Context& ctx, BlockLoader& loader, const VisionConfig& config, std::int64_t width, DType precision);

}  // namespace tessera::models
