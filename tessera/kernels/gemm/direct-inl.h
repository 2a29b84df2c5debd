// Products of few columns or little depth, as 1x1 convolutions have them: rows of x are read where they lie, sums are finished in registers.
// The same chains over k as block(), hence the same bits. Private to kernels/gemm. Test: tests/kernels/gemm_test.cpp.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_GEMM_DIRECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_GEMM_DIRECT_INL_H_
#undef TESSERA_KERNELS_GEMM_DIRECT_INL_H_
#else
#define TESSERA_KERNELS_GEMM_DIRECT_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/gemm/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of x that are taken together: they pass a panel of W while both are in the caches.
constexpr std::int64_t kDirectRows = 96 / kTileRows * kTileRows;
constexpr std::int64_t kDirectBytes = 96 << 10;

static std::int64_t direct_rows(std::int64_t k) noexcept {
  const std::int64_t fit = kDirectBytes / static_cast<std::int64_t>(sizeof(float)) / k / kTileRows * kTileRows;
  return HWY_MAX(HWY_MIN(fit, kDirectRows), std::int64_t{kTileRows});
}
// Of a converted row: the 16 keep rows out of each other's cache sets.
static std::int64_t direct_stride(std::int64_t k) noexcept { return (k + 15) / 16 * 16 + 16; }
template <class Layout>
static std::size_t direct_scratch(std::int64_t k) noexcept {
  const std::int64_t wide = sizeof(typename Layout::Element) == 2 ? k * kColumns : 0;
  return static_cast<std::size_t>(direct_rows(k) * direct_stride(k) + wide) * sizeof(float);
}

static void widen_panel(const std::byte* panel, std::int64_t k, float* wide) noexcept {
  const D d;
  const DU du;
  const auto* words = reinterpret_cast<const std::uint32_t*>(panel);
  const auto upper = hn::Set(du, 0xffff0000u);
  for (std::int64_t i = 0; i < k * kVectors / 2; ++i, words += kLanes, wide += 2 * kLanes) {
    const auto word = hn::Load(du, words);
    hn::Store(hn::BitCast(d, hn::ShiftLeft<16>(word)), d, wide);
    hn::Store(hn::BitCast(d, hn::And(word, upper)), d, wide + kLanes);
  }
}

// What ends a sum without leaving the registers.
struct DirectEnd {
  bool simple;  // none, relu or relu6, no gate
  bool clamp;
  float high;
};

// kRows x kCount vectors of sums: rows of x at `a`, `stride` apart, columns of the panel from its first.
template <int kRows, int kCount>
static HWY_INLINE void direct_sums(const float* a, std::int64_t stride, const float* w, std::int64_t k, V* sums) noexcept {
  const D d;
#pragma GCC unroll 32
  for (int i = 0; i < kRows * kCount; ++i) sums[i] = hn::Zero(d);
  // Every third row has a pointer; the two behind it are one and two strides away.
  constexpr int kBases = (kRows + 2) / 3;
  const float* base[kBases];
#pragma GCC unroll 8
  for (int i = 0; i < kBases; ++i) base[i] = a + 3 * i * stride;
  const auto step = [&](int ahead) HWY_ATTR {
    V b[kCount];
#pragma GCC unroll 4
    for (int v = 0; v < kCount; ++v) b[v] = hn::Load(d, w + ahead * kColumns + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const V x = hn::Set(d, base[r / 3][r % 3 * stride + ahead]);
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) sums[r * kCount + v] = hn::MulAdd(x, b[v], sums[r * kCount + v]);
    }
  };
  const auto advance = [&](int by) HWY_ATTR {
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) base[i] += by;
    w += by * kColumns;
  };
  std::int64_t i = 0;
  for (; i + 2 <= k; i += 2) {
    step(0);
    step(1);
    advance(2);
  }
  if (i < k) step(0);
}

template <int kRows, int kCount>
static HWY_NOINLINE void direct_tile(const GemmDirect& g, const DirectEnd& end, const float* a, std::int64_t stride, std::int64_t row,
                                     std::int64_t panel, const float* w) noexcept {
  const D d;
  V sums[kRows * kCount];
  direct_sums<kRows, kCount>(a, stride, w, g.k, sums);
  const std::int64_t column = panel * kColumns;
  const GemmEpilogue& e = g.epilogue;
  const std::int64_t y_at = row * e.y_stride + column;
  const std::int64_t residual_at = row * e.residual_stride + column;
  if (!end.simple || e.columns - column < kCount * kLanes) {
    HWY_ALIGN float c[kRows * kColumns];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < kCount; ++v) hn::Store(sums[r * kCount + v], d, c + r * kColumns + v * kLanes);
    GemmEpilogue part = e;
    part.c = c;
    part.c_panel_stride = 0;
    part.rows = kRows;
    part.columns = HWY_MIN(e.columns - column, std::int64_t{kColumns});
    if (e.bias != nullptr) part.bias = e.bias + column;
    if (e.gate != nullptr) part.gate = e.gate + row * e.gate_stride + column;
    if (e.residual != nullptr)
      part.residual = e.residual_bf16 ? static_cast<const void*>(static_cast<const bf16*>(e.residual) + residual_at)
                                      : static_cast<const float*>(e.residual) + residual_at;
    part.y = e.y_bf16 ? static_cast<void*>(static_cast<bf16*>(e.y) + y_at) : static_cast<float*>(e.y) + y_at;
    g.finish(part);
    return;
  }
#pragma GCC unroll 4
  for (int v = 0; v < kCount; ++v) {
    if (e.bias != nullptr) {
      const V bias = hn::LoadU(d, e.bias + column + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) sums[r * kCount + v] = hn::Add(sums[r * kCount + v], bias);
    }
    if (end.clamp) {
      const V high = hn::Set(d, end.high);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        // Comparisons are false for NaN, which stays.
        const V x = sums[r * kCount + v];
        const V low = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x);
        sums[r * kCount + v] = hn::IfThenElse(hn::Gt(low, high), high, low);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      V x = sums[r * kCount + v];
      if (e.residual != nullptr) {
        const std::int64_t at = residual_at + r * e.residual_stride + v * kLanes;
        x = hn::Add(e.residual_bf16 ? kernels::HWY_NAMESPACE::load_row(d, static_cast<const bf16*>(e.residual) + at)
                                    : hn::LoadU(d, static_cast<const float*>(e.residual) + at),
                    x);
      }
      const std::int64_t at = y_at + r * e.y_stride + v * kLanes;
      if (e.y_bf16)
        kernels::HWY_NAMESPACE::store_row(d, x, static_cast<bf16*>(e.y) + at);
      else
        hn::StoreU(x, d, static_cast<float*>(e.y) + at);
    }
  }
}

template <int kCount, int kRows = kTileRows>
static void direct_any(std::int64_t rows, const GemmDirect& g, const DirectEnd& end, const float* a, std::int64_t stride, std::int64_t row,
                       std::int64_t panel, const float* w) noexcept {
  if (rows == kRows) return direct_tile<kRows, kCount>(g, end, a, stride, row, panel, w);
  if constexpr (kRows > 1) direct_any<kCount, kRows - 1>(rows, g, end, a, stride, row, panel, w);
}

template <class Layout>
static void direct(const GemmDirect& g) noexcept {
  constexpr bool kWiden = sizeof(typename Layout::Element) == 2;
  const GemmEpilogue& e = g.epilogue;
  const bool clamp = e.activation == GemmActivation::relu || e.activation == GemmActivation::relu6;
  const DirectEnd end{(clamp || e.activation == GemmActivation::none) && e.gate == nullptr, clamp,
                      e.activation == GemmActivation::relu6 ? 6.0f : __builtin_inff()};
  // bf16 is widened, and what meets bf16 weights rounded, once for all panels.
  const bool convert = g.x_dtype == DType::bf16 || kWiden;
  const std::size_t panel_size = panel_bytes<Layout>(g.k);
  auto* const converted = reinterpret_cast<float*>(g.scratch);
  float* const wide = converted + direct_rows(g.k) * direct_stride(g.k);
  const std::int64_t most = direct_rows(g.k);
  const std::int64_t blocks = (g.row_last - g.row_first + most - 1) / most;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t first = g.row_first + gemm_tile_row(b, g.row_last - g.row_first, blocks);
    const std::int64_t rows = g.row_first + gemm_tile_row(b + 1, g.row_last - g.row_first, blocks) - first;
    const auto* a = static_cast<const float*>(g.x) + first * g.x_stride;
    std::int64_t stride = g.x_stride;
    if (convert) {
      stride = direct_stride(g.k);
      for (std::int64_t r = 0; r < rows; ++r) {
        if (g.x_dtype == DType::bf16)
          copy_row(static_cast<const bf16*>(g.x) + (first + r) * g.x_stride, g.k, converted + r * stride);
        else
          copy_row<kWiden>(static_cast<const float*>(g.x) + (first + r) * g.x_stride, g.k, converted + r * stride);
      }
      a = converted;
    }
    const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
    for (std::int64_t p = g.panel_first; p < g.panel_last; ++p) {
      const std::byte* const panel = g.w + static_cast<std::size_t>(p) * panel_size;
      if constexpr (kWiden) widen_panel(panel, g.k, wide);
      const float* const w = kWiden ? wide : reinterpret_cast<const float*>(panel);
      const bool half = e.columns - p * kColumns <= kColumns / 2;
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t row = gemm_tile_row(t, rows, tiles);
        const std::int64_t high = gemm_tile_row(t + 1, rows, tiles) - row;
        if (half)
          direct_any<kVectors / 2>(high, g, end, a + row * stride, stride, first + row, p, w);
        else
          direct_any<kVectors>(high, g, end, a + row * stride, stride, first + row, p, w);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels::gemm
HWY_AFTER_NAMESPACE();

#endif
