// What the vector rows share: the size of a tile, the layouts of panels, rows of x as f32. Private to kernels/gemm.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_GEMM_TILE_INL_H_
#undef TESSERA_KERNELS_GEMM_TILE_INL_H_
#else
#define TESSERA_KERNELS_GEMM_TILE_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/gemm/gemm.h"
#include "tessera/kernels/gemm/pack.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels::gemm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using DU = hn::RebindToUnsigned<D>;
using V = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));

// A tile of kTileRows x kVectors accumulators, with two weight vectors and a broadcast, fills the registers: 31 of 32 (AVX-512), 15 of 16 (AVX2).
#if HWY_TARGET == HWY_SCALAR
constexpr int kVectors = 4;
constexpr int kTileRows = 2;
#elif HWY_TARGET == HWY_AVX3
constexpr int kVectors = 2;
constexpr int kTileRows = 14;
#elif HWY_TARGET == HWY_AVX2
constexpr int kVectors = 2;
constexpr int kTileRows = 6;
#else
constexpr int kVectors = 2;
constexpr int kTileRows = 10;  // 12 would fit too, but GCC 12 loads so far ahead that it spills five sums
#endif
constexpr int kColumns = kVectors * kLanes;

using F32Layout = F32Panel<kColumns>;
using WidenLayout = WidenPanel<kColumns, kLanes>;

template <class Layout>
static std::size_t panel_bytes(std::int64_t k) noexcept {
  return round_up(static_cast<std::size_t>(k * kColumns) * sizeof(typename Layout::Element), 64);
}

// f32 rounded to bf16 (nearest, ties to even, NaN stays NaN), as f32.
static HWY_INLINE V rounded(V x) {
  const D d;
  const DU du;
  const auto u = hn::BitCast(du, x);
  const auto tie = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  const auto up = hn::And(hn::Add(u, hn::Add(tie, hn::Set(du, 0x7fffu))), hn::Set(du, 0xffff0000u));
  return hn::IfThenElse(hn::IsNaN(x), hn::BitCast(d, hn::Or(hn::And(u, hn::Set(du, 0xffff0000u)), hn::Set(du, 0x400000u))), hn::BitCast(d, up));
}
static float rounded_one(float x) noexcept { return to_f32(to_bf16(x)); }

template <bool kRound>
static void copy_row(const float* x, std::int64_t n, float* to) noexcept {
  const D d;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const V v = hn::LoadU(d, x + i);
    hn::StoreU(kRound ? rounded(v) : v, d, to + i);
  }
  for (; i < n; ++i) to[i] = kRound ? rounded_one(x[i]) : x[i];
}

static void copy_row(const bf16* x, std::int64_t n, float* to) noexcept {
  const D d;
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(kernels::HWY_NAMESPACE::load_row(d, x + i), d, to + i);
  for (; i < n; ++i) to[i] = to_f32(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels::gemm
HWY_AFTER_NAMESPACE();

#endif
