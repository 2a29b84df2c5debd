// Pictures to the model's size in the ways of the reference paths, with letterbox padding, and bicubic interpolation of tables.
// Test: tests/ops/resize_test.cpp; page: docs/ops/resize.md.
#pragma once

#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

enum class ResizeFilter : std::uint8_t {
  pil_bilinear,    // PIL.Image.resize(BILINEAR) on uint8: antialiased triangle, PIL's fixed-point weights and rounding, horizontal pass first
  pil_bicubic,     // PIL.Image.resize(BICUBIC): the same with Keys' cubic, a = -0.5, half width 2
  jax_linear,      // jax.image.resize("linear"): antialiased triangle in f32; uint8 results round half to even and are clipped
  torch_bilinear,  // torch interpolate(mode="bilinear", align_corners=False, antialias=False): 2x2 neighbourhood, f32
};

/// Plain resize of x [H, W, C] (u8 or f32) to y [h, w, C] of the same dtype. u8 with torch_bilinear is computed in f32 and rounded half to even.
void resize(Context& ctx, const Tensor& x, ResizeFilter filter, Tensor& y);

struct ResizeWithPad {
  std::int64_t height = 224;
  std::int64_t width = 224;
  ResizeFilter filter = ResizeFilter::torch_bilinear;
  float pad_value = 0;
  bool pad_left_top = false;  // old LeRobot (<= 0.3): all padding left and top; else centred, the odd pixel right and bottom
  bool clip = false;          // clip f32 results to [clip_min, clip_max] after a resize (an untouched picture is not clipped)
  float clip_min = 0;
  float clip_max = 1;
};
/// Largest picture with x's aspect that fits: ratio = max(W / width, H / height) in double, size = trunc(H / ratio), trunc(W / ratio), at
/// least 1; then padding. A picture of exactly the target size is returned untouched. Sources: openpi image_tools.resize_with_pad,
/// LeRobot resize_with_pad_torch.
void resize_with_pad(Context& ctx, const Tensor& x, const ResizeWithPad& options, Tensor& y);

/// x [H, W, C] f32 to y [h, w, C]: torch interpolate(mode="bicubic", align_corners=False, antialias=False), a = -0.75. For position tables.
void interpolate_bicubic(Context& ctx, const Tensor& x, Tensor& y);

}  // namespace tessera::ops
