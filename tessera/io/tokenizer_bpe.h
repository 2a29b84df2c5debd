// Byte pair encoding as Hugging Face's "BPE" model defines it: symbols of one piece of text, joined by the best-ranked merge first.
// May not know of JSON, normalisers or added tokens. Private to this room.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tessera::io::tokenizers {

class Bpe {
 public:
  struct Options {
    std::optional<std::string> unk_token;
    bool byte_fallback = false;
    bool fuse_unk = false;
    bool ignore_merges = false;  // a piece that is a token as a whole stays one
  };
  using Vocab = std::vector<std::pair<std::string, std::int32_t>>;
  using Merges = std::vector<std::pair<std::string, std::string>>;

  /// Throws Error on a token or an id that stands twice, and on a merge whose parts or result are not in the vocabulary.
  Bpe(Vocab vocab, const Merges& merges, Options options, std::string_view where);
  Bpe(const Bpe&) = delete;
  Bpe& operator=(const Bpe&) = delete;

  /// -1 when there is no such token.
  std::int32_t id_of(std::string_view token) const noexcept;
  /// Null when there is no such id.
  const std::string* token_of(std::int32_t id) const noexcept;
  std::size_t size() const noexcept { return vocab_.size(); }
  std::int32_t max_id() const noexcept { return max_id_; }

  /// Appends the ids of `piece`, which is valid UTF-8. Time O(n log n).
  void encode(std::string_view piece, std::vector<std::int32_t>& ids) const;

 private:
  struct Merge {
    std::uint32_t rank;
    std::int32_t id;
  };
  // Open addressing over (left id, right id): half a million merges load in tens of milliseconds.
  class MergeTable {
   public:
    void reserve(std::size_t count);
    void put(std::int32_t left, std::int32_t right, Merge merge) noexcept;
    const Merge* find(std::int32_t left, std::int32_t right) const noexcept;

   private:
    struct Slot {
      std::uint64_t key = kEmpty;
      Merge merge{};
    };
    static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
    std::size_t start(std::uint64_t key) const noexcept { return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15u) >> shift_); }
    std::vector<Slot> slots_;
    int shift_ = 63;
  };
  struct Symbol {
    std::int32_t id;
    std::int32_t previous;  // -1: none
    std::int32_t next;      // -1: none
    bool gone;
  };

  void split(std::string_view piece, std::vector<Symbol>& symbols) const;
  void merge(std::vector<Symbol>& symbols) const;

  Vocab vocab_;
  std::unordered_map<std::string_view, std::int32_t> ids_;       // views into vocab_
  std::unordered_map<std::int32_t, std::uint32_t> index_of_id_;  // into vocab_
  MergeTable merges_;
  std::array<std::int32_t, 256> byte_ids_{};  // of "<0x00>" ... "<0xFF>"; -1 where missing
  std::int32_t unk_id_ = -1;
  std::int32_t max_id_ = -1;
  Options options_;
};

}  // namespace tessera::io::tokenizers
