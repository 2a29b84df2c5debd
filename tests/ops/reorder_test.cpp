#include "tessera/ops/reorder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/kernel_table.h"
#include "tessera/ops/norm.h"
#include "tests/reference/errors.h"
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

using Sizes = reference::Sizes;

/// Every element of y is the element of x that `source` names by its index.
template <class F>
void expect_moved(const Tensor& x, const Tensor& y, F source) {
  const Sizes of_x(x.shape().sizes().begin(), x.shape().sizes().end());
  const Sizes of_y(y.shape().sizes().begin(), y.shape().sizes().end());
  for (std::int64_t i = 0; i < y.numel(); ++i)
    ASSERT_TRUE(same_element(x, reference::flatten(source(reference::unflatten(i, of_y)), of_x), y, i)) << y.shape().str() << " at " << i;
}

TEST(Reorder, SlicesWithStepsAndBack) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("reorder", 3))
    for (const DType dtype : kTypes) {
      const Tensor x = numbered(Shape(std::span<const std::int64_t>(s)), dtype);
      for (const Sizes& step : {Sizes{1, 1, 1}, Sizes{1, 1, 2}, Sizes{2, 3, 1}, Sizes{3, 2, 5}, Sizes{1000, std::int64_t{1} << 62, 7}}) {
        const Sizes start = {0, s[1] / 3, s[2] / 4};
        const Sizes end = {s[0], s[1], s[2] - s[2] / 5};
        const Tensor part = ops::slice(ctx, x, start, end, step);
        Sizes sizes;
        for (std::size_t i = 0; i < 3; ++i) sizes.push_back((end[i] - start[i]) / step[i] + ((end[i] - start[i]) % step[i] != 0));
        ASSERT_EQ(part.shape(), Shape(std::span<const std::int64_t>(sizes)));
        const auto source = [&](Sizes index) {
          for (std::size_t i = 0; i < 3; ++i) index[i] = start[i] + index[i] * step[i];
          return index;
        };
        expect_moved(x, part, source);
        // Written over zeros: those elements, and no others.
        Tensor whole = Tensor::zeros(x.shape(), dtype);
        Tensor expected = Tensor::zeros(x.shape(), dtype);
        for (std::int64_t i = 0; i < part.numel(); ++i)
          std::memcpy(static_cast<std::byte*>(expected.raw()) +
                          static_cast<std::size_t>(reference::flatten(source(reference::unflatten(i, sizes)), s)) * size_of(dtype),
                      static_cast<const std::byte*>(part.raw()) + static_cast<std::size_t>(i) * size_of(dtype), size_of(dtype));
        ops::slice_write(ctx, part, whole, start, end, step);
        ASSERT_EQ(std::memcmp(whole.raw(), expected.raw(), whole.bytes()), 0);
      }
    }
}

TEST(Reorder, RepeatsAndExpands) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("reorder", 3))
    for (const DType dtype : kTypes) {
      const Tensor x = numbered(Shape(std::span<const std::int64_t>(s)), dtype);
      for (const Sizes& times :
           {Sizes{1, 1, 1}, Sizes{2, 1, 1}, Sizes{1, 3, 1}, Sizes{1, 1, 4}, Sizes{2, 1, 3, 2}, Sizes{3, 1, 1, 1, 1}, Sizes{1, 0, 1}}) {
        const std::size_t ahead = times.size() - 3;
        Sizes sizes;
        for (std::size_t i = 0; i < times.size(); ++i) sizes.push_back(times[i] * (i < ahead ? 1 : s[i - ahead]));
        const Tensor y = ops::repeat(ctx, x, times);
        ASSERT_EQ(y.shape(), Shape(std::span<const std::int64_t>(sizes)));
        expect_moved(x, y, [&](Sizes index) {
          index.erase(index.begin(), index.begin() + static_cast<std::ptrdiff_t>(ahead));
          for (std::size_t i = 0; i < 3; ++i) index[i] %= s[i];
          return index;
        });
      }
      for (const std::int64_t times : {0, 1, 3})
        for (std::int64_t dim = -3; dim < 3; ++dim) {
          const std::size_t d = static_cast<std::size_t>(dim < 0 ? dim + 3 : dim);
          const Tensor y = ops::repeat_interleave(ctx, x, times, dim);
          ASSERT_EQ(y.shape(), x.shape().with(dim, s[d] * times));
          expect_moved(x, y, [&](Sizes index) {
            index[d] /= times;
            return index;
          });
        }
      // Every dimension of 1 in turn, and two in front.
      for (std::size_t d = 0; d < 3; ++d) {
        Sizes from = s;
        from[d] = 1;
        const Tensor thin = numbered(Shape(std::span<const std::int64_t>(from)), dtype);
        const Tensor y = ops::expand(ctx, thin, Shape{2, 3, s[0], s[1], s[2]});
        ASSERT_EQ(y.shape(), (Shape{2, 3, s[0], s[1], s[2]}));
        expect_moved(thin, y, [&](const Sizes& index) {
          Sizes own{index[2], index[3], index[4]};
          own[d] = 0;
          return own;
        });
      }
    }
  const Tensor number = numbered(Shape{}, DType::f32);
  const Tensor many = ops::expand(ctx, number, Shape{3, 5});
  for (std::int64_t i = 0; i < 15; ++i) EXPECT_TRUE(same_element(number, 0, many, i));
  EXPECT_TRUE(same_element(number, 0, ops::repeat(ctx, number, Sizes{2}), 1));
}

TEST(Reorder, PadsWithTheNearestElement) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("reorder", 3))
    for (const DType dtype : kTypes) {
      const Tensor x = numbered(Shape(std::span<const std::int64_t>(s)), dtype);
      for (const auto& [before, after] :
           {std::pair{Sizes{1, 2, 3}, Sizes{2, 0, 1}}, std::pair{Sizes{0, 0, 5}, Sizes{0, 0, 0}}, std::pair{Sizes{0, 1, 0}, Sizes{3, 1, 2}}}) {
        const Tensor y = ops::pad(ctx, x, before, after, 7, ops::PadMode::replicate);
        ASSERT_EQ(y.shape(), (Shape{s[0] + before[0] + after[0], s[1] + before[1] + after[1], s[2] + before[2] + after[2]}));
        expect_moved(x, y, [&, from = before](Sizes index) {
          for (std::size_t i = 0; i < 3; ++i) index[i] = std::clamp<std::int64_t>(index[i] - from[i], 0, s[i] - 1);
          return index;
        });
      }
    }
}

TEST(Reorder, FullAndArange) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor f = ops::full(ctx, {3, 1000, 7}, 1.2345, DType::f32);
  for (const float v : f.span<float>()) ASSERT_EQ(v, 1.2345f);
  const Tensor h = ops::full(ctx, {40000}, -1.2345, DType::bf16);
  for (const bf16 v : h.span<bf16>()) ASSERT_EQ(v, to_bf16(-1.2345f));
  const Tensor inf = ops::full(ctx, Shape{}, std::numeric_limits<double>::infinity(), DType::f16);
  EXPECT_EQ(inf.span<f16>()[0], to_f16(std::numeric_limits<float>::infinity()));
  EXPECT_EQ(ops::full(ctx, {5}, 4294967295.0, DType::u32).span<std::uint32_t>()[4], 4294967295u);
  EXPECT_EQ(ops::full(ctx, {5}, -128, DType::i8).span<std::int8_t>()[2], -128);
  EXPECT_EQ(ops::full(ctx, {0, 5}, 1, DType::u8).numel(), 0);
  const Tensor a = ops::arange(ctx, 0.5, 20000, 0.25, DType::f32);
  ASSERT_EQ(a.shape(), (Shape{79998}));
  for (std::int64_t i = 0; i < a.numel(); ++i) ASSERT_EQ(a.data<float>()[i], static_cast<float>(0.5 + 0.25 * static_cast<double>(i)));
  const Tensor down = ops::arange(ctx, 10, -1, -3, DType::i32);
  EXPECT_EQ(std::vector<std::int32_t>(down.span<std::int32_t>().begin(), down.span<std::int32_t>().end()), (std::vector<std::int32_t>{10, 7, 4, 1}));
  EXPECT_EQ(ops::arange(ctx, 3, 3, 1, DType::u8).numel(), 0);
  EXPECT_EQ(ops::arange(ctx, 250, 256, 1, DType::u8).span<std::uint8_t>()[5], 255);
  EXPECT_EQ(ops::arange(ctx, 0, 1000, 1, DType::bf16).span<bf16>()[999], to_bf16(999.0f));
}

TEST(Reorder, LargeOnesAreTheSameForAllRowsAndThreads) {
  const Tensor x = numbered(Shape{2, 70, 90, 33}, DType::bf16);
  const Tensor wide = numbered(Shape{300, 700}, DType::f32);
  const Tensor bytes = numbered(Shape{3, 260, 190}, DType::u8);
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    for (const std::string& row : ops::runnable_rows(ctx, "transpose")) {
      ctx.force("transpose", row);
      std::vector<Tensor> all;
      for (const Sizes& dims : {Sizes{0, 2, 1, 3}, Sizes{0, 1, 3, 2}, Sizes{3, 2, 1, 0}, Sizes{2, 0, 3, 1}, Sizes{1, 3, 0, 2}})
        all.push_back(ops::permute(ctx, x, dims));
      all.push_back(ops::permute(ctx, wide, Sizes{1, 0}));
      all.push_back(ops::permute(ctx, wide.columns(3, 600), Sizes{1, 0}));
      all.push_back(ops::permute(ctx, bytes, Sizes{0, 2, 1}));
      all.push_back(ops::permute(ctx, bytes, Sizes{2, 1, 0}));
      all.push_back(ops::contiguous(ctx, wide.columns(5, 650)));
      all.push_back(ops::repeat(ctx, wide, Sizes{2, 2}));
      all.push_back(ops::pad(ctx, wide, Sizes{3, 5}, Sizes{7, 9}, 2));
      all.push_back(ops::slice(ctx, wide, Sizes{1, 2}, Sizes{299, 699}, Sizes{1, 3}));
      if (first.empty()) {
        first = all;
        const auto check = [&](std::size_t which, const Tensor& from, const Sizes& dims) {
          expect_moved(from, first[which], [&](const Sizes& index) {
            Sizes own(index.size());
            for (std::size_t i = 0; i < index.size(); ++i) own[static_cast<std::size_t>(dims[i])] = index[i];
            return own;
          });
        };
        check(0, x, {0, 2, 1, 3});
        check(1, x, {0, 1, 3, 2});
        check(2, x, {3, 2, 1, 0});
        check(3, x, {2, 0, 3, 1});
        check(4, x, {1, 3, 0, 2});
        check(5, wide, {1, 0});
        check(7, bytes, {0, 2, 1});
        check(8, bytes, {2, 1, 0});
      }
      for (std::size_t i = 0; i < all.size(); ++i)
        ASSERT_EQ(std::memcmp(all[i].raw(), first[i].raw(), all[i].bytes()), 0) << row << " " << threads << " " << i;
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
  EXPECT_THROW(ops::concat(ctx, parts, 0), Error);
  EXPECT_THROW(ops::concat(ctx, {}, 0), Error);
  EXPECT_THROW(ops::concat(ctx, std::span(&x, 1), 2), Error);
  EXPECT_THROW(ops::slice(ctx, x, Sizes{0, 0}, Sizes{3, 3}), Error);
  EXPECT_THROW(ops::slice(ctx, x, Sizes{0}, Sizes{1}), Error);
  EXPECT_THROW(ops::slice(ctx, tiles, Sizes{0, 0}, Sizes{1, 1}), Error);
  EXPECT_THROW(ops::pad(ctx, x, Sizes{0, -1}, Sizes{0, 0}, 0.0f), Error);
  EXPECT_THROW(ops::permute(ctx, x, Sizes{0, 0}), Error);
  EXPECT_THROW(ops::permute(ctx, x, Sizes{0}), Error);
  using reference::expect_error;
  expect_error("slice", "steps of 1", [&] { ops::slice(ctx, x, Sizes{0, 0}, Sizes{2, 3}, Sizes{1, 0}); });
  expect_error("slice", "a step for each", [&] { ops::slice(ctx, x, Sizes{0, 0}, Sizes{2, 3}, Sizes{1}); });
  expect_error("slice", "a range inside", [&] { ops::slice(ctx, x, Sizes{-1, 0}, Sizes{2, 3}, Sizes{1, 1}); });
  expect_error("slice", "a start, an end", [&] { ops::slice(ctx, Tensor::zeros(Shape{}, DType::f32), {}, {}, {}); });
  Tensor target = Tensor::zeros(Shape{4, 5}, DType::f32);
  const auto write = [&](const std::string& part, const Tensor& from, Tensor& to) {
    expect_error("slice_write", part, [&] { ops::slice_write(ctx, from, to, Sizes{1, 1}, Sizes{3, 4}, Sizes{1, 1}); });
  };
  Tensor other = tiles;
  write("row-major", x, other);
  write("row-major", tiles, target);
  write("x as float32[2, 3]", Tensor::zeros(Shape{3, 2}, DType::f32), target);
  write("x as float32[2, 3]", Tensor::zeros(Shape{2, 3}, DType::i32), target);
  write("memory of its own", target.narrow(0, 2).columns(0, 3), target);
  expect_error("repeat", "times for each", [&] { ops::repeat(ctx, x, Sizes{2}); });
  expect_error("repeat", "times for each", [&] { ops::repeat(ctx, x, Sizes{1, 1, 1, 1, 1, 1, 1, 1, 1}); });
  expect_error("repeat", "from 0", [&] { ops::repeat(ctx, x, Sizes{-1, 1}); });
  expect_error("repeat_interleave", "a dimension", [&] { ops::repeat_interleave(ctx, x, 2, 2); });
  expect_error("repeat_interleave", "from 0", [&] { ops::repeat_interleave(ctx, x, -2, 1); });
  expect_error("expand", "broadcasts", [&] { ops::expand(ctx, x, Shape{4, 3}); });
  expect_error("expand", "broadcasts", [&] { ops::expand(ctx, x, Shape{3}); });
  expect_error("pad", "to replicate", [&] {
    ops::pad(ctx, Tensor::zeros(Shape{2, 0}, DType::f32), Sizes{0, 1}, Sizes{0, 0}, 0, ops::PadMode::replicate);
  });
  expect_error("pad", "int32 can hold", [&] { ops::pad(ctx, Tensor::zeros(Shape{2}, DType::i32), Sizes{1}, Sizes{0}, 0.5f); });
  expect_error("full", "uint8 can hold", [&] { ops::full(ctx, {2}, 256, DType::u8); });
  expect_error("full", "bytes of their own", [&] { ops::full(ctx, {2}, 1, DType::bfloat8_b); });
  expect_error("arange", "a step from start", [&] { ops::arange(ctx, 0, 5, 0, DType::f32); });
  expect_error("arange", "a step from start", [&] { ops::arange(ctx, 0, 5, -1, DType::f32); });
  expect_error("arange", "2^48", [&] { ops::arange(ctx, 0, 1e300, 1, DType::f32); });
  expect_error("arange", "int8 can hold", [&] { ops::arange(ctx, 0, 200, 1, DType::i8); });
  expect_error("arange", "int32 can hold", [&] { ops::arange(ctx, 0, 2, 0.5, DType::i32); });
  ctx.force("transpose", "no such row");
  expect_error("transpose", "no row", [&] { ops::permute(ctx, Tensor::zeros(Shape{20, 30}, DType::f32), Sizes{1, 0}); });
  Tensor y = Tensor::zeros(Shape{3, 2}, DType::f32);
  EXPECT_THROW(ops::to_layout(ctx, x, y), Error);
  EXPECT_THROW(ops::to_layout(ctx, Tensor(), Layout::tile), Error);
}

}  // namespace
}  // namespace tessera
