#include "tessera/ops/typecast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tessera/ops/kernel_table.h"
#include "tessera/ops/reorder.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"
#include "tests/reference/reorder.h"
#include "tests/reference/shapes.h"
#include "tests/reference/typecast.h"

namespace tessera {
namespace {

constexpr DType kPlain[] = {DType::f32, DType::bf16, DType::f16, DType::i8, DType::u8, DType::i32, DType::u32, DType::u16};
constexpr DType kBlocks[] = {DType::bfloat8_b, DType::bfloat4_b};

/// An element of a tensor without block floats by its place in memory.
double stored(const Tensor& t, std::int64_t i) {
  const auto* const p = static_cast<const std::byte*>(t.raw()) + static_cast<std::size_t>(i) * size_of(t.dtype());
  const auto read = [&](auto v) {
    std::memcpy(&v, p, sizeof v);
    return v;
  };
  switch (t.dtype()) {
    case DType::f32: return static_cast<double>(read(float{}));
    case DType::bf16: return static_cast<double>(to_f32(read(bf16{})));
    case DType::f16: return static_cast<double>(to_f32(read(f16{})));
    case DType::i8: return read(std::int8_t{});
    case DType::u8: return read(std::uint8_t{});
    case DType::i32: return read(std::int32_t{});
    case DType::u16: return read(std::uint16_t{});
    default: return read(std::uint32_t{});
  }
}

/// The logical elements, row by row, whatever the layout. Block floats by way of float32 tiles, which other tests compare with core's.
std::vector<double> values_of(Context& ctx, const Tensor& t) {
  if (is_block_float(t.dtype())) {
    Tensor wide = Tensor::empty(t.shape(), DType::f32);
    ops::typecast(ctx, t, wide);
    return values_of(ctx, wide);
  }
  std::vector<double> all;
  const std::int64_t rows = t.shape().rank() < 2 ? 1 : t.shape()[-2];
  const std::int64_t plane = t.layout() == Layout::tile ? t.padded_shape()[-2] * t.padded_shape().cols() : rows * t.row_stride();
  for (std::int64_t r = 0; r < t.rows(); ++r)
    for (std::int64_t c = 0; c < t.cols(); ++c)
      all.push_back(stored(
          t, r / rows * plane + (t.layout() == Layout::tile ? reference::tile_position(r % rows, c, t.cols()) : r % rows * t.row_stride() + c)));
  return all;
}

/// Whole numbers and fractions of many sizes that float32 holds.
Tensor floats(const Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Tensor t = Tensor::empty(shape, DType::f32);
  for (float& v : t.span<float>()) {
    v = std::ldexp(normal(random), static_cast<int>(random() % 12) - 4);
    if (random() % 9 == 0) v = 0;
  }
  return t;
}

/// x (float32, row-major) as any dtype and layout, through code of this test and ops/reorder only.
Tensor spread(Context& ctx, const Tensor& x, DType dtype, Layout layout) {
  Tensor t = Tensor::empty(x.shape(), dtype);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const float v = x.data<float>()[i];
    auto* const p = static_cast<std::byte*>(t.raw()) + static_cast<std::size_t>(i) * size_of(dtype);
    const auto put = [&](auto e) { std::memcpy(p, &e, sizeof e); };
    const double whole = std::trunc(static_cast<double>(v));
    switch (dtype) {
      case DType::f32: put(v); break;
      case DType::bf16: put(to_bf16(v)); break;
      case DType::f16: put(to_f16(v)); break;
      case DType::i8: put(static_cast<std::int8_t>(std::fmod(whole, 100))); break;
      case DType::u8: put(static_cast<std::uint8_t>(std::fabs(std::fmod(whole, 200)))); break;
      case DType::i32: put(static_cast<std::int32_t>(whole * 1000)); break;
      case DType::u16: put(static_cast<std::uint16_t>(std::fmod(std::fabs(whole) * 1000, 65536))); break;
      default: put(static_cast<std::uint32_t>(std::fabs(whole) * 1000)); break;
    }
  }
  if (layout == Layout::row_major) return t;
  Tensor tiles = Tensor::empty(x.shape(), dtype, layout);
  std::memset(tiles.raw(), 0xff, tiles.bytes());  // NaN, or large numbers: padding must take no part
  ops::to_layout(ctx, t, tiles);
  return tiles;
}

Shape shape_of(const std::vector<std::int64_t>& s) { return Shape{s[0], s[1], s[2]}; }

TEST(Typecast, BlockFloatsOfEveryDtypeAndLayoutMatchTheDefinition) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "block_float")) {
    ctx.force("block_float", row);
    for (const auto& s : reference::read_shapes("typecast", 3))
      for (const DType from : kPlain)
        for (const Layout layout : {Layout::row_major, Layout::tile})
          for (const DType to : kBlocks) {
            const Tensor x = spread(ctx, floats(shape_of(s), 1), from, layout);
            const Tensor y = ops::typecast(ctx, x, to);
            ASSERT_EQ(y.layout(), Layout::tile);
            const std::vector<double> values = values_of(ctx, x);
            // Integers pass through float32, which rounds those beyond 2^24.
            std::vector<double> rounded;
            for (const double v : values) rounded.push_back(static_cast<double>(static_cast<float>(v)));
            ASSERT_EQ(values_of(ctx, y), reference::quantised(rounded, static_cast<std::size_t>(s[2]), to == DType::bfloat8_b ? 7 : 3))
                << row << " " << x.str() << " to " << y.str();
          }
  }
}

TEST(Typecast, BlockFloatsComeBackExactlyInEveryLayout) {
  Context ctx({.threads = 3, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "block_float")) {
    ctx.force("block_float", row);
    for (const auto& s : reference::read_shapes("typecast", 3))
      for (const DType blocks : kBlocks) {
        const Tensor packed = ops::typecast(ctx, floats(shape_of(s), 2), blocks);
        const std::vector<double> expected = values_of(ctx, packed);
        for (const DType wide : {DType::f32, DType::bf16})
          for (const Layout layout : {Layout::row_major, Layout::tile}) {
            Tensor y = Tensor::empty(packed.shape(), wide, layout);
            ops::typecast(ctx, packed, y);
            ASSERT_EQ(values_of(ctx, y), expected) << y.str();
            // A block float that is unpacked and packed again is itself, byte by byte.
            const Tensor again = ops::typecast(ctx, y, blocks);
            ASSERT_EQ(std::memcmp(again.raw(), packed.raw(), packed.bytes()), 0) << y.str();
          }
        const Tensor unpacked = ops::to_layout(ctx, packed, Layout::row_major);
        EXPECT_EQ(unpacked.dtype(), DType::bf16);
        ASSERT_EQ(values_of(ctx, unpacked), expected);
        const Tensor copied = ops::to_layout(ctx, packed, Layout::tile);
        ASSERT_EQ(std::memcmp(copied.raw(), packed.raw(), packed.bytes()), 0);
      }
  }
}

TEST(Typecast, BlockFloatsOfOneKindBecomeTheOther) {
  Context ctx({.threads = 2, .isa = {}});
  for (const auto& s : reference::read_shapes("typecast", 3)) {
    const Tensor eight = ops::typecast(ctx, floats(shape_of(s), 3), DType::bfloat8_b);
    const Tensor four = ops::typecast(ctx, eight, DType::bfloat4_b);
    ASSERT_EQ(values_of(ctx, four), reference::quantised(values_of(ctx, eight), static_cast<std::size_t>(s[2]), 3));
    ASSERT_EQ(values_of(ctx, ops::typecast(ctx, four, DType::bfloat8_b)), values_of(ctx, four));
    Tensor copy = Tensor::zeros(eight.shape(), DType::bfloat8_b, Layout::tile);
    ops::typecast(ctx, eight, copy);
    ASSERT_EQ(std::memcmp(copy.raw(), eight.raw(), eight.bytes()), 0);
  }
}

TEST(Typecast, PaddingIsZeroInBlocks) {
  Context ctx({.threads = 1, .isa = {}});
  // Huge numbers in the padding would push the row's own values out of their block.
  Tensor x = Tensor::empty(Shape{3, 5}, DType::f32, Layout::tile);
  for (std::size_t i = 0; i < 1024; ++i) static_cast<float*>(x.raw())[i] = 1e30f;
  Tensor ones = Tensor::empty(Shape{3, 5}, DType::f32);
  for (float& v : ones.span<float>()) v = 1;
  ops::to_layout(ctx, ones, x);
  const Tensor y = ops::typecast(ctx, x, DType::bfloat8_b);
  const auto* const bytes = static_cast<const std::uint8_t*>(y.raw());
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(bytes[i], i < 3 ? 127 : 0);
  for (std::size_t i = 0; i < 1024; ++i) EXPECT_EQ(bytes[64 + i], i < 48 && i % 16 < 5 ? 64 : 0) << i;
}

TEST(Typecast, RowsStayRowsOfAnyStride) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = floats(Shape{5, 40}, 4);
  const Tensor view = x.columns(3, 20);
  Tensor copy = Tensor::empty(view.shape(), DType::f32);
  for (std::int64_t r = 0; r < 5; ++r)
    for (std::int64_t c = 0; c < 20; ++c) copy.data<float>()[r * 20 + c] = view.data<float>()[r * 40 + c];
  for (const DType dtype : {DType::f32, DType::bf16, DType::i8, DType::bfloat8_b})
    EXPECT_EQ(values_of(ctx, ops::typecast(ctx, view, dtype)), values_of(ctx, ops::typecast(ctx, copy, dtype))) << name(dtype);
  Tensor wide = Tensor::zeros(Shape{5, 40}, DType::f32);
  Tensor part = wide.columns(10, 20);
  ops::typecast(ctx, ops::typecast(ctx, copy, DType::bfloat8_b), part);
  EXPECT_EQ(values_of(ctx, part), reference::quantised(values_of(ctx, copy), 20, 7));
  EXPECT_EQ(wide.data<float>()[9], 0.0f);
  EXPECT_EQ(wide.data<float>()[30], 0.0f);
}

TEST(Typecast, EveryPairOfPlainDtypes) {
  Context ctx({.threads = 2, .isa = {}});
  for (const std::string& row : ops::runnable_rows(ctx, "elementwise")) {
    ctx.force("elementwise", row);
    for (const auto& s : reference::read_shapes("typecast", 3))
      for (const DType from : kPlain)
        for (const DType to : kPlain)
          for (const Layout layout : {Layout::row_major, Layout::tile}) {
            const Tensor x = spread(ctx, floats(shape_of(s), 5), from, layout);
            const Tensor y = ops::typecast(ctx, x, to);
            ASSERT_EQ(y.layout(), layout);
            const std::vector<double> in = values_of(ctx, x), out = values_of(ctx, y);
            for (std::size_t i = 0; i < in.size(); ++i) {
              const auto f = static_cast<float>(in[i]);
              double expected = static_cast<double>(f);
              if (to == DType::bf16) expected = static_cast<double>(to_f32(to_bf16(f)));
              if (to == DType::f16) expected = static_cast<double>(to_f32(to_f16(f)));
              if (to == DType::u8 || to == DType::i8) expected = reference::low_byte(in[i], to == DType::i8);
              const bool from_integer = from == DType::i8 || from == DType::u8 || from == DType::i32 || from == DType::u32 || from == DType::u16;
              if (to == DType::u16) expected = reference::to_uint16(in[i]);
              if (to == DType::u32) expected = from_integer ? (in[i] < 0 ? in[i] + 0x1p32 : in[i]) : reference::to_uint32(in[i], in[i] < 0);
              if (to == DType::i32) expected = from_integer ? (in[i] >= 0x1p31 ? in[i] - 0x1p32 : in[i]) : reference::to_int32(in[i]);
              if (to == from) expected = in[i];
              ASSERT_EQ(out[i], expected) << x.str() << " to " << y.str() << " of " << in[i];
            }
          }
  }
}

TEST(Typecast, FloatsBeyondTheIntegers) {
  Context ctx({.threads = 1, .isa = {}});
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {-0.9f,   0.9f,  255.9f, 256.0f, -1.0f, -129.5f, 2147483520.0f, 0x1p31f, -0x1p31f,
                                0x1p32f, 3e38f, -3e38f, inf,    -inf,  nan};
  const Tensor t = Tensor::from<float>(x, Shape{static_cast<std::int64_t>(x.size())});
  const auto cast = [&](DType dtype) { return values_of(ctx, ops::typecast(ctx, t, dtype)); };
  const double top = 0x1p32 - 1, low = -0x1p31;
  EXPECT_EQ(cast(DType::u8), (std::vector<double>{0, 0, 255, 0, 255, 127, 128, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(cast(DType::i8), (std::vector<double>{0, 0, -1, 0, -1, 127, -128, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(cast(DType::u32), (std::vector<double>{0, 0, 255, 256, 0, 0, 2147483520, 0x1p31, 0, top, top, 0, top, 0, top}));
  const double most = 65535;
  EXPECT_EQ(cast(DType::u16), (std::vector<double>{0, 1, 256, 256, 0, 0, most, most, 0, most, most, 0, most, 0, 0}));
  EXPECT_EQ(cast(DType::i32), (std::vector<double>{0, 0, 255, 256, -1, -129, 2147483520, low, low, low, low, low, low, low, low}));
}

TEST(Typecast, NanAndInfinityInABlock) {
  Context ctx({.threads = 1, .isa = {}});
  const float inf = std::numeric_limits<float>::infinity();
  Tensor x = Tensor::zeros(Shape{2, 40}, DType::f32);
  for (float& v : x.span<float>()) v = 1;
  x.data<float>()[3] = inf;
  x.data<float>()[20] = std::nanf("");
  const std::vector<double> y = values_of(ctx, ops::typecast(ctx, x, DType::bfloat8_b));
  // What shares their block is lost, the rest is not.
  for (std::size_t i = 0; i < 80; ++i) {
    if (i == 3)
      EXPECT_EQ(y[i], static_cast<double>(inf));
    else if (i == 20)
      EXPECT_TRUE(std::isnan(y[i]));
    else
      EXPECT_EQ(y[i], i < 32 ? 0.0 : 1.0) << i;
  }
}

TEST(Typecast, ThreadsChangeNoBitAndTheSecondCallDoesNotAllocate) {
  const Tensor x = floats(Shape{3, 100, 70}, 6);
  std::vector<std::vector<std::byte>> first;
  for (const int threads : {1, 2, 3, 8}) {
    Context ctx({.threads = threads, .isa = {}});
    std::vector<std::vector<std::byte>> results;
    for (const DType dtype : {DType::bf16, DType::i32, DType::bfloat8_b, DType::bfloat4_b}) {
      Tensor y = Tensor::zeros(x.shape(), dtype, is_block_float(dtype) ? Layout::tile : Layout::row_major);
      Tensor back = Tensor::zeros(x.shape(), DType::f32);
      const auto call = [&] {
        ops::typecast(ctx, x, y);
        ops::typecast(ctx, y, back);
      };
      call();
      EXPECT_EQ(reference::allocations_in(call), 0);
      for (const Tensor* t : {&y, &back}) {
        const auto* const p = static_cast<const std::byte*>(t->raw());
        results.emplace_back(p, p + t->bytes());
      }
    }
    if (first.empty()) first = results;
    EXPECT_EQ(results, first) << threads;
  }
}

TEST(Typecast, EmptyAndOneDimensional) {
  Context ctx({.threads = 1, .isa = {}});
  EXPECT_EQ(ops::typecast(ctx, Tensor::empty(Shape{0, 4}, DType::f32), DType::bfloat8_b).shape(), (Shape{0, 4}));
  EXPECT_EQ(ops::typecast(ctx, Tensor::empty(Shape{4, 0}, DType::f32), DType::i32).numel(), 0);
  const Tensor x = floats(Shape{37}, 7);
  EXPECT_EQ(values_of(ctx, ops::typecast(ctx, x, DType::bfloat4_b)), reference::quantised(values_of(ctx, x), 37, 3));
  const Tensor one = Tensor::from<float>(std::vector<float>{0.7f}, Shape{});
  EXPECT_EQ(values_of(ctx, ops::typecast(ctx, one, DType::bfloat8_b)), (std::vector<double>{0.703125}));
}

TEST(Typecast, ReportsItsTraffic) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = floats(Shape{64, 64}, 8);
  Tensor y = Tensor::zeros(x.shape(), DType::bfloat8_b, Layout::tile);
  ctx.force("block_float", "scalar");
  ctx.profiler().start();
  ops::typecast(ctx, x, y);
  ctx.profiler().stop();
  EXPECT_STREQ(ctx.profiler().records().at(0).path, "scalar");
  EXPECT_EQ(ctx.profiler().records().at(0).bytes, 64.0 * 64 * 4 + 4 * 1088);
}

TEST(Typecast, BadCallsAreRefused) {
  Context ctx({.threads = 1, .isa = {}});
  const auto bad = [&](const char* part, const Tensor& x, Tensor y) { reference::expect_error("typecast", part, [&] { ops::typecast(ctx, x, y); }); };
  const Tensor x = Tensor::zeros(Shape{4, 8}, DType::f32);
  bad("two tensors", {}, x);
  bad("two tensors", x, {});
  bad("y of shape [4, 8]", x, Tensor::zeros(Shape{8, 4}, DType::bf16));
  bad("ops::to_layout converts", x, Tensor::zeros(Shape{4, 8}, DType::bf16, Layout::tile));
  reference::expect_error("typecast", "a tensor", [&] { ops::typecast(ctx, Tensor(), DType::f32); });
  const Tensor blocks = Tensor::zeros(Shape{4, 8}, DType::bfloat8_b, Layout::tile);
  Tensor inside = Tensor::borrow(const_cast<void*>(blocks.raw()), Shape{4, 8}, DType::f32);
  bad("memory of its own", blocks, inside);
  Tensor y = Tensor::zeros(Shape{4, 8}, DType::f32);
  reference::expect_error("to_layout", "row-major: of bfloat16", [&] { ops::to_layout(ctx, blocks, y); });
  const std::vector<std::int64_t> zero = {0, 0};
  reference::expect_error("pad", "row-major layout", [&] { ops::pad(ctx, blocks, zero, zero, 0); });
}

}  // namespace
}  // namespace tessera
