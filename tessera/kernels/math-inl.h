// Elementary functions on vectors of f32, right at both ends and for NaN, for Highway sources that are compiled once per target. Private to
// kernels. Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_MATH_INL_H_
#undef TESSERA_KERNELS_MATH_INL_H_
#else
#define TESSERA_KERNELS_MATH_INL_H_
#endif

#include <cmath>
#include <cstdint>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

/// y, but x where x is NaN.
template <class D, class V>
HWY_INLINE V keep_nan(D /*d*/, V x, V y) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::IfThenElse(hn::Eq(x, x), y, x);
}

/// x between low and high; NaN becomes low.
template <class D, class V>
HWY_INLINE V held(D d, V x, float low, float high) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return hn::Min(hn::IfThenElse(hn::Gt(x, hn::Set(d, low)), x, hn::Set(d, low)), hn::Set(d, high));
}

// ---- exponentials ----

/// 2^n for whole n of -126 to 127.
template <class D, class VI>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> power_of_two(D d, VI n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  return hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(n, hn::Set(di, 127))));
}

/// y 2^n in two steps, so that subnormal results are rounded once and n may be as large as 254.
template <class D, class V, class VI>
HWY_INLINE V scaled(D d, V y, VI n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const VI half = hn::ShiftRight<1>(n);
  return hn::Mul(hn::Mul(y, power_of_two(d, half)), power_of_two(d, hn::Sub(n, half)));
}

/// x - n ln 2 for the nearest whole n. ln 2 in two parts: n times the first one is exact.
template <class D, class V, class VI>
HWY_INLINE V remainder_of_ln2(D d, V x, VI& n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  n = hn::NearestInt(hn::Mul(x, hn::Set(d, 1.44269504f)));
  const V k = hn::ConvertTo(d, n);
  return hn::NegMulAdd(k, hn::Set(d, 1.42860682e-6f), hn::NegMulAdd(k, hn::Set(d, 0.693145751953125f), x));
}

/// e^r - 1 for |r| <= ln(2) / 2: Taylor's series up to r^8, in pairs so that the chain of additions is short.
template <class D, class V>
HWY_INLINE V expm1_near(D d, V r) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const auto c = [d](float v) { return hn::Set(d, v); };
  const V s = hn::Mul(r, r);
  const V low = hn::MulAdd(hn::MulAdd(c(1.0f / 120), r, c(1.0f / 24)), s, hn::MulAdd(c(1.0f / 6), r, c(0.5f)));
  const V high = hn::MulAdd(c(1.0f / 40320), s, hn::MulAdd(c(1.0f / 5040), r, c(1.0f / 720)));
  return hn::MulAdd(hn::MulAdd(high, hn::Mul(s, s), low), s, r);
}

template <class D, class V>
HWY_INLINE V exp_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  hn::Vec<hn::RebindToSigned<D>> n;
  const V r = remainder_of_ln2(d, held(d, x, -104.0f, 89.0f), n);
  return keep_nan(d, x, scaled(d, hn::Add(expm1_near(d, r), hn::Set(d, 1.0f)), n));
}

template <class D, class V>
HWY_INLINE V exp2_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V t = held(d, x, -151.0f, 129.0f);
  const auto n = hn::NearestInt(t);
  const V r = hn::Mul(hn::Sub(t, hn::ConvertTo(d, n)), hn::Set(d, 0.693147181f));
  return keep_nan(d, x, scaled(d, hn::Add(expm1_near(d, r), hn::Set(d, 1.0f)), n));
}

/// Formed at half its size: 2^n itself may be too large where the result is not.
template <class D, class V>
HWY_INLINE V expm1_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  hn::Vec<hn::RebindToSigned<D>> n;
  const V p = expm1_near(d, remainder_of_ln2(d, held(d, x, -30.0f, 89.0f), n));
  const V s = power_of_two(d, hn::Sub(n, hn::Set(di, 1)));
  const V half = hn::MulAdd(s, p, hn::Sub(s, hn::Set(d, 0.5f)));
  return keep_nan(d, x, hn::Add(half, half));
}

// ---- logarithms ----

/// m - 1 of x = 2^k m with m from sqrt(1/2) to sqrt(2), for positive finite x.
template <class D, class V>
HWY_INLINE V mantissa_less_one(D d, V x, V& k) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::RebindToSigned<D> di;
  const auto tiny = hn::Lt(x, hn::Set(d, 1.17549435e-38f));
  const auto bits = hn::BitCast(di, hn::IfThenElse(tiny, hn::Mul(x, hn::Set(d, 0x1p25f)), x));
  const auto e = hn::ShiftRight<23>(hn::Sub(bits, hn::Set(di, 0x3f3504f3)));
  k = hn::Sub(hn::ConvertTo(d, e), hn::IfThenElseZero(tiny, hn::Set(d, 25.0f)));
  return hn::Sub(hn::BitCast(d, hn::Sub(bits, hn::ShiftLeft<23>(e))), hn::Set(d, 1.0f));
}

/// log(m) of such an m: 2 atanh(f / (2 + f)), f = m - 1, as a series.
template <class D, class V>
HWY_INLINE V log_of_mantissa(D d, V x, V& k) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V f = mantissa_less_one(d, x, k);
  const V s = hn::Div(f, hn::Add(f, hn::Set(d, 2.0f)));
  const V z = hn::Mul(s, s);
  V r = hn::Set(d, 2.0f / 11);
  for (const float c : {2.0f / 9, 2.0f / 7, 2.0f / 5, 2.0f / 3}) r = hn::MulAdd(r, z, hn::Set(d, c));
  return hn::NegMulAdd(s, hn::NegMulAdd(z, r, f), f);
}

/// y for positive finite x; the logarithm's ends elsewhere.
template <class D, class V>
HWY_INLINE V with_log_ends(D d, V x, V y) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V inf = hn::Set(d, __builtin_inff());
  y = hn::IfThenElse(hn::Lt(x, inf), y, inf);
  y = hn::IfThenElse(hn::Eq(x, hn::Zero(d)), hn::Neg(inf), y);
  return hn::IfThenElse(hn::Ge(x, hn::Zero(d)), y, hn::Set(d, __builtin_nanf("")));
}

template <class D, class V>
HWY_INLINE V natural_log(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  V k;
  const V m = log_of_mantissa(d, x, k);
  return hn::MulAdd(k, hn::Set(d, 0.693145751953125f), hn::MulAdd(k, hn::Set(d, 1.42860682e-6f), m));
}

template <class D, class V>
HWY_INLINE V log_of(D d, V x) noexcept {
  return with_log_ends(d, x, natural_log(d, x));
}

template <class D, class V>
HWY_INLINE V log2_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  V k;
  const V m = log_of_mantissa(d, x, k);
  return with_log_ends(d, x, hn::MulAdd(m, hn::Set(d, 1.44269504f), k));
}

template <class D, class V>
HWY_INLINE V log10_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  V k;
  const V m = hn::Mul(log_of_mantissa(d, x, k), hn::Set(d, 0.434294482f));
  // log10(2) in two parts: k times the first one is exact.
  return with_log_ends(d, x, hn::MulAdd(k, hn::Set(d, 0.301025390625f), hn::MulAdd(k, hn::Set(d, 4.60503898e-6f), m)));
}

/// The logarithm of the rounded 1 + x, and what the rounding lost. For x > -1.
template <class D, class V>
HWY_INLINE V log1p_inside(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f);
  const V y = hn::Add(x, one);
  return hn::Add(natural_log(d, y), hn::Div(hn::Sub(x, hn::Sub(y, one)), y));
}

template <class D, class V>
HWY_INLINE V log1p_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return with_log_ends(d, hn::Add(x, hn::Set(d, 1.0f)), log1p_inside(d, x));
}

/// log(1 + e^x), without overflow.
template <class D, class V>
HWY_INLINE V softplus_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V y = hn::Add(hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x), log1p_inside(d, exp_of(d, hn::Neg(hn::Abs(x)))));
  return keep_nan(d, x, y);
}

// ---- hyperbolic functions ----

template <class D, class V>
HWY_INLINE V tanh_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V t = expm1_of(d, hn::Mul(hn::Abs(x), hn::Set(d, -2.0f)));
  return hn::CopySign(hn::Div(t, hn::Add(t, hn::Set(d, 2.0f))), x);
}

template <class D, class V>
HWY_INLINE V cosh_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V half = hn::Set(d, 0.5f);
  const V e = exp_of(d, hn::Mul(hn::Abs(x), half));
  return hn::Add(hn::Mul(hn::Mul(half, e), e), hn::Div(half, hn::Mul(e, e)));
}

template <class D, class V>
HWY_INLINE V sinh_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V half = hn::Set(d, 0.5f);
  const V a = hn::Abs(x);
  const V t = expm1_of(d, a);
  const V near = hn::Mul(half, hn::Add(t, hn::Div(t, hn::Add(t, hn::Set(d, 1.0f)))));
  const V e = exp_of(d, hn::Mul(a, half));
  const V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 20.0f)), near, hn::Mul(hn::Mul(half, e), e));
  return hn::CopySign(y, x);
}

// ---- angles ----

/// y, but f(lane of x) by the C library where |x| is above `limit`, infinite or NaN.
template <class D, class V, class F>
HWY_NOINLINE V by_lane_above(D d, V y, V x, float limit, F f) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  alignas(64) float in[kLanes];
  alignas(64) float out[kLanes];
  hn::Store(x, d, in);
  hn::Store(y, d, out);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i)
    if (!(__builtin_fabsf(in[i]) <= limit)) out[i] = static_cast<float>(f(static_cast<double>(in[i])));
  return hn::Load(d, out);
}

/// `vector` serves |x| up to 30000, where Highway's reduction by pi is still exact enough; the C library the rest.
template <class D, class V, class F, class G>
HWY_INLINE V angle(D d, V x, F vector, G library) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  constexpr float kLimit = 30000.0f;
  const auto inside = hn::Le(hn::Abs(x), hn::Set(d, kLimit));
  const V y = vector(hn::IfThenElseZero(inside, x));
  if (HWY_LIKELY(hn::AllTrue(d, inside))) return y;
  return by_lane_above(d, y, x, kLimit, library);
}

template <class D, class V>
HWY_INLINE V sin_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return angle(
      d, x, [d](V v) { return hn::Sin(d, v); }, [](double v) { return std::sin(v); });
}

template <class D, class V>
HWY_INLINE V cos_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return angle(
      d, x, [d](V v) { return hn::Cos(d, v); }, [](double v) { return std::cos(v); });
}

template <class D, class V>
HWY_INLINE V tan_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return angle(
      d, x, [d](V v) { return hn::Div(hn::Sin(d, v), hn::Cos(d, v)); }, [](double v) { return std::tan(v); });
}

// ---- others ----

template <class D, class V>
HWY_INLINE V erf_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V a = hn::Abs(x);
  const V far = hn::CopySign(hn::Sub(hn::Set(d, 1.0f), erfc_positive(d, a)), x);
  const V y = hn::IfThenElse(hn::Lt(a, hn::Set(d, 1.0f)), hn::Mul(x, erf_over(d, hn::Mul(x, x))), far);
  return keep_nan(d, x, y);
}

/// x tanh(log(1 + e^x)) with t = e^-|x|, as a quotient of polynomials of t; 0 at -inf, which is the limit.
template <class D, class V>
HWY_INLINE V mish_of(D d, V x) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V one = hn::Set(d, 1.0f), two = hn::Set(d, 2.0f);
  const V t = exp_of(d, hn::Neg(hn::Abs(x)));
  const auto positive = hn::Gt(x, hn::Zero(d));
  const V above = hn::IfThenElse(positive, hn::MulAdd(two, t, one), hn::Mul(t, hn::Add(t, two)));
  const V below = hn::Add(above, hn::IfThenElse(positive, hn::Mul(two, hn::Mul(t, t)), two));
  const V y = hn::Mul(x, hn::Div(above, below));
  return hn::IfThenElse(hn::Eq(x, hn::Set(d, -__builtin_inff())), hn::Zero(d), y);
}

/// Source: ttnn.xielu, with alpha_p and alpha_n as they are given (Apertus' softplus and + beta are its caller's), beta = 0.5, eps = -1e-6.
template <class D, class V>
HWY_INLINE V xielu_of(D d, V x, float alpha_p, float alpha_n) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V bent = hn::Mul(x, hn::Set(d, 0.5f));
  const V positive = hn::MulAdd(hn::Mul(hn::Set(d, alpha_p), x), x, bent);
  const V eps = hn::Set(d, -1e-6f);
  const V part = hn::Sub(expm1_of(d, hn::IfThenElse(hn::Gt(x, eps), eps, x)), x);
  return hn::IfThenElse(hn::Gt(x, hn::Zero(d)), positive, hn::MulAdd(part, hn::Set(d, alpha_n), bent));
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
