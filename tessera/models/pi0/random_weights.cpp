#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>

#include "tessera/core/error.h"
#include "tessera/models/pi0/pi0.h"

namespace tessera::models {
namespace {

constexpr std::int64_t kFilledTokens = 4096;

/// Eight xorshift32 generators side by side, so that the compiler can vectorise. Each draw is the sum of a number's four bytes, which is
/// close to normal: mean 510, variance 4 (256^2 - 1) / 12.
class Lanes {
 public:
  explicit Lanes(std::uint64_t seed) {
    for (std::uint32_t& state : states_) {
      seed += 0x9e3779b97f4a7c15u;  // splitmix64
      std::uint64_t z = (seed ^ (seed >> 30)) * 0xbf58476d1ce4e5b9u;
      z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
      state = static_cast<std::uint32_t>(z >> 32) | 1u;
    }
  }

  static constexpr std::size_t kCount = 8;

  /// kCount values of the given standard deviation around `mean`.
  void draw(float mean, float deviation, float* values) {
    const float scale = deviation * 0.006765875f;  // 1 / sqrt(4 (256^2 - 1) / 12)
    for (std::size_t i = 0; i < kCount; ++i) {
      std::uint32_t s = states_[i];
      s ^= s << 13;
      s ^= s >> 17;
      s ^= s << 5;
      states_[i] = s;
      const std::uint32_t pairs = (s & 0x00ff00ffu) + ((s >> 8) & 0x00ff00ffu);
      const auto sum = static_cast<std::int32_t>((pairs & 0xffffu) + (pairs >> 16));
      values[i] = mean + scale * static_cast<float>(sum - 510);
    }
  }

 private:
  std::array<std::uint32_t, kCount> states_{};
};

void fill(float* to, std::int64_t count, std::uint64_t seed, float mean, float deviation) {
  Lanes lanes(seed);
  std::array<float, Lanes::kCount> values;
  for (std::int64_t i = 0; i < count; i += Lanes::kCount) {
    lanes.draw(mean, deviation, values.data());
    std::copy_n(values.data(), std::min<std::int64_t>(Lanes::kCount, count - i), to + i);
  }
}

void fill(bf16* to, std::int64_t count, std::uint64_t seed, float mean, float deviation) {
  Lanes lanes(seed);
  std::array<float, Lanes::kCount> values;
  for (std::int64_t i = 0; i < count; i += Lanes::kCount) {
    lanes.draw(mean, deviation, values.data());
    // Every draw is finite: plain rounding, without to_bf16's branch for NaN.
    const std::int64_t n = std::min<std::int64_t>(Lanes::kCount, count - i);
    for (std::int64_t j = 0; j < n; ++j) {
      const auto u = std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>(j)]);
      to[i + j].bits = static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
    }
  }
}

class RandomWeights final : public WeightSource {
 public:
  RandomWeights(const Pi0Config& config, std::uint64_t seed, DType stored) : seed_(seed) {
    if (stored != DType::f32 && stored != DType::bf16) fail_expected("random_weights", "float32 or bfloat16", std::string(tessera::name(stored)));
    for (const TensorSpec& spec : required_tensors(config)) tensors_.emplace(spec.name, WeightInfo{spec.shape, stored, spec.name});
  }

  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return tensors_; }
  std::string where() const override { return "random weights"; }

  Tensor load(std::string_view name) const override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail("random weights", "there is no tensor '" + std::string(name) + "'");
    const WeightInfo& info = found->second;
    const bool table = name.ends_with("embed_tokens.weight");
    Tensor tensor = table ? zero_pages(info) : Tensor::empty(info.shape, info.dtype);
    const std::int64_t count = table ? std::min(info.shape[0], kFilledTokens) * info.shape.cols() : info.shape.numel();
    std::uint64_t seed = seed_ ^ 0xcbf29ce484222325u;  // FNV-1a over the name
    for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    const float deviation = spread(name, info.shape);
    if (info.dtype == DType::f32)
      fill(tensor.data<float>(), count, seed, mean(name), deviation);
    else
      fill(tensor.data<bf16>(), count, seed, mean(name), deviation);
    return tensor;
  }

 private:
  /// Memory from calloc stays unmapped zero pages until it is written.
  static Tensor zero_pages(const WeightInfo& info) {
    const auto bytes = static_cast<std::size_t>(info.shape.numel()) * size_of(info.dtype);
    const std::shared_ptr<void> memory(std::calloc(bytes, 1), std::free);
    if (memory == nullptr) fail("random weights", "no memory for " + std::to_string(bytes) + " bytes");
    return Tensor::borrow(memory.get(), info.shape, info.dtype, memory);
  }
  static bool layer_norm_weight(std::string_view name) {
    return name.ends_with(".weight") && (name.find(".layer_norm") != std::string_view::npos || name.find("post_layernorm") != std::string_view::npos);
  }
  static float mean(std::string_view name) { return layer_norm_weight(name) ? 1.0f : 0.0f; }
  /// Matrices 1 / sqrt(fan_in); vectors (norms, biases) 0.02. Table rows are multiplied by sqrt(width) afterwards, so 1 / sqrt(width) too.
  static float spread(std::string_view name, const Shape& shape) {
    if (shape.rank() < 2 || layer_norm_weight(name) || name.find("position_embedding") != std::string_view::npos) return 0.02f;
    const double fan_in = static_cast<double>(shape.numel()) / static_cast<double>(shape[0]);
    return static_cast<float>(1.0 / std::sqrt(fan_in));
  }

  std::uint64_t seed_;
  std::map<std::string, WeightInfo, std::less<>> tensors_;
};

}  // namespace

std::shared_ptr<const WeightSource> random_weights(const Pi0Config& config, std::uint64_t seed, DType stored) {
  config.check("random_weights");
  return std::make_shared<const RandomWeights>(config, seed, stored);
}

}  // namespace tessera::models
