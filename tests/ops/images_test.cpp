#include "tessera/ops/images.h"

#include <gtest/gtest.h>

#include "tests/reference/errors.h"

namespace tessera {
namespace {

using ops::ImageOrder;
using ops::ImageSize;

Tensor of(const Shape& shape) { return Tensor::empty(shape, DType::f32); }

TEST(Images, SizesAreReadInEitherOrder) {
  EXPECT_EQ(ops::image_size("op", of({2, 3, 4, 5}), ImageOrder::nhwc), (ImageSize{2, 3, 4, 5}));
  EXPECT_EQ(ops::image_size("op", of({2, 3, 4, 5}), ImageOrder::nchw), (ImageSize{2, 4, 5, 3}));
  EXPECT_EQ(ops::image_size("op", of({3, 4, 5}), ImageOrder::nhwc), (ImageSize{1, 3, 4, 5}));
  EXPECT_EQ(ops::image_size("op", of({3, 4, 5}), ImageOrder::nchw), (ImageSize{1, 4, 5, 3}));
  EXPECT_EQ(ops::image_size("op", of({0, 3, 4, 5}), ImageOrder::nhwc), (ImageSize{0, 3, 4, 5}));
}

TEST(Images, FlattenedPicturesTakeTheirSizesFromOutside) {
  EXPECT_EQ(ops::image_size("op", of({1, 1, 24, 5}), ImageOrder::nhwc, {2, 3, 4, 99}), (ImageSize{2, 3, 4, 5}));
}

TEST(Images, OutputsHaveTheFormOfTheInput) {
  const ImageSize size{2, 7, 8, 9};
  EXPECT_EQ(ops::image_shape({2, 3, 4, 5}, ImageOrder::nhwc, {}, size), (Shape{2, 7, 8, 9}));
  EXPECT_EQ(ops::image_shape({2, 3, 4, 5}, ImageOrder::nchw, {}, size), (Shape{2, 9, 7, 8}));
  EXPECT_EQ(ops::image_shape({3, 4, 5}, ImageOrder::nhwc, {}, size), (Shape{7, 8, 9}));
  EXPECT_EQ(ops::image_shape({3, 4, 5}, ImageOrder::nchw, {}, size), (Shape{9, 7, 8}));
  EXPECT_EQ(ops::image_shape({1, 1, 24, 5}, ImageOrder::nhwc, {2, 3, 4, 0}, size), (Shape{1, 1, 112, 9}));
}

TEST(Images, OtherFormsAreRefused) {
  const auto refuse = [](const std::string& part, const Tensor& t, ImageOrder order, const ImageSize& flat = {}) {
    reference::expect_error("op", part, [&] { ops::image_size("op", t, order, flat); });
  };
  refuse("pictures [n, h, w, c]", {}, ImageOrder::nhwc);
  refuse("pictures [n, h, w, c]", of({4, 5}), ImageOrder::nhwc);
  refuse("pictures [n, c, h, w]", of({1, 2, 3, 4, 5}), ImageOrder::nchw);
  refuse("n * h * w = 24 pixels", of({1, 1, 24, 5}), ImageOrder::nhwc, {2, 3, 5, 0});
  refuse("n * h * w = 24 pixels", of({1, 1, 24, 5}), ImageOrder::nhwc, {-2, -3, 4, 0});
  refuse("flattened pictures", of({1, 2, 12, 5}), ImageOrder::nhwc, {2, 3, 4, 0});
  refuse("flattened pictures", of({1, 1, 24, 5}), ImageOrder::nchw, {2, 3, 4, 0});
}

}  // namespace
}  // namespace tessera
