// What must hold in a SentencePiece file before the library may see it: the protobuf frame, sane pieces, and a character map whose double
// array stays inside its bytes. Field numbers are those of sentencepiece_model.proto.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer_formats.h"

namespace tessera::io::tokenizers {
namespace {

// The library's trie builder recurses once per byte of a piece. Trainers stop at 16 characters by default.
constexpr std::size_t kMaxPiece = 4096;
// Longest replacement of a character map; NFKC needs 33 bytes.
constexpr std::size_t kMaxReplacement = 1024;

std::uint32_t u32_at(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[at + static_cast<std::size_t>(i)]);
  return value;
}

/// Calls fn(number, wire type, payload) for each field; the payload of a fixed or variable number is its bytes.
template <class Fn>
void for_each_field(std::string_view message, std::string_view where, const Fn& fn) {
  std::size_t at = 0;
  const auto malformed = [&]() { fail(where, "not a SentencePiece model: malformed protobuf"); };
  const auto varint = [&]() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at == message.size()) malformed();
      const auto byte = static_cast<unsigned char>(message[at++]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    malformed();
    return value;
  };
  while (at < message.size()) {
    const std::uint64_t tag = varint();
    if (tag > UINT32_MAX || tag >> 3 == 0) malformed();
    const auto wire = static_cast<int>(tag & 7);
    const std::size_t begin = at;
    std::uint64_t length = 0;
    std::size_t payload = at;
    switch (wire) {
      case 0:
        varint();
        length = at - begin;
        break;
      case 1: length = 8; break;
      case 2:
        length = varint();
        payload = at;
        break;
      case 5: length = 4; break;
      default: malformed();  // groups: no version of the format has them
    }
    if (length > message.size() - payload) malformed();
    at = payload + static_cast<std::size_t>(length);
    fn(static_cast<std::uint32_t>(tag >> 3), wire, message.substr(payload, static_cast<std::size_t>(length)));
  }
}

void check_piece(std::string_view message, std::size_t index, std::string_view where) {
  for_each_field(message, where, [&](std::uint32_t number, int wire, std::string_view payload) {
    if (number == 1 && wire == 2) {
      if (payload.size() > kMaxPiece) fail(where, fmt::format("not a SentencePiece model: piece {} has {} bytes", index, payload.size()));
      if (payload.find('\0') != std::string_view::npos || valid_utf8_prefix(payload) != payload.size())
        fail(where, fmt::format("not a SentencePiece model: piece {} is not text", index));
    }
    if (number == 2 && wire == 5) {
      const std::uint32_t bits = u32_at(payload, 0);
      float score = 0;
      std::memcpy(&score, &bits, sizeof score);
      if (!std::isfinite(score)) fail(where, fmt::format("not a SentencePiece model: the score of piece {} is not finite", index));
    }
  });
}

/// A character map: uint32 size, that many bytes of double array (Darts), then NUL-terminated replacements. The library follows the array
/// from unit 0 by the bytes of a text and never checks a bound, so every unit that any text can reach is visited here.
void check_charsmap(std::string_view map, std::string_view where) {
  const auto broken = [&]() { fail(where, "not a SentencePiece model: malformed character map"); };
  if (map.empty()) return;
  if (map.size() <= 4) broken();
  const std::size_t array_bytes = u32_at(map, 0);
  if (array_bytes == 0 || array_bytes % 4 != 0 || array_bytes >= map.size() - 4) broken();
  const std::string_view array = map.substr(4, array_bytes), texts = map.substr(4 + array_bytes);
  if (texts.back() != '\0' || valid_utf8_prefix(texts) != texts.size()) broken();
  const std::size_t units = array_bytes / 4;
  std::vector<std::uint32_t> unit_at(units);
  for (std::size_t i = 0; i < units; ++i) unit_at[i] = u32_at(array, i * 4);
  const auto offset_of = [](std::uint32_t unit) -> std::size_t { return std::size_t{unit >> 10} << ((unit & 0x200) >> 6); };
  std::vector<bool> seen(units, false);
  std::vector<std::size_t> open;
  const auto look = [&](std::size_t at, bool root) {
    const std::uint32_t unit = unit_at[at];
    const std::size_t base = at ^ offset_of(unit);
    if ((base | 0xff) >= units) broken();  // all 256 continuations are looked at
    if (!root && (unit & 0x100) != 0) {    // an entry ends here: its value stands at `base`
      const std::size_t value = unit_at[base] & 0x7fffffff;
      if (value >= texts.size() || texts.find('\0', value) - value > kMaxReplacement) broken();
    }
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::size_t next = base ^ byte;
      if (!seen[next] && (unit_at[next] & 0x800000ff) == byte) {
        seen[next] = true;
        open.push_back(next);
      }
    }
  };
  look(0, true);
  while (!open.empty()) {
    const std::size_t at = open.back();
    open.pop_back();
    look(at, false);
  }
}

}  // namespace

void check_sentencepiece(std::string_view bytes, std::string_view where) {
  std::size_t pieces = 0;
  for_each_field(bytes, where, [&](std::uint32_t number, int wire, std::string_view payload) {
    if (wire != 2) return;
    if (number == 1) check_piece(payload, pieces++, where);
    if (number == 3 || number == 5) {
      for_each_field(payload, where, [&](std::uint32_t inner, int inner_wire, std::string_view map) {
        if (inner == 2 && inner_wire == 2) check_charsmap(map, where);
      });
    }
  });
  if (pieces == 0) fail(where, "not a SentencePiece model: it has no pieces");
}

}  // namespace tessera::io::tokenizers
