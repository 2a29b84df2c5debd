// Pictures to another size as torch.nn.functional.interpolate does it: nearest, bilinear, bicubic, with and without antialiasing.
// Exact resizes of the policies' reference paths are in ops/resize.h. Test: tests/ops/interpolate_test.cpp; page: docs/ops/interpolate.md.
#pragma once

#include <array>
#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/ops/images.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

enum class InterpolateMode : std::uint8_t { nearest, bilinear, bicubic };

struct Interpolate {
  InterpolateMode mode = InterpolateMode::nearest;
  bool align_corners = false;            // bilinear and bicubic: the corner pixels of input and output coincide
  bool antialias = false;                // bilinear and bicubic: the filter grows with the reduction; cubic with a = -0.5 instead of -0.75
  std::array<double, 2> scale_factor{};  // height, width: coordinates use its inverse, y's side is floor(x's * factor); 0: the ratio
  ImageOrder order = ImageOrder::nhwc;
};

/// x: f32, bf16 or, with antialias, uint8 pictures (ops/images.h), contiguous; y: the same dtype, rank and channels; its height and width say the
/// size. Coordinates and weights in double (nearest: in float, as torch's), sums in f32, rounded once; uint8 by torch's 16-bit fixed-point
/// weights, rounded after each pass. NaN and Inf reach the outputs whose filter covers them, zero weights included.
/// Source: torch.nn.functional.interpolate; ttnn.upsample for whole scale factors.
void interpolate(Context& ctx, const Tensor& x, const Interpolate& options, Tensor& y);

/// Every pixel repeated (nearest) or blended (bilinear), `scale` times along height and width. Source: ttnn.upsample.
Tensor upsample(Context& ctx, const Tensor& x, std::array<std::int64_t, 2> scale, InterpolateMode mode = InterpolateMode::nearest,
                ImageOrder order = ImageOrder::nhwc);

}  // namespace tessera::ops
