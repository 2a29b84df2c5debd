// Text to token ids: SentencePiece models, and tokenizer.json (BPE with byte fallback, as Gemma's). Test: tests/io/tokenizer_test.cpp;
// fuzzer: tests/fuzz/tokenizer_fuzz.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::io {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Ids of the text alone: no bos, no eos. Any bytes are accepted; invalid UTF-8, and more than 16 MiB, is an Error. Thread-safe.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// Control and special tokens (bos, <loc0001>, ...) give no text. Throws Error on an id that is no token.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t bos_id() const = 0;  // -1 when there is none
  virtual std::int32_t eos_id() const = 0;
  virtual std::int32_t pad_id() const = 0;
  /// "SentencePiece model tokenizer.model, 257152 pieces"
  virtual std::string describe() const = 0;
};

/// A SentencePiece .model file. Throws Error on anything that is not one.
std::shared_ptr<const Tokenizer> read_sentencepiece(const std::filesystem::path& path);
/// A Hugging Face tokenizer.json with model.type "BPE": added tokens, normaliser (Replace, Prepend, Sequence, NFC-free), pre-tokenisers
/// (Split on space, Metaspace, none), byte_fallback, ignore_merges. Its truncation and padding are the caller's business and are ignored.
/// Throws Error naming what is not supported.
std::shared_ptr<const Tokenizer> read_tokenizer_json(const std::filesystem::path& path);
/// By file name: *.model or *.json; a directory is searched for tokenizer.model, then tokenizer.json, then tokenizer/ of both.
/// Throws Error that says which file to get and where to put it.
std::shared_ptr<const Tokenizer> read_tokenizer(const std::filesystem::path& path);
/// The file that read_tokenizer(path) reads. Throws Error when `path` is a directory without one.
std::filesystem::path locate_tokenizer(const std::filesystem::path& path);
/// The bytes of a file called `path`, which is not opened.
std::shared_ptr<const Tokenizer> parse_tokenizer(std::span<const std::byte> bytes, const std::filesystem::path& path);

}  // namespace tessera::io
