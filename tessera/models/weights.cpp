#include "tessera/models/weights.h"

#include <fmt/core.h>

#include "tessera/core/error.h"

namespace tessera::models {
namespace {

constexpr std::size_t kMostListed = 1000;

std::string listed(std::string_view title, const std::vector<std::string>& words) {
  if (words.empty()) return {};
  std::string text = fmt::format("{} {}: ", words.size(), title);
  for (std::size_t i = 0; i < words.size() && i < kMostListed; ++i) text += (i == 0 ? "" : ", ") + words[i];
  return text;
}

}  // namespace

std::string_view name(Precision precision) { return precision == Precision::f32 ? "f32" : precision == Precision::bf16 ? "bf16" : "int8"; }

void WeightReader::need(std::string_view name, const Shape& shape) {
  if (!used_.emplace(name).second) return;  // complained about already, if at all
  const auto found = source_.tensors().find(name);
  if (found == source_.tensors().end()) {
    missing_.emplace_back(name);
  } else if (found->second.shape != shape) {
    misshapen_.push_back(fmt::format("{}: expected {}, got {}", found->second.stored_name, shape.str(), found->second.shape.str()));
  }
}

Tensor WeightReader::get(std::string_view name, const Shape& shape) {
  need(name, shape);
  const auto found = source_.tensors().find(name);
  if (found == source_.tensors().end() || found->second.shape != shape) return {};
  return source_.load(name);
}

std::vector<std::string> WeightReader::unused() const {
  std::vector<std::string> names;
  for (const auto& [name, info] : source_.tensors())
    if (!used_.contains(name)) names.push_back(info.stored_name);
  return names;
}

void WeightReader::check() const {
  // What is stored under names that nobody asked for often tells why others are missing.
  if (!missing_.empty() || !misshapen_.empty()) complain(!missing_.empty());
}

void WeightReader::check_all() const {
  if (!missing_.empty() || !misshapen_.empty() || !unused().empty()) complain(true);
}

void WeightReader::complain(bool list_unused) const {
  std::string text;
  const auto add = [&](std::string_view title, const std::vector<std::string>& words) {
    if (!text.empty() && !words.empty()) text += "; ";
    text += listed(title, words);
  };
  add("tensors are missing", missing_);
  add("tensors have another shape", misshapen_);
  if (list_unused) add("tensors are not used", unused());
  fail(source_.where(), text);
}

}  // namespace tessera::models
