#include <fmt/core.h>

#include <array>

#include "tessera/models/sweep/problem.h"

namespace tessera::models {
namespace {

using I = std::int64_t;

struct AdaptiveSize {
  I c, h, w, oh, ow;
};

// Requests by users of TTNN's adaptive pools, then pyramids and regions of detectors, then odd sizes.
constexpr AdaptiveSize kAdaptive[] = {
    {256, 56, 56, 1, 1},  {512, 28, 28, 1, 1}, {1024, 14, 14, 1, 1}, {512, 7, 7, 7, 7},     {2048, 7, 7, 1, 1},    {64, 224, 224, 7, 7},
    {256, 32, 32, 4, 4},  {128, 64, 64, 8, 8}, {160, 75, 75, 3, 3},  {320, 28, 28, 14, 14}, {480, 14, 14, 7, 7},   {512, 32, 32, 2, 4},
    {256, 64, 64, 7, 7},  {256, 64, 64, 3, 5}, {64, 17, 17, 4, 3},   {256, 80, 80, 3, 3},   {256, 20, 20, 3, 3},   {256, 40, 40, 3, 3},
    {256, 60, 80, 3, 3},  {256, 30, 40, 3, 3}, {256, 15, 20, 3, 3},  {64, 37, 37, 5, 7},    {128, 50, 20, 6, 4},   {32, 31, 29, 7, 5},
    {32, 10, 10, 3, 4},   {64, 64, 64, 5, 22}, {64, 6, 6, 4, 4},     {64, 10, 10, 4, 4},    {96, 7, 7, 8, 8},      {32, 23, 24, 7, 7},
    {32, 23, 24, 14, 14}, {32, 19, 21, 7, 7},  {32, 19, 21, 14, 14}, {1280, 7, 7, 1, 1},    {960, 7, 7, 1, 1},     {256, 13, 13, 1, 1},
    {256, 13, 13, 2, 2},  {256, 13, 13, 3, 3}, {256, 13, 13, 6, 6},  {256, 25, 38, 7, 7},   {256, 25, 38, 14, 14}, {64, 60, 60, 6, 6},
    {1, 1, 1, 1, 1},      {3, 1, 1, 4, 5},     {7, 1, 13, 1, 5},     {9, 13, 1, 4, 1},      {1, 7, 5, 3, 2},       {17, 5, 7, 11, 13},
    {33, 3, 3, 2, 2},     {31, 9, 11, 9, 11},  {5, 100, 3, 7, 2},    {65, 12, 18, 5, 7},
};

struct WindowSize {
  I n, c, h, w;
  std::array<I, 2> kernel, stride;
  std::array<I, 4> padding;
  std::array<I, 2> dilation = {1, 1};
  bool ceil = false;
};

// Stems of ResNet, pools of VGG, AlexNet, GoogLeNet and DenseNet, SPP of YOLO, then edges.
constexpr WindowSize kPools[] = {
    {1, 64, 112, 112, {3, 3}, {2, 2}, {1, 1, 1, 1}},
    {2, 64, 56, 56, {3, 3}, {2, 2}, {1, 1, 1, 1}},
    {1, 64, 224, 224, {2, 2}, {2, 2}, {}},
    {1, 128, 112, 112, {2, 2}, {2, 2}, {}},
    {1, 256, 56, 56, {2, 2}, {2, 2}, {}},
    {1, 512, 28, 28, {2, 2}, {2, 2}, {}},
    {1, 512, 14, 14, {2, 2}, {2, 2}, {}},
    {1, 64, 55, 55, {3, 3}, {2, 2}, {}},
    {1, 192, 27, 27, {3, 3}, {2, 2}, {}},
    {1, 192, 56, 56, {3, 3}, {2, 2}, {}, {1, 1}, true},
    {1, 480, 28, 28, {3, 3}, {2, 2}, {}, {1, 1}, true},
    {1, 528, 14, 14, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true},
    {1, 832, 14, 14, {2, 2}, {2, 2}, {}, {1, 1}, true},
    {1, 256, 20, 20, {5, 5}, {1, 1}, {2, 2, 2, 2}},
    {1, 128, 13, 13, {9, 9}, {1, 1}, {4, 4, 4, 4}},
    {1, 128, 13, 13, {13, 13}, {1, 1}, {6, 6, 6, 6}},
    {1, 128, 56, 56, {2, 2}, {2, 2}, {}},
    {1, 160, 35, 35, {3, 3}, {1, 1}, {1, 1, 1, 1}},
    {1, 1280, 7, 7, {7, 7}, {1, 1}, {}},
    {1, 32, 30, 30, {3, 3}, {1, 1}, {1, 1, 1, 1}, {2, 2}},
    {1, 24, 31, 29, {3, 3}, {2, 2}, {1, 1, 1, 1}, {3, 2}},
    {1, 1, 1, 1, {1, 1}, {1, 1}, {}},
    {1, 3, 1, 1, {2, 2}, {2, 2}, {}, {1, 1}, true},
    {2, 7, 8, 8, {2, 2}, {2, 2}, {}},
    {1, 9, 9, 7, {3, 3}, {2, 2}, {1, 1, 1, 1}},
    {2, 33, 13, 11, {3, 2}, {1, 3}, {1, 0, 1, 1}},
    {1, 5, 17, 19, {4, 5}, {3, 4}, {2, 1, 2, 0}, {1, 1}, true},
    {1, 5, 17, 19, {4, 5}, {3, 4}, {2, 1, 2, 0}, {3, 2}, true},
    {3, 130, 5, 5, {5, 5}, {5, 5}, {}},
    {1, 4, 40, 70, {7, 33}, {2, 5}, {3, 3, 16, 16}},
    {1, 300, 3, 3, {2, 2}, {1, 1}, {1, 1, 1, 1}},
    {1, 6, 1, 50, {1, 4}, {1, 3}, {0, 0, 2, 1}},
    {1, 6, 50, 1, {4, 1}, {3, 1}, {1, 2, 0, 0}, {1, 1}, true},
    {1, 17, 6, 6, {4, 4}, {4, 4}, {2, 2, 2, 2}},
};

struct DepthwiseSize {
  I n, c, h, w, k, stride, padding;
  ops::ConvActivation activation = ops::ConvActivation::none;
};

using enum ops::ConvActivation;

// The six of TTNN's depthwise study, fewer pictures than there; the cases of its test; MobileNetV2 and EfficientNet-Lite0.
constexpr DepthwiseSize kDepthwise[] = {
    {2, 144, 56, 56, 3, 1, 1, relu6},
    {4, 576, 14, 14, 3, 1, 1, relu6},
    {4, 960, 7, 7, 3, 1, 1, relu6},
    {10, 112, 7, 7, 3, 1, 1, relu6},
    {1, 320, 80, 80, 3, 1, 1, silu},
    {1, 640, 40, 40, 3, 1, 1, silu},
    {1, 64, 8, 8, 3, 1, 1},
    {1, 32, 4, 8, 3, 1, 1, gelu},
    {2, 32, 40, 8, 3, 1, 1, relu6},
    {1, 320, 32, 32, 3, 1, 1, silu},
    {1, 32, 112, 112, 3, 1, 1, relu6},
    {1, 96, 112, 112, 3, 2, 1, relu6},
    {1, 144, 56, 56, 3, 2, 1, relu6},
    {1, 144, 56, 56, 5, 2, 2},
    {1, 192, 28, 28, 3, 1, 1, relu6},
    {1, 192, 28, 28, 3, 2, 1, relu6},
    {1, 240, 28, 28, 5, 1, 2, relu6},
    {1, 240, 28, 28, 3, 2, 1, relu6},
    {1, 384, 14, 14, 3, 1, 1, relu6},
    {1, 480, 14, 14, 3, 1, 1, relu6},
    {1, 480, 14, 14, 5, 1, 2, relu6},
    {1, 672, 14, 14, 5, 1, 2, relu6},
    {1, 672, 14, 14, 5, 2, 2, relu6},
    {1, 1152, 7, 7, 5, 1, 2, relu6},
    {1, 1152, 7, 7, 3, 1, 1, relu6},
    {1, 1, 1, 1, 3, 1, 1},
    {2, 37, 9, 11, 3, 1, 1},
    {1, 17, 2, 5, 3, 1, 1, hardswish},
    {1, 33, 13, 6, 5, 1, 2, relu},
    {1, 65, 7, 7, 7, 1, 3},
    {1, 20, 5, 5, 3, 1, 4},
    {3, 16, 10, 10, 2, 1, 0, hardswish},
};

void depthwise_edges(std::vector<SweepProblem>& all) {
  const auto add = [&](const ops::ImageSize& x, std::array<I, 2> kernel, std::array<I, 2> stride, std::array<I, 4> padding, std::array<I, 2> dilation,
                       I multiplier, bool bias, bool residual) {
    SweepProblem p;
    p.x = x;
    p.kernel = kernel, p.stride = stride, p.padding = padding, p.dilation = dilation;
    p.multiplier = multiplier, p.bias = bias, p.residual = residual;
    all.push_back(p);
  };
  add({1, 1, 64, 24}, {1, 4}, {1, 1}, {0, 0, 3, 0}, {1, 1}, 1, true, false);   // 1-D, causal
  add({1, 30, 6, 24}, {5, 1}, {1, 1}, {2, 2, 0, 0}, {1, 1}, 1, true, true);    // a column
  add({1, 17, 15, 9}, {3, 3}, {2, 2}, {3, 3, 3, 3}, {3, 3}, 1, false, false);  // dilation
  add({1, 11, 25, 18}, {3, 3}, {1, 1}, {2, 2, 2, 2}, {2, 2}, 1, true, true);
  add({1, 10, 9, 12}, {2, 3}, {3, 2}, {1, 0, 1, 1}, {1, 2}, 1, true, false);  // strides above the window
  add({1, 13, 6, 33}, {3, 3}, {1, 1}, {0, 2, 2, 0}, {1, 1}, 1, true, true);   // four different sides
  add({1, 9, 7, 5}, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 3, true, false);    // three outputs a channel
  add({1, 8, 12, 38}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 2, true, true);
  add({1, 6, 7, 3}, {1, 1}, {2, 3}, {1, 1, 1, 1}, {1, 1}, 1, true, false);  // one tap
  add({2, 6, 7, 1}, {1, 1}, {1, 1}, {}, {1, 1}, 5, true, false);            // one channel: a product
  add({1, 28, 42, 1}, {14, 14}, {14, 14}, {}, {1, 1}, 6, true, false);      // a fold
  add({1, 7, 8, 1}, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 5, false, true);  // gathered windows
}

std::string by(const std::array<I, 2>& v) { return fmt::format("{}x{}", v[0], v[1]); }

}  // namespace

std::vector<SweepProblem> brief_problems(SweepOp op, std::uint64_t seed) {
  std::vector<SweepProblem> all;
  if (op == SweepOp::depthwise_conv2d) {
    for (const DepthwiseSize& d : kDepthwise) {
      SweepProblem p;
      p.x = {d.n, d.h, d.w, d.c};
      p.kernel = {d.k, d.k}, p.stride = {d.stride, d.stride};
      p.padding = {d.padding, d.padding, d.padding, d.padding};
      p.activation = d.activation;
      all.push_back(p);
    }
    depthwise_edges(all);
  } else if (op == SweepOp::max_pool2d || op == SweepOp::avg_pool2d) {
    for (const WindowSize& s : kPools) {
      const bool maximum = op == SweepOp::max_pool2d;
      if (!maximum && s.dilation != std::array<I, 2>{1, 1}) continue;
      SweepProblem p;
      p.x = {s.n, s.h, s.w, s.c};
      p.kernel = s.kernel, p.stride = s.stride, p.padding = s.padding, p.dilation = s.dilation, p.ceil_mode = s.ceil;
      all.push_back(p);
      if (maximum || s.padding == std::array<I, 4>{}) continue;
      p.count_include_pad = false;
      all.push_back(p);
      p.divisor = 7;
      all.push_back(p);
    }
  } else {
    for (const AdaptiveSize& s : kAdaptive) {
      SweepProblem p;
      p.x = {1, s.h, s.w, s.c};
      p.output = {s.oh, s.ow};
      all.push_back(p);
    }
  }
  SweepRandom random(seed * 8 + static_cast<std::uint64_t>(op));
  for (SweepProblem& p : all) {
    p.op = op;
    p.index = &p - all.data();
    p.seed = random.next();
    if (p.maximum()) p.values = p.index % 3 == 2 ? SweepValues::special : SweepValues::grid;
    if (!p.maximum() && !p.convolution()) p.values = p.index % 2 == 1 ? SweepValues::offset : SweepValues::noise;
  }
  return all;
}

std::string shape_text(const ops::ImageSize& s) { return fmt::format("{}x{}x{}x{}", s.n, s.c, s.h, s.w); }

std::string options_text(const SweepProblem& p) {
  std::string text;
  if (p.adaptive()) {
    text = fmt::format("to {}", by(p.output));
  } else {
    text = fmt::format("k{} s{} p{};{};{};{}", by(p.kernel), by(p.stride), p.padding[0], p.padding[1], p.padding[2], p.padding[3]);
    if (p.dilation != std::array<I, 2>{1, 1}) text += " d" + by(p.dilation);
  }
  if (p.ceil_mode) text += " ceil";
  if (p.op == SweepOp::avg_pool2d && !p.count_include_pad) text += " without-padding";
  if (p.divisor != 0) text += fmt::format(" divisor {}", p.divisor);
  if (p.convolution()) {
    constexpr std::array<const char*, 6> kActivations = {"", " relu", " relu6", " silu", " gelu", " hardswish"};
    if (p.multiplier != 1) text += fmt::format(" x{}", p.multiplier);
    if (p.bias) text += " bias";
    text += kActivations[static_cast<std::size_t>(p.activation)];
    if (p.residual) text += " residual";
  }
  constexpr std::array<const char*, 4> kValues = {" noise", " offset", " grid", " special"};
  return text + kValues[static_cast<std::size_t>(p.values)] + fmt::format(" seed {}", p.seed);
}

}  // namespace tessera::models
