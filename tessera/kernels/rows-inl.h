// Loading and storing rows of f32 or bf16 as vectors of f32, for Highway sources that are compiled once per target. Private to kernels.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_ROWS_INL_H_
#undef TESSERA_KERNELS_ROWS_INL_H_
#else
#define TESSERA_KERNELS_ROWS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "tessera/core/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_row(D d, const float* p) {
  return hwy::HWY_NAMESPACE::LoadU(d, p);
}

template <class D>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_row(D d, const bf16* p) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<std::uint16_t, D> d16;
  const hn::RebindToUnsigned<D> d32;
  const auto bits = hn::PromoteTo(d32, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(p)));
  return hn::BitCast(d, hn::ShiftLeft<16>(bits));
}

template <class D, class V>
HWY_INLINE void store_row(D d, V v, float* p) {
  hwy::HWY_NAMESPACE::StoreU(v, d, p);
}

/// The bits of bf16 in 32-bit lanes. Rounds to nearest, ties to even; NaN stays NaN: the same bits as to_bf16() in core/dtype.h.
template <class D, class V>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<hwy::HWY_NAMESPACE::RebindToUnsigned<D>> bf16_bits(D /* f32 */, V v) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToUnsigned<D> du;
  const auto u = hn::BitCast(du, v);
  const auto upper = hn::ShiftRight<16>(u);
  const auto rounded = hn::ShiftRight<16>(hn::Add(u, hn::Add(hn::Set(du, 0x7fffu), hn::And(upper, hn::Set(du, 1u)))));
  const auto quiet = hn::Or(upper, hn::Set(du, 0x40u));
  // Not Ne(v, v): it is an ordered comparison on AVX2, false for NaN.
  const auto is_number = hn::RebindMask(du, hn::Eq(v, v));
  return hn::IfThenElse(is_number, rounded, quiet);
}

template <class D, class V>
HWY_INLINE void store_row(D d, V v, bf16* p) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<std::uint16_t, D> d16;
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, bf16_bits(d, v))), d16, reinterpret_cast<std::uint16_t*>(p));
}

/// n elements of bf16 as f32.
HWY_MAYBE_UNUSED static void widen_row(const bf16* x, float* y, std::int64_t n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load_row(d, x + i), d, y + i);
  for (; i < n; ++i) y[i] = to_f32(x[i]);
}

/// n elements of f32 rounded to bf16.
HWY_MAYBE_UNUSED static void narrow_row(const float* x, bf16* y, std::int64_t n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_row(d, hn::LoadU(d, x + i), y + i);
  for (; i < n; ++i) y[i] = to_bf16(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
