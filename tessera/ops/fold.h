// Blocks of neighbouring pixels into channels (space to depth): what turns a convolution whose stride is its kernel into a product.
// Moves, does not compute. Test: tests/ops/fold_test.cpp; page: docs/ops/fold.md.
#pragma once

#include <array>
#include <cstdint>

#include "tessera/core/tensor.h"
#include "tessera/ops/images.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

struct Fold {
  std::array<std::int64_t, 2> stride{1, 1};  // height, width of a block; they divide the padded picture
  std::array<std::int64_t, 4> padding{};     // top, bottom, left, right: zeros around the picture
  std::array<std::int64_t, 2> channels{};    // zeros before and after the channels of every pixel
  bool flatten = false;                      // the result as [1, 1, n * h * w, c] also where x is not flattened
  ImageOrder order = ImageOrder::nhwc;       // of x; the result is always nhwc
};

/// Shape of the result: [n, h / stride_h, w / stride_w, stride_h * stride_w * c] of the padded sizes, of rank 3 where x is, flattened where x is
/// (`flat` as in ops/images.h) or where the options say so. Throws Error when the sizes do not fit.
Shape fold_shape(const Tensor& x, const Fold& options, const ImageSize& flat = {});

/// y[n, i, j, (r * stride_w + s) * c + k] = x[n, i * stride_h + r, j * stride_w + s, k]. x and y of one dtype (any but block floats) in either
/// layout; y of fold_shape(), in memory of its own. Bit for bit. Source: ttnn.fold (nchw: use_transpose_as_fold).
void fold(Context& ctx, const Tensor& x, const Fold& options, Tensor& y, const ImageSize& flat = {});
/// The same into a fresh row-major tensor.
Tensor fold(Context& ctx, const Tensor& x, const Fold& options, const ImageSize& flat = {});

}  // namespace tessera::ops
