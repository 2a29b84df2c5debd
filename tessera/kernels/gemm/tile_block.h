// The AMX rows, bf16 and int8, over a unit of eight tile registers: the processor's, or their emulation. Included inside a target region, so it
// includes nothing that could be compiled for more than the baseline; include gemm.h and pack.h before. Private to kernels/gemm.
// Tests: tests/kernels/gemm_test.cpp, tests/kernels/gemm_int8_test.cpp.
#pragma once

#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/gemm/quantise.h"

namespace tessera::kernels::gemm {

/// What ldtilecfg reads: palette 1, bytes per row and rows of each tile.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

/// Unit: Element (bf16, or int8_t for whole sums); configure, release, zero<t>, load<t>(from, stride), store<t>(to, stride) with strides in bytes,
/// and dot<c, a, b>: c[m][n] += sum over 16 groups k of a[m][k] . b[k][n], a group being four bytes: a pair of bf16, or four int8.
template <class Unit>
struct TileGemm {
  using Element = typename Unit::Element;
  using Q = Quantise<Unit>;
  static constexpr bool kWhole = sizeof(Element) == 1;
  static constexpr std::int64_t kSub = 16;         // rows of a tile register
  static constexpr std::int64_t kRows = 2 * kSub;  // 2 x 2 tiles of sums: every operand tile is used twice
  static constexpr std::int64_t kColumns = 32;
  static constexpr std::int64_t kStep = 64 / static_cast<std::int64_t>(sizeof(Element));  // of k, in one tile
  static constexpr std::int64_t kStepBytes = 2048;                                        // of packed A and of packed W
  // Steps whose weight sub-panel (16 KB) stays in L1 while the tiles of A pass over it.
  static constexpr std::int64_t kStretch = 8;
  // Bytes of the A block that stay in L2 while the panels pass over it.
  static constexpr std::int64_t kResident = 1 << 20;

  static std::int64_t steps(std::int64_t k) noexcept { return (k + kStep - 1) / kStep; }
  // int8: the scales of rows and columns stand behind the values.
  using Ends = typename Q::template Columns<kColumns>;
  static std::size_t values_bytes(std::int64_t k) noexcept { return static_cast<std::size_t>(steps(k) * kStepBytes); }
  static std::size_t tile_bytes(std::int64_t k) noexcept { return values_bytes(k) + (kWhole ? round_up(kRows * sizeof(float), 64) : 0); }
  static std::size_t panel_bytes(std::int64_t k) noexcept { return values_bytes(k) + (kWhole ? round_up(sizeof(Ends), 64) : 0); }

  // [step][2 sub-tiles][16 rows][32]: the first half of the rows (the larger one) in sub-tile 0. Rows in 1 KB blocks: straight from a matrix
  // whose row stride is a power of two the 16 rows of a tile would share one cache set.
  static void pack_a(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t k, std::byte* tile) noexcept {
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    const std::int64_t upper = (rows + 1) / 2;
    float inverse[kRows] = {};
    if constexpr (kWhole)
      for (std::int64_t r = 0; r < rows; ++r) {
        const typename Q::Scale s = Q::scale_of(Q::largest(static_cast<const std::byte*>(x) + r * stride * size, dtype, k));
        reinterpret_cast<float*>(tile + values_bytes(k))[r] = s.scale;
        inverse[r] = s.inverse;
      }
    for (std::int64_t slot = 0; slot < kRows; ++slot) {
      const std::int64_t sub = slot / kSub;
      const std::int64_t r = slot % kSub + (sub == 0 ? 0 : upper);
      const bool used = sub == 0 ? r < upper : r < rows;
      for (std::int64_t s = 0; s < steps(k); ++s) {
        const std::int64_t n = !used ? 0 : k - s * kStep < kStep ? k - s * kStep : kStep;
        const std::int64_t from = used ? (r * stride + s * kStep) * size : 0;
        auto* const to = reinterpret_cast<Element*>(tile + s * kStepBytes + slot * 64);
        if constexpr (kWhole) {
          Q::values(static_cast<const std::byte*>(x) + from, dtype, n, used ? inverse[r] : 0.0f, 0, to);
          for (std::int64_t i = n; i < kStep; ++i) to[i] = 0;
        } else {
          round_row(static_cast<const std::byte*>(x) + from, dtype, n, kStep, to);
        }
      }
    }
  }

  static void pack_w(const void* w, DType dtype, std::int64_t first, std::int64_t columns, std::int64_t k, std::byte* panel) noexcept {
    if constexpr (kWhole)
      Q::template pack_weight<kColumns>(w, dtype, first, columns, k, 0, reinterpret_cast<std::int8_t*>(panel),
                                        *reinterpret_cast<Ends*>(panel + values_bytes(k)), BytePlace{});
    else
      pack_weight<TilePanel>(w, dtype, first, columns, k, panel);
  }
  static constexpr decltype(GemmFunctions::pack_rows) kPackRows = []() -> decltype(GemmFunctions::pack_rows) {
    if constexpr (kWhole)
      return nullptr;
    else
      return &pack_rows<TilePanel>;
  }();
  // As TilePanel, groups of four: [k / 64][2 halves of 16 columns][16 groups of k][16 columns][4].
  struct BytePlace {
    std::int64_t operator()(std::int64_t k, std::int64_t column) const noexcept {
      return k / 64 * 2048 + k % 64 / 4 * 64 + k % 4 + column / 16 * 1024 + column % 16 * 4;
    }
  };

  // Sums of both sub-tiles, at rows 0 and `upper` of the tile's place in C. All are loaded before any is stored: where the second sub-tile
  // is the taller one, the first one's last row lies over its first row, and is overwritten by it.
  template <bool kTwo>
  static void tile_product(Unit& unit, const std::byte* a, const std::byte* w, std::int64_t n, bool first, float* c0, float* c1,
                           const std::byte* next, std::int64_t lines) noexcept {
    constexpr std::int64_t kRowBytes = kColumns * static_cast<std::int64_t>(sizeof(float));
    constexpr std::int64_t kLine = 64;
    if (first) {
      unit.template zero<0>();
      unit.template zero<1>();
      if constexpr (kTwo) {
        unit.template zero<2>();
        unit.template zero<3>();
      }
    } else {
      unit.template load<0>(c0, kRowBytes);
      unit.template load<1>(c0 + 16, kRowBytes);
      if constexpr (kTwo) {
        unit.template load<2>(c1, kRowBytes);
        unit.template load<3>(c1 + 16, kRowBytes);
      }
    }
    for (std::int64_t s = 0; s < n; ++s) {
      unit.template load<6>(w, kLine);
      unit.template load<4>(a, kLine);
      unit.template dot<0, 4, 6>();
      unit.template load<7>(w + 1024, kLine);
      unit.template dot<1, 4, 7>();
      if constexpr (kTwo) {
        unit.template load<5>(a + 1024, kLine);
        unit.template dot<2, 5, 6>();
        unit.template dot<3, 5, 7>();
      }
      // The next panel on its way into L2, evenly, so that the memory never idles.
      for (std::int64_t line = 0; line < lines; ++line) __builtin_prefetch(next + line * kLine, 0, 2);
      next += lines * kLine;
      a += kStepBytes;
      w += kStepBytes;
    }
    unit.template store<0>(c0, kRowBytes);
    unit.template store<1>(c0 + 16, kRowBytes);
    if constexpr (kTwo) {
      unit.template store<2>(c1, kRowBytes);
      unit.template store<3>(c1 + 16, kRowBytes);
    }
  }

  static void block(const GemmBlock& b) noexcept {
    const std::size_t a_tile = tile_bytes(b.k);
    const std::int64_t panel = static_cast<std::int64_t>(panel_bytes(b.k));
    const std::int64_t tiles = b.last_tile - b.first_tile;
    const std::int64_t all = steps(b.k);
    // One configuration for all: tiles differ by a row at most, and a row too many only makes a sum that nobody reads.
    const std::int64_t tallest = (b.m + b.tiles - 1) / b.tiles;
    const std::int64_t sub_rows = (tallest + 1) / 2;
    const bool two = tallest > 1;
    TileConfig config;
    for (int t = 0; t < 8; ++t) {
      config.row_bytes[t] = 64;
      config.rows[t] = static_cast<std::uint8_t>(t < 6 ? sub_rows : kSub);
    }
    Unit unit;
    unit.configure(config);
    std::int64_t resident = kResident / (tiles * kStepBytes) / kStretch * kStretch;
    if (resident < kStretch) resident = kStretch;
    for (std::int64_t s0 = 0; s0 < all; s0 += resident) {
      const std::int64_t s1 = s0 + resident < all ? s0 + resident : all;
      for (std::int64_t p = 0; p < b.panels; ++p) {
        const std::byte* w = b.w + p * panel;
        const bool last = p + 1 == b.panels;
        // What the next panel will read; after the last one the first one's next stretch, or whatever follows this block.
        const std::byte* next = !last ? w + panel + s0 * kStepBytes : s1 < all ? b.w + s1 * kStepBytes : w + panel;
        const std::int64_t lines = (kStepBytes / 64 + tiles - 1) / tiles;  // per step of a tile
        for (std::int64_t s = s0; s < s1; s += kStretch) {
          const std::int64_t n = s1 - s < kStretch ? s1 - s : kStretch;
          for (std::int64_t t = 0; t < tiles; ++t) {
            const std::int64_t row = gemm_tile_row(b.first_tile + t, b.m, b.tiles);
            const std::int64_t rows = gemm_tile_row(b.first_tile + t + 1, b.m, b.tiles) - row;
            const std::byte* a = b.a + static_cast<std::size_t>(t) * a_tile + s * kStepBytes;
            float* c0 = b.c + (p * tiles + t) * kRows * kColumns;
            float* c1 = c0 + (rows + 1) / 2 * kColumns;
            if (two)
              tile_product<true>(unit, a, w + s * kStepBytes, n, s == 0, c0, c1, next, lines);
            else
              tile_product<false>(unit, a, w + s * kStepBytes, n, s == 0, c0, c1, next, lines);
            next += n * lines * 64;
            if constexpr (kWhole)
              if (s + kStretch >= all)
                Q::template finish<kColumns>(c0, rows, reinterpret_cast<const float*>(b.a + static_cast<std::size_t>(t) * a_tile + values_bytes(b.k)),
                                             *reinterpret_cast<const Ends*>(w + values_bytes(b.k)));
          }
        }
      }
    }
    unit.release();
  }

  static constexpr GemmFunctions kFunctions = {
      .weights = kWhole ? DType::i8 : DType::bf16,
      .tile_rows = kRows,
      .panel_columns = kColumns,
      .block_rows = 256,
      .block_columns = 128,
      .item_columns = 512,
      .tile_bytes = &tile_bytes,
      .panel_bytes = &panel_bytes,
      .scratch_bytes = 0,
      .pack_a = &pack_a,
      .pack_w = &pack_w,
      .pack_rows = kPackRows,
      .block = &block,
      .epilogue = nullptr,
      .direct = nullptr,
      .direct_scratch = nullptr,
  };
};

}  // namespace tessera::kernels::gemm
