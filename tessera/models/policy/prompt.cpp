// The sentence as the reference spells it, and its tokens.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tessera/core/error.h"
#include "tessera/models/policy/spec.h"

namespace tessera::models {
namespace {

namespace fs = std::filesystem;

/// Python's str.strip() for ASCII white space and separators, then '_' and newlines to spaces.
std::string cleaned(std::string_view prompt) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); };
  while (!prompt.empty() && space(prompt.front())) prompt.remove_prefix(1);
  while (!prompt.empty() && space(prompt.back())) prompt.remove_suffix(1);
  std::string text(prompt);
  std::ranges::replace(text, '_', ' ');
  std::ranges::replace(text, '\n', ' ');
  return text;
}

}  // namespace

int state_bin(double value) {
  // Left edges at -1 + i / 128; numpy.digitize() - 1: -1 below the first edge, 255 from the last one on.
  const double bin = std::floor((value + 1.0) * 128.0);
  return static_cast<int>(std::clamp(bin, -1.0, 255.0));
}

std::string prompt_text(PromptForm form, std::string_view prompt, const std::vector<double>& state) {
  switch (form) {
    case PromptForm::openpi: return cleaned(prompt);
    case PromptForm::lerobot: {
      std::string text(prompt);
      if (!text.ends_with('\n')) text.push_back('\n');
      return text;
    }
    case PromptForm::openpi_state:
    case PromptForm::lerobot_state: {
      std::string numbers;
      for (const double v : state) numbers += fmt::format("{}{}", numbers.empty() ? "" : " ", state_bin(v));
      return fmt::format("Task: {}, State: {};\nAction: ", cleaned(prompt), numbers);
    }
  }
  return {};
}

std::vector<std::int32_t> prompt_tokens(PromptForm form, const io::Tokenizer& tokenizer, const std::string& text, std::int64_t most) {
  std::vector<std::int32_t> ids;
  if (tokenizer.bos_id() >= 0) ids.push_back(tokenizer.bos_id());
  const auto add = [&](const std::vector<std::int32_t>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
  add(tokenizer.encode(text));
  if (form == PromptForm::openpi) add(tokenizer.encode("\n"));
  if (static_cast<std::int64_t>(ids.size()) > most) ids.resize(static_cast<std::size_t>(most));
  return ids;
}

fs::path find_tokenizer(const fs::path& folder, bool prefer_json) {
  static constexpr std::array kFiles = {"tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model"};
  std::error_code error;
  const fs::path absolute = fs::absolute(folder, error).lexically_normal();
  const fs::path here = absolute.has_filename() ? absolute : absolute.parent_path();
  for (const fs::path& place : {here, here / "tokenizer", here / "assets", here.parent_path()}) {
    fs::path found;
    for (const char* file : kFiles) {
      if (!fs::is_regular_file(place / file, error)) continue;
      const bool json = std::string_view(file).ends_with(".json");
      if (found.empty() || (!prefer_json && !json && found.extension() == ".json")) found = place / file;
    }
    if (!found.empty()) return found;
  }
  fail_expected(folder.string(), "tokenizer.model or tokenizer.json in or beside the checkpoint", "neither",
                "get PaliGemma's tokenizer.model (openpi caches it as paligemma_tokenizer.model; Hugging Face google/paligemma-3b-pt-224 has it "
                "after accepting its licence) "
                "and put it into this folder, or give --tokenizer FILE");
}

}  // namespace tessera::models
