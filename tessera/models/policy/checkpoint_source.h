// The weights of a checkpoint folder under canonical names. Private to models/policy (not installed). Test: tests/models/names_test.cpp.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tessera/io/safetensors.h"
#include "tessera/models/policy/names.h"
#include "tessera/models/weights.h"

namespace tessera::models {

class CheckpointSource : public WeightSource {
 public:
  /// Opens the folder's safetensors. Throws Error when two stored names mean the same tensor.
  static std::shared_ptr<const CheckpointSource> open(const std::filesystem::path& path);

  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override;
  void release(std::string_view name) const override;
  std::string where() const override { return path_.string(); }

  const NameTraits& traits() const noexcept { return traits_; }
  bool pi05() const noexcept { return pi05_; }
  /// Parameters of the whole file, and tensors by stored type ("BF16").
  std::int64_t parameters() const noexcept { return parameters_; }
  const std::map<std::string, std::int64_t>& stored_types() const noexcept { return stored_types_; }
  /// Stored names that belong to no pi0, buffers of old checkpoints among them.
  const std::vector<std::string>& foreign() const noexcept { return foreign_; }
  /// Notes for people: which token table is used, names that were mended.
  const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// A vector stored under its own name (old normalisation buffers); empty when absent.
  std::vector<double> buffer(std::string_view stored_name) const;

 private:
  std::filesystem::path path_;
  io::Checkpoint checkpoint_;
  std::map<std::string, WeightInfo, std::less<>> tensors_;
  NameTraits traits_;
  bool pi05_ = false;
  std::int64_t parameters_ = 0;
  std::map<std::string, std::int64_t> stored_types_;
  std::vector<std::string> foreign_;
  std::vector<std::string> notes_;
};

/// Canonical names of the VLM's token table: the one that the model reads, and the one that stands in for it when only that is stored.
inline constexpr std::string_view kEmbedTokens = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight";
inline constexpr std::string_view kVlmHead = "paligemma_with_expert.paligemma.lm_head.weight";

}  // namespace tessera::models
