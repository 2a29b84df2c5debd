#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tessera/ops/conv2d.h"
#include "tessera/ops/fold.h"
#include "tessera/ops/interpolate.h"
#include "tessera/ops/pool.h"
#include "tessera/ops/reorder.h"
#include "tessera/ops/softmax.h"
#include "tests/reference/allocations.h"
#include "tests/reference/errors.h"

namespace tessera {
namespace {

using ops::ImageOrder;
using ops::InterpolateMode;

constexpr std::int64_t k31 = std::int64_t{1} << 31;
constexpr std::int64_t k62 = std::int64_t{1} << 62;
constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
constexpr std::size_t kSmall = std::size_t{8} << 20;

Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return Tensor::zeros(shape, dtype); }

/// A tensor of any size over a few bytes, which nobody may read.
Tensor unreadable(const Shape& shape, DType dtype = DType::f32) {
  alignas(64) static std::byte some[64];
  return Tensor::borrow(some, shape, dtype);
}

/// The call ends in "[op] expected <part>, got ..." without asking for much memory.
void refused(const std::string& op, const std::string& part, const std::function<void()>& call) {
  const std::size_t bytes = reference::largest_allocation_in([&] { reference::expect_error(op, part, call); });
  EXPECT_LE(bytes, kSmall) << op << " " << part;
  try {
    call();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("] expected "), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find(", got "), std::string::npos) << e.what();
  }
}

struct WindowPools {
  Context ctx{{.threads = 2, .isa = {}}};
  Tensor x = zeros({1, 8, 8, 4});
  Tensor planes = zeros({1, 4, 8, 8});

  Tensor max(const Tensor& in, const ops::MaxPool2d& o) { return ops::max_pool2d(ctx, in, o); }
  Tensor avg(const Tensor& in, const ops::MaxPool2d& o) { return ops::avg_pool2d(ctx, in, plain(o)); }
  static ops::AvgPool2d plain(const ops::MaxPool2d& o) {
    return {.kernel = o.kernel, .stride = o.stride, .padding = o.padding, .ceil_mode = o.ceil_mode, .order = o.order};
  }
  /// Both pools refuse, in both orders of axes.
  void both(const std::string& part, ops::MaxPool2d o) {
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw}) {
      o.order = order;
      const Tensor& in = order == ImageOrder::nhwc ? x : planes;
      refused("max_pool2d", part, [&] { max(in, o); });
      refused("avg_pool2d", part, [&] { avg(in, o); });
    }
  }
  void both_shapes(const Shape& expected, const ops::MaxPool2d& o, const Tensor& in) {
    EXPECT_EQ(max(in, o).shape(), expected);
    EXPECT_EQ(avg(in, o).shape(), expected);
  }
};

TEST(VisionBadInput, WindowPoolsAndSizesThatAreNotPositive) {
  WindowPools p;
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, -k31, -k62, kLowest}) {
    p.both("a kernel of 1 or more", {.kernel = {bad, 2}, .stride = {2, 2}});
    p.both("a kernel of 1 or more", {.kernel = {2, bad}, .stride = {2, 2}});
    p.both("a stride of 1 or more", {.kernel = {2, 2}, .stride = {bad, 2}});
    p.both("a stride of 1 or more", {.kernel = {2, 2}, .stride = {2, bad}});
    refused("max_pool2d", "a dilation of 1 or more", [&] { p.max(p.x, {.kernel = {2, 2}, .dilation = {bad, 1}}); });
    refused("max_pool2d", "a dilation of 1 or more", [&] { p.max(p.x, {.kernel = {2, 2}, .dilation = {1, bad}}); });
  }
  for (const std::int64_t bad : {std::int64_t{-1}, -k31, -k62, kLowest}) {
    p.both("padding from 0 to half the kernel", {.kernel = {3, 3}, .padding = {bad, 0, 0, 0}});
    p.both("padding from 0 to half the kernel", {.kernel = {3, 3}, .padding = {0, 0, 0, bad}});
  }
  p.both_shapes({1, 4, 4, 4}, {.kernel = {2, 2}, .stride = {0, 0}}, p.x);
}

TEST(VisionBadInput, WindowPoolsAndHugeSizes) {
  WindowPools p;
  for (const std::int64_t huge : {k31, k62, std::numeric_limits<std::int64_t>::max()}) {
    p.both("below 2^31", {.kernel = {huge, 2}, .stride = {1, 1}});
    p.both("below 2^31", {.kernel = {2, 2}, .stride = {2, huge}});
    p.both("half the kernel, 1", {.kernel = {2, 2}, .padding = {0, huge, 0, 0}});
    refused("max_pool2d", "below 2^31", [&] { p.max(p.x, {.kernel = {2, 2}, .dilation = {1, huge}}); });
  }
  p.both_shapes({1, 1, 4, 4}, {.kernel = {2, 2}, .stride = {k31 - 1, 2}}, p.x);
  p.both("within the padded input of 8", {.kernel = {k31 - 1, 2}, .stride = {1, 1}});
  EXPECT_EQ(p.max(p.x, {.kernel = {1, 1}, .dilation = {k31 - 1, k31 - 1}}).shape(), (Shape{1, 8, 8, 4}));
  refused("max_pool2d", "within the padded input", [&] { p.max(p.x, {.kernel = {k31 - 1, 2}, .dilation = {k31 - 1, 1}}); });
  const ops::MaxPool2d beyond{.kernel = {2, 2}, .stride = {k31 - 1, k31 - 1}, .padding = {1, 1, 1, 1}, .dilation = {k31 - 1, 7}, .ceil_mode = true};
  const Tensor y = p.max(p.x, beyond);
  EXPECT_EQ(y.shape(), (Shape{1, 1, 1, 4}));
  EXPECT_EQ(y.data<float>()[0], -std::numeric_limits<float>::infinity());
  Tensor indices;
  refused("max_pool2d", "indices below 2^31", [&] { ops::max_pool2d(p.ctx, p.x, beyond, &indices); });
}

TEST(VisionBadInput, WindowPoolsAndKernelsBeyondTheInput) {
  WindowPools p;
  p.both("within the padded input of 8", {.kernel = {9, 2}});
  p.both("within the padded input of 10", {.kernel = {2, 11}, .stride = {1, 1}, .padding = {0, 0, 1, 1}});
  p.both("within the padded input of 8", {.kernel = {9, 9}, .stride = {1, 1}, .ceil_mode = true});
  p.both_shapes({1, 1, 1, 4}, {.kernel = {9, 9}, .ceil_mode = true}, p.x);
  p.both_shapes({1, 1, 1, 4}, {.kernel = {10, 10}, .stride = {1, 1}, .padding = {1, 1, 1, 1}}, p.x);
  p.both("half the kernel, 1", {.kernel = {3, 3}, .stride = {2, 2}, .padding = {2, 2, 2, 2}});
  p.both_shapes({1, 5, 5, 4}, {.kernel = {2, 2}, .padding = {1, 1, 1, 1}}, p.x);
  refused("max_pool2d", "half the kernel, 1", [&] { p.max(p.x, {.kernel = {3, 3}, .padding = {2, 2, 2, 2}, .dilation = {2, 2}}); });
}

TEST(VisionBadInput, AveragesWithAnyDivisor) {
  Context ctx({.threads = 1, .isa = {}});
  Tensor x = zeros({1, 2, 2, 1});
  for (float& v : x.span<float>()) v = 3;
  EXPECT_EQ(ops::avg_pool2d(ctx, x, {.kernel = {2, 2}, .divisor_override = -3}).data<float>()[0], -4.0f);
  EXPECT_EQ(ops::avg_pool2d(ctx, x, {.kernel = {2, 2}, .divisor_override = k62}).data<float>()[0], 12.0f / 0x1p62f);
}

TEST(VisionBadInput, PoolsAndEmptyInputs) {
  WindowPools p;
  p.both_shapes({0, 4, 4, 4}, {}, zeros({0, 8, 8, 4}));
  p.both_shapes({0, 4, 4, 4}, {.order = ImageOrder::nchw}, zeros({0, 4, 8, 8}));
  Tensor indices;
  EXPECT_EQ(ops::max_pool2d(p.ctx, zeros({0, 8, 8, 4}), {}, &indices).shape(), (Shape{0, 4, 4, 4}));
  EXPECT_EQ(indices.shape(), (Shape{0, 4, 4, 4}));
  for (const Shape& shape : {Shape{1, 8, 8, 0}, Shape{8, 8, 0}}) {
    refused("max_pool2d", "1 channel or more", [&] { p.max(zeros(shape), {}); });
    refused("avg_pool2d", "1 channel or more", [&] { p.avg(zeros(shape), {}); });
    refused("adaptive_max_pool2d", "1 channel or more", [&] { ops::adaptive_max_pool2d(p.ctx, zeros(shape), {}); });
  }
  EXPECT_EQ(ops::adaptive_avg_pool2d(p.ctx, zeros({1, 8, 8, 0}), {.output = {2, 2}}).shape(), (Shape{1, 2, 2, 0}));
  EXPECT_EQ(ops::global_avg_pool2d(p.ctx, zeros({2, 8, 8, 0})).shape(), (Shape{2, 1, 1, 0}));
  for (const Shape& shape : {Shape{1, 0, 8, 4}, Shape{0, 0, 8, 4}}) {
    refused("max_pool2d", "a height of 1 or more", [&] { p.max(zeros(shape), {}); });
    refused("avg_pool2d", "a height of 1 or more", [&] { p.avg(zeros(shape), {}); });
    refused("adaptive_max_pool2d", "a height of 1 or more", [&] { ops::adaptive_max_pool2d(p.ctx, zeros(shape), {.output = {2, 2}}); });
    refused("adaptive_avg_pool2d", "a height of 1 or more", [&] { ops::adaptive_avg_pool2d(p.ctx, zeros(shape), {.output = {2, 2}}); });
  }
  refused("max_pool2d", "a width of 1 or more", [&] { p.max(zeros({1, 8, 0, 4}), {}); });
}

TEST(VisionBadInput, AdaptivePoolsAndOutputSizes) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = zeros({1, 8, 8, 4});
  const auto both = [&](std::array<std::int64_t, 2> output, const Shape& expected) {
    Tensor indices;
    EXPECT_EQ(ops::adaptive_max_pool2d(ctx, x, {.output = output}, &indices).shape(), expected);
    EXPECT_EQ(indices.shape(), expected);
    EXPECT_EQ(ops::adaptive_avg_pool2d(ctx, x, {.output = output}).shape(), expected);
  };
  both({0, 0}, {1, 0, 0, 4});
  both({0, 3}, {1, 0, 3, 4});
  both({3, 0}, {1, 3, 0, 4});
  both({16, 16}, {1, 16, 16, 4});
  both({8, 3}, {1, 8, 3, 4});
  both({ops::kInputSize, 3}, {1, 8, 3, 4});
  const auto bad = [&](const char* part, const Tensor& in, std::array<std::int64_t, 2> output) {
    refused("adaptive_max_pool2d", part, [&] { ops::adaptive_max_pool2d(ctx, in, {.output = output}); });
    refused("adaptive_avg_pool2d", part, [&] { ops::adaptive_avg_pool2d(ctx, in, {.output = output}); });
  };
  for (const std::int64_t size : {std::int64_t{-1}, -k31, k31, k62, -k62}) bad("an output size from 0 to 2^30", x, {size, 2});
  bad("planes of less than 2^31 pixels", x, {k31 / 2, k31 / 2});
  bad("planes of less than 2^31 pixels", x, {1 << 16, 1 << 15});
  bad("at most 2^62 elements", unreadable({std::int64_t{1} << 40, 1, 1, 1}), {1 << 15, 1 << 15});
}

TEST(VisionBadInput, IndicesPastInt32) {
  Context ctx({.threads = 1, .isa = {}});
  for (const Shape& shape :
       {Shape{1, 65536, 65536, 1}, Shape{1, k31, 1, 1}, Shape{1, 1, k31, 1}, Shape{0, 1 << 16, 1 << 15, 1}, Shape{1, k62 >> 20, 1, 1}}) {
    const Tensor x = unreadable(shape);
    const char* const part = "planes of less than 2^31 pixels";
    refused("max_pool2d", part, [&] { ops::max_pool2d(ctx, x, {.kernel = {1, 1}}); });
    refused("avg_pool2d", part, [&] { ops::avg_pool2d(ctx, x, {.kernel = {1, 1}}); });
    refused("adaptive_max_pool2d", part, [&] { ops::adaptive_max_pool2d(ctx, x, {.output = {2, 2}}); });
    refused("adaptive_avg_pool2d", part, [&] { ops::adaptive_avg_pool2d(ctx, x, {.output = {2, 2}}); });
  }
  Tensor x = zeros({1, 46340, 2, 1}), indices;
  x.data<float>()[2 * 46340 - 1] = 1;
  ops::adaptive_max_pool2d(ctx, x, {}, &indices);
  EXPECT_EQ(indices.data<std::int32_t>()[0], 2 * 46340 - 1);
}

TEST(VisionBadInput, PoolsAndRanksDtypesLayouts) {
  Context ctx({.threads = 1, .isa = {}});
  const auto all = [&](const char* part, const Tensor& x, const ops::ImageSize& flat = {}) {
    refused("max_pool2d", part, [&] { ops::max_pool2d(ctx, x, {}, nullptr, flat); });
    refused("avg_pool2d", part, [&] { ops::avg_pool2d(ctx, x, {}, flat); });
    refused("adaptive_max_pool2d", part, [&] { ops::adaptive_max_pool2d(ctx, x, {}, nullptr, flat); });
    refused("adaptive_avg_pool2d", part, [&] { ops::adaptive_avg_pool2d(ctx, x, {}, flat); });
  };
  all("[n, h, w, c]", {});
  for (const Shape& shape : {Shape{}, Shape{8}, Shape{8, 8}, Shape{1, 1, 8, 8, 4}}) all("[n, h, w, c]", zeros(shape));
  for (const DType dtype : {DType::i32, DType::u32, DType::u8, DType::i8, DType::f16})
    all("float32, bfloat16, bfloat8_b", zeros({1, 8, 8, 4}, dtype));
  all("without gaps", zeros({1, 8, 8, 5}).columns(0, 4));
  const Tensor flat = zeros({1, 1, 64, 4});
  all("64 pixels", flat, {2, 8, 8, 4});
  all("64 pixels", flat, {-1, -8, 8, 4});
  all("64 pixels", flat, {k62, k62, k62, 4});
  all("64 pixels", flat, {k31, k31, 16, 4});
  all("64 pixels", flat, {1, 0, 8, 4});
  all("flattened pictures", zeros({1, 8, 8, 4}), {1, 8, 8, 4});
}

TEST(VisionBadInput, PoolsAndOutputs) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = zeros({1, 8, 8, 4});
  const auto all = [&](const char* part, Tensor y) {
    refused("max_pool2d", part, [&] { ops::max_pool2d(ctx, x, {}, y); });
    refused("avg_pool2d", part, [&] { ops::avg_pool2d(ctx, x, {}, y); });
    refused("adaptive_max_pool2d", part, [&] { ops::adaptive_max_pool2d(ctx, x, {.output = {4, 4}}, y); });
    refused("adaptive_avg_pool2d", part, [&] { ops::adaptive_avg_pool2d(ctx, x, {.output = {4, 4}}, y); });
  };
  all("y as contiguous float32[1, 4, 4, 4]", {});
  all("y as contiguous float32[1, 4, 4, 4]", zeros({1, 4, 4, 4}, DType::bf16));
  all("y as contiguous float32[1, 4, 4, 4]", zeros({4, 4, 4}));
  all("y as contiguous float32[1, 4, 4, 4]", zeros({1, 4, 4, 5}).columns(0, 4));
  for (const std::int64_t start : {0, 1, 192}) all("memory of their own", x.reshape({256}).narrow(start, 64).reshape({1, 4, 4, 4}));
  Tensor y = zeros({1, 4, 4, 4});
  const auto indexed = [&](const char* part, Tensor indices) {
    refused("max_pool2d", part, [&] { ops::max_pool2d(ctx, x, {}, y, &indices); });
    refused("adaptive_max_pool2d", part, [&] { ops::adaptive_max_pool2d(ctx, x, {.output = {4, 4}}, y, &indices); });
  };
  indexed("indices as contiguous row-major int32[1, 4, 4, 4]", {});
  indexed("indices as contiguous row-major int32[1, 4, 4, 4]", zeros({1, 4, 4, 4}, DType::u32));
  indexed("indices as contiguous row-major int32[1, 4, 4, 4]", zeros({1, 4, 4, 3}, DType::i32));
  indexed("memory of their own", Tensor::borrow(y.raw(), {1, 4, 4, 4}, DType::i32));
  indexed("memory of their own", Tensor::borrow(const_cast<void*>(x.raw()), {1, 4, 4, 4}, DType::i32));
}

struct Convolution {
  Context ctx{{.threads = 2, .isa = {}}};
  ops::PreparedConv2d prepare(const Shape& weight, const ops::Conv2d& o = {}, const Tensor& bias = {}, DType precision = DType::f32) {
    return ops::prepare_conv2d(ctx, zeros(weight), bias, o, precision);
  }
  void unprepared(const char* part, const Shape& weight, const ops::Conv2d& o = {}, const Tensor& bias = {}) {
    refused("prepare_conv2d", part, [&] { prepare(weight, o, bias); });
  }
  Tensor run(const Tensor& x, const Shape& weight, const ops::Conv2d& o = {}) { return ops::conv2d(ctx, x, prepare(weight, o)); }
  void unrun(const char* part, const Tensor& x, const Shape& weight, const ops::Conv2d& o = {}) {
    const ops::PreparedConv2d w = prepare(weight, o);
    refused("conv2d", part, [&] { ops::conv2d(ctx, x, w); });
    if (x.defined() && (x.shape().rank() == 3 || x.shape().rank() == 4) && x.is_contiguous() && x.dtype() == DType::f32)
      refused("conv2d", part, [&] { (void)ops::conv2d_shape(x.shape(), w); });
  }
};

TEST(VisionBadInput, ConvolutionsAndSizesThatAreNotPositive) {
  Convolution c;
  const Shape w{4, 4, 3, 3};
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, -k31, -k62, kLowest}) {
    c.unprepared("strides of 1 or more", w, {.stride = {bad, 1}});
    c.unprepared("strides of 1 or more", w, {.stride = {1, bad}});
    c.unprepared("dilations of 1 or more", w, {.dilation = {bad, 1}});
    c.unprepared("1 group or more", w, {.groups = bad});
    if (bad != 0) c.unprepared("paddings of 0 or more", w, {.padding = {0, 0, bad, 0}});
  }
  for (const Shape& empty : {Shape{0, 4, 3, 3}, Shape{4, 0, 3, 3}, Shape{4, 4, 0, 3}, Shape{4, 4, 3, 0}}) c.unprepared("with elements", empty);
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{4, 4, 3}, Shape{4, 4, 3, 3, 1}}) c.unprepared("[out, in / groups, kh, kw]", shape);
}

TEST(VisionBadInput, ConvolutionsAndHugeSizes) {
  Convolution c;
  const Shape w{4, 4, 3, 3};
  const Tensor x = zeros({1, 8, 8, 4});
  for (const std::int64_t huge : {k31, k62, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(c.run(x, w, {.stride = {huge, huge}}).shape(), (Shape{1, 1, 1, 4}));
    EXPECT_EQ(c.run(x, {4, 1, 3, 3}, {.stride = {huge, 1}, .groups = 4}).shape(), (Shape{1, 1, 6, 4}));
    c.unprepared("paddings of 0 or more", w, {.padding = {huge, 0, 0, 0}});
    c.unprepared("dilations of 1 or more", w, {.dilation = {huge, 1}});
    c.unprepared("a multiple of", w, {.groups = huge});
  }
  c.unprepared("a window below 2^31", w, {.dilation = {k31 - 1, 1}});
  c.unrun("a window inside the padded picture", x, {4, 4, 2, 2}, {.dilation = {k31 - 2, 1}});
  c.unrun("planes of fewer than 2^31 elements", x, w, {.padding = {k31 - 1, k31 - 1, 0, 0}});
  c.unrun("planes of fewer than 2^31 elements", x, w, {.padding = {1 << 16, 0, 1 << 16, 0}});
  c.unrun("planes of fewer than 2^31 elements", unreadable({1, 1 << 16, 1 << 16, 4}), w);
  c.unrun("planes of fewer than 2^31 elements", unreadable({1, k31 * 2, 1, 4}), {4, 4, 1, 1});
  c.unrun("at most 2^62 elements", unreadable({std::int64_t{1} << 56, 1, 1, 4}), {1 << 5, 4, 1, 1}, {.padding = {1, 1, 1, 1}});
}

TEST(VisionBadInput, ConvolutionsAndChannels) {
  Convolution c;
  c.unprepared("a multiple of 3 groups", {4, 4, 3, 3}, {.groups = 3});
  c.unprepared("a multiple of 2 groups", {3, 2, 3, 3}, {.groups = 2});
  c.unrun("pictures of 8 channels", zeros({1, 8, 8, 4}), {4, 4, 3, 3}, {.groups = 2});
  c.unrun("pictures of 4 channels", zeros({1, 8, 8, 5}), {4, 4, 3, 3});
  c.unrun("pictures of 4 channels", zeros({1, 8, 8, 0}), {4, 4, 3, 3});
  c.unrun("pictures of 4 channels", zeros({1, 8, 8, 1}), {4, 1, 3, 3}, {.groups = 4});
  c.unprepared("a contiguous bias [4]", {4, 4, 3, 3}, {}, zeros({3}));
  c.unprepared("a contiguous bias [4]", {4, 4, 3, 3}, {}, zeros({4, 1}));
  c.unprepared("a contiguous bias [4]", {4, 4, 3, 3}, {}, zeros({4}, DType::i32));
  c.unprepared("stride 1 for 'same' padding", {4, 4, 3, 3}, {.stride = {2, 2}, .same = true});
}

TEST(VisionBadInput, ConvolutionsAndInputs) {
  Convolution c;
  const Shape dense{4, 4, 3, 3}, depthwise{4, 1, 3, 3};
  c.unrun("a window inside the padded picture of 8 x 8", zeros({1, 8, 8, 4}), {4, 4, 9, 9});
  EXPECT_EQ(c.run(zeros({1, 8, 8, 4}), {4, 4, 9, 9}, {.padding = {1, 1, 1, 1}}).shape(), (Shape{1, 2, 2, 4}));
  EXPECT_EQ(c.run(zeros({1, 8, 8, 4}), dense, {.padding = {4, 4, 4, 4}}).shape(), (Shape{1, 14, 14, 4}));
  for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
    for (const std::int64_t groups : {1, 4}) {
      const Shape& w = groups == 1 ? dense : depthwise;
      const ops::Conv2d o{.groups = groups, .order = order};
      const bool last = order == ImageOrder::nhwc;
      EXPECT_EQ(c.run(zeros(last ? Shape{0, 8, 8, 4} : Shape{0, 4, 8, 8}), w, o).shape(), (last ? Shape{0, 6, 6, 4} : Shape{0, 4, 6, 6}));
      EXPECT_EQ(c.run(zeros(last ? Shape{8, 8, 4} : Shape{4, 8, 8}), w, o).shape(), (last ? Shape{6, 6, 4} : Shape{4, 6, 6}));
      c.unrun("a height and width of 1 or more", zeros(last ? Shape{1, 0, 8, 4} : Shape{1, 4, 0, 8}), w, o);
      c.unrun("a height and width of 1 or more", zeros(last ? Shape{0, 8, 0, 4} : Shape{0, 4, 8, 0}), w, o);
      for (const Shape& shape : {Shape{}, Shape{8, 8}, Shape{1, 1, 4, 8, 8}}) c.unrun("pictures", zeros(shape), w, o);
      for (const DType dtype : {DType::i32, DType::u8, DType::f16})
        c.unrun("contiguous float32 or bfloat16", zeros(last ? Shape{1, 8, 8, 4} : Shape{1, 4, 8, 8}, dtype), w, o);
    }
  c.unrun("contiguous float32 or bfloat16", {}, dense);
  c.unrun("contiguous float32 or bfloat16", Tensor::zeros({1, 8, 8, 4}, DType::bfloat8_b, Layout::tile), dense);
  refused("conv2d", "prepared weights", [&] { ops::conv2d(c.ctx, zeros({1, 8, 8, 4}), {}); });
  refused("prepare_conv2d", "a precision of float32 or bfloat16", [&] { c.prepare(dense, {}, {}, DType::i32); });
  refused("prepare_conv2d", "float32, bfloat16 or float16", [&] { ops::prepare_conv2d(c.ctx, zeros({4, 4, 3, 3}, DType::i32), {}, {}, DType::f32); });
}

TEST(VisionBadInput, ConvolutionsAndOutputs) {
  Convolution c;
  const Tensor x = zeros({1, 8, 8, 4});
  for (const Shape& weight : {Shape{4, 4, 1, 1}, Shape{4, 4, 3, 3}, Shape{4, 1, 3, 3}}) {
    const bool one = weight[2] == 1;
    const ops::PreparedConv2d w = c.prepare(
        weight, {.padding = one ? std::array<std::int64_t, 4>{} : std::array<std::int64_t, 4>{1, 1, 1, 1}, .groups = weight[1] == 1 ? 4 : 1});
    const auto into = [&](const char* part, Tensor y, const Tensor& residual = {}) {
      refused("conv2d", part, [&] { ops::conv2d(c.ctx, x, w, y, residual); });
    };
    into("y as contiguous float32 or bfloat16 [1, 8, 8, 4]", {});
    into("y as contiguous float32 or bfloat16 [1, 8, 8, 4]", zeros({1, 8, 8, 4}, DType::i32));
    into("y as contiguous float32 or bfloat16 [1, 8, 8, 4]", zeros({8, 8, 4}));
    into("y in other memory than x", x);
    into("y in other memory than x", Tensor::borrow(const_cast<void*>(x.raw()), {1, 8, 8, 4}, DType::bf16));
    Tensor both = zeros({300});
    Tensor y = both.narrow(0, 256).reshape({1, 8, 8, 4});
    into("a residual that is y or in other memory", y, both.narrow(10, 256).reshape({1, 8, 8, 4}));
    into("a residual as contiguous", y, zeros({1, 8, 8, 3}));
    into("a residual as contiguous", y, zeros({1, 8, 8, 4}, DType::u8));
  }
}

constexpr InterpolateMode kModes[] = {InterpolateMode::nearest, InterpolateMode::bilinear, InterpolateMode::bicubic};

TEST(VisionBadInput, InterpolationAndSizes) {
  Context ctx({.threads = 2, .isa = {}});
  const Tensor x = zeros({1, 8, 8, 4});
  for (const InterpolateMode mode : kModes) {
    const auto bad = [&](const char* part, const Tensor& in, Tensor y, std::array<double, 2> factor = {}) {
      refused("interpolate", part, [&] { ops::interpolate(ctx, in, {.mode = mode, .scale_factor = factor}, y); });
    };
    bad("heights and widths from 1 to 2^24", x, zeros({1, 0, 3, 4}));
    bad("heights and widths from 1 to 2^24", zeros({1, 0, 8, 4}), zeros({1, 3, 3, 4}));
    bad("heights and widths from 1 to 2^24", x, unreadable({1, k31, 1, 4}));
    bad("heights and widths from 1 to 2^24", x, unreadable({1, 1, k62 >> 5, 4}));
    bad("heights and widths from 1 to 2^24", unreadable({1, k31, 1, 4}), x);
    bad("1 channel or more", zeros({1, 8, 8, 0}), zeros({1, 3, 3, 0}));
    bad("y of x's dtype, rank, batch and channels", x, zeros({2, 3, 3, 4}));
    bad("y of x's dtype, rank, batch and channels", x, zeros({1, 3, 3, 5}));
    bad("y of x's dtype, rank, batch and channels", x, zeros({3, 3, 4}));
    bad("y of x's dtype, rank, batch and channels", x, zeros({1, 3, 3, 4}, DType::bf16));
    bad("y of x's dtype, rank, batch and channels", zeros({1, 8, 8, 4}, DType::bf16), zeros({1, 3, 3, 4}));
    for (const Shape& shape : {Shape{}, Shape{8, 8}, Shape{1, 1, 8, 8, 4}}) bad("pictures", zeros(shape), zeros(shape));
    bad("pictures", {}, x);
    bad("pictures", x, {});
    for (const DType dtype : {DType::i32, DType::f16, DType::i8})
      bad("float32, bfloat16 or uint8", zeros({1, 8, 8, 4}, dtype), zeros({1, 3, 3, 4}, dtype));
    bad("float32, bfloat16 or uint8", x.columns(0, 3), zeros({1, 3, 3, 3}));
    Tensor memory = zeros({400});
    bad("memory of its own", memory.narrow(0, 256).reshape({1, 8, 8, 4}), memory.narrow(200, 36).reshape({1, 3, 3, 4}));
    const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
    for (const double factor : {-1.0, nan, inf, -inf}) bad("scale factors above 0", x, zeros({1, 8, 8, 4}), {factor, 1});
    bad("y's height as 8 times", x, zeros({1, 1, 8, 4}), {0.01, 1});
    bad("y's height as 8 times", x, zeros({1, 17, 8, 4}), {2, 1});
    bad("y's width as 8 times", x, zeros({1, 8, 8, 4}), {1, 1e300});
    bad("y's width as 8 times", x, zeros({1, 8, 8, 4}), {1, 1e-300});
    Tensor larger = zeros({1, 16, 3, 4}), none = zeros({0, 3, 3, 4});
    ops::interpolate(ctx, x, {.mode = mode}, larger);
    ops::interpolate(ctx, zeros({0, 8, 8, 4}), {.mode = mode}, none);
    EXPECT_EQ(larger.data<float>()[0], 0.0f);
  }
  Tensor y = zeros({1, 3, 3, 4});
  refused("interpolate", "for nearest", [&] { ops::interpolate(ctx, x, {.align_corners = true}, y); });
  refused("interpolate", "for nearest", [&] { ops::interpolate(ctx, x, {.antialias = true}, y); });
}

TEST(VisionBadInput, Upsampling) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = zeros({1, 8, 8, 4});
  for (const std::int64_t scale : {std::int64_t{0}, std::int64_t{-1}, k31, k62, kLowest}) {
    refused("upsample", "scale factors from 1 to 4096", [&] { ops::upsample(ctx, x, {scale, 1}); });
    refused("upsample", "scale factors from 1 to 4096", [&] { ops::upsample(ctx, x, {1, scale}); });
  }
  refused("upsample", "heights and widths", [&] { ops::upsample(ctx, unreadable({1, 1 << 20, 1, 1}), {4096, 1}); });
  refused("upsample", "heights and widths", [&] { ops::upsample(ctx, unreadable({0, k62 >> 3, 1, 1}), {4096, 1}); });
  refused("upsample", "heights and widths", [&] { ops::upsample(ctx, zeros({1, 0, 8, 4}), {2, 2}); });
  refused("upsample", "at most 2^62 elements", [&] { ops::upsample(ctx, unreadable({std::int64_t{1} << 50, 1, 1, 1}), {4096, 4096}); });
  refused("upsample", "pictures", [&] { ops::upsample(ctx, zeros({8, 8}), {2, 2}); });
  refused("interpolate", "float32, bfloat16 or uint8", [&] { ops::upsample(ctx, zeros({1, 8, 8, 4}, DType::i32), {2, 2}); });
  EXPECT_EQ(ops::upsample(ctx, zeros({0, 8, 8, 4}), {2, 3}).shape(), (Shape{0, 16, 24, 4}));
}

TEST(VisionBadInput, Folding) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = zeros({1, 8, 8, 4});
  const auto bad = [&](const char* part, const ops::Fold& o, const Tensor& in, const ops::ImageSize& flat = {}) {
    refused("fold", part, [&] { ops::fold(ctx, in, o, flat); });
  };
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, k31, k62, -k62, kLowest}) {
    bad("strides from 1 to 2^30", {.stride = {size, 2}}, x);
    if (size == 0) continue;
    bad("padding from 0 to 2^30", {.stride = {2, 2}, .padding = {size, 0, 0, 0}}, x);
    bad("padding from 0 to 2^30", {.stride = {2, 2}, .channels = {size, 0}}, x);
  }
  bad("a multiple of 3 x 2", {.stride = {3, 2}}, x);
  bad("a multiple of 16 x 2", {.stride = {16, 2}}, x);
  bad("at most 2^62 elements", {.stride = {1, 1}, .padding = {1 << 30, 0, 1 << 30, 0}}, x);
  bad("64 pixels", {.stride = {2, 2}}, zeros({1, 1, 64, 4}), {k31, k31, 16, 4});
  for (const Shape& shape : {Shape{}, Shape{8}, Shape{8, 8}, Shape{1, 1, 8, 8, 4}}) bad("pictures", {.stride = {2, 2}}, zeros(shape));
  bad("pictures", {.stride = {2, 2}}, {});
  EXPECT_EQ(ops::fold(ctx, zeros({0, 8, 8, 4}), {.stride = {2, 4}}).shape(), (Shape{0, 4, 2, 32}));
  const auto into = [&](const char* part, Tensor y) { refused("fold", part, [&] { ops::fold(ctx, x, {.stride = {2, 2}}, y); }); };
  into("y as contiguous float32[1, 4, 4, 16]", zeros({1, 4, 4, 16}, DType::bf16));
  into("memory of its own", x.reshape({1, 4, 4, 16}));
}

TEST(VisionBadInput, SoftmaxDimensionsAndEmptiness) {
  Context ctx({.threads = 2, .isa = {}});
  const auto run = [&](const Tensor& x, std::int64_t dim) {
    Tensor y = zeros(x.shape());
    ops::softmax(ctx, x, {.dim = dim}, y);
    return y;
  };
  const Tensor x = zeros({1, 4, 8, 8});
  for (const std::int64_t dim : {std::int64_t{4}, std::int64_t{-5}, k31, k62, -k62, kLowest})
    refused("softmax", "a dimension of [1, 4, 8, 8]", [&] { run(x, dim); });
  Tensor number = zeros({});
  number.data<float>()[0] = 3;
  EXPECT_EQ(run(number, 0).data<float>()[0], 1.0f);
  EXPECT_EQ(run(number, -1).data<float>()[0], 1.0f);
  refused("softmax", "a dimension of []", [&] { run(number, 1); });
  EXPECT_EQ(run(zeros({2, 0}), 1).shape(), (Shape{2, 0}));
  EXPECT_EQ(run(zeros({2, 0}), 0).shape(), (Shape{2, 0}));
  EXPECT_EQ(run(zeros({0, 3}), 1).shape(), (Shape{0, 3}));
  Tensor line = zeros({1, 2});
  const float inf = std::numeric_limits<float>::infinity();
  for (const auto& [a, b] : {std::pair{-inf, -inf}, std::pair{inf, 0.0f}}) {
    line.data<float>()[0] = a;
    line.data<float>()[1] = b;
    const Tensor y = run(line, 1);
    EXPECT_TRUE(std::isnan(y.data<float>()[0]) && std::isnan(y.data<float>()[1]));
  }
}

TEST(VisionBadInput, SoftmaxDtypesShapesAndMemory) {
  Context ctx({.threads = 1, .isa = {}});
  const Tensor x = zeros({2, 8});
  const auto bad = [&](const char* part, const Tensor& in, Tensor y, const Tensor& mask = {}) {
    refused("softmax", part, [&] { ops::softmax(ctx, in, {.mask = mask}, y); });
  };
  for (const DType dtype : {DType::i32, DType::u8, DType::f16}) {
    bad("x as contiguous row-major float32 or bfloat16", zeros({2, 8}, dtype), zeros({2, 8}));
    bad("y as contiguous row-major float32 or bfloat16 [2, 8]", x, zeros({2, 8}, dtype));
  }
  bad("x as contiguous", {}, zeros({2, 8}));
  bad("x as contiguous", zeros({2, 9}).columns(0, 8), zeros({2, 8}));
  bad("x as contiguous", Tensor::zeros({2, 8}, DType::bfloat8_b, Layout::tile), zeros({2, 8}));
  bad("y as contiguous", x, {});
  bad("y as contiguous", x, zeros({8, 2}));
  bad("y as contiguous", unreadable({k31, k31 >> 4}), x);
  for (const Shape& shape : {Shape{3, 8}, Shape{2, 7}, Shape{1, 2, 8}}) bad("a contiguous float32 or uint8 mask", x, zeros({2, 8}), zeros(shape));
  bad("a contiguous float32 or uint8 mask", x, zeros({2, 8}), zeros({2, 8}, DType::bf16));
  Tensor memory = zeros({64});
  bad("y that is x or in other memory", memory.narrow(0, 16).reshape({2, 8}), memory.narrow(4, 16).reshape({2, 8}));
  bad("y that is x or in other memory", memory.narrow(0, 16).reshape({2, 8}), Tensor::borrow(memory.raw(), {2, 8}, DType::bf16));
  bad("a mask in other memory than y", x, memory.narrow(0, 16).reshape({2, 8}), memory.narrow(8, 8));
  Tensor same = zeros({2, 8});
  ops::softmax(ctx, same, {}, same);
  EXPECT_EQ(same.data<float>()[0], 0.125f);
}

TEST(VisionBadInput, TensorsOfMoreBytesThanCanBe) {
  std::byte one{};
  reference::expect_error("shape", "2^62 elements", [&] { (void)Shape{k31, k31, 2}; });
  reference::expect_error("tensor", "2^62 bytes", [&] { Tensor::borrow(&one, {k31, k31}, DType::f32); });
  reference::expect_error("tensor", "2^62 bytes", [&] { Tensor::empty({k31, k31}, DType::f32); });
}

}  // namespace
}  // namespace tessera
