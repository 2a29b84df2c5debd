#include "tessera/kernels/gemm/matrix_rows.h"

#if defined(__x86_64__) && !defined(TESSERA_SCALAR_ONLY)
#include <immintrin.h>

#include "hwy/base.h"
#include "tessera/kernels/gemm/pack.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512vl,avx512dq,amx-tile,amx-bf16,amx-int8")
#include "tessera/kernels/gemm/tile_block.h"

namespace tessera::kernels::gemm {
namespace amx {
namespace {

// The intrinsics take tile numbers as literals.
template <class Number>
struct Unit {
  using Element = Number;
  static HWY_INLINE void configure(const TileConfig& config) { _tile_loadconfig(&config); }
  static HWY_INLINE void release() { _tile_release(); }
  template <int kTile>
  static HWY_INLINE void zero() {
    static_assert(kTile >= 0 && kTile <= 3);
    if constexpr (kTile == 0) _tile_zero(0);
    if constexpr (kTile == 1) _tile_zero(1);
    if constexpr (kTile == 2) _tile_zero(2);
    if constexpr (kTile == 3) _tile_zero(3);
  }
  template <int kTile>
  static HWY_INLINE void load(const void* from, std::int64_t stride) {
    static_assert(kTile >= 0 && kTile <= 7);
    if constexpr (kTile == 0) _tile_loadd(0, from, stride);
    if constexpr (kTile == 1) _tile_loadd(1, from, stride);
    if constexpr (kTile == 2) _tile_loadd(2, from, stride);
    if constexpr (kTile == 3) _tile_loadd(3, from, stride);
    if constexpr (kTile == 4) _tile_loadd(4, from, stride);
    if constexpr (kTile == 5) _tile_loadd(5, from, stride);
    if constexpr (kTile == 6) _tile_loadd(6, from, stride);
    if constexpr (kTile == 7) _tile_loadd(7, from, stride);
  }
  template <int kTile>
  static HWY_INLINE void store(void* to, std::int64_t stride) {
    static_assert(kTile >= 0 && kTile <= 3);
    if constexpr (kTile == 0) _tile_stored(0, to, stride);
    if constexpr (kTile == 1) _tile_stored(1, to, stride);
    if constexpr (kTile == 2) _tile_stored(2, to, stride);
    if constexpr (kTile == 3) _tile_stored(3, to, stride);
  }
  template <int kSum, int kA, int kB>
  static HWY_INLINE void dot() {
    static_assert(kSum / 2 + 4 == kA && kSum % 2 + 6 == kB);
    if constexpr (sizeof(Number) == 1) {
      if constexpr (kSum == 0) _tile_dpbssd(0, 4, 6);
      if constexpr (kSum == 1) _tile_dpbssd(1, 4, 7);
      if constexpr (kSum == 2) _tile_dpbssd(2, 5, 6);
      if constexpr (kSum == 3) _tile_dpbssd(3, 5, 7);
    } else {
      if constexpr (kSum == 0) _tile_dpbf16ps(0, 4, 6);
      if constexpr (kSum == 1) _tile_dpbf16ps(1, 4, 7);
      if constexpr (kSum == 2) _tile_dpbf16ps(2, 5, 6);
      if constexpr (kSum == 3) _tile_dpbf16ps(3, 5, 7);
    }
  }
};

}  // namespace
}  // namespace amx

constinit const GemmFunctions kAmxBf16 = TileGemm<amx::Unit<bf16>>::kFunctions;
constinit const GemmFunctions kAmxI8 = TileGemm<amx::Unit<std::int8_t>>::kFunctions;

}  // namespace tessera::kernels::gemm
HWY_POP_ATTRIBUTES
#endif
