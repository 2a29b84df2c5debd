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

/// What the tensors of a checkpoint are, without their values.
struct Catalogue {
  std::map<std::string, WeightInfo, std::less<>> tensors;
  NameTraits traits;
  bool pi05 = false;
  std::int64_t parameters = 0;                       // of the whole checkpoint
  std::map<std::string, std::int64_t> stored_types;  // "BF16" -> number of tensors
  std::vector<std::string> foreign;                  // stored names that belong to no pi0, buffers of old checkpoints among them
  std::vector<std::string> notes;                    // for people: which token table is used, names that were mended
};

/// Where the values lie is known to those who derive from it: a folder's safetensors here, a packed file in packed_checkpoint.cpp.
class CheckpointSource : public WeightSource {
 public:
  /// Opens the folder's safetensors. Throws Error when two stored names mean the same tensor.
  static std::shared_ptr<const CheckpointSource> open(const std::filesystem::path& path);

  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return catalogue_.tensors; }
  std::string where() const override { return path_.string(); }

  const Catalogue& catalogue() const noexcept { return catalogue_; }
  const NameTraits& traits() const noexcept { return catalogue_.traits; }
  bool pi05() const noexcept { return catalogue_.pi05; }
  /// A vector stored under its own name (old normalisation buffers); empty when absent.
  virtual std::vector<double> buffer(std::string_view stored_name) const = 0;

 protected:
  std::filesystem::path path_;
  Catalogue catalogue_;
};

/// Canonical names of the VLM's token table: the one that the model reads, and the one that stands in for it when only that is stored.
inline constexpr std::string_view kEmbedTokens = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight";
inline constexpr std::string_view kVlmHead = "paligemma_with_expert.paligemma.lm_head.weight";

}  // namespace tessera::models
