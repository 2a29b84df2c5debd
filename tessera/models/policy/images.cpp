// Camera pictures to model input, as each reference does it.
#include <algorithm>

#include "tessera/core/error.h"
#include "tessera/models/policy/spec.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {
namespace {

constexpr std::int64_t kMostSide = 1 << 15;

/// What the resize works on, [H, W, 3]: float32 in [0, 1] for LeRobot, uint8 for openpi.
Tensor interleaved(const Tensor& image, std::int64_t h, std::int64_t w, bool chw, bool in_f32) {
  if (image.dtype() == DType::u8) {
    if (!in_f32) return image;
    Tensor x = Tensor::empty(Shape{h, w, 3}, DType::f32);
    std::ranges::transform(image.span<std::uint8_t>(), x.data<float>(), [](std::uint8_t v) { return static_cast<float>(v) / 255.0f; });
    return x;
  }
  if (in_f32 && !chw) return image;
  Tensor x = Tensor::empty(Shape{h, w, 3}, in_f32 ? DType::f32 : DType::u8);
  const float* from = image.data<float>();
  const std::int64_t pixels = h * w;
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float v = chw ? from[c * pixels + p] : from[p * 3 + c];
      if (in_f32)
        x.data<float>()[p * 3 + c] = v;
      else  // NaN, where it is allowed in, becomes 0
        x.data<std::uint8_t>()[p * 3 + c] = v > 0.0f ? static_cast<std::uint8_t>(std::min(255.0f * v, 255.0f)) : std::uint8_t{0};
    }
  }
  return x;
}

}  // namespace

Tensor prepare_picture(Context& ctx, const Tensor& image, const PictureSpec& spec, std::string_view camera, bool allow_nonfinite) {
  const std::string where = "observation camera '" + std::string(camera) + "'";
  const bool u8 = image.defined() && image.dtype() == DType::u8;
  if (!image.defined() || (!u8 && image.dtype() != DType::f32) || image.shape().rank() != 3 || !image.is_contiguous())
    fail_expected(where, "uint8 [height, width, 3], or float32 [height, width, 3] or [3, height, width]", image.defined() ? image.str() : "nothing");
  const bool chw = !u8 && image.shape()[0] == 3 && image.shape()[2] != 3;
  const std::int64_t h = image.shape()[chw ? 1 : 0];
  const std::int64_t w = image.shape()[chw ? 2 : 1];
  if (image.shape()[chw ? 0 : 2] != 3 || h < 1 || w < 1 || h > kMostSide || w > kMostSide)
    fail_expected(where, "3 channels and sides from 1 to " + std::to_string(kMostSide), image.shape().str());
  if (!u8 && !allow_nonfinite && !ops::all_finite(ctx, image))
    fail_expected(where, "finite values", "NaN or infinity", "--allow-nonfinite accepts them");
  if (!u8 && !allow_nonfinite) {
    const auto [lo, hi] = std::ranges::minmax(image.span<float>());
    constexpr float kSlack = 1e-3f;  // what a resize of the sender may overshoot
    if (lo < -kSlack || hi > 1 + kSlack)
      fail_expected(where, "float32 values in [0, 1]", std::to_string(lo < -kSlack ? lo : hi), "divide by 255, or give uint8");
  }

  const Tensor in = interleaved(image, h, w, chw, spec.in_f32);
  ops::ResizeWithPad resize;
  resize.height = resize.width = spec.side;
  resize.filter = spec.filter;
  resize.pad_left_top = spec.pad_left_top;
  resize.clip = spec.in_f32;
  Tensor sized = Tensor::empty(Shape{spec.side, spec.side, 3}, in.dtype());
  ops::resize_with_pad(ctx, in, resize, sized);

  Tensor out = Tensor::empty(Shape{3, spec.side, spec.side}, DType::f32);
  float* to = out.data<float>();
  const std::int64_t pixels = spec.side * spec.side;
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const float v = spec.in_f32 ? sized.data<float>()[p * 3 + c] : static_cast<float>(sized.data<std::uint8_t>()[p * 3 + c]) / 255.0f;
      to[c * pixels + p] = v * 2.0f - 1.0f;
    }
  }
  return out;
}

}  // namespace tessera::models
