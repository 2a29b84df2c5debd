#include "tessera/kernels/gemm/vector.h"

#include <cstring>
#include <type_traits>

#include "tessera/kernels/gemm/tile_walk.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/gemm/vector.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/gemm/direct-inl.h"
#include "tessera/kernels/gemm/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// K is cut into stretches whose weight sub-panel, as f32, stays in L1 while the tiles of A pass over it.
constexpr std::int64_t kStretch = 256;
// A packed tile: [k / kGroup][rows][kGroup], so that the loop reads one stream and reaches a whole step with short addresses.
constexpr std::int64_t kGroup = 4;
// The 16 keep the stretches of tiles out of each other's cache sets.
constexpr std::int64_t kTileStretch = kTileRows * (kStretch + 16);

static std::int64_t stretches(std::int64_t k) noexcept { return (k + kStretch - 1) / kStretch; }
static std::size_t tile_bytes(std::int64_t k) noexcept { return round_up(static_cast<std::size_t>(stretches(k) * kTileStretch) * sizeof(float), 64); }
template <bool kRound>
static void pack_a(const void* x, DType dtype, std::int64_t stride, std::int64_t rows, std::int64_t k, std::byte* tile) noexcept {
  auto* out = reinterpret_cast<float*>(tile);
  float row[kStretch];
  for (std::int64_t k0 = 0; k0 < k; k0 += kStretch) {
    float* const to = out + k0 / kStretch * kTileStretch;
    const std::int64_t n = HWY_MIN(kStretch, k - k0);
    for (std::int64_t r = 0; r < rows; ++r) {
      if (dtype == DType::bf16)
        copy_row(static_cast<const bf16*>(x) + r * stride + k0, n, row);
      else
        copy_row<kRound>(static_cast<const float*>(x) + r * stride + k0, n, row);
      for (std::int64_t g = 0; g * kGroup < n; ++g) std::memcpy(to + (g * rows + r) * kGroup, row + g * kGroup, kGroup * sizeof(float));
    }
  }
}

enum class Weights { f32, widen, widen_and_keep };

// C[h][kColumns] (+)= A[h][k] W[k][kColumns], and kLines lines fetched with every kGroup of k. widen_and_keep leaves the widened weights in `wide`
// for the tiles that follow.
template <int kRows, Weights kWeights, int kLines>
static void tile_product(const float* HWY_RESTRICT a, const void* HWY_RESTRICT w, float* HWY_RESTRICT wide, std::int64_t k, bool first,
                         float* HWY_RESTRICT c, Fetch fetch) noexcept {
  const D d;
  const DU du;
  V sum[kRows][kVectors];
  if (first) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Zero(d);
  } else {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::Load(d, c + r * kColumns + v * kLanes);
  }
  const auto* words = static_cast<const std::uint32_t*>(w);
  const auto* floats = static_cast<const float*>(w);
  const auto steps = [&]<int kSteps>(std::integral_constant<int, kSteps>) HWY_ATTR {
#pragma GCC unroll 4
    for (int i = 0; i < kSteps; ++i) {
      V b[kVectors];
      if constexpr (kWeights == Weights::f32) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) b[v] = hn::Load(d, floats + i * kColumns + v * kLanes);
      } else {
        const auto upper = hn::Set(du, 0xffff0000u);
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; v += 2) {
          const auto word = hn::Load(du, words + i * kColumns / 2 + v / 2 * kLanes);
          b[v] = hn::BitCast(d, hn::ShiftLeft<16>(word));
          b[v + 1] = hn::BitCast(d, hn::And(word, upper));
        }
        if constexpr (kWeights == Weights::widen_and_keep) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) hn::Store(b[v], d, wide + i * kColumns + v * kLanes);
        }
      }
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const V x = hn::Set(d, a[r * kGroup + i]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sum[r][v] = hn::MulAdd(x, b[v], sum[r][v]);
      }
    }
    a += kSteps == kGroup ? kRows * kGroup : kSteps;
    if constexpr (kWeights == Weights::f32)
      floats += kSteps * kColumns;
    else
      words += kSteps * kColumns / 2;
    if constexpr (kWeights == Weights::widen_and_keep) wide += kSteps * kColumns;
  };
  const std::int64_t whole = k / kGroup * kGroup;
  for (std::int64_t i = 0; i < whole; i += kGroup) {
    fetch_lines<kLines>(fetch);
    steps(std::integral_constant<int, kGroup>());
  }
  for (std::int64_t i = whole; i < k; ++i) steps(std::integral_constant<int, 1>());
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::Store(sum[r][v], d, c + r * kColumns + v * kLanes);
}

template <Weights kWeights, int kLines, int kRows = kTileRows>
static void any_tile(std::int64_t rows, const float* a, const void* w, float* wide, std::int64_t k, bool first, float* c, Fetch fetch) noexcept {
  if (rows == kRows) return tile_product<kRows, kWeights, kLines>(a, w, wide, k, first, c, fetch);
  if constexpr (kRows > 1) any_tile<kWeights, kLines, kRows - 1>(rows, a, w, wide, k, first, c, fetch);
}

template <class Layout>
static constexpr std::int64_t kGroupBytes = static_cast<std::int64_t>(sizeof(typename Layout::Element) * kGroup * kColumns);
template <class Layout>
static constexpr int kGroupLines = kGroupBytes<Layout> > kLine ? static_cast<int>(kGroupBytes<Layout> / kLine) : 1;

// Tiles that are fewer than the lines of a group of k have more than one line to fetch with each: kLines.
template <class Layout, int kLines>
static void block_of(const GemmBlock& b) noexcept {
  constexpr bool kWiden = sizeof(typename Layout::Element) == 2;
  const std::size_t a_tile = tile_bytes(b.k);
  const std::size_t panel = panel_bytes<Layout>(b.k);
  const std::int64_t tiles = b.last_tile - b.first_tile;
  auto* wide = reinterpret_cast<float*>(b.scratch);
  const TileHeights heights(b.first_tile, b.m, b.tiles);
  for (std::int64_t k0 = 0; k0 < b.k; k0 += kStretch) {
    const std::int64_t k = HWY_MIN(kStretch, b.k - k0);
    const std::size_t part = static_cast<std::size_t>(k0 * kColumns) * sizeof(typename Layout::Element);
    const std::int64_t bytes = k * kColumns * static_cast<std::int64_t>(sizeof(typename Layout::Element));
    const std::int64_t fetches = k / kGroup * kLines;
    const std::int64_t step = fetch_step(bytes, fetches * tiles);
    for (std::int64_t p = 0; p < b.panels; ++p) {
      const std::byte* w = b.w + static_cast<std::size_t>(p) * panel + part;
      // The sub-panel that comes next is fetched while this one is used, an equal share with each tile.
      const std::byte* next = p + 1 < b.panels ? w + panel : k0 + kStretch < b.k ? b.w + part + bytes : w + panel - part;
      Fetch fetch{next, step};
      TileHeights height = heights;
      for (std::int64_t t = 0; t < tiles; ++t, fetch.at += fetches * step) {
        const std::int64_t rows = height.next();
        const auto* a = reinterpret_cast<const float*>(b.a + static_cast<std::size_t>(t) * a_tile) + k0 / kStretch * kTileStretch;
        float* c = b.c + (p * tiles + t) * kTileRows * kColumns;
        if constexpr (!kWiden)
          any_tile<Weights::f32, kLines>(rows, a, w, nullptr, k, k0 == 0, c, fetch);
        else if (t > 0)
          any_tile<Weights::f32, kLines>(rows, a, wide, nullptr, k, k0 == 0, c, fetch);
        else if (tiles > 1)
          any_tile<Weights::widen_and_keep, kLines>(rows, a, w, wide, k, k0 == 0, c, fetch);
        else
          any_tile<Weights::widen, kLines>(rows, a, w, nullptr, k, k0 == 0, c, fetch);
      }
    }
  }
}

template <class Layout>
static void block(const GemmBlock& b) noexcept {
  if (b.last_tile - b.first_tile >= kGroupLines<Layout>)
    block_of<Layout, 1>(b);
  else
    block_of<Layout, kGroupLines<Layout>>(b);
}

// Constants, not functions that return them: every processor reads the table, and code compiled here may run on few.
template <class Layout>
inline constexpr bool kWidens = sizeof(typename Layout::Element) == 2;
template <class Layout>
static constexpr GemmFunctions kFunctions = {
    .weights = kWidens<Layout> ? DType::bf16 : DType::f32,
    .tile_rows = kTileRows,
    .panel_columns = kColumns,
    .block_rows = 96,
    .block_columns = 256,
    .item_columns = 256,
    .tile_bytes = &tile_bytes,
    .panel_bytes = &panel_bytes<Layout>,
    .scratch_bytes = kWidens<Layout> ? static_cast<std::size_t>(kStretch* kColumns) * sizeof(float) : 0,
    .pack_a = &pack_a<kWidens<Layout>>,
    .pack_w = &pack_weight<Layout>,
    .pack_rows = &pack_rows<Layout>,
    .block = &block<Layout>,
    .epilogue = nullptr,
    .direct = &direct<Layout>,
    .direct_scratch = &direct_scratch<Layout>,
};
static constexpr GemmFunctions kWiden = kFunctions<WidenLayout>;
static constexpr GemmFunctions kF32 = kFunctions<F32Layout>;

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels::gemm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::kernels::gemm {

using device::Isa;

void add_widen_rows(std::vector<Row<GemmFunctions>>& table, bool scalar) {
  constexpr const char* kServes = "bf16 weights, widened to f32; any shape";
  if (scalar) {
    table.push_back({{"scalar", Isa::scalar, "bf16 weights; any shape"}, N_SCALAR::kWiden});
    return;
  }
#if HWY_TARGETS & HWY_AVX3
  table.push_back({{"avx512_widen", Isa::avx512, kServes}, N_AVX3::kWiden});
#endif
#if HWY_TARGETS & HWY_AVX2
  table.push_back({{"avx2_widen", Isa::avx2, kServes}, N_AVX2::kWiden});
#endif
#if HWY_TARGETS & HWY_NEON
  table.push_back({{"neon_widen", Isa::neon, kServes}, N_NEON::kWiden});
#endif
  static_cast<void>(kServes);
}

void add_f32_rows(std::vector<Row<GemmFunctions>>& table, bool scalar) {
  constexpr const char* kServes = "f32 weights; any shape";
  if (scalar) {
    table.push_back({{"scalar_f32", Isa::scalar, kServes}, N_SCALAR::kF32});
    return;
  }
#if HWY_TARGETS & HWY_AVX3
  table.push_back({{"avx512_f32", Isa::avx512, kServes}, N_AVX3::kF32});
#endif
#if HWY_TARGETS & HWY_AVX2
  table.push_back({{"avx2_f32", Isa::avx2, kServes}, N_AVX2::kF32});
#endif
#if HWY_TARGETS & HWY_NEON
  table.push_back({{"neon_f32", Isa::neon, kServes}, N_NEON::kF32});
#endif
}

}  // namespace tessera::kernels::gemm
#endif
