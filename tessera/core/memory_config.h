// Where a tensor lives and how it is spread over cores, in TTNN's terms. A value: on a CPU a shard is a share of the work, and the
// buffer type is recorded. Test: tests/core/tensor_test.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

enum class TensorMemoryLayout : std::uint8_t { interleaved, height_sharded, width_sharded, block_sharded };
enum class BufferType : std::uint8_t { dram, l1 };
enum class ShardOrientation : std::uint8_t { row_major, col_major };

/// TTNN's names: "INTERLEAVED", "HEIGHT_SHARDED", "WIDTH_SHARDED", "BLOCK_SHARDED".
std::string_view name(TensorMemoryLayout layout);
/// TTNN's names: "DRAM", "L1".
std::string_view name(BufferType buffer);

/// A grid of rows x cols shards, each [height, width] elements of the 2-D view (all dimensions but the last folded into rows).
struct ShardSpec {
  std::int64_t grid_rows = 1;
  std::int64_t grid_cols = 1;
  std::int64_t height = 0;
  std::int64_t width = 0;
  ShardOrientation orientation = ShardOrientation::row_major;
  friend bool operator==(const ShardSpec&, const ShardSpec&) = default;
};

struct MemoryConfig {
  TensorMemoryLayout layout = TensorMemoryLayout::interleaved;
  BufferType buffer = BufferType::dram;
  std::optional<ShardSpec> shard;  // required by the sharded layouts, absent for interleaved

  bool is_sharded() const noexcept { return layout != TensorMemoryLayout::interleaved; }
  std::string str() const;
  friend bool operator==(const MemoryConfig&, const MemoryConfig&) = default;
};

/// Throws Error unless the config fits a stored [rows, cols] plane: a sharded layout has a spec, its grid covers the plane exactly once
/// (height: cols whole; width: rows whole; block: both split), and no shard is empty.
void check(const MemoryConfig& config, std::int64_t rows, std::int64_t cols);

}  // namespace tessera
