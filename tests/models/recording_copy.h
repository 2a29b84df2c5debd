// A recording that a test damages: values moved, tensors renamed. For the tests of verify() and accuracy() only.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "tessera/io/safetensors.h"

namespace tessera::models {

/// A copy of a recording that can be damaged byte by byte.
class RecordingCopy {
 public:
  explicit RecordingCopy(const std::filesystem::path& original) : original_(io::SafetensorsFile::open(original)) {
    std::ifstream in(original, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    std::uint64_t header = 0;
    std::memcpy(&header, bytes_.data(), sizeof header);
    data_ = 8 + header;
  }
  /// Adds `by` to value `index` of an f32 tensor.
  RecordingCopy& shift(const std::string& name, std::size_t index, float by) {
    char* at = bytes_.data() + data_ + original_->find(name)->begin + index * sizeof(float);
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    value += by;
    std::memcpy(at, &value, sizeof value);
    return *this;
  }
  RecordingCopy& overwrite(const std::string& name, const std::string& from) {
    const io::StoredTensor* to = original_->find(name);
    std::memcpy(bytes_.data() + data_ + to->begin, bytes_.data() + data_ + original_->find(from)->begin, to->end - to->begin);
    return *this;
  }
  /// Renames a tensor to a name of the same length.
  RecordingCopy& rename(const std::string& name, const std::string& to) {
    const std::string quoted = "\"" + name + "\"";
    const auto at = std::search(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(data_), quoted.begin(), quoted.end());
    std::copy(to.begin(), to.end(), at + 1);
    return *this;
  }
  std::filesystem::path write(const std::string& file) const {
    const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / file;
    std::ofstream(path, std::ios::binary).write(bytes_.data(), static_cast<std::streamsize>(bytes_.size()));
    return path;
  }

 private:
  std::shared_ptr<const io::SafetensorsFile> original_;
  std::vector<char> bytes_;
  std::size_t data_ = 0;
};

}  // namespace tessera::models
