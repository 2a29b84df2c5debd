// What happens to a text around the BPE model: literal patterns, normalisers, pre-tokenisers, added tokens and decoders of tokenizer.json.
// May not know of JSON or of the vocabulary. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera::io::tokenizers {

/// A part of the text on its way: its characters now, where each byte came from, and its id once an added token has claimed it.
struct Piece {
  std::string text;
  std::vector<std::uint32_t> origin;  // for each byte of `text`: byte offset in the original text of the character it stands for
  std::int32_t token = -1;
};
Piece slice(const Piece& piece, std::size_t begin, std::size_t end);

/// A literal, or one character repeated `least` to `most` times.
class Pattern {
 public:
  struct Span {
    std::size_t begin, end;
    bool match;
  };
  static Pattern literal(std::string text) { return Pattern(std::move(text), 1, 1); }
  /// Understands literals with escaped punctuation, and one character with +, {n}, {n,} or {n,m}. Nothing for any other expression.
  static std::optional<Pattern> regex(std::string_view expression);
  /// The whole text as matches and what lies between; nothing is empty, unless the text is.
  std::vector<Span> spans(std::string_view text) const;
  bool empty() const noexcept { return text_.empty(); }

 private:
  Pattern(std::string text, std::size_t least, std::size_t most) : text_(std::move(text)), least_(least), most_(most) {}
  std::string text_;
  std::size_t least_, most_;
};

struct Normalizer {
  enum class Kind : std::uint8_t { replace, prepend };
  Kind kind = Kind::replace;
  Pattern pattern = Pattern::literal({});  // replace
  std::string content;
};
void normalize(const std::vector<Normalizer>& normalizers, Piece& piece);

enum class Behavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };
struct PreTokenizer {
  enum class Kind : std::uint8_t { split, metaspace };
  enum class Prepend : std::uint8_t { never, first, always };
  Kind kind = Kind::split;
  Pattern pattern = Pattern::literal({});  // split
  Behavior behavior = Behavior::removed;
  bool invert = false;
  std::string replacement;  // metaspace: the character that stands for a space
  Prepend prepend = Prepend::always;
  bool split = true;
};
void pre_tokenize(const std::vector<PreTokenizer>& pre_tokenizers, std::vector<Piece>& pieces);

struct AddedToken {
  std::string content;
  std::int32_t id = -1;
  bool lstrip = false;  // takes the white space before it
  bool rstrip = false;  // and after it
  bool normalized = false;
  bool special = false;
};
/// Finds added tokens in a text: leftmost first, of those the longest.
class AddedTokens {
 public:
  /// `match`: the text that stands for the token (its content, possibly normalised); must not be empty. The first of two equal ones counts.
  void add(std::string_view match, const AddedToken& token);
  /// `piece` cut into tokens and what lies between; nothing is empty.
  void split(const Piece& piece, std::vector<Piece>& out) const;

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> next;  // sorted
    std::int32_t token = -1;                                    // into tokens_
  };
  std::uint32_t step(std::uint32_t node, unsigned char byte) const noexcept;  // 0: none
  std::vector<Node> nodes_ = {Node{}};
  std::vector<AddedToken> tokens_;
};

struct Decoder {
  enum class Kind : std::uint8_t { replace, byte_fallback, fuse, strip, metaspace };
  Kind kind = Kind::fuse;
  Pattern pattern = Pattern::literal({});  // replace
  std::string content;                     // replace: by what; strip, metaspace: the character
  std::size_t start = 0, stop = 0;         // strip: at most so many at the two ends
  bool prepended = false;                  // metaspace: the encoder put one in front
};
std::string decode(const std::vector<Decoder>& decoders, std::vector<std::string> tokens);

}  // namespace tessera::io::tokenizers
