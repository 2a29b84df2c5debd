#include "tessera/models/vision/folder.h"

#include <fmt/core.h>

#include <cmath>
#include <optional>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/json.h"
#include "tessera/io/quote.h"

namespace tessera::models {
namespace {

constexpr std::int64_t kMostSide = 2048;
constexpr std::string_view kArchitectures = "\"mobilenet_v2\" or \"efficientnet_lite0\"";

std::optional<DType> weight_dtype(io::StoredType type) {
  if (type == io::StoredType::f32) return DType::f32;
  if (type == io::StoredType::bf16) return DType::bf16;
  if (type == io::StoredType::f16) return DType::f16;
  return std::nullopt;
}

/// By the names of the stems.
std::optional<Architecture> architecture_of(const WeightSource& source) {
  const auto has = [&](std::string_view name) { return source.tensors().find(name) != source.tensors().end(); };
  if (has("_conv_stem.weight") || has("_blocks.0._depthwise_conv.weight")) return Architecture::efficientnet_lite0;
  if (has("features.0.0.weight") || has("features.1.conv.0.0.weight")) return Architecture::mobilenet_v2;
  return std::nullopt;
}

float positive(const io::Json& json) {
  const double value = json.number();
  const auto rounded = static_cast<float>(value);
  if (!(rounded > 0) || !std::isfinite(rounded)) fail_expected(json.where(), "a number above 0", json.dump(-1));
  return rounded;
}

std::array<float, 3> channels(const io::Json& json, bool above_zero) {
  if (json.array().size() != 3) fail_expected(json.where(), "3 numbers, for red, green and blue", fmt::format("{}", json.array().size()));
  std::array<float, 3> values{};
  for (std::size_t c = 0; c < 3; ++c) {
    const io::Json& item = json.array()[c];
    values[c] = above_zero ? positive(item) : static_cast<float>(item.number());
    if (!std::isfinite(values[c])) fail_expected(item.where(), "a number that float32 can hold", item.dump(-1));
  }
  return values;
}

PicturePreprocess read_preprocess(const io::Json* json, PicturePreprocess p, std::int64_t image_size) {
  if (json != nullptr) {
    json->object();
    if (const io::Json* crop = json->find("crop"); crop != nullptr && crop->integer() != image_size)
      fail_expected(crop->where(), fmt::format("the image_size, {}", image_size), crop->dump(-1));
    if (const io::Json* resize = json->find("resize")) p.resize = resize->integer(1, kMostSide);
    if (const io::Json* word = json->find("order")) {
      if (word->string() != "resize_crop" && word->string() != "crop_resize")
        fail_expected(word->where(), "\"resize_crop\" or \"crop_resize\"", word->dump(-1));
      p.crop_first = word->string() == "crop_resize";
    }
    if (const io::Json* word = json->find("interpolation")) {
      if (word->string() == "bicubic")
        p.filter = ops::ResizeFilter::pil_bicubic;
      else if (word->string() == "bilinear")
        p.filter = ops::ResizeFilter::pil_bilinear;
      else
        fail_expected(word->where(), "\"bicubic\" or \"bilinear\"", word->dump(-1));
    }
    if (const io::Json* mean = json->find("mean")) p.mean = channels(*mean, false);
    if (const io::Json* std = json->find("std")) p.std = channels(*std, true);
    if (const io::Json* scale = json->find("scale")) p.scale = positive(*scale);
  }
  return p;
}

}  // namespace

TensorSource::TensorSource(const std::filesystem::path& path) : path_(path), checkpoint_(io::Checkpoint::open(path)) {
  for (const auto& [stored, file] : checkpoint_.names()) {
    if (stored.ends_with(".num_batches_tracked")) continue;
    const io::StoredTensor& t = *checkpoint_.find(stored);
    const auto dtype = weight_dtype(t.type);
    if (!dtype) fail_expected(path.string(), fmt::format("tensor '{}' of F32, BF16 or F16", stored), io::name(t.type));
    tensors_.emplace(stored, WeightInfo{t.shape, *dtype, stored});
  }
}

Tensor TensorSource::load(std::string_view name) const {
  if (!tensors_.contains(name)) fail_expected(where(), fmt::format("a tensor '{}'", name), "none of that name");
  return checkpoint_.file_of(name)->tensor(name);
}

void TensorSource::release(std::string_view name) const {
  if (tensors_.contains(name)) checkpoint_.file_of(name)->release(name);
}

ClassifierConfig read_classifier_config(const std::filesystem::path& path, const WeightSource& source) {
  const std::filesystem::path file = path / "config.json";
  std::error_code ignored;
  const bool given = std::filesystem::is_directory(path, ignored) && std::filesystem::exists(file, ignored);
  const io::Json json = given ? io::Json::read(file) : io::Json(io::Json::Object());
  json.object();

  const std::optional<Architecture> told = architecture_of(source);
  std::optional<Architecture> named;
  if (const io::Json* word = json.find("architecture")) {
    for (const Architecture a : {Architecture::mobilenet_v2, Architecture::efficientnet_lite0})
      if (word->string() == name(a)) named = a;
    if (!named) fail_expected(word->where(), kArchitectures, word->dump(-1));
    if (told && *told != *named) fail_expected(word->where(), fmt::format("\"{}\", as the tensors say", name(*told)), word->dump(-1));
  }
  if (!named && !told)
    fail_expected(path.string(), fmt::format("tensors of {}", kArchitectures), fmt::format("{} others", source.tensors().size()),
                  "tessera classify knows torchvision's and efficientnet_lite_pytorch's names");

  ClassifierConfig config;
  config.architecture = named ? *named : *told;
  if (const io::Json* size = json.find("image_size")) config.image_size = size->integer(1, kMostSide);
  const io::Json* preprocess = json.find("preprocess");
  config.preprocess = read_preprocess(preprocess, reference_preprocess(config.architecture), config.image_size);
  if (config.preprocess.resize < config.image_size)
    fail_expected(file.string(), fmt::format("a preprocess.resize of at least image_size, {}", config.image_size),
                  std::to_string(config.preprocess.resize));
  if (const io::Json* labels = json.find("labels")) {
    const std::filesystem::path name = labels->string();
    if (name.empty() || name.has_parent_path()) fail_expected(labels->where(), "the name of a file in the folder", labels->dump(-1));
    config.labels = read_labels(path / name, 0);
  }
  return config;
}

std::vector<std::string> read_labels(const std::filesystem::path& path, std::int64_t classes) {
  const std::string text = io::read_text(path);
  std::vector<std::string> labels;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t stop = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, stop - start);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    for (const char c : line)
      if (static_cast<unsigned char>(c) < 32 || c == 127)
        fail_expected(path.string(), "lines of plain text", fmt::format("a control character in line {}", labels.size() + 1));
    if (!io::is_utf8(line)) fail_expected(path.string(), "lines of UTF-8", fmt::format("other bytes in line {}", labels.size() + 1));
    if (line.empty()) fail_expected(path.string(), "a label in every line", fmt::format("an empty line {}", labels.size() + 1));
    labels.push_back(std::move(line));
    start = stop + 1;
  }
  if (classes > 0 && static_cast<std::int64_t>(labels.size()) != classes)
    fail_expected(path.string(), fmt::format("{} labels, one a line", classes), std::to_string(labels.size()));
  return labels;
}

}  // namespace tessera::models
