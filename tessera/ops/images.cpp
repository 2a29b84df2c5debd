#include "tessera/ops/images.h"

#include <string>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

std::string wanted(ImageOrder order) {
  return order == ImageOrder::nhwc ? "[n, h, w, c], [h, w, c], or [1, 1, n * h * w, c] with its sizes" : "[n, c, h, w] or [c, h, w]";
}

}  // namespace

ImageSize image_size(const char* op, const Tensor& x, ImageOrder order, const ImageSize& flat) {
  if (!x.defined()) fail_expected(op, "pictures " + wanted(order), "an undefined tensor");
  const Shape& s = x.shape();
  if (flat.n != 0) {
    if (order != ImageOrder::nhwc || s.rank() != 4 || s[0] != 1 || s[1] != 1)
      fail_expected(op, "flattened pictures [1, 1, n * h * w, c] in the order nhwc", s.str());
    if (flat.n < 0 || flat.h < 0 || flat.w < 0 || Shape{flat.n, flat.h, flat.w}.numel() != s[2])
      fail_expected(op, "n * h * w = " + std::to_string(s[2]) + " pixels",
                    std::to_string(flat.n) + " * " + std::to_string(flat.h) + " * " + std::to_string(flat.w));
    return {flat.n, flat.h, flat.w, s[3]};
  }
  if (s.rank() != 3 && s.rank() != 4) fail_expected(op, "pictures " + wanted(order), s.str());
  const std::int64_t n = s.rank() == 4 ? s[0] : 1;
  if (order == ImageOrder::nhwc) return {n, s[-3], s[-2], s[-1]};
  return {n, s[-2], s[-1], s[-3]};
}

Shape image_shape(const Shape& x, ImageOrder order, const ImageSize& flat, const ImageSize& size) {
  if (flat.n != 0) return Shape{1, 1, size.n * size.h * size.w, size.c};
  if (x.rank() == 3) return order == ImageOrder::nhwc ? Shape{size.h, size.w, size.c} : Shape{size.c, size.h, size.w};
  return order == ImageOrder::nhwc ? Shape{size.n, size.h, size.w, size.c} : Shape{size.n, size.c, size.h, size.w};
}

}  // namespace tessera::ops
