// What the vision ops do with sizes and tensors that make no sense, or only just: PyTorch's answer, or "[op] expected ..., got ...", and never
// an overflow or memory in proportion to a number that somebody made up.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/fold.h"
#include "tessera/ops/interpolate.h"
#include "tessera/ops/pool.h"
#include "tessera/ops/softmax.h"

namespace tessera {
namespace {

using ops::ImageOrder;
using ops::ImageSize;
using ops::InterpolateMode;

constexpr std::int64_t k31 = std::int64_t{1} << 31;
constexpr std::int64_t k62 = std::int64_t{1} << 62;
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr std::size_t kSmall = std::size_t{64} << 20;  // more than any call on pictures of 16 pixels may ask for

const std::vector<std::int64_t> kHuge = {k31, k31 + 1, k62, kMax};
const std::vector<std::int64_t> kNotPositive = {0, -1, -k31, kMin};
const std::vector<std::int64_t> kNegative = {-1, -k31, kMin};

/// 0, 1, 2, ... in any float dtype.
Tensor counting(const Shape& shape, DType dtype = DType::f32) {
  Tensor t = Tensor::empty(shape, dtype);
  for (std::int64_t i = 0; i < t.numel(); ++i) {
    if (dtype == DType::bf16)
      t.data<bf16>()[i] = to_bf16(static_cast<float>(i));
    else
      t.data<float>()[i] = static_cast<float>(i);
  }
  return t;
}

/// A tensor of a shape that nobody has the memory for: only its sizes may be looked at.
Tensor imaginary(const Shape& shape, DType dtype = DType::f32) {
  static float one = 0;
  return Tensor::borrow(&one, shape, dtype);
}

std::vector<float> values(const Tensor& t) { return {t.span<float>().begin(), t.span<float>().end()}; }
std::vector<std::int32_t> whole(const Tensor& t) { return {t.span<std::int32_t>().begin(), t.span<std::int32_t>().end()}; }

class BadInput : public testing::Test {
 protected:
  /// fn() must throw "[op] expected ..., got ..." and leave the workspace small.
  template <class Fn>
  void refused(const std::string& op, const std::string& what, Fn fn) {
    SCOPED_TRACE(op + ": " + what);
    try {
      fn();
      ADD_FAILURE() << "was accepted";
    } catch (const Error& e) {
      const std::string text = e.what();
      EXPECT_EQ(text.find("[" + op + "] expected "), 0u) << text;
      EXPECT_NE(text.find(", got "), std::string::npos) << text;
    }
    EXPECT_LT(ctx.workspace().reserved(), kSmall);
  }

  Context ctx{ContextOptions{.threads = 2, .isa = {}}};
  Tensor x = counting(Shape{1, 4, 4, 1});
};

// ---- pools ----

/// One pool with one field of its options set along one axis.
struct Field {
  const char* name;
  std::function<void(ops::MaxPool2d&, std::size_t, std::int64_t)> set;
  bool zero_is_bad;
};

TEST_F(BadInput, PoolsRefuseSizesThatAreNoSizes) {
  const std::vector<Field> fields = {
      {"kernel", [](auto& o, std::size_t axis, std::int64_t v) { o.kernel[axis] = v; }, true},
      {"stride", [](auto& o, std::size_t axis, std::int64_t v) { o.stride[axis] = v; }, false},  // 0: the kernel's size
      {"dilation", [](auto& o, std::size_t axis, std::int64_t v) { o.dilation[axis] = v; }, true},
      {"padding before", [](auto& o, std::size_t axis, std::int64_t v) { o.padding[2 * axis] = v; }, false},
      {"padding after", [](auto& o, std::size_t axis, std::int64_t v) { o.padding[2 * axis + 1] = v; }, false},
  };
  for (const Field& field : fields)
    for (const std::size_t axis : {0u, 1u})
      for (const bool ceil : {false, true}) {
        std::vector<std::int64_t> bad = kHuge;
        const std::vector<std::int64_t>& low = field.zero_is_bad ? kNotPositive : kNegative;
        bad.insert(bad.end(), low.begin(), low.end());
        for (const std::int64_t v : bad) {
          ops::MaxPool2d max{.kernel = {2, 2}, .stride = {1, 1}, .ceil_mode = ceil};
          field.set(max, axis, v);
          const std::string what = std::string(field.name) + " " + std::to_string(v);
          refused("max_pool2d", what, [&] { ops::max_pool2d(ctx, x, max); });
          refused("max_pool2d", what, [&] { ops::pool2d_shape(x, max); });
          if (std::string(field.name) == "dilation") continue;
          const ops::AvgPool2d avg{.kernel = max.kernel, .stride = max.stride, .padding = max.padding, .ceil_mode = ceil};
          refused("avg_pool2d", what, [&] { ops::avg_pool2d(ctx, x, avg); });
        }
      }
  for (std::int64_t v : {k31, k62, kMax, std::int64_t{-1}, kMin + 1})  // kMin: the input's size
    for (const std::array<std::int64_t, 2> output : {std::array<std::int64_t, 2>{v, 2}, {2, v}, {v, v}}) {
      refused("adaptive_avg_pool2d", std::to_string(v), [&] { ops::adaptive_avg_pool2d(ctx, x, {.output = output}); });
      refused("adaptive_max_pool2d", std::to_string(v), [&] { ops::adaptive_max_pool2d(ctx, x, {.output = output}); });
    }
}

TEST_F(BadInput, PoolsRefusePicturesThatCannotBe) {
  const std::vector<Shape> shapes = {{1, 0, 4, 2},
                                     {1, 4, 0, 2},
                                     {1, 4, 4, 0},
                                     {0, 0, 4, 2},
                                     {0, 4, 4, 0},
                                     {4, 4},
                                     {16},
                                     {1, 1, 4, 4, 2},
                                     {},
                                     {1, k31, 1, 1},
                                     {1, 1, k31, 1},
                                     {1, 1, k62, 1},
                                     {0, k62, 1, 1},
                                     {0, 1 << 20, 1 << 20, 1},
                                     {1, 1 << 16, 1 << 15, 1}};
  for (const Shape& shape : shapes) {
    const Tensor in = imaginary(shape);
    refused("max_pool2d", shape.str(), [&] { ops::max_pool2d(ctx, in, {.kernel = {1, 1}}); });
    refused("avg_pool2d", shape.str(), [&] { ops::avg_pool2d(ctx, in, {.kernel = {1, 1}}); });
    refused("adaptive_max_pool2d", shape.str(), [&] { ops::adaptive_max_pool2d(ctx, in, {.output = {1, 1}}); });
    if (shape == Shape{1, 4, 4, 0} || shape == Shape{0, 4, 4, 0}) {  // the one op that lets PyTorch have no channels
      EXPECT_EQ(ops::adaptive_avg_pool2d(ctx, in, {.output = {1, 1}}).numel(), 0);
      continue;
    }
    refused("adaptive_avg_pool2d", shape.str(), [&] { ops::adaptive_avg_pool2d(ctx, in, {.output = {1, 1}}); });
    refused("adaptive_avg_pool2d", shape.str(), [&] { ops::global_avg_pool2d(ctx, in); });
  }
  refused("max_pool2d", "undefined", [&] { ops::max_pool2d(ctx, {}, {}); });
  for (const DType dtype : {DType::f16, DType::i8, DType::u8, DType::i32, DType::u32}) {
    const Tensor in = Tensor::zeros(Shape{1, 4, 4, 1}, dtype);
    refused("max_pool2d", in.str(), [&] { ops::max_pool2d(ctx, in, {}); });
    refused("adaptive_avg_pool2d", in.str(), [&] { ops::adaptive_avg_pool2d(ctx, in, {}); });
  }
}

TEST_F(BadInput, PoolsRefuseOutputsBeyondTheIndices) {
  // Planes whose pixels int32 cannot number, and outputs of more elements than there are.
  refused("adaptive_max_pool2d", "plane", [&] { ops::adaptive_max_pool2d(ctx, x, {.output = {1 << 16, 1 << 15}}); });
  refused("adaptive_max_pool2d", "plane", [&] { ops::adaptive_max_pool2d(ctx, imaginary({1, 1 << 16, 1 << 15, 1}), {.output = {1, 1}}); });
  refused("adaptive_avg_pool2d", "elements", [&] {
    ops::adaptive_avg_pool2d(ctx, imaginary({std::int64_t{1} << 36, 1, 1, 1}), {.output = {1 << 15, 1 << 15}});
  });
}

TEST_F(BadInput, PoolsRefusePaddingOverHalfTheKernelAndKernelsBeyondIt) {
  // PyTorch's rule looks at the kernel without its dilation.
  refused("max_pool2d", "padding 2 of 3", [&] { ops::max_pool2d(ctx, x, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {2, 2, 2, 2}}); });
  refused("max_pool2d", "padding 2 of 3, dilated", [&] {
    ops::max_pool2d(ctx, x, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {2, 2, 2, 2}, .dilation = {2, 2}});
  });
  refused("avg_pool2d", "padding 2 of 3", [&] { ops::avg_pool2d(ctx, x, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {2, 2, 2, 2}}); });
  refused("max_pool2d", "kernel 5 of 4", [&] { ops::max_pool2d(ctx, x, {.kernel = {5, 5}, .stride = {1, 1}}); });
  refused("max_pool2d", "kernel 5 of 4, ceil at stride 1", [&] { ops::max_pool2d(ctx, x, {.kernel = {5, 5}, .stride = {1, 1}, .ceil_mode = true}); });
  // With ceil_mode and a stride the window that is cut off counts.
  EXPECT_EQ(values(ops::max_pool2d(ctx, x, {.kernel = {5, 5}, .stride = {2, 2}, .ceil_mode = true})), std::vector<float>{15});
  EXPECT_EQ(values(ops::avg_pool2d(ctx, x, {.kernel = {5, 5}, .stride = {2, 2}, .ceil_mode = true})), std::vector<float>{7.5});
  EXPECT_EQ(values(ops::max_pool2d(ctx, x, {.kernel = {5, 5}, .stride = {1, 1}, .padding = {2, 2, 2, 2}})),
            (std::vector<float>{10, 11, 11, 11, 14, 15, 15, 15, 14, 15, 15, 15, 14, 15, 15, 15}));
  // Strides and, where the kernel is 1, dilations as large as allowed: one window.
  constexpr std::int64_t k30 = std::int64_t{1} << 30;
  EXPECT_EQ(values(ops::max_pool2d(ctx, x, {.kernel = {1, 1}, .stride = {k30, k30}, .dilation = {k30, k30}})), std::vector<float>{0});
}

TEST_F(BadInput, AWindowOfPaddingAloneIsMinusInfinityAsInPyTorch) {
  // Taps at -1 and 2 of an axis of 2: none inside. PyTorch's index is that of the first tap after the padding before, 2 * 2 + 2.
  for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw}) {
    const Tensor in = counting(order == ImageOrder::nhwc ? Shape{1, 2, 2, 1} : Shape{1, 1, 2, 2});
    Tensor indices;
    const Tensor y =
        ops::max_pool2d(ctx, in, {.kernel = {2, 2}, .stride = {1, 1}, .padding = {1, 1, 1, 1}, .dilation = {3, 3}, .order = order}, &indices);
    EXPECT_EQ(values(y), std::vector<float>{-kInf});
    EXPECT_EQ(whole(indices), std::vector<std::int32_t>{6});
  }
}

TEST_F(BadInput, PoolsAcceptEmptyBatchesAndOutputsLargerThanTheInput) {
  const Tensor none = Tensor::empty(Shape{0, 4, 4, 3}, DType::f32);
  Tensor indices;
  EXPECT_EQ(ops::max_pool2d(ctx, none, {}, &indices).shape(), (Shape{0, 2, 2, 3}));
  EXPECT_EQ(indices.shape(), (Shape{0, 2, 2, 3}));
  EXPECT_EQ(ops::avg_pool2d(ctx, none, {}).shape(), (Shape{0, 2, 2, 3}));
  EXPECT_EQ(ops::adaptive_max_pool2d(ctx, none, {.output = {3, 5}}, &indices).shape(), (Shape{0, 3, 5, 3}));
  EXPECT_EQ(ops::adaptive_avg_pool2d(ctx, none, {.output = {3, 5}}).shape(), (Shape{0, 3, 5, 3}));
  EXPECT_EQ(ops::global_avg_pool2d(ctx, none).shape(), (Shape{0, 1, 1, 3}));
  const Tensor four = counting(Shape{1, 2, 2, 1});  // torch.tensor([[0, 1], [2, 3.]])
  EXPECT_EQ(values(ops::adaptive_avg_pool2d(ctx, four, {.output = {3, 1}})), (std::vector<float>{0.5, 1.5, 2.5}));
  EXPECT_EQ(values(ops::adaptive_max_pool2d(ctx, four, {.output = {3, 5}}, &indices)),
            (std::vector<float>{0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 2, 2, 3, 3, 3}));
  EXPECT_EQ(whole(indices), (std::vector<std::int32_t>{0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 2, 2, 3, 3, 3}));
}

TEST_F(BadInput, PoolsRefuseOutputsThatDoNotFitOrOverlap) {
  const ops::MaxPool2d o{.kernel = {1, 1}};
  Tensor y = Tensor::zeros(Shape{1, 4, 4, 1}, DType::f32), half = Tensor::zeros(Shape{1, 4, 4, 1}, DType::bf16);
  Tensor wide = Tensor::zeros(Shape{1, 4, 4, 2}, DType::f32).columns(0, 1), same = x, none;
  const std::vector<std::pair<const char*, Tensor*>> outputs = {{"dtype", &half}, {"gaps", &wide}, {"x itself", &same}, {"none", &none}};
  for (const auto& output : outputs) {
    Tensor& out = *output.second;
    refused("max_pool2d", output.first, [&] { ops::max_pool2d(ctx, x, o, out); });
    refused("adaptive_avg_pool2d", output.first, [&] { ops::adaptive_avg_pool2d(ctx, x, {.output = {4, 4}}, out); });
  }
  std::vector<float> memory(32);
  const Tensor first = Tensor::borrow(memory.data(), Shape{1, 4, 4, 1}, DType::f32);
  Tensor last = Tensor::borrow(memory.data() + 15, Shape{1, 4, 4, 1}, DType::f32);
  refused("max_pool2d", "one element in common", [&] { ops::max_pool2d(ctx, first, o, last); });
  Tensor next = Tensor::borrow(memory.data() + 16, Shape{1, 4, 4, 1}, DType::f32);
  EXPECT_NO_THROW(ops::max_pool2d(ctx, first, o, next));
  Tensor indices = Tensor::borrow(memory.data(), Shape{1, 4, 4, 1}, DType::i32), floats = Tensor::zeros(Shape{1, 4, 4, 1}, DType::f32);
  refused("max_pool2d", "indices over x", [&] { ops::max_pool2d(ctx, first, o, y, &indices); });
  refused("max_pool2d", "indices of float32", [&] { ops::max_pool2d(ctx, first, o, y, &floats); });
}

TEST_F(BadInput, FlattenedPicturesNeedTheirSizes) {
  const Tensor flat = counting(Shape{1, 1, 32, 3});
  for (const ImageSize& size :
       std::vector<ImageSize>{{2, 4, 5, 0}, {-2, -4, 4, 0}, {-1, 4, 8, 0}, {2, k31, k31, 0}, {k62, k62, k62, 0}, {2, 0, 4, 0}}) {
    refused("max_pool2d", "flat", [&] { ops::max_pool2d(ctx, flat, {}, nullptr, size); });
    const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({4, 3, 1, 1}, DType::f32), {}, {}, DType::f32);
    refused("conv2d", "flat", [&] { ops::conv2d(ctx, flat, w, {}, size); });
  }
  refused("max_pool2d", "not flattened", [&] { ops::max_pool2d(ctx, counting(Shape{1, 2, 16, 3}), {}, nullptr, {2, 4, 4, 0}); });
}

// ---- conv2d ----

TEST_F(BadInput, ConvolutionsRefuseSizesThatAreNoSizes) {
  const Tensor depthwise = Tensor::zeros({4, 1, 3, 3}, DType::f32);
  const auto prepare = [&](const ops::Conv2d& o) { return ops::prepare_conv2d(ctx, depthwise, {}, o, DType::f32); };
  for (const std::size_t axis : {0u, 1u}) {
    for (const std::int64_t v : {k31, k62, kMax, std::int64_t{0}, std::int64_t{-1}, kMin}) {
      ops::Conv2d stride{.groups = 4}, dilation{.groups = 4};
      stride.stride[axis] = v;
      dilation.dilation[axis] = v;
      refused("prepare_conv2d", "stride", [&] { prepare(stride); });
      refused("prepare_conv2d", "dilation", [&] { prepare(dilation); });
    }
    for (const std::int64_t v : {k31, k62, kMax, std::int64_t{-1}, kMin})
      for (const std::size_t side : {0u, 1u}) {
        ops::Conv2d padding{.groups = 4};
        padding.padding[2 * axis + side] = v;
        refused("prepare_conv2d", "padding", [&] { prepare(padding); });
      }
  }
  for (const std::int64_t groups : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{3}, std::int64_t{8}, k31, k62, kMax, kMin})
    refused("prepare_conv2d", "groups " + std::to_string(groups), [&] { prepare({.groups = groups}); });
  // Two groups of two channels make three outputs.
  refused("prepare_conv2d", "groups", [&] { ops::prepare_conv2d(ctx, Tensor::zeros({3, 2, 3, 3}, DType::f32), {}, {.groups = 2}, DType::f32); });
  for (const Shape& shape : std::vector<Shape>{
           {4, 1, 3}, {4, 1, 3, 0}, {0, 1, 3, 3}, {4, 0, 3, 3}, {1, 4, 1, 3, 3}, {1, 1, 1, k31}, {1, 1, k62, 1}, {k62, 1, 1, 1}, {1, k31, 1, 1}})
    refused("prepare_conv2d", shape.str(), [&] { ops::prepare_conv2d(ctx, imaginary(shape), {}, {}, DType::f32); });
}

TEST_F(BadInput, ConvolutionsRefusePicturesThatCannotBe) {
  const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({4, 1, 3, 3}, DType::f32), {}, {.padding = {1, 1, 1, 1}, .groups = 4}, DType::f32);
  const auto one = ops::prepare_conv2d(ctx, Tensor::zeros({4, 4, 1, 1}, DType::f32), {}, {}, DType::f32);
  for (const auto& weights : {w, one}) {
    for (const Shape& shape : std::vector<Shape>{{4, 4},
                                                 {},
                                                 {1, 1, 4, 4, 4},
                                                 {1, 4, 4, 3},
                                                 {1, 4, 4, 0},
                                                 {1, 0, 4, 4},
                                                 {1, 4, 0, 4},
                                                 {0, 0, 4, 4},
                                                 {0, k31, 1, 4},
                                                 {0, 1, k31, 4},
                                                 {0, k31, k31 / 4, 4},
                                                 {1, k62 / 4, 1, 4},
                                                 {1, 1 << 16, 1 << 15, 4}}) {
      refused("conv2d", shape.str(), [&] { ops::conv2d(ctx, imaginary(shape), weights); });
      refused("conv2d", shape.str(), [&] { ops::conv2d_shape(shape, weights); });
    }
    for (const DType dtype : {DType::f16, DType::i8, DType::u8, DType::i32, DType::u32})
      refused("conv2d", std::string(name(dtype)), [&] { ops::conv2d(ctx, Tensor::zeros({1, 4, 4, 4}, dtype), weights); });
  }
  // More output elements than a shape can count.
  const auto wide = ops::prepare_conv2d(ctx, Tensor::zeros({1 << 12, 1, 1, 1}, DType::f32), {}, {}, DType::f32);
  refused("conv2d", "elements", [&] { ops::conv2d(ctx, imaginary({std::int64_t{1} << 22, 1 << 15, 1 << 15, 1}), wide); });
  refused("conv2d", "kernel beyond", [&] {
    ops::conv2d(ctx, Tensor::zeros({1, 4, 4, 4}, DType::f32), ops::prepare_conv2d(ctx, Tensor::zeros({4, 4, 5, 5}, DType::f32), {}, {}, DType::f32));
  });
}

TEST_F(BadInput, ConvolutionsWithMuchPaddingAndStrideTakeLittleMemory) {
  // Three windows each way, of which the middle one alone meets the picture: nine ones of sixteen.
  for (const std::int64_t far : {std::int64_t{5}, std::int64_t{1} << 20, std::int64_t{1} << 29})
    for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
      for (const std::int64_t groups : {std::int64_t{4}, std::int64_t{1}}) {
        SCOPED_TRACE(std::to_string(far) + (order == ImageOrder::nhwc ? " nhwc " : " nchw ") + std::to_string(groups));
        Tensor weight = Tensor::empty({4, 4 / groups, 3, 3}, DType::f32), in = Tensor::empty({1, 4, 4, 4}, DType::f32);
        for (float& v : weight.span<float>()) v = 1;
        for (float& v : in.span<float>()) v = 1;
        const auto w = ops::prepare_conv2d(ctx, weight, {}, {.stride = {far, far}, .padding = {far, far, far, far}, .groups = groups, .order = order},
                                           DType::f32);
        if (order == ImageOrder::nchw && groups == 4 && far > 5) {  // which would copy rows of 2^20 zeros
          refused("conv2d", "padding " + std::to_string(far), [&] { ops::conv2d(ctx, in, w); });
          continue;
        }
        const Tensor y = ops::conv2d(ctx, in, w);
        ASSERT_EQ(y.shape(), order == ImageOrder::nhwc ? (Shape{1, 3, 3, 4}) : (Shape{1, 4, 3, 3}));
        const std::int64_t step = order == ImageOrder::nhwc ? 4 : 1, plane = order == ImageOrder::nhwc ? 1 : 9;
        for (std::int64_t c = 0; c < 4; ++c)
          for (std::int64_t i = 0; i < 9; ++i)
            EXPECT_EQ(y.data<float>()[c * plane + i * step], i == 4 ? 9.0f * static_cast<float>(4 / groups) : 0.0f);
        EXPECT_LT(ctx.workspace().reserved(), kSmall);
      }
}

TEST_F(BadInput, AStrideBeyondThePictureLeavesOneOutput) {
  // torch: 45 = 0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10.
  Tensor weight = Tensor::empty({1, 1, 3, 3}, DType::f32), two = Tensor::empty({2, 1, 3, 3}, DType::f32);
  for (float& v : weight.span<float>()) v = 1;
  for (float& v : two.span<float>()) v = 1;
  for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
    for (const std::int64_t stride : {std::int64_t{4}, std::int64_t{1} << 20, k31 - 1}) {
      const ops::Conv2d o{.stride = {stride, stride}, .order = order};
      const Tensor one = x.reshape(order == ImageOrder::nhwc ? Shape{1, 4, 4, 1} : Shape{1, 1, 4, 4});
      EXPECT_EQ(values(ops::conv2d(ctx, one, ops::prepare_conv2d(ctx, weight, {}, o, DType::f32))), std::vector<float>{45});
      EXPECT_EQ(values(ops::conv2d(ctx, one, ops::prepare_conv2d(ctx, two, {}, o, DType::f32))), (std::vector<float>{45, 45}));
      EXPECT_LT(ctx.workspace().reserved(), kSmall);
    }
}

TEST_F(BadInput, ConvolutionsRefuseOutputsThatOverlap) {
  std::vector<float> memory(128);
  const Tensor in = Tensor::borrow(memory.data(), Shape{1, 4, 4, 2}, DType::f32);
  for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{2}}) {
    const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({2, 2 / groups, 1, 1}, DType::f32), {}, {.groups = groups}, DType::f32);
    for (const std::int64_t at : {0, 31}) {
      Tensor y = Tensor::borrow(memory.data() + at, Shape{1, 4, 4, 2}, DType::f32);
      refused("conv2d", "overlap at " + std::to_string(at), [&] { ops::conv2d(ctx, in, w, y); });
    }
    Tensor next = Tensor::borrow(memory.data() + 32, Shape{1, 4, 4, 2}, DType::f32);
    EXPECT_NO_THROW(ops::conv2d(ctx, in, w, next));
  }
}

TEST_F(BadInput, ConvolutionsAcceptEmptyBatchesAndAnyPadding) {
  for (const ImageOrder order : {ImageOrder::nhwc, ImageOrder::nchw})
    for (const std::int64_t groups : {std::int64_t{4}, std::int64_t{1}, std::int64_t{2}}) {
      const auto w = ops::prepare_conv2d(ctx, Tensor::zeros({4, 4 / groups, 3, 3}, DType::f32), {},
                                         {.padding = {5, 5, 5, 5}, .groups = groups, .order = order}, DType::f32);
      const bool last = order == ImageOrder::nhwc;
      EXPECT_EQ(ops::conv2d(ctx, Tensor::empty(Shape{0, 4, 4, 4}, DType::f32), w).shape(), last ? (Shape{0, 12, 12, 4}) : (Shape{0, 4, 12, 12}));
      EXPECT_EQ(ops::conv2d(ctx, Tensor::zeros(Shape{1, 4, 4, 4}, DType::f32), w).shape(), last ? (Shape{1, 12, 12, 4}) : (Shape{1, 4, 12, 12}));
    }
}

// ---- interpolate, upsample ----

TEST_F(BadInput, InterpolationRefusesWhatPyTorchRefuses) {
  Tensor y = Tensor::zeros(Shape{1, 2, 2, 1}, DType::f32);
  for (const InterpolateMode mode : {InterpolateMode::nearest, InterpolateMode::bilinear, InterpolateMode::bicubic}) {
    const ops::Interpolate o{.mode = mode};
    for (const Shape& shape :
         std::vector<Shape>{{2, 2}, {}, {1, 1, 2, 2, 1}, {1, 0, 2, 1}, {1, 2, 0, 1}, {0, 0, 2, 1}, {0, 2, k31, 1}, {0, k62, 1, 1}, {1, k31, 1, 1}}) {
      Tensor in = imaginary(shape), out = imaginary(shape.rank() == 4 ? shape.with(1, 2).with(2, 2) : shape);
      refused("interpolate", shape.str(), [&] { ops::interpolate(ctx, in, o, out); });
      if (shape.rank() != 4) continue;
      refused("interpolate", "to " + shape.str(), [&] { ops::interpolate(ctx, out, o, in); });
    }
    const Tensor no_channels = Tensor::empty(Shape{1, 4, 4, 0}, DType::f32);
    Tensor nothing = Tensor::empty(Shape{1, 2, 2, 0}, DType::f32);
    refused("interpolate", "no channels", [&] { ops::interpolate(ctx, no_channels, o, nothing); });
    const Tensor none = Tensor::empty(Shape{0, 4, 4, 3}, DType::f32);
    Tensor empty = Tensor::empty(Shape{0, 2, 7, 3}, DType::f32);
    EXPECT_NO_THROW(ops::interpolate(ctx, none, o, empty));
    for (const DType dtype : {DType::bf16, DType::i32, DType::u8, DType::f16}) {
      refused("interpolate", "dtype of x", [&] { ops::interpolate(ctx, Tensor::zeros(Shape{1, 4, 4, 1}, dtype), o, y); });
      Tensor other = Tensor::zeros(Shape{1, 2, 2, 1}, dtype);
      refused("interpolate", "dtype of y", [&] { ops::interpolate(ctx, x, o, other); });
    }
    Tensor same = x, undefined;
    refused("interpolate", "x itself", [&] { ops::interpolate(ctx, x, o, same); });
    Tensor part = same.reshape(Shape{16}).narrow(12, 4).reshape(Shape{1, 2, 2, 1});
    refused("interpolate", "a part of x", [&] { ops::interpolate(ctx, x, o, part); });
    refused("interpolate", "no y", [&] { ops::interpolate(ctx, x, o, undefined); });
    refused("interpolate", "no x", [&] { ops::interpolate(ctx, undefined, o, y); });
  }
}

TEST_F(BadInput, ScaleFactorsMustBeThoseOfTheSizes) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  // The filter of a false factor would cover, and allocate, anything: PyTorch derives the size from it, floor(4 * factor).
  Tensor y = Tensor::zeros(Shape{1, 2, 2, 1}, DType::f32);
  for (const InterpolateMode mode : {InterpolateMode::nearest, InterpolateMode::bilinear, InterpolateMode::bicubic})
    for (const bool antialias : {false, true}) {
      if (antialias && mode == InterpolateMode::nearest) continue;
      for (const double f : {-1.0, kNan, static_cast<double>(kInf), 1e-310, 1e-300, 1e-9, 0.25, 0.49, 0.75, 1.0, 1e9, 1e300})
        for (const std::array<double, 2> factor : {std::array<double, 2>{f, 0.5}, {0.5, f}})
          refused("interpolate", std::to_string(f),
                  [&] { ops::interpolate(ctx, x, {.mode = mode, .antialias = antialias, .scale_factor = factor}, y); });
      for (const double f : {0.0, 0.5, 0.6, 0.74})
        EXPECT_NO_THROW(ops::interpolate(ctx, x, {.mode = mode, .antialias = antialias, .scale_factor = {f, f}}, y)) << f;
    }
  // Sizes whose product with the factor is a hair below the whole number that PyTorch finds.
  for (const std::int64_t in : {3, 7, 10, 49, 1000})
    for (const std::int64_t out : {1, 3, 29, 30, 70, 1000}) {
      const Tensor line = Tensor::zeros(Shape{1, 1, in, 1}, DType::f32);
      Tensor to = Tensor::zeros(Shape{1, 1, out, 1}, DType::f32);
      const double f = static_cast<double>(out) / static_cast<double>(in);
      EXPECT_NO_THROW(ops::interpolate(ctx, line, {.scale_factor = {1, f}}, to)) << in << " " << out;
    }
}

TEST_F(BadInput, UpsamplingRefusesFactorsAndResultsBeyondTheSizes) {
  for (const std::int64_t f : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{4097}, k31, k62, kMax, kMin}) {
    refused("upsample", std::to_string(f), [&] { ops::upsample(ctx, x, {f, 1}); });
    refused("upsample", std::to_string(f), [&] { ops::upsample(ctx, x, {1, f}); });
  }
  for (const Shape& shape :
       std::vector<Shape>{{0, k62, 1, 1}, {0, 1, k62, 1}, {0, 1 << 20, 1, 1}, {1, 0, 4, 1}, {1, 4, 0, 1}, {1, 4, 4, 0}, {4, 4}, {}})
    refused("upsample", shape.str(), [&] { ops::upsample(ctx, imaginary(shape), {4096, 4096}); });
  EXPECT_EQ(ops::upsample(ctx, Tensor::empty(Shape{0, 4, 4, 3}, DType::f32), {2, 3}).shape(), (Shape{0, 8, 12, 3}));
}

// ---- fold ----

TEST_F(BadInput, FoldingRefusesWhatCannotBeFolded) {
  for (const std::size_t axis : {0u, 1u}) {
    for (const std::int64_t v : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{3}, std::int64_t{8}, k31, k62, kMax, kMin}) {
      ops::Fold o{.stride = {2, 2}};
      o.stride[axis] = v;
      refused("fold", "stride " + std::to_string(v), [&] { ops::fold(ctx, x, o); });
      refused("fold", "stride " + std::to_string(v), [&] { ops::fold_shape(x, o); });
    }
    for (const std::int64_t v : {k31, k62, kMax, std::int64_t{-1}, kMin}) {
      ops::Fold channels;
      channels.channels[axis] = v;
      refused("fold", "channels " + std::to_string(v), [&] { ops::fold(ctx, x, channels); });
      for (const std::size_t side : {0u, 1u}) {
        ops::Fold padding;
        padding.padding[2 * axis + side] = v;
        refused("fold", "padding " + std::to_string(v), [&] { ops::fold(ctx, x, padding); });
      }
    }
  }
  for (const Shape& shape :
       std::vector<Shape>{{4, 4}, {}, {16}, {1, 1, 4, 4, 1}, {1, 0, 4, 1}, {1, 4, 0, 1}, {1, 4, 4, 0}, {0, 0, 4, 1}, {1, 5, 4, 1}})
    refused("fold", shape.str(), [&] { ops::fold(ctx, imaginary(shape), {.stride = {2, 2}}); });
  // More elements than a shape counts, by the padding.
  refused("fold", "elements", [&] {
    ops::fold(ctx, imaginary({std::int64_t{1} << 40, 1, 1, 1}), {.padding = {(1 << 20) - 1, 0, (1 << 20) - 1, 0}});
  });
  Tensor same = x.reshape(Shape{1, 2, 2, 4}), half = Tensor::zeros(Shape{1, 2, 2, 4}, DType::bf16),
         small = Tensor::zeros(Shape{1, 2, 2, 3}, DType::f32);
  Tensor none;
  for (Tensor* y : {&same, &half, &small, &none}) refused("fold", y->str(), [&] { ops::fold(ctx, x, {.stride = {2, 2}}, *y); });
  refused("fold", "flat", [&] { ops::fold(ctx, x.reshape(Shape{1, 1, 16, 1}), {.stride = {2, 2}}, ImageSize{1, 4, 5, 0}); });
  EXPECT_EQ(ops::fold(ctx, Tensor::empty(Shape{0, 4, 4, 3}, DType::f32), {.stride = {2, 2}}).shape(), (Shape{0, 2, 2, 12}));
}

// ---- softmax ----

TEST_F(BadInput, SoftmaxRefusesWhatPyTorchRefuses) {
  const Tensor in = counting(Shape{2, 3});
  Tensor y = Tensor::zeros(Shape{2, 3}, DType::f32);
  for (const std::int64_t dim : {std::int64_t{2}, std::int64_t{-3}, k31, k62, kMax, kMin})
    refused("softmax", std::to_string(dim), [&] { ops::softmax(ctx, in, {.dim = dim}, y); });
  for (const DType dtype : {DType::f16, DType::i8, DType::u8, DType::i32, DType::u32}) {
    Tensor other = Tensor::zeros(Shape{2, 3}, dtype);
    refused("softmax", "dtype of x", [&] { ops::softmax(ctx, other, {}, y); });
    refused("softmax", "dtype of y", [&] { ops::softmax(ctx, in, {}, other); });
  }
  for (const Shape& shape : std::vector<Shape>{{3, 2}, {6}, {2, 3, 1}, {}, {2, k31}, {0, 3}}) {
    Tensor other = imaginary(shape);
    refused("softmax", "y " + shape.str(), [&] { ops::softmax(ctx, in, {}, other); });
  }
  Tensor undefined;
  refused("softmax", "no y", [&] { ops::softmax(ctx, in, {}, undefined); });
  refused("softmax", "no x", [&] { ops::softmax(ctx, undefined, {}, y); });
  for (const Shape& shape : std::vector<Shape>{{2, 0}, {0, 3}, {0}}) {
    Tensor none = Tensor::empty(shape, DType::f32), out = Tensor::empty(shape, DType::f32);
    EXPECT_NO_THROW(ops::softmax(ctx, none, {}, out)) << shape.str();
  }
  // torch.softmax of a number is 1.
  Tensor number = counting(Shape{}), result = Tensor::zeros(Shape{}, DType::f32);
  for (const std::int64_t dim : {std::int64_t{-1}, std::int64_t{0}}) {
    ops::softmax(ctx, number, {.dim = dim}, result);
    EXPECT_EQ(values(result), std::vector<float>{1});
  }
  refused("softmax", "dimension 1 of none", [&] { ops::softmax(ctx, number, {.dim = 1}, result); });
}

TEST_F(BadInput, SoftmaxMayRunInPlaceAndNotOverPartOfItsInput) {
  std::vector<float> memory(64);
  const Tensor in = Tensor::borrow(memory.data(), Shape{2, 3}, DType::f32);
  Tensor same = Tensor::borrow(memory.data(), Shape{2, 3}, DType::f32), shifted = Tensor::borrow(memory.data() + 1, Shape{2, 3}, DType::f32);
  Tensor half = Tensor::borrow(memory.data(), Shape{2, 3}, DType::bf16), y = Tensor::zeros(Shape{2, 3}, DType::f32);
  EXPECT_NO_THROW(ops::softmax(ctx, in, {}, same));
  refused("softmax", "shifted", [&] { ops::softmax(ctx, in, {}, shifted); });
  refused("softmax", "another dtype", [&] { ops::softmax(ctx, in, {}, half); });
  refused("softmax", "y over the mask", [&] { ops::softmax(ctx, in, {.mask = y}, y); });
}

}  // namespace
}  // namespace tessera
