#include "tessera/ops/reorder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/norm.h"
#include "tests/reference/reorder.h"
#include "tests/reference/shapes.h"

namespace tessera {
namespace {

constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16, DType::i8, DType::u8, DType::i32, DType::u32, DType::u16};

/// Bytes that differ from element to element.
Tensor numbered(const Shape& shape, DType dtype) {
  Tensor t = Tensor::empty(shape, dtype);
  auto* p = static_cast<unsigned char*>(t.raw());
  for (std::size_t i = 0; i < t.bytes(); ++i) p[i] = static_cast<unsigned char>((i * 2654435761u) >> 13);
  return t;
}

bool same_element(const Tensor& a, std::int64_t i, const Tensor& b, std::int64_t j) {
  const std::size_t n = size_of(a.dtype());
  return std::memcmp(static_cast<const std::byte*>(a.raw()) + static_cast<std::size_t>(i) * n,
                     static_cast<const std::byte*>(b.raw()) + static_cast<std::size_t>(j) * n, n) == 0;
}

TEST(Reorder, TilesHoldWhatTheDefinitionSays) {
  Context ctx({.threads = 3, .isa = {}});
  for (const auto& s : reference::read_shapes("reorder", 3)) {
    for (const DType dtype : kTypes) {
      const Tensor x = numbered(Shape(std::span<const std::int64_t>(s)), dtype);
      const Tensor t = ops::to_layout(ctx, x, Layout::tile);
      const std::int64_t plane = t.padded_shape()[1] * t.padded_shape()[2];
      for (std::int64_t b = 0; b < s[0]; ++b)
        for (std::int64_t r = 0; r < s[1]; ++r)
          for (std::int64_t c = 0; c < s[2]; ++c)
            ASSERT_TRUE(same_element(x, (b * s[1] + r) * s[2] + c, t, b * plane + reference::tile_position(r, c, s[2]))) << b << " " << r << " " << c;
      const Tensor back = ops::to_layout(ctx, t, Layout::row_major);
      EXPECT_EQ(std::memcmp(back.raw(), x.raw(), x.bytes()), 0);
    }
  }
}

TEST(Reorder, PaddingIsZeroAndNeverComesBack) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = numbered(Shape{3, 5}, DType::i32);
  Tensor t = ops::to_layout(ctx, x, Layout::tile);
  std::int64_t zeros = 0;
  for (std::int64_t i = 0; i < 1024; ++i) zeros += static_cast<const std::int32_t*>(t.raw())[i] == 0 ? 1 : 0;
  EXPECT_GE(zeros, 1024 - 15);
  // NaN (all ones) in the padding: reading the elements back must not see it.
  Tensor f = Tensor::zeros(Shape{3, 5}, DType::f32, Layout::tile);
  std::memset(f.raw(), 0xff, f.bytes());
  const Tensor ones = ops::pad(ctx, Tensor::zeros(Shape{3, 5}, DType::f32), std::vector<std::int64_t>{0, 0}, std::vector<std::int64_t>{0, 0}, 0.0f);
  ops::to_layout(ctx, ones, f);
  const Tensor read = ops::to_layout(ctx, f, Layout::row_major);
  for (const float v : read.span<float>()) EXPECT_EQ(v, 0.0f);
  Tensor y = Tensor::zeros(Shape{3, 5}, DType::f32);
  EXPECT_THROW(ops::rms_norm(ctx, f, {Tensor::zeros(Shape{5}, DType::f32)}, y), Error);  // arithmetic refuses tiles by name
}

TEST(Reorder, ConcatSlicePadPermuteMoveEveryElement) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("reorder", 3)) {
    for (const DType dtype : kTypes) {
      const Shape shape{std::span<const std::int64_t>(s)};
      const Tensor a = numbered(shape, dtype);
      for (std::int64_t dim = -3; dim < 3; ++dim) {
        const std::size_t d = static_cast<std::size_t>(dim < 0 ? dim + 3 : dim);
        const Tensor b = numbered(shape.with(dim, 2), dtype);
        const Tensor parts[] = {a, b};
        const Tensor y = ops::concat(ctx, parts, dim);
        reference::Sizes whole = s;
        whole[d] += 2;
        ASSERT_EQ(y.shape(), Shape(std::span<const std::int64_t>(whole)));
        for (std::int64_t i = 0; i < y.numel(); ++i) {
          reference::Sizes index = reference::unflatten(i, whole);
          const bool second = index[d] >= s[d];
          reference::Sizes part = s;
          if (second) {
            index[d] -= s[d];
            part[d] = 2;
          }
          ASSERT_TRUE(same_element(second ? b : a, reference::flatten(index, part), y, i)) << dim << " " << i;
        }
      }
      const reference::Sizes start = {s[0] / 2, s[1] / 3, s[2] / 2};
      const Tensor cut = ops::slice(ctx, a, start, s);
      for (std::int64_t i = 0; i < cut.numel(); ++i) {
        reference::Sizes index = reference::unflatten(i, {s[0] - start[0], s[1] - start[1], s[2] - start[2]});
        for (std::size_t k = 0; k < 3; ++k) index[k] += start[k];
        ASSERT_TRUE(same_element(a, reference::flatten(index, s), cut, i));
      }
      const reference::Sizes before = {0, 1, 2}, after = {1, 0, 3};
      const Tensor padded = ops::pad(ctx, a, before, after, 1.0f);
      const reference::Sizes large = {s[0] + 1, s[1] + 1, s[2] + 5};
      const Tensor one = ops::pad(ctx, Tensor::zeros(Shape{0}, dtype), std::vector<std::int64_t>{0}, std::vector<std::int64_t>{1}, 1.0f);
      for (std::int64_t i = 0; i < padded.numel(); ++i) {
        reference::Sizes index = reference::unflatten(i, large);
        bool inside = true;
        for (std::size_t k = 0; k < 3; ++k) {
          index[k] -= before[k];
          inside = inside && index[k] >= 0 && index[k] < s[k];
        }
        ASSERT_TRUE(inside ? same_element(a, reference::flatten(index, s), padded, i) : same_element(one, 0, padded, i)) << i;
      }
      const Tensor turned = ops::permute(ctx, a, std::vector<std::int64_t>{2, 0, -2});
      for (std::int64_t i = 0; i < turned.numel(); ++i) {
        const reference::Sizes index = reference::unflatten(i, {s[2], s[0], s[1]});
        ASSERT_TRUE(same_element(a, reference::flatten({index[1], index[2], index[0]}, s), turned, i));
      }
    }
  }
}

TEST(Reorder, ViewsBecomeContiguous) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = numbered(Shape{6, 10}, DType::f32);
  const Tensor y = ops::contiguous(ctx, x.columns(3, 4));
  EXPECT_TRUE(y.is_contiguous());
  for (std::int64_t r = 0; r < 6; ++r)
    for (std::int64_t c = 0; c < 4; ++c) EXPECT_TRUE(same_element(x, r * 10 + 3 + c, y, r * 4 + c));
  const Tensor tiles = ops::to_layout(ctx, x.columns(3, 4), Layout::tile);
  EXPECT_TRUE(same_element(x, 13, tiles, reference::tile_position(1, 0, 4)));
  const Tensor turned = ops::permute(ctx, x.columns(3, 4), std::vector<std::int64_t>{1, 0});
  EXPECT_TRUE(same_element(x, 2 * 10 + 4, turned, 1 * 6 + 2));
}

TEST(Reorder, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = Tensor::zeros(Shape{2, 3}, DType::f32);
  const Tensor tiles = Tensor::zeros(Shape{2, 3}, DType::f32, Layout::tile);
  const Tensor parts[] = {x, Tensor::zeros(Shape{2, 3}, DType::bf16)};
  using Sizes = std::vector<std::int64_t>;
  EXPECT_THROW(ops::concat(ctx, parts, 0), Error);
  EXPECT_THROW(ops::concat(ctx, {}, 0), Error);
  EXPECT_THROW(ops::concat(ctx, std::span(&x, 1), 2), Error);
  EXPECT_THROW(ops::slice(ctx, x, Sizes{0, 0}, Sizes{3, 3}), Error);
  EXPECT_THROW(ops::slice(ctx, x, Sizes{0}, Sizes{1}), Error);
  EXPECT_THROW(ops::slice(ctx, tiles, Sizes{0, 0}, Sizes{1, 1}), Error);
  EXPECT_THROW(ops::pad(ctx, x, Sizes{0, -1}, Sizes{0, 0}, 0.0f), Error);
  EXPECT_THROW(ops::permute(ctx, x, Sizes{0, 0}), Error);
  EXPECT_THROW(ops::permute(ctx, x, Sizes{0}), Error);
  Tensor y = Tensor::zeros(Shape{3, 2}, DType::f32);
  EXPECT_THROW(ops::to_layout(ctx, x, y), Error);
  EXPECT_THROW(ops::to_layout(ctx, Tensor(), Layout::tile), Error);
}

}  // namespace
}  // namespace tessera
