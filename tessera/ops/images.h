// How a batch of pictures lies in a tensor, as the convolution and pooling ops see it. May not compute.
// Test: tests/ops/images_test.cpp.
#pragma once

#include <cstdint>

#include "tessera/core/shape.h"
#include "tessera/core/tensor.h"

namespace tessera::ops {

/// Order of the axes. nhwc is TTNN's and the fast one; nchw is PyTorch's default.
enum class ImageOrder : std::uint8_t { nhwc, nchw };

/// Sizes of a batch of pictures: n pictures of c channels, h rows, w columns.
struct ImageSize {
  std::int64_t n = 0;
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t c = 0;
  bool operator==(const ImageSize&) const = default;
};

/// Reads the sizes off a tensor [n, h, w, c], [h, w, c] (one picture) or, in order nchw, [n, c, h, w], [c, h, w]. TTNN's flattened form
/// [1, 1, n * h * w, c] is read with `flat`, which says n, h and w (flat.c is not looked at; flat.n = 0: not flattened).
/// Throws Error "[op] expected ..., got ..." when the ranks or counts do not fit.
ImageSize image_size(const char* op, const Tensor& x, ImageOrder order, const ImageSize& flat = {});

/// Throws Error where pictures of this size would have more than 2^62 elements.
void check_elements(const char* op, const ImageSize& size);

/// The shape of an output of `size` for an input of shape `x`: same order, same rank, flattened when the input was.
Shape image_shape(const Shape& x, ImageOrder order, const ImageSize& flat, const ImageSize& size);

}  // namespace tessera::ops
