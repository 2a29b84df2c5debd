// f32 and bf16 in and out of vectors of f64, for Highway sources that are compiled once per target. Private to kernels.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_DOUBLES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DOUBLES_INL_H_
#undef TESSERA_KERNELS_DOUBLES_INL_H_
#else
#define TESSERA_KERNELS_DOUBLES_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

using F64 = hwy::HWY_NAMESPACE::ScalableTag<double>;

/// A vector of f64 from as many f32 or bf16.
template <class D64, class T>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D64> load_wide(D64 d, const T* p) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::Rebind<float, D64> narrow;
  return hn::PromoteTo(d, load_row(narrow, p));
}

/// Rounded to f32, infinite where it is too large (Highway's scalar conversion would stop at the largest number).
template <class D64, class V>
HWY_INLINE void store_narrow(D64 /*d*/, V v, float* p) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
#if HWY_TARGET == HWY_SCALAR
  *p = static_cast<float>(hn::GetLane(v));
#else
  const hn::Rebind<float, D64> narrow;
  hn::StoreU(hn::DemoteTo(narrow, v), narrow, p);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
