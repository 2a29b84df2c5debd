// The int8 rows over a unit of vectors that sum products of neighbours in k. Sums are whole numbers, so every row gives the same bits. Included
// inside a target region, so it includes nothing that could be compiled for more than the baseline; include gemm.h, pack.h and tile_walk.h before.
// Private to kernels/gemm. Test: tests/kernels/gemm_int8_test.cpp.
#pragma once

#include "tessera/kernels/gemm/quantise.h"
#include "tessera/kernels/gemm/tile_walk.h"

namespace tessera::kernels::gemm {

/// Unit: kLanes columns of a vector; kGroup neighbours in k whose products one dot() sums; kRows of a tile; Operand: what the values of x are kept
/// as, plus kOffset; Sums (kLanes int32), Weights and Values; zero, load, store; load_weights(const int8*): kLanes groups; broadcast(const Operand*):
/// one group for all lanes; dot(sums, values, weights).
template <class Unit>
struct ByteGemm {
  using Operand = typename Unit::Operand;
  using Q = Quantise<Unit>;
  static constexpr std::int64_t kLanes = Unit::kLanes;
  static constexpr std::int64_t kGroup = Unit::kGroup;
  static constexpr int kVectors = 2;
  static constexpr int kRows = Unit::kRows;
  static constexpr std::int64_t kColumns = kVectors * kLanes;
  static constexpr std::int64_t kStretch = 512;  // of k: a sub-panel of 8 or 16 KB stays in L1
  // A packed tile: [k / kRun][rows][kRun], four groups of every row, so that the loop reads one stream and reaches a whole run with short addresses.
  static constexpr std::int64_t kGroups = 4;
  static constexpr std::int64_t kRun = kGroups * kGroup;
  // A line a row more: keeps the stretches of tiles out of each other's cache sets.
  static constexpr std::int64_t kTileStretch = kRows * (kStretch + kLine / static_cast<std::int64_t>(sizeof(Operand)));
  using Ends = typename Q::template Columns<kColumns>;

  static std::int64_t stretches(std::int64_t k) noexcept { return (k + kStretch - 1) / kStretch; }
  static std::size_t values_bytes(std::int64_t k) noexcept {
    return round_up(static_cast<std::size_t>(stretches(k) * kTileStretch) * sizeof(Operand), 64);
  }
  static std::size_t tile_bytes(std::int64_t k) noexcept { return values_bytes(k) + round_up(kRows * sizeof(float), 64); }
  static std::size_t weights_bytes(std::int64_t k) noexcept {
    return round_up(static_cast<std::size_t>((k + kGroup - 1) / kGroup * kGroup * kColumns), 64);
  }
  static std::size_t panel_bytes(std::int64_t k) noexcept { return weights_bytes(k) + round_up(sizeof(Ends), 64); }

  static void pack_a(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t k, std::byte* tile) noexcept {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    auto* const scales = reinterpret_cast<float*>(tile + values_bytes(k));
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto* row = static_cast<const std::byte*>(x) + r * stride * size;
      const typename Q::Scale s = Q::scale_of(Q::largest(row, dtype, k));
      scales[r] = s.scale;
      for (std::int64_t k0 = 0; k0 < k; k0 += Q::kChunk) {
        const std::int64_t n = k - k0 < Q::kChunk ? k - k0 : Q::kChunk;
        Operand values[Q::kChunk];
        Q::values(row + k0 * size, dtype, n, s.inverse, Unit::kOffset, values);
        for (std::int64_t i = n; i % kRun != 0; ++i) values[i] = 0;  // meets weights of zero
        auto* const to = reinterpret_cast<Operand*>(tile) + k0 / kStretch * kTileStretch + k0 % kStretch * rows + r * kRun;
        for (std::int64_t i = 0; i < n; i += kRun) std::memcpy(to + i * rows, values + i, kRun * sizeof(Operand));
      }
    }
  }

  static void pack_w(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
    Q::template pack_weight<kColumns>(w, dtype, first, columns, k, Unit::kOffset, reinterpret_cast<std::int8_t*>(panel),
                                      *reinterpret_cast<Ends*>(panel + weights_bytes(k)), Place{});
  }
  struct Place {
    std::int64_t operator()(std::int64_t k, std::int64_t column) const noexcept {
      return k / kGroup * kGroup * kColumns + column * kGroup + k % kGroup;
    }
  };

  // kCount groups more: a whole run, or one group of the last.
  template <int kTile, int kCount>
  [[gnu::always_inline]] static void add_groups(const Operand*& a, const std::int8_t*& w, typename Unit::Sums (&sum)[kTile][kVectors]) noexcept {
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const typename Unit::Weights w0 = Unit::load_weights(w + i * kGroup * kColumns);
      const typename Unit::Weights w1 = Unit::load_weights(w + i * kGroup * kColumns + kLanes * kGroup);
#pragma GCC unroll 16
      for (int r = 0; r < kTile; ++r) {
        const typename Unit::Values x = Unit::broadcast(a + r * kRun + i * kGroup);
        sum[r][0] = Unit::dot(sum[r][0], x, w0);
        sum[r][1] = Unit::dot(sum[r][1], x, w1);
      }
    }
    a += kCount == kGroups ? kTile * kRun : kCount * kGroup;
    w += kCount * kGroup * kColumns;
  }

  template <int kTile, int kLines>
  static void tile_product(const Operand* a, const std::int8_t* w, std::int64_t groups, bool first, float* c, Fetch fetch) noexcept {
    typename Unit::Sums sum[kTile][kVectors];
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sum[r][v] = first ? Unit::zero() : Unit::load(c + r * kColumns + v * kLanes);
    const std::int64_t whole = groups / kGroups * kGroups;
    for (std::int64_t i = 0; i < whole; i += kGroups) {
      fetch_lines<kLines>(fetch);
      add_groups<kTile, kGroups>(a, w, sum);
    }
    for (std::int64_t i = whole; i < groups; ++i) add_groups<kTile, 1>(a, w, sum);
#pragma GCC unroll 16
    for (int r = 0; r < kTile; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) Unit::store(c + r * kColumns + v * kLanes, sum[r][v]);
  }

  template <int kLines, int kTile = kRows>
  static void any_tile(std::int64_t rows, const Operand* a, const std::int8_t* w, std::int64_t groups, bool first, float* c, Fetch fetch) noexcept {
    if (rows == kTile) return tile_product<kTile, kLines>(a, w, groups, first, c, fetch);
    if constexpr (kTile > 1) any_tile<kLines, kTile - 1>(rows, a, w, groups, first, c, fetch);
  }

  static constexpr std::int64_t kRunBytes = kRun * kColumns;
  static constexpr int kRunLines = kRunBytes > kLine ? static_cast<int>(kRunBytes / kLine) : 1;
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
    const std::size_t scales = values_bytes(b.k);
    const auto panel = static_cast<std::int64_t>(panel_bytes(b.k));
    const std::size_t ends = weights_bytes(b.k);
    const std::int64_t tiles = b.last_tile - b.first_tile;
    const TileHeights heights(b.first_tile, b.m, b.tiles);
    for (std::int64_t k0 = 0; k0 < b.k; k0 += kStretch) {
      const std::int64_t groups = ((b.k - k0 < kStretch ? b.k - k0 : kStretch) + kGroup - 1) / kGroup;
      const bool end = k0 + kStretch >= b.k;
      const std::int64_t fetches = groups / kGroups * kLines;
      const std::int64_t step = fetch_step(groups * kGroup * kColumns, fetches * tiles);
      for (std::int64_t p = 0; p < b.panels; ++p) {
        const std::byte* w = b.w + p * panel + k0 * kColumns;
        Fetch fetch{p + 1 < b.panels ? w + panel : end ? b.w + b.panels * panel : b.w + (k0 + kStretch) * kColumns, step};
        TileHeights height = heights;
        for (std::int64_t t = 0; t < tiles; ++t, fetch.at += fetches * step) {
          const std::int64_t rows = height.next();
          const std::byte* const tile = b.a + static_cast<std::size_t>(t) * a_tile;
          float* const c = b.c + (p * tiles + t) * kRows * kColumns;
          any_tile<kLines>(rows, reinterpret_cast<const Operand*>(tile) + k0 / kStretch * kTileStretch, reinterpret_cast<const std::int8_t*>(w),
                           groups, k0 == 0, c, fetch);
          if (end)
            Q::template finish<kColumns>(c, rows, reinterpret_cast<const float*>(tile + scales),
                                         *reinterpret_cast<const Ends*>(b.w + p * panel + ends));
        }
      }
    }
  }

  static constexpr GemmFunctions kFunctions = {
      .weights = DType::i8,
      .tile_rows = kRows,
      .panel_columns = kColumns,
      .block_rows = 192,
      .block_columns = 256,
      .item_columns = 512,
      .tile_bytes = &tile_bytes,
      .panel_bytes = &panel_bytes,
      .scratch_bytes = 0,
      .pack_a = &pack_a,
      .pack_w = &pack_w,
      .pack_rows = nullptr,
      .block = &block,
      .epilogue = nullptr,
      .direct = nullptr,
      .direct_scratch = nullptr,
  };
};

}  // namespace tessera::kernels::gemm
