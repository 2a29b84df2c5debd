// conv2d as PyTorch defines it, weights prepared once: depthwise by a sliding window, 1x1 and kernel = stride as a product, the rest folded.
// May not keep the unprepared weights, may not multiply by zeros that groups imply. Test: tests/ops/conv2d_test.cpp; page: docs/ops/conv2d.md.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "tessera/core/tensor.h"
#include "tessera/ops/images.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// What follows the bias, in f32, before the result is rounded once. gelu is the erf form.
enum class ConvActivation : std::uint8_t { none, relu, relu6, silu, gelu, hardswish };

struct Conv2d {
  std::array<std::int64_t, 2> stride{1, 1};  // height, width
  std::array<std::int64_t, 4> padding{};     // top, bottom, left, right; zeros
  bool same = false;                         // PyTorch's padding="same": output size = input size; stride 1 only, `padding` stays 0
  std::array<std::int64_t, 2> dilation{1, 1};
  std::int64_t groups = 1;
  ConvActivation activation = ConvActivation::none;
  ImageOrder order = ImageOrder::nhwc;  // of x and y
};

/// Weights of one convolution in the layout of the path and kernel row that will run: opaque, shared, immutable.
class PreparedConv2d {
 public:
  PreparedConv2d() = default;
  bool defined() const noexcept { return impl_ != nullptr; }
  /// "depthwise", "product" (1x1), "fold" (kernel = stride), "window" (gathered windows times weights, group by group).
  std::string_view path() const noexcept;
  /// Name of the kernel row that it was prepared for.
  std::string_view row() const noexcept;
  std::int64_t in_channels() const noexcept;
  std::int64_t out_channels() const noexcept;
  std::size_t bytes() const noexcept;

  struct Impl;

 private:
  friend struct Conv2dAccess;
  std::shared_ptr<const Impl> impl_;
};

/// weight: [out, in / groups, kh, kw] f32, bf16 or f16 (PyTorch's OIHW); a 1-D kernel is [out, in / groups, 1, kw]. bias: [out] or undefined.
/// precision: f32, or bf16 (weights and inputs rounded to bf16 where a product is taken, sums in f32).
PreparedConv2d prepare_conv2d(Context& ctx, const Tensor& weight, const Tensor& bias, const Conv2d& options, DType precision);

/// x: pictures f32 or bf16 in options.order (see ops/images.h; `flat` for TTNN's flattened form), y: f32 or bf16, of conv2d_shape().
/// residual (may be undefined; f32 or bf16, of y's shape, may be y) is added after the activation: the inverted residual of MobileNetV2.
/// NaN and Inf propagate. FLOPs 2 * n * ho * wo * out * (in / groups) * kh * kw. Source: torch.nn.functional.conv2d, ttnn.conv2d.
void conv2d(Context& ctx, const Tensor& x, const PreparedConv2d& w, Tensor& y, const Tensor& residual = {}, const ImageSize& flat = {});
/// The same into a fresh tensor of x's dtype.
Tensor conv2d(Context& ctx, const Tensor& x, const PreparedConv2d& w, const Tensor& residual = {}, const ImageSize& flat = {});
/// Shape of the output for an input of this shape. Throws Error when they do not fit.
Shape conv2d_shape(const Shape& x, const PreparedConv2d& w, const ImageSize& flat = {});

}  // namespace tessera::ops
