#include "tessera/models/vision/classifier.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "tessera/core/error.h"
#include "tessera/models/vision/folder.h"
#include "tessera/models/vision/network.h"

namespace tessera::models {
namespace {

using Scope = runtime::Workspace::Scope;

constexpr std::int64_t kMostPixels = std::int64_t{1} << 26;

/// torchvision's CenterCrop: int(round(x / 2)) as Python rounds, halves to even.
std::int64_t half_to_even(std::int64_t x) {
  const std::int64_t half = x / 2;
  return x % 2 == 0 ? half : half + half % 2;
}

/// What is left of a picture: `size` rows of `size` pixels, `pitch` bytes apart.
struct Square {
  const std::uint8_t* pixels;
  std::int64_t pitch;
};

const std::uint8_t* pixel(const Tensor& picture, std::int64_t row, std::int64_t column) {
  return picture.data<std::uint8_t>() + (row * picture.shape()[1] + column) * 3;
}

/// torchvision's Resize and CenterCrop.
Square resize_and_crop(Context& ctx, Scope& scope, const Tensor& picture, const PicturePreprocess& p, std::int64_t size) {
  const std::int64_t height = picture.shape()[0];
  const std::int64_t width = picture.shape()[1];
  const std::int64_t longer = p.resize * std::max(height, width) / std::min(height, width);
  if (longer > kMostPixels / p.resize)
    fail_expected("classify", fmt::format("a picture of at most {} pixels with its short side brought to {}", kMostPixels, p.resize),
                  picture.shape().str());
  const Shape sized = height <= width ? Shape{p.resize, longer, 3} : Shape{longer, p.resize, 3};
  Tensor whole = picture;
  if (picture.shape() != sized) {
    whole = scope.tensor(sized, DType::u8);
    ops::resize(ctx, picture, p.filter, whole);
  }
  return {pixel(whole, half_to_even(sized[0] - size), half_to_even(sized[1] - size)), sized[1] * 3};
}

/// TensorFlow's decode_and_center_crop for EfficientNet: the square is a share of the short side, the odd pixel is left out above and on the left.
Square crop_and_resize(Context& ctx, Scope& scope, const Tensor& picture, const PicturePreprocess& p, std::int64_t size) {
  const std::int64_t height = picture.shape()[0];
  const std::int64_t width = picture.shape()[1];
  const double share = static_cast<double>(size) / static_cast<double>(p.resize);
  const auto side = std::max<std::int64_t>(1, static_cast<std::int64_t>(share * static_cast<double>(std::min(height, width))));
  Tensor cut = scope.tensor({side, side, 3}, DType::u8);
  for (std::int64_t r = 0; r < side; ++r)
    std::copy_n(pixel(picture, (height - side + 1) / 2 + r, (width - side + 1) / 2), side * 3, cut.data<std::uint8_t>() + r * side * 3);
  Tensor sized = scope.tensor({size, size, 3}, DType::u8);
  ops::resize(ctx, cut, p.filter, sized);
  return {pixel(sized, 0, 0), size * 3};
}

}  // namespace

struct Classifier::Impl {
  ClassifierConfig config;
  VisionNetwork network;
};

Classifier::Classifier() : impl_(std::make_unique<Impl>()) {}
Classifier::~Classifier() = default;
Classifier::Classifier(Classifier&&) noexcept = default;
Classifier& Classifier::operator=(Classifier&&) noexcept = default;
const ClassifierConfig& Classifier::config() const noexcept { return impl_->config; }
Precision Classifier::precision() const noexcept { return impl_->network.precision; }
std::int64_t Classifier::classes() const noexcept { return impl_->network.classifier.n(); }
std::size_t Classifier::weight_bytes() const noexcept { return impl_->network.bytes; }

std::string_view name(Architecture architecture) { return architecture == Architecture::mobilenet_v2 ? "mobilenet_v2" : "efficientnet_lite0"; }

PicturePreprocess reference_preprocess(Architecture architecture) {
  if (architecture == Architecture::mobilenet_v2)
    return {256, false, ops::ResizeFilter::pil_bilinear, 255, {0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  return {256, true, ops::ResizeFilter::pil_bicubic, 1, {127, 127, 127}, {128, 128, 128}};
}

Classifier Classifier::load(Context& ctx, const std::filesystem::path& path, const ClassifierOptions& options) {
  const TensorSource source(path);
  ClassifierConfig config = read_classifier_config(path, source);
  if (!options.labels.empty()) config.labels = read_labels(options.labels, 0);
  return load(ctx, source, config, options.precision);
}

Classifier Classifier::load(Context& ctx, const WeightSource& source, const ClassifierConfig& config, Precision precision) {
  Classifier classifier;
  classifier.impl_->config = config;
  classifier.impl_->network = load_vision_network(ctx, source, config.architecture, config.image_size, precision);
  const auto labels = static_cast<std::int64_t>(config.labels.size());
  if (labels != 0 && labels != classifier.classes())
    fail_expected(source.where(), fmt::format("{} labels, one for each class", classifier.classes()), std::to_string(labels));
  return classifier;
}

void Classifier::preprocess(Context& ctx, const Tensor& picture, Tensor& x) const {
  const PicturePreprocess& p = impl_->config.preprocess;
  const std::int64_t size = impl_->config.image_size;
  if (!picture.defined() || picture.dtype() != DType::u8 || picture.shape().rank() != 3 || picture.shape()[2] != 3 || picture.numel() == 0 ||
      !picture.is_contiguous())
    fail_expected("classify", "a picture, uint8 [height, width, 3]", picture.defined() ? picture.str() : "nothing");
  if (!x.defined() || x.dtype() != DType::f32 || x.shape() != Shape{size, size, 3} || !x.is_contiguous())
    fail_expected("classify", fmt::format("x, float32 [{}, {}, 3]", size, size), x.defined() ? x.str() : "nothing");

  runtime::Zone zone(ctx.profiler(), "stage: preprocess");
  Scope scope(ctx.workspace());
  const Square square = p.crop_first ? crop_and_resize(ctx, scope, picture, p, size) : resize_and_crop(ctx, scope, picture, p, size);
  std::array<std::array<float, 256>, 3> table;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t v = 0; v < 256; ++v) table[c][v] = (static_cast<float>(v) / p.scale - p.mean[c]) / p.std[c];
  for (std::int64_t r = 0; r < size; ++r) {
    const std::uint8_t* const from = square.pixels + r * square.pitch;
    float* const to = x.data<float>() + r * size * 3;
    for (std::int64_t i = 0; i < size * 3; ++i) to[i] = table[static_cast<std::size_t>(i % 3)][from[i]];
  }
}

void Classifier::logits(Context& ctx, const Tensor& x, Tensor& logits) const {
  const std::int64_t size = impl_->config.image_size;
  if (!x.defined() || x.dtype() != DType::f32 || x.shape().rank() != 4 || x.shape() != Shape{x.shape()[0], size, size, 3} || !x.is_contiguous())
    fail_expected("classify", fmt::format("x, float32 [n, {}, {}, 3]", size, size), x.defined() ? x.str() : "nothing");
  const Shape expected{x.shape()[0], classes()};
  if (!logits.defined() || logits.dtype() != DType::f32 || logits.shape() != expected || !logits.is_contiguous())
    fail_expected("classify", "logits, float32 " + expected.str(), logits.defined() ? logits.str() : "nothing");
  if (x.numel() > 0) impl_->network(ctx, x, logits);
}

std::vector<double> Classifier::probabilities(std::span<const float> logits) const {
  if (static_cast<std::int64_t>(logits.size()) != classes())
    fail_expected("classify", fmt::format("{} logits", classes()), std::to_string(logits.size()));
  if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) fail_expected("classify", "finite logits", "NaN or infinity");
  const auto largest = static_cast<double>(*std::ranges::max_element(logits));
  std::vector<double> p(logits.size());
  std::ranges::transform(logits, p.begin(), [&](float v) { return std::exp(static_cast<double>(v) - largest); });
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= sum;
  return p;
}

std::vector<Prediction> Classifier::top(std::span<const float> logits, std::int64_t count) const {
  const std::vector<double> p = probabilities(logits);
  if (count < 1) fail_expected("classify", "a count of at least 1", std::to_string(count));
  const auto most = static_cast<std::size_t>(std::min(count, classes()));
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(most), order.end(),
                    [&](std::size_t a, std::size_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<Prediction> predictions;
  for (std::size_t i = 0; i < most; ++i) {
    const std::size_t c = order[i];
    predictions.push_back({static_cast<std::int64_t>(c), p[c], impl_->config.labels.empty() ? std::string() : impl_->config.labels[c]});
  }
  return predictions;
}

std::vector<Prediction> Classifier::classify(Context& ctx, const Tensor& picture, std::int64_t count) const {
  const std::int64_t size = impl_->config.image_size;
  Scope scope(ctx.workspace());
  Tensor x = scope.tensor({size, size, 3}, DType::f32);
  preprocess(ctx, picture, x);
  Tensor y = scope.tensor({1, classes()}, DType::f32);
  logits(ctx, x.reshape({1, size, size, 3}), y);
  return top(y.span<float>(), count);
}

}  // namespace tessera::models
