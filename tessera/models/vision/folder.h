// What a classifier's folder or file says: its tensors, config.json and labels. Private to models (not installed).
// Test: tests/models/vision_test.cpp.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "tessera/io/safetensors.h"
#include "tessera/models/vision/classifier.h"
#include "tessera/models/weights.h"

namespace tessera::models {

/// Tensors under their stored names; counters of training ("num_batches_tracked") are left out.
class TensorSource : public WeightSource {
 public:
  /// A folder or a .safetensors file.
  explicit TensorSource(const std::filesystem::path& path);

  const std::map<std::string, WeightInfo, std::less<>>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override;
  void release(std::string_view name) const override;
  std::string where() const override { return path_.string(); }

 private:
  std::filesystem::path path_;
  io::Checkpoint checkpoint_;
  std::map<std::string, WeightInfo, std::less<>> tensors_;
};

/// Reads `path`/config.json where `path` is a folder that has one. Throws Error naming file and key on wrong types, sizes and words, on an
/// architecture that the tensors contradict, and when nothing tells the architecture.
ClassifierConfig read_classifier_config(const std::filesystem::path& path, const WeightSource& source);

/// One label a line; an empty last line does not count. Throws Error unless there are `classes` (0: any number).
std::vector<std::string> read_labels(const std::filesystem::path& path, std::int64_t classes);

}  // namespace tessera::models
