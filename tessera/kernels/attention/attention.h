// One tile of attention: some query rows of one kv head against all keys, softmax kept running over blocks of keys.
// Keys and values are packed first. Test: tests/kernels/attention_test.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/kernels/table.h"

namespace tessera::kernels {

/// Keys per step of the running softmax; packed keys are padded to a multiple of it. Results depend on it, so all rows share it.
inline constexpr std::int64_t kAttentionBlock = 64;

/// Rows of keys and values of one kv head, as they stand in one segment.
struct AttentionSource {
  const void* k = nullptr;  // first element of the first key
  const void* v = nullptr;
  bool k_bf16 = false;  // else f32
  bool v_bf16 = false;
  std::int64_t k_stride = 0;  // elements between keys
  std::int64_t v_stride = 0;
};

/// The packed keys and values of one kv head. `panel` is the row's panel width.
///   k: [padded_keys / panel][head_dim][panel]     v: [dim panels][padded_keys][panel], dim panels = ceil(head_dim / panel)
struct AttentionPacked {
  float* k = nullptr;
  float* v = nullptr;
  std::uint8_t* special = nullptr;  // [padded_keys]: 1 where the value row holds a NaN or an infinity
  std::int64_t padded_keys = 0;     // a multiple of kAttentionBlock
  std::int64_t head_dim = 0;
};

struct AttentionTile {
  AttentionPacked packed;
  std::int64_t keys = 0;
  std::int64_t row_begin = 0;  // query row r = token * group + head in group; the tile is [row_begin, row_end)
  std::int64_t row_end = 0;
  std::int64_t group = 1;  // query heads that share the kv head
  float scale = 1;
  const void* q = nullptr;  // element (token 0, first head of the group)
  bool q_bf16 = false;
  std::int64_t q_stride = 0;  // elements between tokens
  std::int64_t q_head = 0;    // and between heads of the group
  void* y = nullptr;
  bool y_bf16 = false;
  std::int64_t y_stride = 0;
  std::int64_t y_head = 0;
  const std::uint8_t* may_see = nullptr;  // [tokens, keys]: 0 hides; or null
  std::int64_t may_see_stride = 0;
  const float* added = nullptr;  // [tokens, keys] of the group's first head: added to the scaled logits; or null
  std::int64_t added_stride = 0;
  std::int64_t added_head = 0;   // 0: the same for all heads of the group
  const float* sinks = nullptr;  // [group]: the logit of one more key, whose value is zero; or null
  float* scratch = nullptr;      // scratch_floats() of them, 64-byte aligned
};

struct AttentionFunctions {
  std::int64_t panel;       // floats side by side in a packed panel
  std::int64_t rows_group;  // query rows that a micro-kernel takes: tiles are best a multiple of it
  /// Packs `count` keys from key index `first`. A null source packs zeros (padding). Calls may not share a key.
  void (*pack)(const AttentionSource& source, std::int64_t first, std::int64_t count, const AttentionPacked& packed) noexcept;
  std::int64_t (*scratch_floats)(std::int64_t rows, std::int64_t head_dim) noexcept;
  /// Writes the tile's rows of y. What a row gets does not depend on the tile that it is in.
  void (*attend)(const AttentionTile& tile) noexcept;
};

std::span<const Row<AttentionFunctions>> attention_rows();

}  // namespace tessera::kernels
