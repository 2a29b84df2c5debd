// The small files of a checkpoint (configs, processors, statistics, tokenizer) by their path inside it: in a folder, or carried in a packed file.
// Knows no format. Private to models/policy (not installed). Test: tests/models/pack_test.cpp.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tessera/io/json.h"
#include "tessera/io/packed_file.h"
#include "tessera/io/safetensors.h"

namespace tessera::models {

class CheckpointFiles {
 public:
  CheckpointFiles() = default;
  CheckpointFiles(std::filesystem::path folder) : path_(std::move(folder)) {}
  CheckpointFiles(std::shared_ptr<const io::PackedFile> packed) : path_(packed->path()), packed_(std::move(packed)) {}

  /// The folder or the packed file, and a file in it, for messages.
  std::string where() const { return path_.string(); }
  std::string where(std::string_view name) const;
  bool packed() const noexcept { return packed_ != nullptr; }
  const std::filesystem::path& path() const noexcept { return path_; }

  /// Whether there is a file "config.json" or "assets/trossen/norm_stats.json".
  bool has(std::string_view name) const;
  /// Paths of all files called `name` below the folder `below`, sorted; at most 100.
  std::vector<std::string> find(std::string_view below, std::string_view name) const;
  /// Each throws Error when the file is not there, damaged, or not of the kind.
  io::Json json(std::string_view name) const;
  std::shared_ptr<const io::SafetensorsFile> safetensors(std::string_view name) const;
  std::span<const std::byte> bytes(std::string_view name) const;  // packed only

  /// What json() and safetensors() have read so far.
  const std::set<std::string, std::less<>>& read() const noexcept { return read_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const io::PackedFile> packed_;  // null: a folder
  mutable std::set<std::string, std::less<>> read_;
};

/// How a packed file calls the section of a carried file.
std::string file_section(std::string_view name);

}  // namespace tessera::models
