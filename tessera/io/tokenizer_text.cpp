#include "tessera/io/tokenizer_text.h"

#include <algorithm>
#include <limits>

#include "tessera/io/tokenizer_formats.h"

namespace tessera::io::tokenizers {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

std::uint32_t code_point(std::string_view text, std::size_t at) noexcept {
  const std::size_t length = char_length(text, at);
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + i])); };
  switch (length) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3: return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

/// Unicode's White_Space property.
bool is_space(std::uint32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

std::size_t space_at_start(std::string_view text) noexcept {
  std::size_t at = 0;
  while (at < text.size() && is_space(code_point(text, at))) at += char_length(text, at);
  return at;
}

/// Where the white space at the end begins.
std::size_t space_at_end(std::string_view text) noexcept {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    if (!is_space(code_point(text, at))) break;
    end = at;
  }
  return end;
}

void replace(const Pattern& pattern, std::string_view content, Piece& piece) {
  Piece out;
  out.text.reserve(piece.text.size());
  out.origin.reserve(piece.text.size());
  for (const auto& span : pattern.spans(piece.text)) {
    if (span.begin == span.end) continue;
    if (!span.match) {
      out.text.append(piece.text, span.begin, span.end - span.begin);
      out.origin.insert(out.origin.end(), piece.origin.begin() + static_cast<std::ptrdiff_t>(span.begin),
                        piece.origin.begin() + static_cast<std::ptrdiff_t>(span.end));
    } else {
      out.text.append(content);
      out.origin.insert(out.origin.end(), content.size(), piece.origin[span.end - 1]);
    }
  }
  piece = std::move(out);
}

void prepend(std::string_view content, Piece& piece) {
  if (piece.text.empty()) return;
  piece.text.insert(0, content);
  piece.origin.insert(piece.origin.begin(), content.size(), piece.origin.front());
}

/// Cuts `piece` at `spans` as the reference's SplitDelimiterBehavior does.
void cut(const Piece& piece, std::vector<Pattern::Span> spans, Behavior behavior, std::vector<Piece>& out) {
  std::vector<Pattern::Span> parts;
  bool previous = false;
  switch (behavior) {
    case Behavior::removed:
      for (const auto& span : spans)
        if (!span.match) parts.push_back(span);
      break;
    case Behavior::isolated: parts = std::move(spans); break;
    case Behavior::contiguous:
      for (const auto& span : spans) {
        if (!parts.empty() && span.match == previous) {
          parts.back().end = span.end;
        } else {
          parts.push_back(span);
        }
        previous = span.match;
      }
      break;
    case Behavior::merged_with_previous:
      for (const auto& span : spans) {
        if (span.match && !previous && !parts.empty()) {
          parts.back().end = span.end;
        } else {
          parts.push_back(span);
        }
        previous = span.match;
      }
      break;
    case Behavior::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->match && !previous && !parts.empty()) {
          parts.back().begin = span->begin;
        } else {
          parts.push_back(*span);
        }
        previous = span->match;
      }
      std::reverse(parts.begin(), parts.end());
      break;
  }
  for (const auto& part : parts)
    if (part.begin < part.end) out.push_back(slice(piece, part.begin, part.end));
}

void metaspace(const PreTokenizer& settings, Piece piece, std::vector<Piece>& out) {
  // Where the piece came from counts before its spaces are replaced; replacing does not move its start.
  const bool at_start = !piece.origin.empty() && piece.origin.front() == 0;
  replace(Pattern::literal(" "), settings.replacement, piece);
  const bool wanted = settings.prepend == PreTokenizer::Prepend::always || (settings.prepend == PreTokenizer::Prepend::first && at_start);
  if (wanted && !piece.text.starts_with(settings.replacement)) prepend(settings.replacement, piece);
  if (settings.split) {
    cut(piece, Pattern::literal(settings.replacement).spans(piece.text), Behavior::merged_with_next, out);
  } else if (!piece.text.empty()) {
    out.push_back(std::move(piece));
  }
}

/// The byte that "<0x41>" stands for, or -1.
int byte_of(std::string_view token) noexcept {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::vector<std::string> join_bytes(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto flush = [&]() {
    if (bytes.empty()) return;
    if (valid_utf8_prefix(bytes) == bytes.size()) {
      out.push_back(bytes);
    } else {
      for (std::size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\xef\xbf\xbd");
    }
    bytes.clear();
  };
  for (const auto& token : tokens) {
    if (const int byte = byte_of(token); byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
    } else {
      flush();
      out.push_back(token);
    }
  }
  flush();
  return out;
}

std::string replaced(const Pattern& pattern, std::string_view content, std::string_view text) {
  std::string out;
  for (const auto& span : pattern.spans(text)) out.append(span.match ? content : text.substr(span.begin, span.end - span.begin));
  return out;
}

std::string stripped(const Decoder& decoder, std::string_view token) {
  const std::string& c = decoder.content;
  std::size_t left = 0, right = 0;
  while (left < decoder.start && token.starts_with(c)) token.remove_prefix(c.size()), ++left;
  while (right < decoder.stop && token.ends_with(c)) token.remove_suffix(c.size()), ++right;
  return std::string(token);
}

}  // namespace

Piece slice(const Piece& piece, std::size_t begin, std::size_t end) {
  Piece out;
  out.text = piece.text.substr(begin, end - begin);
  out.origin.assign(piece.origin.begin() + static_cast<std::ptrdiff_t>(begin), piece.origin.begin() + static_cast<std::ptrdiff_t>(end));
  return out;
}

std::optional<Pattern> Pattern::regex(std::string_view expression) {
  constexpr std::string_view kSpecial = "\\^$.|?*+()[]{}";
  std::vector<std::string> characters;
  std::size_t at = 0;
  while (at < expression.size()) {
    if (expression[at] == '\\') {
      if (++at == expression.size()) return std::nullopt;
      const char c = expression[at];
      if (c == 'n' || c == 't' || c == 'r') {
        characters.emplace_back(1, c == 'n' ? '\n' : c == 't' ? '\t' : '\r');
        ++at;
        continue;
      }
      const auto lead = static_cast<unsigned char>(c);
      if (lead >= 0x80 || lead <= 0x20 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')) return std::nullopt;
    } else if (kSpecial.find(expression[at]) != std::string_view::npos) {
      break;
    }
    const std::size_t length = char_length(expression, at);
    characters.emplace_back(expression.substr(at, length));
    at += length;
  }
  if (characters.empty()) return std::nullopt;
  std::string_view rest = expression.substr(at);
  if (rest.empty()) {
    std::string text;
    for (const auto& c : characters) text += c;
    return literal(std::move(text));
  }
  if (characters.size() != 1) return std::nullopt;
  if (rest == "+") return Pattern(characters[0], 1, kNoLimit);
  if (rest.size() < 3 || rest.front() != '{' || rest.back() != '}') return std::nullopt;
  rest = rest.substr(1, rest.size() - 2);
  const auto number = [](std::string_view digits) -> std::optional<std::size_t> {
    if (digits.empty() || digits.size() > 4) return std::nullopt;
    std::size_t value = 0;
    for (const char c : digits) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + static_cast<std::size_t>(c - '0');
    }
    return value;
  };
  const std::size_t comma = rest.find(',');
  const auto least = number(rest.substr(0, comma));
  std::optional<std::size_t> most = least;
  if (comma != std::string_view::npos) most = comma + 1 == rest.size() ? kNoLimit : number(rest.substr(comma + 1));
  if (!least || !most || *least == 0 || *most < *least) return std::nullopt;
  return Pattern(characters[0], *least, *most);
}

std::vector<Pattern::Span> Pattern::spans(std::string_view text) const {
  std::vector<Span> spans;
  if (text.empty()) return {{0, 0, false}};
  std::size_t done = 0;
  const auto emit = [&](std::size_t begin, std::size_t end) {
    if (done < begin) spans.push_back({done, begin, false});
    spans.push_back({begin, end, true});
    done = end;
  };
  std::size_t at = text.find(text_);
  while (at != std::string_view::npos) {
    std::size_t end = at, count = 0;
    while (count < most_ && text.substr(end).starts_with(text_)) end += text_.size(), ++count;
    if (count >= least_) emit(at, end);
    at = text.find(text_, end);
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

void normalize(const std::vector<Normalizer>& normalizers, Piece& piece) {
  for (const auto& normalizer : normalizers) {
    if (normalizer.kind == Normalizer::Kind::replace) replace(normalizer.pattern, normalizer.content, piece);
    if (normalizer.kind == Normalizer::Kind::prepend) prepend(normalizer.content, piece);
  }
}

void pre_tokenize(const std::vector<PreTokenizer>& pre_tokenizers, std::vector<Piece>& pieces) {
  for (const auto& settings : pre_tokenizers) {
    std::vector<Piece> out;
    for (auto& piece : pieces) {
      if (piece.token >= 0) {
        out.push_back(std::move(piece));
      } else if (settings.kind == PreTokenizer::Kind::metaspace) {
        metaspace(settings, std::move(piece), out);
      } else {
        auto spans = settings.pattern.spans(piece.text);
        if (settings.invert)
          for (auto& span : spans) span.match = !span.match;
        cut(piece, std::move(spans), settings.behavior, out);
      }
    }
    pieces = std::move(out);
  }
}

std::uint32_t AddedTokens::step(std::uint32_t node, unsigned char byte) const noexcept {
  const auto& next = nodes_[node].next;
  const auto found = std::lower_bound(next.begin(), next.end(), byte, [](const auto& edge, unsigned char b) { return edge.first < b; });
  return found == next.end() || found->first != byte ? 0 : found->second;
}

void AddedTokens::add(std::string_view match, const AddedToken& token) {
  std::uint32_t node = 0;
  for (const char c : match) {
    const auto byte = static_cast<unsigned char>(c);
    std::uint32_t to = step(node, byte);
    if (to == 0) {
      to = static_cast<std::uint32_t>(nodes_.size());
      auto& next = nodes_[node].next;
      next.insert(std::lower_bound(next.begin(), next.end(), byte, [](const auto& edge, unsigned char b) { return edge.first < b; }), {byte, to});
      nodes_.emplace_back();
    }
    node = to;
  }
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(token);
}

void AddedTokens::split(const Piece& piece, std::vector<Piece>& out) const {
  const std::string_view text = piece.text;
  std::size_t done = 0, space_end = 0;  // white space up to space_end is known
  for (std::size_t at = 0; at < text.size();) {
    std::int32_t best = -1;
    std::size_t stop = at;
    std::uint32_t node = 0;
    for (std::size_t i = at; i < text.size(); ++i) {
      node = step(node, static_cast<unsigned char>(text[i]));
      if (node == 0) break;
      if (nodes_[node].token >= 0) best = nodes_[node].token, stop = i + 1;
    }
    if (best < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(best)];
    std::size_t begin = at;
    at = stop;  // where the next search starts, also when this token takes white space in which another would match
    if (token.lstrip) begin = done < begin ? done + space_at_end(text.substr(done, begin - done)) : done;
    if (token.rstrip) {
      if (stop >= space_end) space_end = stop + space_at_start(text.substr(stop));
      stop = space_end;
    }
    if (done < begin) out.push_back(slice(piece, done, begin));
    if (begin < stop) {  // else an earlier token has taken all of it
      Piece claimed;
      claimed.token = token.id;
      out.push_back(std::move(claimed));
    }
    done = stop;
  }
  if (done < text.size()) out.push_back(slice(piece, done, text.size()));
}

std::string decode(const std::vector<Decoder>& decoders, std::vector<std::string> tokens) {
  const auto join = [](const std::vector<std::string>& parts) {
    std::string joined;
    for (const auto& part : parts) joined += part;
    return joined;
  };
  for (const auto& decoder : decoders) {
    switch (decoder.kind) {
      case Decoder::Kind::replace:
        for (auto& token : tokens) token = replaced(decoder.pattern, decoder.content, token);
        break;
      case Decoder::Kind::byte_fallback: tokens = join_bytes(tokens); break;
      case Decoder::Kind::fuse: tokens = {join(tokens)}; break;
      case Decoder::Kind::strip:
        for (auto& token : tokens) token = stripped(decoder, token);
        break;
      case Decoder::Kind::metaspace:
        for (std::size_t i = 0; i < tokens.size(); ++i)
          tokens[i] = replaced(Pattern::literal(decoder.content), i == 0 && decoder.prepended ? "" : " ", tokens[i]);
        break;
    }
  }
  return join(tokens);
}

}  // namespace tessera::io::tokenizers
