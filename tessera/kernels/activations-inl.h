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

/// NaN stays NaN: the comparison is false for it.
template <class D, class V>
HWY_INLINE V relu(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x);
}

template <class D, class V>
HWY_INLINE V relu6(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V six = hn::Set(d, 6.0f);
  return relu(d, hn::IfThenElse(hn::Gt(x, six), six, x));
}

/// x * relu6(x + 3) / 6; exactly 0 up to x = -3, -inf included.
template <class D, class V>
HWY_INLINE V hardswish(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V three = hn::Set(d, 3.0f);
  const V y = hn::Mul(x, hn::Mul(relu6(d, hn::Add(x, three)), hn::Set(d, 1.0f / 6.0f)));
  return hn::IfThenElse(hn::Le(x, hn::Neg(three)), hn::Zero(d), y);
}

/// erf(a) / a for |a| <= 1, from square = a * a. Polynomial: S. L. Moshier, Cephes Mathematical Library, ndtrf.c.
template <class D, class V>
HWY_INLINE V erf_over(D d, V square) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  V near = hn::Set(d, 7.853861353153693e-5f);
  for (const float v :
       {-8.010193625184903e-4f, 5.188327685732524e-3f, -2.685381193529856e-2f, 1.128358514861418e-1f, -3.761262582423300e-1f, 1.128379165726710e+0f})
    near = hn::MulAdd(near, square, hn::Set(d, v));
  return near;
}

/// erfc(a) for a >= 0 or NaN; good to a few units in the last place up to a = 1, beyond that times a * a (the rounding of the exponent).
/// Polynomials: S. L. Moshier, Cephes Mathematical Library, ndtrf.c.
template <class D, class V>
HWY_INLINE V erfc_positive(D d, V a) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto c = [d](float v) { return hn::Set(d, v); };
  const V square = hn::Mul(a, a);
  const V near = hn::Sub(c(1.0f), hn::Mul(a, erf_over(d, square)));
  const V q = hn::Div(c(1.0f), hn::Max(a, c(1.0f)));
  const V r = hn::Mul(q, q);
  V mid = c(2.326819970068386e-2f);
  for (const float v : {-1.387039388740657e-1f, 3.687424674597105e-1f, -5.824733027278666e-1f, 6.210004621745983e-1f, -4.944515323274145e-1f,
                        3.404879937665872e-1f, -2.741127028184656e-1f, 5.638259427386472e-1f})
    mid = hn::MulAdd(mid, r, c(v));
  V far = c(-1.047766399936249e+1f);
  for (const float v : {1.297719955372516e+1f, -7.495518717768503e+0f, 2.921019019210786e+0f, -1.015265279202700e+0f, 4.218463358204948e-1f,
                        -2.820767439740514e-1f, 5.641895067754075e-1f})
    far = hn::MulAdd(far, r, c(v));
  const V tail = hn::Mul(hn::Mul(hn::Exp(d, hn::Neg(square)), q), hn::IfThenElse(hn::Lt(a, c(2.0f)), mid, far));
  // False for NaN, so that NaN takes `tail`: exp(NaN).
  return hn::IfThenElse(hn::Lt(a, c(1.0f)), near, tail);
}

/// x Phi(x) = x / 2 (1 + erf(x / sqrt 2)); 0 at -inf, which is the limit.
template <class D, class V>
HWY_INLINE V gelu_erf(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V half = hn::Mul(hn::Set(d, 0.5f), erfc_positive(d, hn::Mul(hn::Abs(x), hn::Set(d, 0.7071067811865476f))));
  const V share = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), half, hn::Sub(hn::Set(d, 1.0f), half));
  const V y = hn::IfThenElse(hn::Eq(x, x), hn::Mul(x, share), x);
  return hn::IfThenElse(hn::Eq(x, hn::Set(d, -__builtin_inff())), hn::Zero(d), y);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
