// The two tokenizer formats as bytes in memory (what the fuzzer calls), and UTF-8 checks that both need. Private to this room.
// May not open files; tokenizer.cpp does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "tessera/io/tokenizer.h"

namespace tessera::io::tokenizers {

/// `where` is the path that messages and describe() name. Each throws Error on anything malformed or not supported.
std::shared_ptr<const Tokenizer> parse_sentencepiece(std::string_view bytes, std::string_view where);
std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, std::string_view where);

/// Throws Error unless `bytes` is a SentencePiece model whose parts the library can use without reading outside them.
void check_sentencepiece(std::string_view bytes, std::string_view where);

/// Length of the longest valid prefix, as Unicode defines UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t valid_utf8_prefix(std::string_view text) noexcept;
/// Throws Error when `text` is not UTF-8 or longer than kMaxText.
void check_text(std::string_view text, std::string_view where);
inline constexpr std::size_t kMaxText = std::size_t{16} << 20;

/// Bytes of the character that begins at `text[at]`, in valid UTF-8.
inline std::size_t char_length(std::string_view text, std::size_t at) noexcept {
  const auto lead = static_cast<unsigned char>(text[at]);
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

}  // namespace tessera::io::tokenizers
