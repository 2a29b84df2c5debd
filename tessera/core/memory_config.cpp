#include "tessera/core/memory_config.h"

#include "tessera/core/error.h"

namespace tessera {
namespace {

std::string pair(std::int64_t a, std::int64_t b) { return std::to_string(a).append("x").append(std::to_string(b)); }
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

std::string_view name(TensorMemoryLayout layout) {
  switch (layout) {
    case TensorMemoryLayout::interleaved: return "INTERLEAVED";
    case TensorMemoryLayout::height_sharded: return "HEIGHT_SHARDED";
    case TensorMemoryLayout::width_sharded: return "WIDTH_SHARDED";
    case TensorMemoryLayout::block_sharded: return "BLOCK_SHARDED";
  }
  return "?";
}

std::string_view name(BufferType buffer) { return buffer == BufferType::l1 ? "L1" : "DRAM"; }

std::string MemoryConfig::str() const {
  std::string text(name(layout));
  text.append(" ").append(name(buffer));
  if (shard) text.append(" grid ").append(pair(shard->grid_rows, shard->grid_cols)).append(" shard ").append(pair(shard->height, shard->width));
  return text;
}

void check(const MemoryConfig& config, std::int64_t rows, std::int64_t cols) {
  constexpr std::string_view kWhere = "memory_config";
  if (!config.is_sharded()) {
    if (config.shard) fail_expected(kWhere, "no shard spec for an interleaved layout", config.str());
    return;
  }
  if (!config.shard) fail_expected(kWhere, "a shard spec for a sharded layout", config.str());
  const ShardSpec& s = *config.shard;
  if (s.grid_rows < 1 || s.grid_cols < 1 || s.height < 1 || s.width < 1) fail_expected(kWhere, "a grid and shards of 1 or more", config.str());
  std::int64_t need_rows = 1;
  std::int64_t need_cols = 1;
  switch (config.layout) {
    case TensorMemoryLayout::height_sharded:
      if (s.width != cols) fail_expected(kWhere, "shards as wide as the tensor (" + std::to_string(cols) + ")", config.str());
      need_rows = ceil_div(rows, s.height);
      if (s.grid_rows * s.grid_cols != need_rows) fail_expected(kWhere, std::to_string(need_rows) + " shards", config.str());
      return;
    case TensorMemoryLayout::width_sharded:
      if (s.height != rows) fail_expected(kWhere, "shards as high as the tensor (" + std::to_string(rows) + ")", config.str());
      need_cols = ceil_div(cols, s.width);
      if (s.grid_rows * s.grid_cols != need_cols) fail_expected(kWhere, std::to_string(need_cols) + " shards", config.str());
      return;
    case TensorMemoryLayout::block_sharded:
      need_rows = ceil_div(rows, s.height);
      need_cols = ceil_div(cols, s.width);
      if (s.grid_rows != need_rows || s.grid_cols != need_cols) fail_expected(kWhere, "a grid of " + pair(need_rows, need_cols), config.str());
      return;
    case TensorMemoryLayout::interleaved: return;
  }
}

}  // namespace tessera
