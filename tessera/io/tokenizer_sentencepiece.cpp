// SentencePiece models through the sentencepiece library. The library trusts the file in places (its character map is walked without
// bounds, its trie is built by recursion), so tokenizer_sentencepiece_check.cpp looks through the model first.
#include <fmt/format.h>
#include <sentencepiece_processor.h>

#include <exception>
#include <filesystem>
#include <string>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer_formats.h"

namespace tessera::io::tokenizers {
namespace {

class SentencePiece final : public Tokenizer {
 public:
  SentencePiece(std::string_view bytes, std::string_view where) : where_(where) {
    check_sentencepiece(bytes, where);
    try {
      const auto status = processor_.LoadFromSerializedProto(bytes);
      if (!status.ok()) fail(where, fmt::format("not a SentencePiece model: {}", status.error_message()));
      size_ = processor_.GetPieceSize();
      bos_ = processor_.bos_id();
      eos_ = processor_.eos_id();
      pad_ = processor_.pad_id();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      fail(where, fmt::format("not a SentencePiece model: {}", error.what()));
    }
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    check_text(text, where_);
    std::vector<int> ids;
    const auto status = processor_.Encode(text, &ids);
    if (!status.ok()) fail(where_, fmt::format("cannot encode the text: {}", status.error_message()));
    return {ids.begin(), ids.end()};
  }

  std::string decode(std::span<const std::int32_t> ids) const override {
    for (const std::int32_t id : ids)
      if (id < 0 || id >= size_) fail_expected(where_, fmt::format("token ids below {}", size_), std::to_string(id));
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(ids.begin(), ids.end()), &text);
    if (!status.ok()) fail(where_, fmt::format("cannot decode the ids: {}", status.error_message()));
    return text;
  }

  std::int32_t vocab_size() const override { return size_; }
  std::int32_t bos_id() const override { return bos_; }
  std::int32_t eos_id() const override { return eos_; }
  std::int32_t pad_id() const override { return pad_; }
  std::string describe() const override {
    return fmt::format("SentencePiece model {}, {} pieces", std::filesystem::path(where_).filename().string(), size_);
  }

 private:
  std::string where_;
  sentencepiece::SentencePieceProcessor processor_;
  std::int32_t size_ = 0, bos_ = -1, eos_ = -1, pad_ = -1;
};

}  // namespace

std::shared_ptr<const Tokenizer> parse_sentencepiece(std::string_view bytes, std::string_view where) {
  return std::make_shared<const SentencePiece>(bytes, where);
}

}  // namespace tessera::io::tokenizers
