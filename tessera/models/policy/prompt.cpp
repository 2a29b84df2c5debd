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

/// Python's white space beyond ASCII, in UTF-8.
constexpr std::array<std::string_view, 19> kWideSpaces = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
                                                          "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
                                                          "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
                                                          "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool narrow_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }

/// Bytes of the white space that `text` begins or ends with; 0: none.
std::size_t space_at(std::string_view text, bool front) {
  if (text.empty()) return 0;
  if (narrow_space(front ? text.front() : text.back())) return 1;
  for (const std::string_view space : kWideSpaces)
    if (front ? text.starts_with(space) : text.ends_with(space)) return space.size();
  return 0;
}

/// Python's str.strip(), then '_' and newlines to spaces.
std::string cleaned(std::string_view prompt) {
  while (const std::size_t n = space_at(prompt, true)) prompt.remove_prefix(n);
  while (const std::size_t n = space_at(prompt, false)) prompt.remove_suffix(n);
  std::string text(prompt);
  std::ranges::replace(text, '_', ' ');
  std::ranges::replace(text, '\n', ' ');
  return text;
}

}  // namespace

int state_bin(double value) {
  // Left edges at -1 + i / 128; numpy.digitize() - 1: -1 below the first edge, 255 from the last one on and for NaN. value * 128 is exact.
  if (std::isnan(value)) return 255;
  return static_cast<int>(std::clamp(std::floor(value * 128.0) + 128.0, -1.0, 255.0));
}

std::string prompt_text(PromptForm form, std::string_view prompt, const std::vector<double>& state) {
  switch (form) {
    case PromptForm::openpi: return cleaned(prompt);
    case PromptForm::as_given: return std::string(prompt);
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

std::vector<std::int32_t> prompt_tokens(PromptForm form, const io::Tokenizer& tokenizer, const std::string& text) {
  std::vector<std::int32_t> ids;
  if (tokenizer.bos_id() >= 0) ids.push_back(tokenizer.bos_id());
  const auto add = [&](const std::vector<std::int32_t>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
  add(tokenizer.encode(text));
  if (form == PromptForm::openpi) add(tokenizer.encode("\n"));
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
