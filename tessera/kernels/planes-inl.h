// Pictures in order nchw, as many planes at a time as a vector has lanes: transposed to [pixel][lanes] and back, f32 or bf16 outside, f32
// inside. Values only move (bf16 out: rounded once). Private to kernels. Test: tests/kernels/pool_test.cpp, tests/kernels/depthwise_test.cpp.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_PLANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_PLANES_INL_H_
#undef TESSERA_KERNELS_PLANES_INL_H_
#else
#define TESSERA_KERNELS_PLANES_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR  // which has nothing to transpose

// Four neighbours of each of lanes planes: a quarter of a vector from each, the quarters of planes 0, 4, 8, 12 in one vector.
template <class T, class X>
HWY_INLINE hn::Vec<T> load_quarters(T d, const X* p, std::int64_t plane) noexcept {
  if constexpr (hn::MaxLanes(T()) <= 4) {
    return load_row(d, p);
  } else {
    const hn::Half<T> half;
    return hn::Combine(d, load_quarters(half, p + static_cast<std::int64_t>(hn::MaxLanes(half)) * plane, plane), load_quarters(half, p, plane));
  }
}
// T: lanes of f32, or of the bits of bf16.
template <class T, class W, class Y>
HWY_INLINE void store_quarters(T d, W v, Y* p, std::int64_t plane) noexcept {
  if constexpr (hn::MaxLanes(T()) > 4) {
    const hn::Half<T> half;
    store_quarters(half, hn::LowerHalf(half, v), p, plane);
    store_quarters(half, hn::UpperHalf(half, v), p + static_cast<std::int64_t>(hn::MaxLanes(half)) * plane, plane);
  } else if constexpr (hwy::IsSame<hn::TFromD<T>, float>()) {
    store_row(d, v, p);
  } else {
    const hn::Rebind<std::uint16_t, T> d16;
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(hn::RebindToSigned<T>(), v)), d16, reinterpret_cast<std::uint16_t*>(p));
  }
}

// Transposes the 4 x 4 square in every quarter.
template <class D, class V>
HWY_INLINE void transpose(D d, V* v) noexcept {
  const hn::Repartition<std::uint64_t, D> d64;
  const auto a = hn::BitCast(d64, hn::InterleaveLower(d, v[0], v[1]));
  const auto b = hn::BitCast(d64, hn::InterleaveUpper(d, v[0], v[1]));
  const auto e = hn::BitCast(d64, hn::InterleaveLower(d, v[2], v[3]));
  const auto f = hn::BitCast(d64, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, a, e));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, a, e));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, b, f));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, b, f));
}

#endif

// Elements [0, n) of each of `planes` planes to [n][lanes], `pitch` floats from one to the next; lanes without a plane become 0.
template <class X>
HWY_INLINE void planes_in(const X* x, std::int64_t plane, std::int64_t planes, std::int64_t n, float* to, std::int64_t pitch) noexcept {
  const hn::ScalableTag<float> d;
  constexpr std::int64_t kWide = hn::MaxLanes(d);
#if HWY_TARGET != HWY_SCALAR
  if (planes == kWide && n >= 4) {
    for (std::int64_t i = 0;; i += 4) {
      if (i + 4 > n) i = n - 4;
      hn::Vec<decltype(d)> v[4];
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) v[q] = load_quarters(d, x + (q * plane + i), plane);
      transpose(d, v);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) hn::StoreU(v[q], d, to + (i + q) * pitch);
      if (i + 4 == n) return;
    }
  }
#endif
  const hn::CappedTag<float, 1> one;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t l = 0; l < kWide; ++l) hn::StoreU(l < planes ? load_row(one, x + l * plane + i) : hn::Zero(one), one, to + i * pitch + l);
}

// And back; what stands in lanes without a plane is dropped.
template <class Y>
HWY_INLINE void planes_out(const float* from, std::int64_t pitch, std::int64_t n, Y* y, std::int64_t plane, std::int64_t planes) noexcept {
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  if (planes == static_cast<std::int64_t>(hn::MaxLanes(d)) && n >= 4) {
    for (std::int64_t i = 0;; i += 4) {
      if (i + 4 > n) i = n - 4;
      hn::Vec<decltype(d)> v[4];
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) v[q] = hn::LoadU(d, from + (i + q) * pitch);
      transpose(d, v);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        Y* const p = y + (q * plane + i);
        if constexpr (hwy::IsSame<Y, float>())
          store_quarters(d, v[q], p, plane);
        else
          store_quarters(hn::RebindToUnsigned<decltype(d)>(), bf16_bits(d, v[q]), p, plane);
      }
      if (i + 4 == n) return;
    }
  }
#endif
  const hn::CappedTag<float, 1> one;
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t l = 0; l < planes; ++l) store_row(one, hn::LoadU(one, from + i * pitch + l), y + l * plane + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
