// Image classifiers, from a picture to labelled probabilities: MobileNetV2 and EfficientNet-Lite0, with the preprocessing that their references use.
// May not hold loops that ops should have. Test: tests/models/vision_test.cpp; page: docs/VISION.md.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/core/tensor.h"
#include "tessera/models/weights.h"
#include "tessera/ops/resize.h"
#include "tessera/runtime/context.h"

namespace tessera::models {

enum class Architecture : std::uint8_t { mobilenet_v2, efficientnet_lite0 };
std::string_view name(Architecture architecture);

/// From a picture to what the network reads, [size, size, 3]. torchvision: the short side becomes `resize`, then a square of `size` is cut from the
/// middle. TensorFlow (`crop_first`): a square of size / resize of the short side is cut from the middle, then becomes `size`. Every value then
/// becomes (value / scale - mean) / std of its channel, in f32 and in that order.
struct PicturePreprocess {
  std::int64_t resize = 256;
  bool crop_first = false;
  ops::ResizeFilter filter = ops::ResizeFilter::pil_bilinear;  // pil_bilinear or pil_bicubic
  float scale = 255;
  std::array<float, 3> mean{};
  std::array<float, 3> std{1, 1, 1};
};
/// MobileNetV2: torchvision's (256, bilinear, 1/255, ImageNet's mean and deviation). EfficientNet-Lite0: TensorFlow's (256, cut first, bicubic,
/// (value - 127) / 128).
PicturePreprocess reference_preprocess(Architecture architecture);

struct ClassifierConfig {
  Architecture architecture = Architecture::mobilenet_v2;
  std::int64_t image_size = 224;
  PicturePreprocess preprocess;
  std::vector<std::string> labels;  // by class; empty: classes have numbers only
};

struct ClassifierOptions {
  Precision precision = Precision::f32;
  std::filesystem::path labels{};  // one label a line; empty: what config.json names
};

struct Prediction {
  std::int64_t index = 0;
  double probability = 0;
  std::string label;  // empty where there are no labels
};

class Classifier {
 public:
  /// `path`: a folder with model.safetensors (or shards and their index) and config.json, or one .safetensors file. What config.json leaves out is
  /// told by the tensors and by the reference's preprocessing. Throws Error that names file, key or tensor: all tensors that are missing, misshapen
  /// or unused in one list, or all that hold NaN or infinities.
  static Classifier load(Context& ctx, const std::filesystem::path& path, const ClassifierOptions& options = {});
  /// `config.architecture` under the names of its reference: torchvision's, or efficientnet_lite_pytorch's.
  static Classifier load(Context& ctx, const WeightSource& source, const ClassifierConfig& config, Precision precision);
  ~Classifier();
  Classifier(Classifier&&) noexcept;
  Classifier& operator=(Classifier&&) noexcept;

  const ClassifierConfig& config() const noexcept;
  Precision precision() const noexcept;
  std::int64_t classes() const noexcept;
  /// Of the packed weights.
  std::size_t weight_bytes() const noexcept;

  /// picture: uint8 [height, width, 3]; x: f32 [image_size, image_size, 3]. Throws Error on another picture, or one so long and thin that its resized
  /// form would have more than 2^26 pixels.
  void preprocess(Context& ctx, const Tensor& picture, Tensor& x) const;
  /// x: f32 [n, image_size, image_size, 3], any n; logits: f32 [n, classes]. NaN and Inf propagate. Does not allocate in a second call with the same
  /// n.
  void logits(Context& ctx, const Tensor& x, Tensor& logits) const;
  /// Softmax, in double, of the logits of one picture. Throws Error when they are not finite.
  std::vector<double> probabilities(std::span<const float> logits) const;
  /// The `count` (at most all) most probable classes, the first one first; of equals the lower class first.
  std::vector<Prediction> top(std::span<const float> logits, std::int64_t count) const;
  /// All of it for one picture.
  std::vector<Prediction> classify(Context& ctx, const Tensor& picture, std::int64_t count = 5) const;

 private:
  Classifier();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera::models
