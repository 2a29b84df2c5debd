#include "tessera/models/blocks/loader.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/elementwise.h"

namespace tessera::models {

BlockLoader::BlockLoader(Context& ctx, const WeightSource& source, Progress progress, double elements)
    : ctx_(ctx), source_(source), progress_(std::move(progress)), elements_(std::max(elements, 1.0)) {}

Tensor BlockLoader::matrix(const std::string& name, std::int64_t n, std::int64_t k) { return source_.load(name).reshape({n, k}); }

void BlockLoader::advance(double elements) {
  read_ += elements;
  if (progress_) progress_("packing weights", std::min(1.0, read_ / elements_));
}

void BlockLoader::done(const std::string& name, const Tensor& tensor) {
  source_.release(name);
  advance(static_cast<double>(tensor.numel()));
}

DType BlockLoader::allowed(std::span<const Named> parts, DType precision) {
  if (precision != DType::i8) return precision;
  std::vector<Int8Exception> all;
  for (const Named& part : parts) all.push_back({part.name, ops::int8_error(ctx_, *part.weight)});
  if (std::ranges::all_of(all, [](const Int8Exception& e) { return e.error <= kMostInt8Error; })) return precision;
  exceptions_.insert(exceptions_.end(), all.begin(), all.end());
  return DType::bf16;
}

ops::PreparedLinear BlockLoader::ready_or(const Wanted& w, const std::function<ops::PreparedLinear()>& pack) {
  PackedWeights packed = source_.packed(ctx_, w.name);
  const ops::PreparedLinear& linear = packed.linear;
  if (linear.defined()) {
    const auto text = [](std::int64_t n, std::int64_t k, bool gated, bool bias) {
      return "[" + std::to_string(n) + ", " + std::to_string(k) + "]" + (gated ? ", gated" : "") + (bias ? ", with a bias" : "");
    };
    if (linear.n() != w.n || linear.k() != w.k || linear.gated() != w.gated || linear.has_bias() != w.bias)
      fail_expected(source_.where(), "packed weights '" + w.name + "' of " + text(w.n, w.k, w.gated, w.bias),
                    text(linear.n(), linear.k(), linear.gated(), linear.has_bias()));
    const bool kept = w.precision == DType::i8 && linear.dtype() == DType::bf16 && !packed.exceptions.empty();
    if (linear.dtype() != w.precision && !kept)
      fail_expected(source_.where(), "packed weights '" + w.name + "' of " + std::string(tessera::name(w.precision)), tessera::name(linear.dtype()));
    exceptions_.insert(exceptions_.end(), packed.exceptions.begin(), packed.exceptions.end());
    advance(static_cast<double>(w.n * w.k * (w.gated ? 2 : 1)));
  } else {
    const auto before = static_cast<std::ptrdiff_t>(exceptions_.size());
    packed.linear = pack();
    packed.exceptions.assign(exceptions_.begin() + before, exceptions_.end());
    source_.was_packed(w.name, w.tensors, packed);
  }
  bytes_ += linear.bytes();
  return linear;
}

ops::PreparedLinear BlockLoader::linear(std::initializer_list<Part> parts, std::int64_t k, bool bias, DType precision) {
  Wanted wanted{{}, {}, 0, k, false, bias, precision};
  for (const Part& part : parts) {  // "layers.0.self_attn.q_proj+k_proj+v_proj"
    wanted.name += wanted.name.empty() ? part.prefix : "+" + part.prefix.substr(part.prefix.rfind('.') + 1);
    wanted.n += part.n;
    wanted.tensors.push_back(part.prefix + ".weight");
    if (bias) wanted.tensors.push_back(part.prefix + ".bias");
  }
  return ready_or(wanted, [&] { return passing_linear(parts, k, bias, precision); });
}

ops::PreparedLinear BlockLoader::passing_linear(std::initializer_list<Part> parts, std::int64_t k, bool bias, DType precision) {
  std::vector<ops::LinearPart> loaded;
  for (const Part& part : parts)
    loaded.push_back({matrix(part.prefix + ".weight", part.n, k), bias ? source_.load(part.prefix + ".bias") : Tensor()});
  std::vector<Named> named;
  for (const ops::LinearPart& part : loaded) named.push_back({parts.begin()[&part - loaded.data()].prefix, &part.weight});
  precision = allowed(named, precision);
  ops::PreparedLinear packed = ops::prepare_linear(ctx_, loaded, precision);
  std::size_t i = 0;
  for (const Part& part : parts) {
    done(part.prefix + ".weight", loaded[i].weight);
    if (bias) done(part.prefix + ".bias", loaded[i].bias);
    ++i;
  }
  return packed;
}

ops::PreparedLinear BlockLoader::gated_linear(const std::string& gate, const std::string& up, std::int64_t n, std::int64_t k, DType precision) {
  const Wanted wanted{gate + "*" + up.substr(up.rfind('.') + 1), {gate + ".weight", up + ".weight"}, n, k, true, false, precision};
  return ready_or(wanted, [&] {
    const ops::LinearPart gate_part{matrix(gate + ".weight", n, k), {}};
    const ops::LinearPart up_part{matrix(up + ".weight", n, k), {}};
    const DType kept = allowed(std::array{Named{gate, &gate_part.weight}, Named{up, &up_part.weight}}, precision);
    ops::PreparedLinear packed = ops::prepare_gated_linear(ctx_, gate_part, up_part, kept);
    done(gate + ".weight", gate_part.weight);
    done(up + ".weight", up_part.weight);
    return packed;
  });
}

ops::PreparedLinear BlockLoader::linear(const Made& made, DType precision) {
  return ready_or({made.name, made.tensors, made.n, made.k, false, made.bias, precision},
                  [&] { return ops::prepare_linear(ctx_, made.make(), precision); });
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
