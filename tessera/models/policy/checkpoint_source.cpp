#include "tessera/models/policy/checkpoint_source.h"

#include <fmt/core.h>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

std::optional<DType> weight_dtype(io::StoredType type) {
  if (type == io::StoredType::f32) return DType::f32;
  if (type == io::StoredType::bf16) return DType::bf16;
  if (type == io::StoredType::f16) return DType::f16;
  return std::nullopt;
}

void replace_first(std::string& text, std::string_view from, std::string_view to) {
  const std::size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

}  // namespace

std::shared_ptr<const CheckpointSource> CheckpointSource::open(const std::filesystem::path& path) {
  auto source = std::make_shared<CheckpointSource>();
  CheckpointSource& s = *source;
  s.path_ = path;
  s.checkpoint_ = io::Checkpoint::open(path);
  for (const auto& [stored, file] : s.checkpoint_.names()) {
    const io::StoredTensor& t = *s.checkpoint_.find(stored);
    s.parameters_ += t.shape.numel();
    ++s.stored_types_[std::string(io::name(t.type))];
    if (stored.find("lora_") != std::string::npos)
      fail(path.string(), "the checkpoint holds an adapter's tensors ('" + stored + "'): merge them into the weights first");
    const auto canonical = canonical_name(stored, s.traits_);
    if (!canonical) {
      if (stored.find("proprio_history_proj") != std::string::npos)
        fail(path.string(), "the checkpoint uses visual or proprioceptive memory (" + stored + "), which this engine does not have");
      s.foreign_.push_back(stored);
      continue;
    }
    const auto dtype = weight_dtype(t.type);
    if (!dtype) fail_expected(path.string(), fmt::format("tensor '{}' of F32, BF16 or F16", stored), io::name(t.type));
    const auto [at, fresh] = s.tensors_.emplace(*canonical, WeightInfo{t.shape, *dtype, stored});
    if (!fresh) fail(path.string(), fmt::format("'{}' and '{}' are the same tensor under two names", at->second.stored_name, stored));
    // pi0.5 is what its expert's adaptive norms say it is: the time MLP is stored under the other family's names now and then.
    s.pi05_ = s.pi05_ || (canonical->find("gemma_expert") != std::string::npos && canonical->ends_with("norm.dense.weight"));
  }

  // Some files carry the other family's name for the time MLP; the tensors say which family it is.
  std::vector<std::pair<std::string, std::string>> renames;
  for (const auto& [name, info] : s.tensors_) {
    const bool pi0_name = name.starts_with("action_time_mlp_");
    const bool pi05_name = name.starts_with("time_mlp_");
    if (s.pi05_ ? !pi0_name : !pi05_name) continue;
    std::string mended = name;
    replace_first(mended, s.pi05_ ? "action_time_mlp_" : "time_mlp_", s.pi05_ ? "time_mlp_" : "action_time_mlp_");
    renames.emplace_back(name, mended);
  }
  for (const auto& [from, to] : renames) {
    auto node = s.tensors_.extract(from);
    if (const auto there = s.tensors_.find(to); there != s.tensors_.end())
      fail(path.string(), fmt::format("'{}' and '{}' are the same tensor under two names", there->second.stored_name, node.mapped().stored_name));
    node.key() = to;
    s.tensors_.insert(std::move(node));
    s.notes_.push_back(from + " is read as " + to);
  }
  if (s.pi05_) {
    for (const char* stray : {"state_proj.weight", "state_proj.bias"})
      if (s.tensors_.erase(stray) > 0) s.notes_.push_back(std::string(stray) + " is dropped: pi0.5 has no state token");
  }

  // The token table stands under embed_tokens, under the lm_head that was tied to it, or under both: then embed_tokens is the one in use.
  const auto head = s.tensors_.find(kVlmHead);
  if (!s.tensors_.contains(kEmbedTokens) && head != s.tensors_.end()) {
    s.tensors_.emplace(std::string(kEmbedTokens), head->second);
    s.notes_.emplace_back("the token table is stored as lm_head (tied)");
  } else if (head != s.tensors_.end()) {
    s.notes_.emplace_back("embed_tokens and lm_head are both stored; embed_tokens is used");
  }
  return source;
}

Tensor CheckpointSource::load(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail_expected(where(), fmt::format("a tensor '{}'", name), "none of that name");
  return checkpoint_.file_of(found->second.stored_name)->tensor(found->second.stored_name);
}

void CheckpointSource::release(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) checkpoint_.file_of(found->second.stored_name)->release(found->second.stored_name);
}

std::vector<double> CheckpointSource::buffer(std::string_view stored_name) const {
  const io::SafetensorsFile* file = checkpoint_.file_of(stored_name);
  return file == nullptr ? std::vector<double>() : file->doubles(stored_name);
}

}  // namespace tessera::models
