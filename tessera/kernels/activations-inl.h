// Activations on vectors of f32, for Highway sources that are compiled once per target. Private to kernels.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_ACTIVATIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_ACTIVATIONS_INL_H_
#undef TESSERA_KERNELS_ACTIVATIONS_INL_H_
#else
#define TESSERA_KERNELS_ACTIVATIONS_INL_H_
#endif

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

/// x * sigmoid(u), formed so that nothing overflows: exp of a number that is never positive.
template <class D, class V>
HWY_INLINE V times_sigmoid(D d, V x, V u) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f);
  const V e = hn::Exp(d, hn::Neg(hn::Abs(u)));
  const V numerator = hn::IfThenElse(hn::Ge(u, hn::Zero(d)), one, e);
  const V y = hn::Mul(x, hn::Div(numerator, hn::Add(one, e)));
  // At u = -inf the product is -inf * 0 = NaN where the limit is 0. A NaN in x makes u NaN as well and stays.
  return hn::IfThenElse(hn::Eq(u, hn::Set(d, -__builtin_inff())), hn::Zero(d), y);
}

/// 0.5 x (1 + tanh(z)) = x sigmoid(2 z), z = sqrt(2/pi) (x + 0.044715 x^3)
template <class D, class V>
HWY_INLINE V gelu_tanh(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V cube = hn::Mul(hn::Mul(x, x), x);
  return times_sigmoid(d, x, hn::Mul(hn::Set(d, 1.5957691216057308f), hn::MulAdd(hn::Set(d, 0.044715f), cube, x)));
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
