// Names, sizes and weights: from a checkpoint's tensors to packed convolutions with the batch norms folded in.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/models/vision/network.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {
namespace {

/// A row of the paper's table: blocks that widen by `expansion`; the first has the stride.
struct Row {
  std::int64_t expansion;
  int repeats;
  std::int64_t stride;
  std::int64_t kernel;
};
constexpr Row kMobileNetV2[] = {{1, 1, 1, 3}, {6, 2, 2, 3}, {6, 3, 2, 3}, {6, 4, 2, 3}, {6, 3, 1, 3}, {6, 3, 2, 3}, {6, 1, 1, 3}};
constexpr Row kEfficientNetLite0[] = {{1, 1, 1, 3}, {6, 2, 2, 3}, {6, 2, 2, 5}, {6, 3, 2, 3}, {6, 3, 1, 5}, {6, 4, 2, 5}, {6, 1, 1, 3}};
static_assert(std::size(kMobileNetV2) == kMostStages && std::size(kEfficientNetLite0) == kMostStages);

struct ConvNames {
  std::string conv;
  std::string norm;
};
struct BlockNames {
  ConvNames expand;
  ConvNames depthwise;
  ConvNames project;
};

/// How a family calls its tensors, and what they do not say.
struct Family {
  std::span<const Row> rows;
  ConvNames stem;
  ConvNames head;
  std::string classifier;
  BlockNames (*block)(int index, bool expands);
  double norm_eps;
  bool tf_same;  // TensorFlow's 'same' padding: the odd row and column bottom and right
};

BlockNames torchvision_block(int index, bool expands) {
  const std::string conv = fmt::format("features.{}.conv.", index + 1);
  if (!expands) return {{}, {conv + "0.0", conv + "0.1"}, {conv + "1", conv + "2"}};
  return {{conv + "0.0", conv + "0.1"}, {conv + "1.0", conv + "1.1"}, {conv + "2", conv + "3"}};
}

BlockNames efficientnet_block(int index, bool) {
  const std::string block = fmt::format("_blocks.{}.", index);
  return {{block + "_expand_conv", block + "_bn0"}, {block + "_depthwise_conv", block + "_bn1"}, {block + "_project_conv", block + "_bn2"}};
}

Family family_of(Architecture architecture) {
  if (architecture == Architecture::mobilenet_v2)
    return {kMobileNetV2, {"features.0.0", "features.0.1"}, {"features.18.0", "features.18.1"}, "classifier.1", torchvision_block, 1e-5, false};
  return {kEfficientNetLite0, {"_conv_stem", "_bn0"}, {"_conv_head", "_bn1"}, "_fc", efficientnet_block, 1e-3, true};
}

/// One convolution before its weights are read.
struct ConvPlan {
  ConvNames names;
  std::int64_t out = 0;
  std::int64_t in = 0;  // of the kernel: 1 where it is depthwise
  std::int64_t kernel = 1;
  ops::Conv2d options;

  Shape shape() const { return {out, in, kernel, kernel}; }
};
struct BlockPlan {
  ConvPlan expand;  // out = 0: none
  ConvPlan depthwise;
  ConvPlan project;
  bool residual = false;
};
struct NetworkPlan {
  ConvPlan stem;
  std::vector<std::vector<BlockPlan>> stages;
  ConvPlan head;
  std::string classifier;
  std::int64_t classes = 0;
  double norm_eps = 0;
};

/// What width a layer has: any of its tensors tells it. 0 when none is there; then all of them are reported as missing.
class Widths {
 public:
  explicit Widths(const WeightSource& source) : source_(source) {}

  std::int64_t out(const ConvNames& names) const {
    return first({{names.conv + ".weight", 0},
                  {names.norm + ".weight", 0},
                  {names.norm + ".bias", 0},
                  {names.norm + ".running_mean", 0},
                  {names.norm + ".running_var", 0}});
  }
  std::int64_t in(const ConvNames& names) const { return first({{names.conv + ".weight", 1}}); }
  std::int64_t first(std::initializer_list<std::pair<std::string, std::size_t>> places) const {
    for (const auto& [name, dim] : places) {
      const auto found = source_.tensors().find(name);
      if (found != source_.tensors().end() && found->second.shape.rank() > dim) return found->second.shape.sizes()[dim];
    }
    return 0;
  }

 private:
  const WeightSource& source_;
};

/// Walks through the network with the picture's size in hand, as the padding depends on it.
class Planner {
 public:
  Planner(const WeightSource& source, const Family& family, std::int64_t image_size) : widths_(source), family_(family), size_(image_size) {}

  NetworkPlan plan() {
    NetworkPlan net;
    net.norm_eps = family_.norm_eps;
    net.stem = layer(family_.stem, 3, 3, 2, true);
    std::int64_t channels = net.stem.out;
    int index = 0;
    for (const Row& row : family_.rows) {
      std::vector<BlockPlan>& stage = net.stages.emplace_back();
      for (int i = 0; i < row.repeats; ++i) {
        const std::int64_t stride = i == 0 ? row.stride : 1;
        const BlockNames names = family_.block(index++, row.expansion != 1);
        BlockPlan& block = stage.emplace_back();
        std::int64_t wide = channels;
        if (row.expansion != 1) {
          block.expand = layer(names.expand, channels, 1, 1, true);
          if (block.expand.in > 0) block.expand.out = block.expand.in * row.expansion;
          wide = block.expand.out;
        }
        block.depthwise = layer(names.depthwise, 1, row.kernel, stride, true);
        if (wide > 0) block.depthwise.out = wide;
        block.depthwise.options.groups = std::max<std::int64_t>(block.depthwise.out, 1);
        block.project = layer(names.project, block.depthwise.out, 1, 1, false);
        block.residual = stride == 1 && block.project.out == channels;
        channels = block.project.out;
      }
    }
    net.head = layer(family_.head, channels, 1, 1, true);
    net.classifier = family_.classifier;
    net.classes = widths_.first({{family_.classifier + ".weight", 0}, {family_.classifier + ".bias", 0}});
    return net;
  }

 private:
  ConvPlan layer(const ConvNames& names, std::int64_t in, std::int64_t kernel, std::int64_t stride, bool activation) {
    ConvPlan conv;
    conv.names = names;
    conv.out = widths_.out(names);
    conv.in = in > 0 ? in : widths_.in(names);
    conv.kernel = kernel;
    conv.options.stride = {stride, stride};
    conv.options.activation = activation ? ops::ConvActivation::relu6 : ops::ConvActivation::none;
    const std::int64_t out = (size_ + stride - 1) / stride;
    const std::int64_t total = family_.tf_same ? std::max<std::int64_t>((out - 1) * stride + kernel - size_, 0) : kernel - 1;
    const std::int64_t before = total / 2;
    conv.options.padding = {before, total - before, before, total - before};
    size_ = out;
    return conv;
  }

  Widths widths_;
  const Family& family_;
  std::int64_t size_;
};

/// Calls fn(plan) for every convolution.
template <class Fn>
void for_each_conv(const NetworkPlan& net, Fn fn) {
  fn(net.stem);
  for (const auto& stage : net.stages)
    for (const BlockPlan& block : stage) {
      if (!block.expand.names.conv.empty()) fn(block.expand);
      fn(block.depthwise);
      fn(block.project);
    }
  fn(net.head);
}

constexpr const char* kNormParts[] = {".weight", ".bias", ".running_mean", ".running_var"};

/// Throws Error unless every tensor is there, in its shape, finite, and none is left over.
void check_tensors(Context& ctx, const WeightSource& source, const NetworkPlan& net) {
  WeightReader reader(source);
  std::vector<std::pair<std::string, bool>> names;  // and whether it is a variance
  for_each_conv(net, [&](const ConvPlan& conv) {
    reader.need(conv.names.conv + ".weight", conv.shape());
    names.emplace_back(conv.names.conv + ".weight", false);
    for (const char* part : kNormParts) {
      reader.need(conv.names.norm + part, {conv.out});
      names.emplace_back(conv.names.norm + part, part == kNormParts[3]);
    }
  });
  reader.need(net.classifier + ".weight", {net.classes, net.head.out});
  reader.need(net.classifier + ".bias", {net.classes});
  names.emplace_back(net.classifier + ".weight", false);
  names.emplace_back(net.classifier + ".bias", false);
  reader.check_all();
  if (net.classes < 1) fail_expected(source.where(), "at least one class", "none");

  std::string bad;
  for (const auto& [name, variance] : names) {
    const Tensor t = source.load(name);
    if (t.numel() == 0) fail_expected(source.where(), fmt::format("channels in '{}'", name), t.shape().str());
    bool fits = ops::all_finite(ctx, t);
    if (fits && variance) {
      Tensor values = Tensor::empty(t.shape(), DType::f32);
      ops::typecast(ctx, t, values);
      fits = std::ranges::all_of(values.span<float>(), [](float v) { return v >= 0; });
    }
    if (!fits) bad += (bad.empty() ? "" : ", ") + name;
  }
  if (!bad.empty()) fail_expected(source.where(), "finite weights, and variances of at least 0", "NaN, infinities or negative variances in " + bad);
}

class Packer {
 public:
  Packer(Context& ctx, const WeightSource& source, double norm_eps, DType precision)
      : ctx_(ctx), source_(source), norm_eps_(norm_eps), precision_(precision) {}

  /// The convolution and the batch norm behind it as one: w' = w gamma / sqrt(var + eps), b' = beta - mean gamma / sqrt(var + eps), in double.
  ops::PreparedConv2d conv(const ConvPlan& plan) {
    Tensor weight = f32(plan.names.conv + ".weight");
    const Tensor gamma = f32(plan.names.norm + ".weight");
    const Tensor beta = f32(plan.names.norm + ".bias");
    const Tensor mean = f32(plan.names.norm + ".running_mean");
    const Tensor var = f32(plan.names.norm + ".running_var");
    Tensor bias = Tensor::empty({plan.out}, DType::f32);
    const std::int64_t taps = plan.in * plan.kernel * plan.kernel;
    for (std::int64_t o = 0; o < plan.out; ++o) {
      const double factor = static_cast<double>(gamma.data<float>()[o]) / std::sqrt(static_cast<double>(var.data<float>()[o]) + norm_eps_);
      float* const w = weight.data<float>() + o * taps;
      for (std::int64_t i = 0; i < taps; ++i) w[i] = static_cast<float>(static_cast<double>(w[i]) * factor);
      bias.data<float>()[o] = static_cast<float>(static_cast<double>(beta.data<float>()[o]) - static_cast<double>(mean.data<float>()[o]) * factor);
    }
    if (!ops::all_finite(ctx_, weight) || !ops::all_finite(ctx_, bias))
      fail_expected(source_.where(), fmt::format("'{}' times its norm within the range of float32", plan.names.conv), "larger values");
    ops::PreparedConv2d packed = ops::prepare_conv2d(ctx_, weight, bias, plan.options, precision_);
    bytes_ += packed.bytes();
    return packed;
  }

  ops::PreparedLinear linear(const std::string& name) {
    ops::PreparedLinear packed = ops::prepare_linear(ctx_, ops::LinearPart{f32(name + ".weight"), f32(name + ".bias")}, precision_);
    bytes_ += packed.bytes();
    return packed;
  }

  std::size_t bytes() const noexcept { return bytes_; }

 private:
  Tensor f32(const std::string& name) {
    const Tensor stored = source_.load(name);
    Tensor copy = Tensor::empty(stored.shape(), DType::f32);
    ops::typecast(ctx_, stored, copy);
    source_.release(name);
    return copy;
  }

  Context& ctx_;
  const WeightSource& source_;
  double norm_eps_;
  DType precision_;
  std::size_t bytes_ = 0;
};

}  // namespace

VisionNetwork load_vision_network(Context& ctx, const WeightSource& source, Architecture architecture, std::int64_t image_size, Precision precision) {
  const Family family = family_of(architecture);
  const NetworkPlan plan = Planner(source, family, image_size).plan();
  check_tensors(ctx, source, plan);

  Packer pack(ctx, source, plan.norm_eps, dtype_of(precision));
  VisionNetwork net;
  net.precision = precision;
  net.image_size = image_size;
  net.stem = pack.conv(plan.stem);
  Shape shape = ops::conv2d_shape({1, image_size, image_size, 3}, net.stem);
  net.widest = shape.numel();
  for (const auto& stage_plan : plan.stages) {
    VisionStage& stage = net.stages.emplace_back();
    for (const BlockPlan& block_plan : stage_plan) {
      InvertedResidual& block = stage.blocks.emplace_back();
      if (!block_plan.expand.names.conv.empty()) block.expand = pack.conv(block_plan.expand);
      block.depthwise = pack.conv(block_plan.depthwise);
      block.project = pack.conv(block_plan.project);
      block.residual = block_plan.residual;
      shape = block.shape(shape);
      net.widest = std::max(net.widest, shape.numel());
    }
  }
  net.head = pack.conv(plan.head);
  net.classifier = pack.linear(plan.classifier);
  net.bytes = pack.bytes();
  return net;
}

}  // namespace tessera::models
