// The network that MobileNetV2 and EfficientNet-Lite0 share: a stem, inverted residual blocks, a head, the mean over the picture, one linear layer.
// Private to models (not installed). Test: tests/models/vision_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/vision/classifier.h"
#include "tessera/models/weights.h"
#include "tessera/ops/conv2d.h"
#include "tessera/ops/linear.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

/// MobileNetV2, figure 3: y = project(depthwise(expand(x))) (+ x). ReLU6 after the first two, nothing after the projection: the bottleneck is linear.
/// Batch norm is folded into the weights.
struct InvertedResidual {
  ops::PreparedConv2d expand;  // 1x1; undefined where the block does not widen
  ops::PreparedConv2d depthwise;
  ops::PreparedConv2d project;  // 1x1
  bool residual = false;        // stride 1 and as many channels out as in

  /// x, y: [n, h, w, c]; y may be x where `residual` says so.
  void operator()(Context& ctx, const Tensor& x, Tensor& y) const;
  /// Of y for such an x.
  Shape shape(const Shape& x) const;
};

/// Blocks of one row of the paper's table.
struct VisionStage {
  std::vector<InvertedResidual> blocks;
};

struct VisionNetwork {
  Precision precision = Precision::f32;
  std::int64_t image_size = 0;
  ops::PreparedConv2d stem;
  std::vector<VisionStage> stages;  // at most kMostStages
  ops::PreparedConv2d head;         // 1x1
  ops::PreparedLinear classifier;
  std::size_t bytes = 0;    // of the packed weights
  std::int64_t widest = 0;  // elements of the largest picture between two blocks

  /// x: f32 [n, image_size, image_size, 3]; logits: f32 [n, classes].
  void operator()(Context& ctx, const Tensor& x, Tensor& logits) const;

 private:
  /// features: [n, 1, 1, c], the mean over each picture of what the head makes.
  void embed(Context& ctx, const Tensor& x, Tensor& features) const;
};

inline constexpr std::size_t kMostStages = 7;

/// Reads, folds and packs. Throws Error with everything that is wrong with the tensors.
VisionNetwork load_vision_network(Context& ctx, const WeightSource& source, Architecture architecture, std::int64_t image_size, Precision precision);

}  // namespace tessera::models
