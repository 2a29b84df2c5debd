// Hugging Face's tokenizer.json with a BPE model. The vocabulary and the merges, nearly all of such a file, are streamed into vectors;
// the rest becomes a small JSON value that is read with every key checked.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer_bpe.h"
#include "tessera/io/tokenizer_formats.h"
#include "tessera/io/tokenizer_text.h"

namespace tessera::io::tokenizers {
namespace {

using nlohmann::json;
constexpr std::size_t kMaxDepth = 32;
constexpr std::int64_t kMaxId = std::int64_t{1} << 30;

/// Receives the events of the parser.
class Loader final : public nlohmann::json_sax<json> {
 public:
  explicit Loader(std::string_view where) : where_(where) {}

  json root;
  Bpe::Vocab vocab;
  Bpe::Merges merges;
  bool has_vocab = false, has_merges = false;

  bool null() override { return value(nullptr); }
  bool boolean(bool v) override { return value(v); }
  bool number_integer(number_integer_t v) override { return value(v); }
  bool number_unsigned(number_unsigned_t v) override {
    if (mode_ != Mode::vocab) return value(v);
    if (v > static_cast<std::uint64_t>(kMaxId)) fail_expected(where_, "token ids below 2^30", std::to_string(v));
    vocab.emplace_back(std::move(key_), static_cast<std::int32_t>(v));
    return true;
  }
  bool number_float(number_float_t v, const string_t&) override { return value(v); }
  bool string(string_t& v) override {
    if (mode_ == Mode::merges) {
      add_legacy_merge(v);
      return true;
    }
    if (mode_ == Mode::merge_pair) {
      if (parts_ == 2) bad_merge();
      (parts_++ == 0 ? merges.back().first : merges.back().second) = std::move(v);
      return true;
    }
    return value(std::move(v));
  }
  bool binary(binary_t&) override { return false; }

  bool start_object(std::size_t) override {
    if (mode_ == Mode::dom && at_model("vocab")) {
      has_vocab = true;
      mode_ = Mode::vocab;
      return true;
    }
    open(json::object());
    return true;
  }
  bool key(string_t& k) override {
    key_ = std::move(k);
    if (mode_ == Mode::dom && stack_.back()->contains(key_)) fail(where_, fmt::format("the key \"{}\" stands twice in one object", key_));
    if (mode_ == Mode::dom && ((has_vocab && at_model("vocab")) || (has_merges && at_model("merges"))))
      fail(where_, fmt::format("the key \"{}\" stands twice in one object", key_));
    return true;
  }
  bool end_object() override {
    if (mode_ == Mode::vocab) {
      mode_ = Mode::dom;
    } else {
      stack_.pop_back();
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (mode_ == Mode::dom && at_model("merges")) {
      has_merges = true;
      mode_ = Mode::merges;
      return true;
    }
    if (mode_ == Mode::merges) {
      mode_ = Mode::merge_pair;
      parts_ = 0;
      merges.emplace_back();
      return true;
    }
    if (mode_ == Mode::dom && at_model("vocab")) mode_ = Mode::skip;  // another model's vocabulary; its type is refused later
    open(json::array());
    return true;
  }
  bool end_array() override {
    if (mode_ == Mode::merge_pair) {
      if (parts_ != 2) bad_merge();
      mode_ = Mode::merges;
      return true;
    }
    if (mode_ == Mode::merges) {
      mode_ = Mode::dom;
      return true;
    }
    stack_.pop_back();
    if (mode_ == Mode::skip && stack_.size() == 2) mode_ = Mode::dom;
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view what = error.what();
    if (const auto end = what.find("] "); end != std::string_view::npos) what.remove_prefix(end + 2);
    fail(where_, fmt::format("malformed JSON at byte {}: {}", position, what));
  }

 private:
  enum class Mode : std::uint8_t { dom, vocab, merges, merge_pair, skip };

  bool at_model(std::string_view name) const { return stack_.size() == 2 && in_model_ && key_ == name; }

  template <class T>
  bool value(T&& v) {
    if (mode_ == Mode::skip) return true;
    if (mode_ == Mode::vocab) fail_expected(where_, "model.vocab of token ids, 0 or more", fmt::format("another value for \"{}\"", key_));
    if (mode_ != Mode::dom) bad_merge();
    place(json(std::forward<T>(v)));
    return true;
  }
  json* place(json v) {
    if (stack_.empty()) {
      root = std::move(v);
      return &root;
    }
    json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(v));
      return &parent.back();
    }
    return &(parent[key_] = std::move(v));
  }
  void open(json v) {
    if (mode_ != Mode::dom && mode_ != Mode::skip) {
      if (mode_ == Mode::vocab) fail_expected(where_, "model.vocab of token ids", fmt::format("another value for \"{}\"", key_));
      bad_merge();
    }
    if (stack_.size() >= kMaxDepth) fail_expected(where_, fmt::format("nesting of at most {}", kMaxDepth), "more");
    if (stack_.size() == 1) in_model_ = key_ == "model";
    stack_.push_back(mode_ == Mode::skip ? &skipped_ : place(std::move(v)));
  }
  void add_legacy_merge(const std::string& line) {
    if (line.starts_with("#version")) return;
    const std::size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) bad_merge();
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  [[noreturn]] void bad_merge() const {
    fail(where_, fmt::format("expected model.merges as \"a b\" or [\"a\", \"b\"], got another value at index {}", merges.size()));
  }

  std::string where_;
  std::vector<json*> stack_;
  json skipped_;
  std::string key_;
  bool in_model_ = false;
  Mode mode_ = Mode::dom;
  int parts_ = 0;
};

/// An object of the file with its place in it, for messages.
class Section {
 public:
  Section(const json& value, std::string path, std::string_view where) : value_(&value), path_(std::move(path)), where_(where) {
    if (!value.is_object()) fail_expected(where, path_ + " to be an object", std::string(value.type_name()));
  }
  /// Null when the key is missing or null.
  const json* find(const char* key) const {
    const auto found = value_->find(key);
    return found == value_->end() || found->is_null() ? nullptr : &*found;
  }
  std::string path(std::string_view key) const { return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key); }
  std::string string(const char* key) const {
    const json* found = find(key);
    if (found == nullptr || !found->is_string()) fail_expected(where_, path(key) + " to be a string", kind(found));
    return found->get<std::string>();
  }
  std::string string(const char* key, std::string fallback) const { return find(key) == nullptr ? std::move(fallback) : string(key); }
  bool boolean(const char* key, bool fallback) const {
    const json* found = find(key);
    if (found == nullptr) return fallback;
    if (!found->is_boolean()) fail_expected(where_, path(key) + " to be true or false", kind(found));
    return found->get<bool>();
  }
  std::int64_t integer(const char* key) const {
    const json* found = find(key);
    if (found == nullptr || !found->is_number_unsigned() || found->get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxId))
      fail_expected(where_, path(key) + " to be an integer from 0 to 2^30", kind(found));
    return found->get<std::int64_t>();
  }
  Section section(const char* key) const {
    const json* found = find(key);
    if (found == nullptr) fail_expected(where_, path(key) + " to be an object", "none");
    return {*found, path(key), where_};
  }
  std::vector<Section> sections(const char* key) const {
    const json* found = find(key);
    if (found == nullptr || !found->is_array()) fail_expected(where_, path(key) + " to be an array", kind(found));
    std::vector<Section> out;
    for (std::size_t i = 0; i < found->size(); ++i) out.emplace_back((*found)[i], fmt::format("{}[{}]", path(key), i), where_);
    return out;
  }
  const json& value() const { return *value_; }
  std::string_view where() const { return where_; }
  [[noreturn]] void unsupported(std::string_view what) const { fail(where_, fmt::format("{} is not supported: {}", path_, what)); }

 private:
  static std::string kind(const json* value) { return value == nullptr ? "none" : value->type_name(); }
  const json* value_;
  std::string path_;
  std::string_view where_;
};

Pattern read_pattern(const Section& section) {
  const Section pattern = section.section("pattern");
  if (pattern.find("String") != nullptr) {
    Pattern literal = Pattern::literal(pattern.string("String"));
    if (literal.empty()) pattern.unsupported("an empty pattern");
    return literal;
  }
  const std::string expression = pattern.string("Regex");
  auto parsed = Pattern::regex(expression);
  if (!parsed) pattern.unsupported(fmt::format("the expression \"{}\" (only literals and one repeated character are)", expression));
  return *parsed;
}

/// Exactly one character.
std::string read_character(const Section& section, const char* key, std::string fallback) {
  std::string character = section.string(key, std::move(fallback));
  if (character.empty() || char_length(character, 0) != character.size())
    fail_expected(section.where(), section.path(key) + " to be one character", fmt::format("\"{}\"", character));
  return character;
}

PreTokenizer::Prepend read_prepend(const Section& section) {
  const std::string scheme = section.string("prepend_scheme", section.boolean("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") return PreTokenizer::Prepend::always;
  if (scheme == "first") return PreTokenizer::Prepend::first;
  if (scheme == "never") return PreTokenizer::Prepend::never;
  section.unsupported(fmt::format("prepend_scheme \"{}\"", scheme));
}

void read_normalizers(const Section& section, std::vector<Normalizer>& out) {
  const std::string type = section.string("type");
  Normalizer normalizer;
  if (type == "Sequence") {
    for (const auto& inner : section.sections("normalizers")) read_normalizers(inner, out);
    return;
  }
  if (type == "Replace") {
    normalizer.kind = Normalizer::Kind::replace;
    normalizer.pattern = read_pattern(section);
    normalizer.content = section.string("content");
  } else if (type == "Prepend") {
    normalizer.kind = Normalizer::Kind::prepend;
    normalizer.content = section.string("prepend");
  } else {
    section.unsupported(fmt::format("the normalizer {} (Replace, Prepend and Sequence are)", type));
  }
  out.push_back(std::move(normalizer));
}

void read_pre_tokenizers(const Section& section, std::vector<PreTokenizer>& out) {
  const std::string type = section.string("type");
  PreTokenizer settings;
  if (type == "Sequence") {
    for (const auto& inner : section.sections("pretokenizers")) read_pre_tokenizers(inner, out);
    return;
  }
  if (type == "Split") {
    settings.kind = PreTokenizer::Kind::split;
    settings.pattern = read_pattern(section);
    settings.invert = section.boolean("invert", false);
    const std::string behavior = section.string("behavior");
    if (behavior == "Removed") {
      settings.behavior = Behavior::removed;
    } else if (behavior == "Isolated") {
      settings.behavior = Behavior::isolated;
    } else if (behavior == "MergedWithPrevious") {
      settings.behavior = Behavior::merged_with_previous;
    } else if (behavior == "MergedWithNext") {
      settings.behavior = Behavior::merged_with_next;
    } else if (behavior == "Contiguous") {
      settings.behavior = Behavior::contiguous;
    } else {
      section.unsupported(fmt::format("behavior \"{}\"", behavior));
    }
  } else if (type == "Metaspace") {
    settings.kind = PreTokenizer::Kind::metaspace;
    settings.replacement = read_character(section, "replacement", "\xe2\x96\x81");
    settings.prepend = read_prepend(section);
    settings.split = section.boolean("split", true);
  } else {
    section.unsupported(fmt::format("the pre-tokenizer {} (Split, Metaspace and Sequence are)", type));
  }
  out.push_back(std::move(settings));
}

void read_decoders(const Section& section, std::vector<Decoder>& out) {
  const std::string type = section.string("type");
  Decoder decoder;
  if (type == "Sequence") {
    for (const auto& inner : section.sections("decoders")) read_decoders(inner, out);
    return;
  }
  if (type == "Replace") {
    decoder.kind = Decoder::Kind::replace;
    decoder.pattern = read_pattern(section);
    decoder.content = section.string("content");
  } else if (type == "ByteFallback") {
    decoder.kind = Decoder::Kind::byte_fallback;
  } else if (type == "Fuse") {
    decoder.kind = Decoder::Kind::fuse;
  } else if (type == "Strip") {
    decoder.kind = Decoder::Kind::strip;
    decoder.content = read_character(section, "content", "");
    decoder.start = static_cast<std::size_t>(section.integer("start"));
    decoder.stop = static_cast<std::size_t>(section.integer("stop"));
  } else if (type == "Metaspace") {
    decoder.kind = Decoder::Kind::metaspace;
    decoder.content = read_character(section, "replacement", "\xe2\x96\x81");
    decoder.prepended = read_prepend(section) != PreTokenizer::Prepend::never;
  } else {
    section.unsupported(fmt::format("the decoder {} (Replace, ByteFallback, Fuse, Strip, Metaspace and Sequence are)", type));
  }
  out.push_back(std::move(decoder));
}

struct Ends {
  std::int32_t bos = -1, eos = -1;
};

/// The special tokens before and after the text in a TemplateProcessing's "single".
void read_post_processor(const Section& section, Ends& ends) {
  const std::string type = section.string("type");
  if (type == "Sequence") {
    for (const auto& inner : section.sections("processors")) read_post_processor(inner, ends);
    return;
  }
  if (type == "ByteLevel") return;  // touches offsets only
  if (type != "TemplateProcessing") section.unsupported(fmt::format("the post-processor {} (TemplateProcessing and Sequence are)", type));
  bool after = false;
  for (const auto& item : section.sections("single")) {
    if (item.find("Sequence") != nullptr) {
      after = true;
      continue;
    }
    const Section tokens = section.section("special_tokens");
    const Section token = tokens.section(item.section("SpecialToken").string("id").c_str());
    const json* ids = token.find("ids");
    if (ids == nullptr || !ids->is_array() || ids->empty() || !(*ids)[0].is_number_unsigned() ||
        (*ids)[0].get<std::uint64_t>() > static_cast<std::uint64_t>(kMaxId))
      token.unsupported("ids that are not a list of token ids");
    auto& end = after ? ends.eos : ends.bos;
    if (end < 0) end = (*ids)[0].get<std::int32_t>();
  }
}

Bpe::Options read_options(const Section& model) {
  if (model.string("type", "BPE") != "BPE")
    model.unsupported(fmt::format("the type {} (BPE is; for others use the tokenizer.model)", model.string("type")));
  const json* dropout = model.find("dropout");
  if (dropout != nullptr && (!dropout->is_number() || dropout->get<double>() != 0.0)) model.unsupported("dropout");
  if (!model.string("continuing_subword_prefix", "").empty()) model.unsupported("continuing_subword_prefix");
  if (!model.string("end_of_word_suffix", "").empty()) model.unsupported("end_of_word_suffix");
  Bpe::Options options;
  if (model.find("unk_token") != nullptr) options.unk_token = model.string("unk_token");
  options.byte_fallback = model.boolean("byte_fallback", false);
  options.fuse_unk = model.boolean("fuse_unk", false);
  options.ignore_merges = model.boolean("ignore_merges", false);
  return options;
}

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(Loader loader, std::string_view where)
      : where_(where), bpe_(std::move(loader.vocab), loader.merges, read_options(Section(loader.root, "", where).section("model")), where) {
    const Section root(loader.root, "", where);
    if (root.find("normalizer") != nullptr) read_normalizers(root.section("normalizer"), normalizers_);
    if (root.find("pre_tokenizer") != nullptr) read_pre_tokenizers(root.section("pre_tokenizer"), pre_tokenizers_);
    has_decoder_ = root.find("decoder") != nullptr;
    if (has_decoder_) read_decoders(root.section("decoder"), decoders_);
    Ends ends;
    if (root.find("post_processor") != nullptr) read_post_processor(root.section("post_processor"), ends);
    vocab_size_ = bpe_.max_id() + 1;
    if (root.find("added_tokens") != nullptr) read_added_tokens(root.sections("added_tokens"));
    const auto first_of = [&](std::initializer_list<const char*> names) {
      for (const char* name : names)
        if (const std::int32_t id = id_of(name); id >= 0) return id;
      return -1;
    };
    bos_ = ends.bos >= 0 ? ends.bos : first_of({"<bos>", "<s>"});
    eos_ = ends.eos >= 0 ? ends.eos : first_of({"<eos>", "</s>"});
    pad_ = first_of({"<pad>"});
    for (const std::int32_t id : {bos_, eos_})
      if (id >= 0 && token_of(id) == nullptr) fail(where, fmt::format("post_processor names the id {}, which is no token", id));
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    check_text(text, where_);
    Piece whole;
    whole.text = text;
    whole.origin.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t length = char_length(text, at);
      whole.origin.insert(whole.origin.end(), length, static_cast<std::uint32_t>(at));
      at += length;
    }
    std::vector<Piece> raw, pieces;
    raw_tokens_.split(whole, raw);
    for (auto& piece : raw) {
      if (piece.token >= 0) {
        pieces.push_back(std::move(piece));
      } else {
        normalize(normalizers_, piece);
        normalized_tokens_.split(piece, pieces);
      }
    }
    pre_tokenize(pre_tokenizers_, pieces);
    std::vector<std::int32_t> ids;
    for (const auto& piece : pieces) {
      if (piece.token >= 0) {
        ids.push_back(piece.token);
      } else {
        bpe_.encode(piece.text, ids);
      }
    }
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const std::int32_t id : ids) {
      const std::string* token = token_of(id);
      if (token == nullptr) fail_expected(where_, "ids of tokens", std::to_string(id));
      if (!is_special(id)) tokens.push_back(*token);
    }
    if (!has_decoder_)  // as the reference does: nothing says how tokens join
      for (std::size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, " ");
    return tokenizers::decode(decoders_, std::move(tokens));
  }

  std::int32_t vocab_size() const override { return vocab_size_; }
  std::int32_t bos_id() const override { return bos_; }
  std::int32_t eos_id() const override { return eos_; }
  std::int32_t pad_id() const override { return pad_; }
  std::string describe() const override {
    return fmt::format("BPE tokenizer {}, {} tokens", std::filesystem::path(where_).filename().string(), vocab_size_);
  }

 private:
  void read_added_tokens(const std::vector<Section>& sections) {
    std::vector<AddedToken> added;
    for (const auto& section : sections) {
      AddedToken token;
      token.content = section.string("content");
      token.id = static_cast<std::int32_t>(section.integer("id"));
      token.lstrip = section.boolean("lstrip", false);
      token.rstrip = section.boolean("rstrip", false);
      token.special = section.boolean("special", false);
      token.normalized = section.boolean("normalized", !token.special);
      if (token.content.empty()) fail_expected(where_, section.path("content") + " to be a text", "an empty one");
      if (section.boolean("single_word", false)) section.unsupported("single_word");
      const std::int32_t known = bpe_.id_of(token.content);
      const std::string* other = bpe_.token_of(token.id);
      if (known >= 0 ? known != token.id : other != nullptr)
        fail(where_, fmt::format("{} gives \"{}\" the id {}, model.vocab gives {}", section.path("id"), token.content, token.id,
                                 known >= 0 ? std::to_string(known) : fmt::format("it to \"{}\"", *other)));
      if (!added_ids_.emplace(token.content, token.id).second || !added_texts_.emplace(token.id, token).second)
        fail(where_, fmt::format("\"{}\" or its id {} stands twice in added_tokens", token.content, token.id));
      vocab_size_ = std::max(vocab_size_, token.id + 1);
      added.push_back(std::move(token));
    }
    // Special ones first: of two that match the same text the first counts.
    std::stable_partition(added.begin(), added.end(), [](const AddedToken& token) { return token.special; });
    for (const auto& token : added) {
      if (!token.normalized) {
        raw_tokens_.add(token.content, token);
        continue;
      }
      Piece match;
      match.text = token.content;
      match.origin.assign(token.content.size(), 0);
      normalize(normalizers_, match);
      if (match.text.empty()) fail(where_, fmt::format("the normalizer leaves nothing of the added token \"{}\"", token.content));
      normalized_tokens_.add(match.text, token);
      added_texts_[token.id].content = std::move(match.text);  // what decode() starts from
    }
  }

  std::int32_t id_of(const std::string& token) const {
    const auto found = added_ids_.find(token);
    return found == added_ids_.end() ? bpe_.id_of(token) : found->second;
  }
  const std::string* token_of(std::int32_t id) const {
    const auto found = added_texts_.find(id);
    return found == added_texts_.end() ? bpe_.token_of(id) : &found->second.content;
  }
  bool is_special(std::int32_t id) const {
    const auto found = added_texts_.find(id);
    return found != added_texts_.end() && found->second.special;
  }

  std::string where_;
  Bpe bpe_;
  std::vector<Normalizer> normalizers_;
  std::vector<PreTokenizer> pre_tokenizers_;
  std::vector<Decoder> decoders_;
  bool has_decoder_ = false;
  AddedTokens raw_tokens_, normalized_tokens_;  // looked for in the text as given, and after normalisation
  std::unordered_map<std::string, std::int32_t> added_ids_;
  std::unordered_map<std::int32_t, AddedToken> added_texts_;
  std::int32_t vocab_size_ = 0, bos_ = -1, eos_ = -1, pad_ = -1;
};

}  // namespace

std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, std::string_view where) {
  Loader loader(where);
  if (!json::sax_parse(text.begin(), text.end(), &loader)) fail(where, "malformed JSON");
  const Section root(loader.root, "", where);
  if (root.find("model") == nullptr) fail(where, "not a tokenizer.json: it has no model");
  const Section model = root.section("model");
  read_options(model);  // another type of model is named before its missing parts are
  if (!loader.has_vocab || !loader.has_merges) model.unsupported("a BPE model without vocab and merges");
  return std::make_shared<const JsonTokenizer>(std::move(loader), where);
}

}  // namespace tessera::io::tokenizers
