#include "tessera/io/tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <system_error>

#include "tessera/core/error.h"
#include "tessera/io/file.h"
#include "tessera/io/tokenizer_formats.h"

namespace tessera::io {
namespace tokenizers {

std::size_t valid_utf8_prefix(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t at = 0;
  while (at < text.size()) {
    const unsigned lead = byte(at);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    std::size_t length = 0;
    unsigned low = 0x80, high = 0xbf;  // bounds of the second byte
    if (lead >= 0xc2 && lead <= 0xdf) {
      length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      length = 3;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      length = 4;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return at;
    }
    if (text.size() - at < length || byte(at + 1) < low || byte(at + 1) > high) return at;
    for (std::size_t i = 2; i < length; ++i)
      if (byte(at + i) < 0x80 || byte(at + i) > 0xbf) return at;
    at += length;
  }
  return at;
}

void check_text(std::string_view text, std::string_view where) {
  if (text.size() > kMaxText) fail_expected(where, fmt::format("a text of at most {} bytes", kMaxText), fmt::format("{} bytes", text.size()));
  const std::size_t valid = valid_utf8_prefix(text);
  if (valid != text.size())
    fail_expected(where, "a text in UTF-8", fmt::format("byte 0x{:02x} at {}", static_cast<unsigned char>(text[valid]), valid));
}

}  // namespace tokenizers

namespace {
constexpr std::size_t kMaxModelFile = std::size_t{64} << 20;
constexpr std::size_t kMaxJsonFile = std::size_t{256} << 20;
}  // namespace

std::shared_ptr<const Tokenizer> read_sentencepiece(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxModelFile)
    fail_expected(path.string(), fmt::format("a SentencePiece model of at most {} bytes", kMaxModelFile), fmt::format("{} bytes", bytes.size()));
  return tokenizers::parse_sentencepiece({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

std::shared_ptr<const Tokenizer> read_tokenizer_json(const std::filesystem::path& path) {
  return tokenizers::parse_tokenizer_json(read_text(path, kMaxJsonFile), path.string());
}

std::shared_ptr<const Tokenizer> parse_tokenizer(std::span<const std::byte> bytes, const std::filesystem::path& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool json = path.extension() == ".json";
  const std::size_t most = json ? kMaxJsonFile : kMaxModelFile;
  if (text.size() > most) fail_expected(path.string(), fmt::format("a tokenizer of at most {} bytes", most), fmt::format("{} bytes", text.size()));
  return json ? tokenizers::parse_tokenizer_json(text, path.string()) : tokenizers::parse_sentencepiece(text, path.string());
}

std::filesystem::path locate_tokenizer(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return path;
  constexpr std::array<const char*, 4> kPlaces = {"tokenizer.model", "tokenizer.json", "tokenizer/tokenizer.model", "tokenizer/tokenizer.json"};
  for (const char* place : kPlaces)
    if (std::filesystem::is_regular_file(path / place, ignored)) return path / place;
  fail_expected(path.string(), "tokenizer.model or tokenizer.json here or in tokenizer/", "neither",
                "get either file from google/paligemma-3b-pt-224 on the Hugging Face Hub (its licence must be accepted there), or "
                "gs://big_vision/paligemma_tokenizer.model, and put it into this directory as tokenizer.model or tokenizer.json");
}

std::shared_ptr<const Tokenizer> read_tokenizer(const std::filesystem::path& given) {
  std::error_code ignored;
  const std::filesystem::path path = locate_tokenizer(given);
  if (path.extension() == ".model") return read_sentencepiece(path);
  if (path.extension() == ".json") return read_tokenizer_json(path);
  fail_expected(path.string(), "a tokenizer file *.model or *.json, or a directory with one",
                std::filesystem::exists(path, ignored) ? "another file name" : "no such file");
}

}  // namespace tessera::io
