#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/models/pi0/model.h"

namespace tessera::models {
namespace {

/// Schedules whose conditioning is kept besides the config's own; a server uses one or two.
constexpr std::size_t kKeptConditionings = 4;

/// sqrt(width), rounded to the table's dtype where the reference does.
float embedding_scale(const Pi0Config& config, DType table) {
  const auto scale = static_cast<float>(std::sqrt(static_cast<double>(config.vlm.width)));
  if (!config.embed_scale_in_table_dtype) return scale;
  if (table == DType::bf16) return to_f32(to_bf16(scale));
  if (table == DType::f16) return to_f32(to_f16(scale));
  return scale;
}

struct FoldedActions {
  Tensor action;  // [width, action_dim]
  Tensor time;    // [width, width]
  Tensor bias;    // [width]
};

/// pi0's action path is linear twice before its SiLU: action_time_mlp_in [width, 2 width] over [action_in_proj(x), time]. Its first half
/// times action_in_proj is one map from actions; what does not depend on x joins the time half. Summed in double.
FoldedActions fold_actions(const Tensor& in_weight, const Tensor& in_bias, const Tensor& mlp_weight, const Tensor& mlp_bias) {
  const std::int64_t width = in_weight.rows();
  const std::int64_t dim = in_weight.cols();
  FoldedActions folded{Tensor::empty({width, dim}, DType::f32), Tensor::empty({width, width}, DType::f32), Tensor::empty({width}, DType::f32)};
  const float* in = in_weight.data<float>();
  std::vector<double> row(static_cast<std::size_t>(dim));
  for (std::int64_t o = 0; o < width; ++o) {
    const float* mlp = mlp_weight.data<float>() + o * 2 * width;
    std::fill(row.begin(), row.end(), 0.0);
    double bias = static_cast<double>(mlp_bias.data<float>()[o]);
    for (std::int64_t i = 0; i < width; ++i) {
      const double factor = static_cast<double>(mlp[i]);
      bias += factor * static_cast<double>(in_bias.data<float>()[i]);
      for (std::int64_t a = 0; a < dim; ++a) row[static_cast<std::size_t>(a)] += factor * static_cast<double>(in[i * dim + a]);
    }
    std::transform(row.begin(), row.end(), folded.action.data<float>() + o * dim, [](double value) { return static_cast<float>(value); });
    std::copy(mlp + width, mlp + 2 * width, folded.time.data<float>() + o * width);
    folded.bias.data<float>()[o] = static_cast<float>(bias);
  }
  return folded;
}

/// Whether a tensor of required_tensors() is a matrix of the blocks, which int8 takes.
bool is_block_matrix(std::string_view name) {
  for (const std::string_view part :
       {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "gate_proj", "up_proj", "down_proj", "fc1", "fc2", "multi_modal_projector.linear"})
    if (name.ends_with(std::string(part) + ".weight")) return true;
  return false;
}

}  // namespace

std::vector<Int8Exception> int8_exceptions(Context& ctx, const WeightSource& source, const Pi0Config& config) {
  // Queries, keys and values are one product, and so are gate and up: all of it is bf16 when one part is.
  const auto product = [](std::string_view name) {
    const std::size_t start = name.rfind('.') + 1;
    const std::string_view last = name.substr(start);
    std::string key(name.substr(0, start));
    if (last == "q_proj" || last == "k_proj" || last == "v_proj") return key + "qkv";
    if (last == "gate_proj" || last == "up_proj") return key + "gate_up";
    return std::string(name);
  };
  std::vector<Int8Exception> all;
  std::set<std::string, std::less<>> kept;
  for (const TensorSpec& spec : required_tensors(config)) {
    if (!is_block_matrix(spec.name) || !source.tensors().contains(spec.name)) continue;
    const Tensor w = source.load(spec.name);
    const std::string name = spec.name.substr(0, spec.name.rfind('.'));
    all.push_back({name, w.shape().rank() == 2 && w.numel() > 0 ? ops::int8_error(ctx, w) : 0});
    if (all.back().error > kMostInt8Error) kept.insert(product(name));
    source.release(spec.name);
  }
  std::erase_if(all, [&](const Int8Exception& e) { return !kept.contains(product(e.name)); });
  return all;
}

Pi0::Pi0() : impl_(std::make_unique<Impl>()) {}
Pi0::~Pi0() = default;
Pi0::Pi0(Pi0&&) noexcept = default;
Pi0& Pi0::operator=(Pi0&&) noexcept = default;
const Pi0Config& Pi0::config() const noexcept { return impl_->config; }
Precision Pi0::precision() const noexcept { return impl_->precision; }
const std::vector<Int8Exception>& Pi0::int8_exceptions() const noexcept { return impl_->exceptions; }
std::size_t Pi0::weight_bytes() const noexcept { return impl_->bytes; }

Pi0 Pi0::load(Context& ctx, std::shared_ptr<const WeightSource> source, const Pi0Config& config, Precision precision, const Progress& progress) {
  config.check(source->where());
  WeightReader reader(*source);
  double elements = 0;
  for (const TensorSpec& spec : required_tensors(config)) {
    reader.need(spec.name, spec.shape);
    elements += static_cast<double>(spec.shape.numel());
  }
  reader.check();
  elements -= static_cast<double>(config.vocab * config.vlm.width);

  Pi0 pi0;
  Impl& m = *pi0.impl_;
  m.config = config;
  m.precision = precision;
  m.source = std::move(source);
  BlockLoader loader(ctx, *m.source, progress, elements);
  const DType matrices = dtype_of(precision);
  m.siglip = load_siglip(ctx, loader, config.vision, config.vlm.width, matrices);
  const std::string vlm = "paligemma_with_expert.paligemma.model.language_model.";
  m.token_table = m.source->load(vlm + "embed_tokens.weight");
  m.embed_scale = embedding_scale(config, m.token_table.dtype());
  for (std::int64_t l = 0; l < config.vlm.depth; ++l)
    m.vlm.push_back(
        load_gemma_block(loader, vlm + "layers." + std::to_string(l) + ".", config.vlm, config.rms_eps, false, l + 1 == config.vlm.depth, matrices));

  const std::int64_t width = config.expert.width;
  if (config.pi05) {
    m.action_in = loader.linear({{"action_in_proj", width}}, config.action_dim, true, DType::f32);
    m.time.in = loader.linear({{"time_mlp_in", width}}, width, true, DType::f32);
    m.time.out = loader.linear({{"time_mlp_out", width}}, width, true, DType::f32);
  } else {
    m.state_in = loader.linear({{"state_proj", width}}, config.state_dim, true, DType::f32);
    std::optional<FoldedActions> folded;
    const auto fold = [&]() -> const FoldedActions& {
      if (!folded)
        folded = fold_actions(loader.copy("action_in_proj.weight"), loader.copy("action_in_proj.bias"), loader.copy("action_time_mlp_in.weight"),
                              loader.copy("action_time_mlp_in.bias"));
      return *folded;
    };
    const std::vector<std::string> read = {"action_in_proj.weight", "action_in_proj.bias", "action_time_mlp_in.weight", "action_time_mlp_in.bias"};
    m.action_in = loader.linear({"folded_action_in", read, width, config.action_dim, false,
                                 [&] {
                                   return ops::LinearPart{fold().action, {}};
                                 }},
                                DType::f32);
    m.time.in = loader.linear({"folded_time_in", read, width, width, true, [&] { return ops::LinearPart{fold().time, fold().bias}; }}, DType::f32);
    m.action_mlp = loader.linear({{"action_time_mlp_out", width}}, width, true, DType::f32);
  }
  const std::string expert = "paligemma_with_expert.gemma_expert.model.";
  for (std::int64_t l = 0; l < config.expert.depth; ++l)
    m.expert.push_back(
        load_gemma_block(loader, expert + "layers." + std::to_string(l) + ".", config.expert, config.rms_eps, config.pi05, false, matrices));
  m.expert_norm.eps = config.rms_eps;
  if (!config.pi05) m.expert_norm = loader.rms_norm(expert + "norm", config.rms_eps);
  m.action_out = loader.linear({{"action_out_proj", config.action_dim}}, width, true, DType::f32);

  auto conditioning =
      std::make_shared<const Conditioning>(make_conditioning(ctx, config, m.time, *m.source, config.num_steps, config.schedule, progress));
  m.bytes = loader.bytes() + conditioning->bytes();
  m.exceptions = loader.exceptions();
  m.conditionings.push_back(std::move(conditioning));
  return pi0;
}

std::shared_ptr<const Conditioning> Pi0::Impl::conditioning(Context& ctx, int steps, TimeSchedule schedule) const {
  const std::lock_guard lock(mutex);
  for (const auto& known : conditionings)
    if (known->steps == steps && known->schedule == schedule) return known;
  // The first is the config's own and stays; of the others the oldest goes.
  if (conditionings.size() > kKeptConditionings) conditionings.erase(conditionings.begin() + 1);
  conditionings.push_back(std::make_shared<const Conditioning>(make_conditioning(ctx, config, time, *source, steps, schedule, {})));
  return conditionings.back();
}

PrefixCache::PrefixCache() : impl_(std::make_unique<Impl>()) {}
PrefixCache::~PrefixCache() = default;
PrefixCache::PrefixCache(PrefixCache&&) noexcept = default;
PrefixCache& PrefixCache::operator=(PrefixCache&&) noexcept = default;
std::int64_t PrefixCache::tokens() const noexcept { return impl_ == nullptr ? 0 : impl_->tokens; }

}  // namespace tessera::models
