#include "tessera/models/blocks/loader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tessera/ops/elementwise.h"

namespace tessera::models {

BlockLoader::BlockLoader(Context& ctx, const WeightSource& source, Progress progress, double elements)
    : ctx_(ctx), source_(source), progress_(std::move(progress)), elements_(std::max(elements, 1.0)) {}

Tensor BlockLoader::matrix(const std::string& name, std::int64_t n, std::int64_t k) { return source_.load(name).reshape({n, k}); }

void BlockLoader::done(const std::string& name, const Tensor& tensor) {
  read_ += static_cast<double>(tensor.numel());
  source_.release(name);
  if (progress_) progress_("packing weights", std::min(1.0, read_ / elements_));
}

DType BlockLoader::allowed(const std::string& name, const Tensor& weight, DType precision) {
  if (precision != DType::i8) return precision;
  const double error = ops::int8_error(ctx_, weight);
  if (error <= kMostInt8Error) return precision;
  exceptions_.push_back({name, error});
  return DType::bf16;
}

ops::PreparedLinear BlockLoader::linear(std::initializer_list<Part> parts, std::int64_t k, bool bias, DType precision) {
  std::vector<ops::LinearPart> loaded;
  for (const Part& part : parts)
    loaded.push_back({matrix(part.prefix + ".weight", part.n, k), bias ? source_.load(part.prefix + ".bias") : Tensor()});
  for (const ops::LinearPart& part : loaded) precision = allowed(parts.begin()[&part - loaded.data()].prefix, part.weight, precision);
  ops::PreparedLinear packed = ops::prepare_linear(ctx_, loaded, precision);
  std::size_t i = 0;
  for (const Part& part : parts) {
    done(part.prefix + ".weight", loaded[i].weight);
    if (bias) done(part.prefix + ".bias", loaded[i].bias);
    ++i;
  }
  bytes_ += packed.bytes();
  return packed;
}

ops::PreparedLinear BlockLoader::gated_linear(const std::string& gate, const std::string& up, std::int64_t n, std::int64_t k, DType precision) {
  const ops::LinearPart gate_part{matrix(gate + ".weight", n, k), {}};
  const ops::LinearPart up_part{matrix(up + ".weight", n, k), {}};
  precision = allowed(gate, gate_part.weight, precision);
  precision = allowed(up, up_part.weight, precision);
  ops::PreparedLinear packed = ops::prepare_gated_linear(ctx_, gate_part, up_part, precision);
  done(gate + ".weight", gate_part.weight);
  done(up + ".weight", up_part.weight);
  bytes_ += packed.bytes();
  return packed;
}

ops::PreparedLinear BlockLoader::linear(const Tensor& weight, const Tensor& bias, DType precision) {
  ops::PreparedLinear packed = ops::prepare_linear(ctx_, ops::LinearPart{weight, bias}, precision);
  bytes_ += packed.bytes();
  return packed;
}

ops::LayerNorm BlockLoader::layer_norm(const std::string& prefix, float eps) { return {f32(prefix + ".weight"), f32(prefix + ".bias"), eps}; }

ops::RmsNorm BlockLoader::rms_norm(const std::string& prefix, float eps) { return {f32(prefix + ".weight"), eps}; }

Tensor BlockLoader::copy(const std::string& name) {
  const Tensor stored = source_.load(name);
  Tensor converted = Tensor::empty(stored.shape(), DType::f32);
  ops::typecast(ctx_, stored, converted);
  done(name, stored);
  return converted;
}

Tensor BlockLoader::f32(const std::string& name) {
  Tensor kept = copy(name);
  bytes_ += kept.bytes();
  return kept;
}

}  // namespace tessera::models
