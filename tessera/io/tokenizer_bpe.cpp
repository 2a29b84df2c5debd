#include "tessera/io/tokenizer_bpe.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <queue>

#include "tessera/core/error.h"
#include "tessera/io/tokenizer_formats.h"

namespace tessera::io::tokenizers {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) noexcept {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

void Bpe::MergeTable::reserve(std::size_t count) {
  const std::size_t size = std::bit_ceil(std::max<std::size_t>(2 * count, 2));
  slots_.assign(size, Slot{});
  shift_ = 64 - std::countr_zero(size);
}

void Bpe::MergeTable::put(std::int32_t left, std::int32_t right, Merge merge) noexcept {
  const std::uint64_t key = pair_key(left, right);
  std::size_t at = start(key);
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = {key, merge};  // of two merges of one pair the later counts
}

const Bpe::Merge* Bpe::MergeTable::find(std::int32_t left, std::int32_t right) const noexcept {
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t at = start(key); slots_[at].key != kEmpty; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].key == key) return &slots_[at].merge;
  return nullptr;
}

Bpe::Bpe(Vocab vocab, const Merges& merges, Options options, std::string_view where) : vocab_(std::move(vocab)), options_(std::move(options)) {
  ids_.reserve(vocab_.size());
  index_of_id_.reserve(vocab_.size());
  for (std::size_t i = 0; i < vocab_.size(); ++i) {
    const auto& [token, id] = vocab_[i];
    if (!ids_.emplace(token, id).second) fail(where, fmt::format("the token \"{}\" stands twice in model.vocab", token));
    if (!index_of_id_.emplace(id, static_cast<std::uint32_t>(i)).second) fail(where, fmt::format("the id {} stands twice in model.vocab", id));
    max_id_ = std::max(max_id_, id);
  }
  for (int byte = 0; byte < 256; ++byte) byte_ids_[static_cast<std::size_t>(byte)] = id_of(fmt::format("<0x{:02X}>", byte));
  if (options_.unk_token) {
    unk_id_ = id_of(*options_.unk_token);
    if (unk_id_ < 0) fail(where, fmt::format("model.unk_token \"{}\" is not in model.vocab", *options_.unk_token));
  }
  merges_.reserve(merges.size());
  std::string joined;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    joined.assign(left).append(right);
    const std::int32_t left_id = id_of(left), right_id = id_of(right), id = id_of(joined);
    if (left_id < 0 || right_id < 0 || id < 0)
      fail(where, fmt::format("model.merges[{}] needs \"{}\", which is not in model.vocab", rank,
                              left_id < 0    ? left
                              : right_id < 0 ? right
                                             : joined));
    merges_.put(left_id, right_id, {static_cast<std::uint32_t>(rank), id});
  }
}

std::int32_t Bpe::id_of(std::string_view token) const noexcept {
  const auto found = ids_.find(token);
  return found == ids_.end() ? -1 : found->second;
}

const std::string* Bpe::token_of(std::int32_t id) const noexcept {
  const auto found = index_of_id_.find(id);
  return found == index_of_id_.end() ? nullptr : &vocab_[found->second].first;
}

void Bpe::encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (piece.empty()) return;
  if (options_.ignore_merges) {
    if (const std::int32_t id = id_of(piece); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  std::vector<Symbol> symbols;
  split(piece, symbols);
  merge(symbols);
  for (const Symbol& symbol : symbols)
    if (!symbol.gone) ids.push_back(symbol.id);
}

void Bpe::split(std::string_view piece, std::vector<Symbol>& symbols) const {
  symbols.reserve(piece.size());
  const auto add = [&](std::int32_t id) {
    const auto at = static_cast<std::int32_t>(symbols.size());
    if (at > 0) symbols.back().next = at;
    symbols.push_back({id, at - 1, -1, false});
  };
  // An unknown character is held back, to be fused with those that follow it. As in the reference, bytes of a later character may
  // overtake it: byte fallback does not release it.
  bool unknown = false;
  for (std::size_t at = 0; at < piece.size();) {
    const std::string_view one = piece.substr(at, char_length(piece, at));
    at += one.size();
    if (const std::int32_t id = id_of(one); id >= 0) {
      if (unknown) add(unk_id_);
      unknown = false;
      add(id);
      continue;
    }
    if (options_.byte_fallback && std::all_of(one.begin(), one.end(), [&](char c) { return byte_ids_[static_cast<unsigned char>(c)] >= 0; })) {
      for (const char c : one) add(byte_ids_[static_cast<unsigned char>(c)]);
      continue;
    }
    if (!options_.unk_token) continue;  // nothing stands for it
    if (unknown && !options_.fuse_unk) add(unk_id_);
    unknown = true;
  }
  if (unknown) add(unk_id_);
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  struct Candidate {
    std::uint32_t rank;
    std::int32_t at;  // index of the left symbol
    std::int32_t id;  // what the merge makes
  };
  const auto later = [](const Candidate& a, const Candidate& b) { return a.rank != b.rank ? a.rank > b.rank : a.at > b.at; };
  std::vector<Candidate> found;
  found.reserve(symbols.size());
  const auto candidate = [&](std::int32_t left, std::int32_t right) -> const Merge* {
    return merges_.find(symbols[static_cast<std::size_t>(left)].id, symbols[static_cast<std::size_t>(right)].id);
  };
  const auto count = static_cast<std::int32_t>(symbols.size());
  for (std::int32_t i = 0; i + 1 < count; ++i)
    if (const Merge* m = candidate(i, i + 1)) found.push_back({m->rank, i, m->id});
  std::priority_queue<Candidate, std::vector<Candidate>, decltype(later)> queue(later, std::move(found));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[static_cast<std::size_t>(top.at)];
    if (left.gone || left.next < 0) continue;
    // Stale unless the pair that stands here now still makes the same token.
    const Merge* now = candidate(top.at, left.next);
    if (now == nullptr || now->id != top.id) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    right.gone = true;
    left.id = top.id;
    left.next = right.next;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.at;
    if (left.previous >= 0)
      if (const Merge* m = candidate(left.previous, top.at)) queue.push({m->rank, left.previous, m->id});
    if (left.next >= 0)
      if (const Merge* m = candidate(top.at, left.next)) queue.push({m->rank, top.at, m->id});
  }
}

}  // namespace tessera::io::tokenizers
