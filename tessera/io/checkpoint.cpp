#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "tessera/core/error.h"
#include "tessera/io/json.h"
#include "tessera/io/quote.h"
#include "tessera/io/safetensors.h"

namespace tessera::io {
namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

std::filesystem::path locate(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) fail_expected(path.string(), "a checkpoint folder or a .safetensors file", "nothing there");
  if (!std::filesystem::is_directory(status)) return path;
  for (const std::string_view name : {kSingle, kIndex})
    if (std::filesystem::exists(path / name, error)) return path / name;
  fail_expected(path.string(), fmt::format("{} or {} in the folder", kSingle, kIndex), "neither");
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  const std::filesystem::path file = locate(path);
  Checkpoint checkpoint;
  const auto add = [&](std::shared_ptr<const SafetensorsFile> shard) {
    for (const StoredTensor& t : shard->tensors()) {
      const auto [at, fresh] = checkpoint.names_.emplace(t.name, checkpoint.files_.size());
      if (!fresh)
        fail(shard->path().string(),
             fmt::format("tensor {} is also in {}", in_quotes(t.name), checkpoint.files_[at->second]->path().filename().string()));
    }
    checkpoint.files_.push_back(std::move(shard));
  };
  if (file.extension() != ".json") {
    add(SafetensorsFile::open(file));
    return checkpoint;
  }
  const Json index = Json::read(file);
  const Json& map = index.at("weight_map");
  std::set<std::string> shards;
  for (const auto& [name, shard] : map.object()) {
    const std::string& shard_name = shard.string();
    const bool control = std::ranges::any_of(shard_name, [](char c) { return static_cast<unsigned char>(c) < 32; });  // a null ends a path
    if (shard_name.empty() || control || shard_name.find_first_of("/\\") != std::string::npos || shard_name == "." || shard_name == "..")
      fail_expected(shard.where(), "the plain name of a file in the same folder", in_quotes(shard_name));
    shards.insert(shard_name);
  }
  for (const std::string& shard : shards) add(SafetensorsFile::open(file.parent_path() / shard));
  for (const auto& [name, shard] : map.object()) {
    const SafetensorsFile* holder = checkpoint.file_of(name);
    if (holder == nullptr || holder->path().filename() != shard.string())
      fail_expected(shard.where(), fmt::format("a tensor of that name in {}", in_quotes(shard.string())),
                    holder == nullptr ? "none" : "it in another shard");
  }
  return checkpoint;
}

const SafetensorsFile* Checkpoint::file_of(std::string_view name) const noexcept {
  const auto found = names_.find(name);
  return found == names_.end() ? nullptr : files_[found->second].get();
}

const StoredTensor* Checkpoint::find(std::string_view name) const noexcept {
  const SafetensorsFile* file = file_of(name);
  return file == nullptr ? nullptr : file->find(name);
}

}  // namespace tessera::io
