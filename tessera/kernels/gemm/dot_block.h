// The bf16 dot-product rows over a unit of 16 lanes: vdpbf16ps itself, or its emulation. Included inside a target region, so it includes
// nothing that could be compiled for more than the baseline; include gemm.h, pack.h and tile_walk.h before. Private to kernels/gemm.
// Test: tests/kernels/gemm_test.cpp.
#pragma once

#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/gemm/tile_walk.h"

namespace tessera::kernels::gemm {

/// Unit: Sums and Pairs (16 floats; 16 pairs of bf16), zero, load, store, load_pairs, broadcast_pair and dot: sum + a0 b0 + a1 b1 per lane.
template <class Unit>
struct DotGemm {
  static constexpr std::int64_t kLanes = 16;
  static constexpr int kVectors = 2;
  static constexpr int kRows = 14;  // 28 sums, two weights and a broadcast in 32 registers
  static constexpr std::int64_t kColumns = kVectors * kLanes;
  static constexpr std::int64_t kStretch = 256;  // a sub-panel of 16 KB stays in L1
  // A packed tile: [k / kRun][rows][kRun], four pairs of every row, so that the loop reads one stream and reaches a whole run with short addresses.
  static constexpr int kPairs = 4;
  static constexpr std::int64_t kRun = 2 * kPairs;
  static constexpr std::int64_t kTileStretch = kRows * (kStretch + 32);  // keeps the stretches of tiles out of each other's cache sets
  using Panel = PairPanel<kColumns>;

  static std::size_t tile_bytes(std::int64_t k) noexcept {
    return round_up(static_cast<std::size_t>((k + kStretch - 1) / kStretch * kTileStretch) * sizeof(bf16), 64);
  }
  static std::size_t panel_bytes(std::int64_t k) noexcept { return static_cast<std::size_t>((k + 1) / 2 * 2 * kColumns) * sizeof(bf16); }

  static void pack_a(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t k, std::byte* tile) noexcept {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t k0 = 0; k0 < k; k0 += kStretch) {
        const std::int64_t n = k - k0 < kStretch ? k - k0 : kStretch;
        bf16 row[kStretch];
        round_row(static_cast<const std::byte*>(x) + (r * stride + k0) * size, dtype, n, (n + kRun - 1) / kRun * kRun, row);
        auto* const to = reinterpret_cast<bf16*>(tile) + k0 / kStretch * kTileStretch + r * kRun;
        for (std::int64_t i = 0; i < n; i += kRun) std::memcpy(to + i * rows, row + i, kRun * sizeof(bf16));
      }
  }

  // kCount pairs more: a whole run, or one pair of the last.
  template <int kTile, int kCount>
  [[gnu::always_inline]] static void add_pairs(const bf16*& a, const bf16*& w, typename Unit::Sums (&sum)[kTile][kVectors]) noexcept {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const typename Unit::Pairs b0 = Unit::load_pairs(w + i * 2 * kColumns);
      const typename Unit::Pairs b1 = Unit::load_pairs(w + i * 2 * kColumns + 2 * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kTile; ++r) {
        const typename Unit::Pairs x = Unit::broadcast_pair(a + r * kRun + 2 * i);
        sum[r][0] = Unit::dot(sum[r][0], x, b0);
        sum[r][1] = Unit::dot(sum[r][1], x, b1);
      }
    }
    a += kCount == kPairs ? kTile * kRun : 2 * kCount;
    w += kCount * 2 * kColumns;
  }

  template <int kTile, int kLines>
  static void tile_product(const bf16* a, const bf16* w, std::int64_t pairs, bool first, float* c, Fetch fetch) noexcept {
    typename Unit::Sums sum[kTile][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = first ? Unit::zero() : Unit::load(c + r * kColumns + v * kLanes);
    const std::int64_t whole = pairs / kPairs * kPairs;
    for (std::int64_t i = 0; i < whole; i += kPairs) {
      fetch_lines<kLines>(fetch);
      add_pairs<kTile, kPairs>(a, w, sum);
    }
    for (std::int64_t i = whole; i < pairs; ++i) add_pairs<kTile, 1>(a, w, sum);
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) Unit::store(c + r * kColumns + v * kLanes, sum[r][v]);
  }

  template <int kLines, int kTile = kRows>
  static void any_tile(std::int64_t rows, const bf16* a, const bf16* w, std::int64_t pairs, bool first, float* c, Fetch fetch) noexcept {
    if (rows == kTile) return tile_product<kTile, kLines>(a, w, pairs, first, c, fetch);
    if constexpr (kTile > 1) any_tile<kLines, kTile - 1>(rows, a, w, pairs, first, c, fetch);
  }

  static constexpr std::int64_t kRunBytes = kRun * kColumns * static_cast<std::int64_t>(sizeof(bf16));
  static constexpr int kRunLines = static_cast<int>(kRunBytes / kLine);
  static void block(const GemmBlock& b) noexcept {
    if (b.last_tile - b.first_tile >= kRunLines)
      block_of<1>(b);
    else
      block_of<kRunLines>(b);
  }

  // Tiles that are fewer than the lines of a run have more than one line to fetch with each: kLines.
  template <int kLines>
  static void block_of(const GemmBlock& b) noexcept {
    const std::size_t a_tile = tile_bytes(b.k);
    const std::size_t panel = panel_bytes(b.k);
    const std::int64_t tiles = b.last_tile - b.first_tile;
    const TileHeights heights(b.first_tile, b.m, b.tiles);
    for (std::int64_t k0 = 0; k0 < b.k; k0 += kStretch) {
      const std::int64_t pairs = ((b.k - k0 < kStretch ? b.k - k0 : kStretch) + 1) / 2;
      const std::int64_t bytes = pairs * 2 * kColumns * static_cast<std::int64_t>(sizeof(bf16));
      const std::int64_t fetches = pairs / kPairs * kLines;
      const std::int64_t step = fetch_step(bytes, fetches * tiles);
      for (std::int64_t p = 0; p < b.panels; ++p) {
        const std::byte* w = b.w + static_cast<std::size_t>(p) * panel + k0 * kColumns * static_cast<std::int64_t>(sizeof(bf16));
        const bool last = p + 1 == b.panels;
        const std::byte* next = !last ? w + panel : k0 + kStretch < b.k ? w + bytes - p * static_cast<std::int64_t>(panel) : b.w + b.panels * panel;
        Fetch fetch{next, step};
        TileHeights height = heights;
        for (std::int64_t t = 0; t < tiles; ++t, fetch.at += fetches * step) {
          const std::int64_t rows = height.next();
          const auto* a = reinterpret_cast<const bf16*>(b.a + static_cast<std::size_t>(t) * a_tile) + k0 / kStretch * kTileStretch;
          any_tile<kLines>(rows, a, reinterpret_cast<const bf16*>(w), pairs, k0 == 0, b.c + (p * tiles + t) * kRows * kColumns, fetch);
        }
      }
    }
  }

  static constexpr GemmFunctions kFunctions = {
      .weights = DType::bf16,
      .tile_rows = kRows,
      .panel_columns = kColumns,
      .block_rows = 196,
      .block_columns = 128,
      .item_columns = 256,
      .tile_bytes = &tile_bytes,
      .panel_bytes = &panel_bytes,
      .scratch_bytes = 0,
      .pack_a = &pack_a,
      .pack_w = &pack_weight<Panel>,
      .pack_rows = &pack_rows<Panel>,
      .block = &block,
      .epilogue = nullptr,
      .direct = nullptr,
      .direct_scratch = nullptr,
  };
};

}  // namespace tessera::kernels::gemm
