// Pools that equal PyTorch's for every size: maximum and average over given or adaptive windows, NHWC and NCHW, floats and block floats.
// Padding never takes part in a maximum. Test: tests/ops/pool_test.cpp; page: docs/ops/pool.md.
#pragma once

#include <array>
#include <cstdint>
#include <limits>

#include "tessera/core/tensor.h"
#include "tessera/ops/images.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct MaxPool2d {
  std::array<std::int64_t, 2> kernel{2, 2};  // height, width
  std::array<std::int64_t, 2> stride{0, 0};  // both 0: the kernel's size
  std::array<std::int64_t, 4> padding{};     // top, bottom, left, right; at most half the kernel
  std::array<std::int64_t, 2> dilation{1, 1};
  bool ceil_mode = false;  // also a last window that begins inside the input or the padding before it
  ImageOrder order = ImageOrder::nhwc;
};

struct AvgPool2d {
  std::array<std::int64_t, 2> kernel{2, 2};
  std::array<std::int64_t, 2> stride{0, 0};
  std::array<std::int64_t, 4> padding{};
  bool ceil_mode = false;
  bool count_include_pad = true;      // divide by the window's size with its padding, as PyTorch does by default
  std::int64_t divisor_override = 0;  // 0: the window's size; may be negative, as in PyTorch
  ImageOrder order = ImageOrder::nhwc;
};

/// An output size of the adaptive pools: the input's (PyTorch's None).
inline constexpr std::int64_t kInputSize = std::numeric_limits<std::int64_t>::min();

struct AdaptivePool2d {
  std::array<std::int64_t, 2> output{1, 1};  // height, width; or kInputSize. 0 gives an empty result
  bool ttnn_strict = false;                  // refuse what TTNN refuses, with its text (ops/adaptive_plan.h)
  ImageOrder order = ImageOrder::nhwc;
};

/// Shapes of the outputs for an input of this shape; `flat` as in ops/images.h. Throw Error on impossible sizes.
Shape pool2d_shape(const Tensor& x, const MaxPool2d& options, const ImageSize& flat = {});
Shape pool2d_shape(const Tensor& x, const AvgPool2d& options, const ImageSize& flat = {});
Shape pool2d_shape(const Tensor& x, const AdaptivePool2d& options, const ImageSize& flat = {});

/// x: pictures (ops/images.h) of f32 or bf16, row-major or in tiles, or of block floats, in tiles; y: x's dtype, of pool2d_shape(), either layout.
/// Block floats are pooled as the numbers that they are and quantised once, by core/block_float.h.
/// indices (may be null): int32, row-major, of y's shape: row * w + column of the maximum in its plane. The first of equal maxima is it; a NaN
/// is the largest, the last NaN of a window its index. An empty batch gives an empty result, and so do no
/// channels where PyTorch has it so (adaptive averages). y may not overlap x.
/// FLOPs: elements compared or added. Source: torch.nn.functional.max_pool2d, ttnn.max_pool2d.
void max_pool2d(Context& ctx, const Tensor& x, const MaxPool2d& options, Tensor& y, Tensor* indices = nullptr, const ImageSize& flat = {});
/// Sums in f32, one division, rounded once. Source: torch.nn.functional.avg_pool2d, ttnn.avg_pool2d.
void avg_pool2d(Context& ctx, const Tensor& x, const AvgPool2d& options, Tensor& y, const ImageSize& flat = {});
/// Output i of an axis covers floor(i * in / out) to ceil((i + 1) * in / out). Source: torch.nn.functional.adaptive_max_pool2d.
void adaptive_max_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor& y, Tensor* indices = nullptr,
                         const ImageSize& flat = {});
/// Source: torch.nn.functional.adaptive_avg_pool2d.
void adaptive_avg_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor& y, const ImageSize& flat = {});

/// The same into a fresh tensor of x's dtype: row-major, of block floats in tiles.
Tensor max_pool2d(Context& ctx, const Tensor& x, const MaxPool2d& options, Tensor* indices = nullptr, const ImageSize& flat = {});
Tensor avg_pool2d(Context& ctx, const Tensor& x, const AvgPool2d& options, const ImageSize& flat = {});
Tensor adaptive_max_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, Tensor* indices = nullptr, const ImageSize& flat = {});
Tensor adaptive_avg_pool2d(Context& ctx, const Tensor& x, const AdaptivePool2d& options, const ImageSize& flat = {});
/// One average per picture and channel: [n, 1, 1, c] (NCHW: [n, c, 1, 1]). Source: ttnn.global_avg_pool2d.
Tensor global_avg_pool2d(Context& ctx, const Tensor& x, ImageOrder order = ImageOrder::nhwc);

}  // namespace tessera::ops
