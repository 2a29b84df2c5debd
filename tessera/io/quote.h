// Text from a file made fit for an error message: a name with control characters must not reach a terminal or a log as it is.
// Not installed; used by io and by readers of text files above it. Test: tests/io/json_test.cpp (through messages).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tessera::io {

/// `text` with control characters and bytes that are not UTF-8 written as \xNN, cut after `most` bytes ("..." follows).
std::string printable(std::string_view text, std::size_t most = 200);
/// The same in single quotes.
std::string in_quotes(std::string_view text, std::size_t most = 200);
/// Bytes of the well-formed UTF-8 character at the front (RFC 3629: shortest form, no surrogates, at most U+10FFFF); 0 when there is none.
std::size_t utf8_character(std::string_view text) noexcept;
bool is_utf8(std::string_view text) noexcept;

}  // namespace tessera::io
