#include "tessera/ops/images.h"

#include <string>

#include "tessera/core/error.h"

namespace tessera::ops {
namespace {

std::string wanted(ImageOrder order) {
  return order == ImageOrder::nhwc ? "[n, h, w, c], [h, w, c], or [1, 1, n * h * w, c] with its sizes" : "[n, c, h, w] or [c, h, w]";
}

/// Whether n * h * w = pixels, without computing a product that is too large.
bool is_product(std::int64_t pixels, const ImageSize& size) {
  if (size.n < 0 || size.h < 0 || size.w < 0) return false;
  if (size.n == 0 || size.h == 0 || size.w == 0) return pixels == 0;
  return pixels % size.n == 0 && pixels / size.n % size.h == 0 && pixels / size.n / size.h == size.w;
}

}  // namespace

void check_elements(const char* op, const ImageSize& size) {
  constexpr std::int64_t kMost = std::int64_t{1} << 62;
  std::int64_t product = 1;
  for (const std::int64_t n : {size.n, size.h, size.w, size.c}) {
    if (n > 0 && product > kMost / n)
      fail_expected(op, "at most 2^62 elements",
                    std::to_string(size.n) + " * " + std::to_string(size.h) + " * " + std::to_string(size.w) + " * " + std::to_string(size.c));
    if (n > 0) product *= n;
  }
}

ImageSize image_size(const char* op, const Tensor& x, ImageOrder order, const ImageSize& flat) {
  if (!x.defined()) fail_expected(op, "pictures " + wanted(order), "an undefined tensor");
  const Shape& s = x.shape();
  if (flat.n != 0) {
    if (order != ImageOrder::nhwc || s.rank() != 4 || s[0] != 1 || s[1] != 1)
      fail_expected(op, "flattened pictures [1, 1, n * h * w, c] in the order nhwc", s.str());
    if (!is_product(s[2], flat))
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
