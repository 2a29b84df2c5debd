#include "tessera/models/policy/checkpoint_files.h"

#include <algorithm>

namespace tessera::models {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kFile = "file/";
constexpr std::size_t kMost = 100;

}  // namespace

std::string file_section(std::string_view name) { return std::string(kFile).append(name); }

std::string CheckpointFiles::where(std::string_view name) const {
  return packed_ != nullptr ? path_.string().append(": ").append(name) : (path_ / name).string();
}

bool CheckpointFiles::has(std::string_view name) const {
  std::error_code ignored;
  return packed_ != nullptr ? packed_->find(file_section(name)) != nullptr : fs::exists(path_ / name, ignored);
}

std::vector<std::string> CheckpointFiles::find(std::string_view below, std::string_view name) const {
  std::vector<std::string> found;
  if (packed_ != nullptr) {
    const std::string folder = file_section(below) + "/";
    const std::string file = std::string("/").append(name);
    for (const io::PackedSection& s : packed_->sections())
      if (s.name.starts_with(folder) && s.name.ends_with(file) && found.size() < kMost) found.push_back(s.name.substr(kFile.size()));
  } else {
    std::error_code error;
    if (fs::is_directory(path_ / below, error))
      for (fs::recursive_directory_iterator it(path_ / below, error), end; !error && it != end && found.size() < kMost; it.increment(error))
        if (it->path().filename() == name) found.push_back(it->path().lexically_relative(path_).generic_string());
  }
  std::ranges::sort(found);
  return found;
}

std::span<const std::byte> CheckpointFiles::bytes(std::string_view name) const { return packed_->checked(file_section(name)); }

io::Json CheckpointFiles::json(std::string_view name) const {
  read_.emplace(name);
  if (packed_ == nullptr) return io::Json::read(path_ / name);
  const auto text = bytes(name);
  return io::Json::parse({reinterpret_cast<const char*>(text.data()), text.size()}, where(name));
}

std::shared_ptr<const io::SafetensorsFile> CheckpointFiles::safetensors(std::string_view name) const {
  read_.emplace(name);
  return packed_ == nullptr ? io::SafetensorsFile::open(path_ / name) : io::SafetensorsFile::parse(bytes(name), where(name));
}

}  // namespace tessera::models
