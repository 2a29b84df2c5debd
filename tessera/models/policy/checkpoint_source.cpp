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

class FolderSource final : public CheckpointSource {
 public:
  explicit FolderSource(const std::filesystem::path& path);
  Tensor load(std::string_view name) const override;
  void release(std::string_view name) const override;
  std::vector<double> buffer(std::string_view stored_name) const override;

 private:
  io::Checkpoint checkpoint_;
};

FolderSource::FolderSource(const std::filesystem::path& path) : checkpoint_(io::Checkpoint::open(path)) {
  path_ = path;
  Catalogue& c = catalogue_;
  for (const auto& [stored, file] : checkpoint_.names()) {
    const io::StoredTensor& t = *checkpoint_.find(stored);
    c.parameters += t.shape.numel();
    ++c.stored_types[std::string(io::name(t.type))];
    if (stored.find("lora_") != std::string::npos)
      fail(path.string(), "the checkpoint holds an adapter's tensors ('" + stored + "'): merge them into the weights first");
    const auto canonical = canonical_name(stored, c.traits);
    if (!canonical) {
      if (stored.find("proprio_history_proj") != std::string::npos)
        fail(path.string(), "the checkpoint uses visual or proprioceptive memory (" + stored + "), which this engine does not have");
      c.foreign.push_back(stored);
      continue;
    }
    const auto dtype = weight_dtype(t.type);
    if (!dtype) fail_expected(path.string(), fmt::format("tensor '{}' of F32, BF16 or F16", stored), io::name(t.type));
    const auto [at, fresh] = c.tensors.emplace(*canonical, WeightInfo{t.shape, *dtype, stored});
    if (!fresh) fail(path.string(), fmt::format("'{}' and '{}' are the same tensor under two names", at->second.stored_name, stored));
    // pi0.5 is what its expert's adaptive norms say it is: the time MLP is stored under the other family's names now and then.
    c.pi05 = c.pi05 || (canonical->find("gemma_expert") != std::string::npos && canonical->ends_with("norm.dense.weight"));
  }

  // Some files carry the other family's name for the time MLP; the tensors say which family it is.
  std::vector<std::pair<std::string, std::string>> renames;
  for (const auto& [name, info] : c.tensors) {
    const bool pi0_name = name.starts_with("action_time_mlp_");
    const bool pi05_name = name.starts_with("time_mlp_");
    if (c.pi05 ? !pi0_name : !pi05_name) continue;
    std::string mended = name;
    replace_first(mended, c.pi05 ? "action_time_mlp_" : "time_mlp_", c.pi05 ? "time_mlp_" : "action_time_mlp_");
    renames.emplace_back(name, mended);
  }
  for (const auto& [from, to] : renames) {
    auto node = c.tensors.extract(from);
    if (const auto there = c.tensors.find(to); there != c.tensors.end())
      fail(path.string(), fmt::format("'{}' and '{}' are the same tensor under two names", there->second.stored_name, node.mapped().stored_name));
    node.key() = to;
    c.tensors.insert(std::move(node));
    c.notes.push_back(from + " is read as " + to);
  }
  if (c.pi05) {
    for (const char* stray : {"state_proj.weight", "state_proj.bias"})
      if (c.tensors.erase(stray) > 0) c.notes.push_back(std::string(stray) + " is dropped: pi0.5 has no state token");
  }

  // The token table stands under embed_tokens, under the lm_head that was tied to it, or under both: then embed_tokens is the one in use.
  const auto head = c.tensors.find(kVlmHead);
  if (!c.tensors.contains(kEmbedTokens) && head != c.tensors.end()) {
    c.tensors.emplace(std::string(kEmbedTokens), head->second);
    c.notes.emplace_back("the token table is stored as lm_head (tied)");
  } else if (head != c.tensors.end()) {
    c.notes.emplace_back("embed_tokens and lm_head are both stored; embed_tokens is used");
  }
}

Tensor FolderSource::load(std::string_view name) const {
  const auto found = catalogue_.tensors.find(name);
  if (found == catalogue_.tensors.end()) fail_expected(where(), fmt::format("a tensor '{}'", name), "none of that name");
  return checkpoint_.file_of(found->second.stored_name)->tensor(found->second.stored_name);
}

void FolderSource::release(std::string_view name) const {
  const auto found = catalogue_.tensors.find(name);
  if (found != catalogue_.tensors.end()) checkpoint_.file_of(found->second.stored_name)->release(found->second.stored_name);
}

std::vector<double> FolderSource::buffer(std::string_view stored_name) const {
  const io::SafetensorsFile* file = checkpoint_.file_of(stored_name);
  return file == nullptr ? std::vector<double>() : file->doubles(stored_name);
}

}  // namespace

std::shared_ptr<const CheckpointSource> CheckpointSource::open(const std::filesystem::path& path) { return std::make_shared<FolderSource>(path); }

}  // namespace tessera::models
