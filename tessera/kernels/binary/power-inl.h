// Functions of two f32 vectors that are computed in f64: powers, and division with a remainder. Private to kernels.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_BINARY_POWER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_BINARY_POWER_INL_H_
#undef TESSERA_KERNELS_BINARY_POWER_INL_H_
#else
#define TESSERA_KERNELS_BINARY_POWER_INL_H_
#endif

#include <cmath>
#include <cstddef>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "tessera/kernels/doubles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

/// f(a, b, out) for pieces of the vectors that make one vector of f64; a and b as f64, f stores its f32 results at out.
template <class D, class V, class F>
static HWY_INLINE V in_doubles(D d, V a, V b, F f) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  alignas(64) float pa[kLanes], pb[kLanes], out[kLanes];
  hn::Store(a, d, pa);
  hn::Store(b, d, pb);
  const F64 wide;
  for (std::size_t i = 0; i < hn::Lanes(d); i += hn::Lanes(wide)) f(load_wide(wide, pa + i), load_wide(wide, pb + i), out + i);
  return hn::Load(d, out);
}

// ---- a ^ b ----

/// As the C library's pow for every pair of numbers. |a|^b = e^(b log |a|), whose argument needs f64.
template <class D, class V>
static HWY_INLINE V power_of(D d, V a, V b) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V m = in_doubles(d, hn::Abs(a), b, [](auto x, auto y, float* out) {
    const F64 wide;
    const auto inf = hn::Set(wide, __builtin_inf());
    const auto one = hn::Set(wide, 1.0);
    const auto proper = hn::And(hn::Gt(x, hn::Zero(wide)), hn::Lt(x, inf));
    const auto log = hn::IfThenElse(proper, hn::Log(wide, hn::IfThenElse(proper, x, one)), hn::IfThenElse(hn::Eq(x, inf), inf, hn::Neg(inf)));
    auto t = hn::IfThenElse(hn::Eq(x, one), hn::Zero(wide), hn::Mul(y, log));
    // e^700 is infinite in f32, e^-700 is 0. A NaN becomes a number here; the caller knows it by its operands.
    t = hn::IfThenElse(hn::Lt(t, hn::Set(wide, 700.0)), t, hn::Set(wide, 700.0));
    t = hn::IfThenElse(hn::Gt(t, hn::Set(wide, -700.0)), t, hn::Set(wide, -700.0));
    store_narrow(wide, hn::Exp(wide, t), out);
  });
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0f), half_b = hn::Mul(b, hn::Set(d, 0.5f));
  const auto whole = hn::Eq(hn::Trunc(b), b);
  const auto even = hn::Eq(hn::Trunc(half_b), half_b);
  V y = hn::IfThenElse(hn::And(whole, hn::Not(even)), hn::CopySign(m, a), m);
  const auto finite_below = hn::And(hn::Lt(a, zero), hn::Gt(a, hn::Set(d, -__builtin_inff())));
  const auto undefined = hn::Or(hn::And(finite_below, hn::Not(whole)), hn::Not(hn::And(hn::Eq(a, a), hn::Eq(b, b))));
  y = hn::IfThenElse(undefined, hn::Set(d, __builtin_nanf("")), y);
  return hn::IfThenElse(hn::Or(hn::Eq(b, zero), hn::Eq(a, one)), one, y);
}

// ---- whole quotients ----

/// fmod: a - b trunc(a / b); remainder: with the sign of b; floor: floor(a / b), as one number of quotient and remainder.
enum class WholeDivision { fmod, remainder, floor };

static HWY_NOINLINE float divided_by_library(WholeDivision kind, double a, double b) noexcept {
  const double r = std::fmod(a, b);
  const bool other_side = r != 0 && (r < 0) != (b < 0);
  if (kind == WholeDivision::fmod) return static_cast<float>(r);
  if (kind == WholeDivision::remainder) return static_cast<float>(other_side ? r + b : r);
  if (b == 0) return static_cast<float>(a / b);
  const double q = (a - r) / b - (other_side ? 1 : 0);
  return static_cast<float>(q == 0 ? __builtin_copysign(0.0, a / b) : q);
}

/// Exact: a / b in f64 is on the right side of every whole number up to 2^29, whose product with b fits in f64. The C library serves the rest.
template <WholeDivision kind, class D, class V>
static HWY_INLINE V divided_whole(D d, V a, V b) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  return in_doubles(d, a, b, [](auto x, auto y, float* out) {
    const F64 wide;
    const auto zero = hn::Zero(wide);
    const auto q = hn::Trunc(hn::Div(x, y));
    const auto exact = hn::And(hn::Lt(hn::Abs(q), hn::Set(wide, 0x1p29)), hn::Lt(hn::Abs(y), hn::Set(wide, __builtin_inf())));
    if (HWY_UNLIKELY(!hn::AllTrue(wide, exact))) {
      alignas(64) double px[hn::MaxLanes(F64())], py[hn::MaxLanes(F64())];
      hn::Store(x, wide, px);
      hn::Store(y, wide, py);
      for (std::size_t i = 0; i < hn::Lanes(wide); ++i) out[i] = divided_by_library(kind, px[i], py[i]);
      return;
    }
    const auto r = hn::CopySign(hn::Sub(x, hn::Mul(q, y)), x);
    const auto other_side = hn::And(hn::Not(hn::Eq(r, zero)), hn::Xor(hn::Lt(r, zero), hn::Lt(y, zero)));
    if constexpr (kind == WholeDivision::fmod) store_narrow(wide, r, out);
    if constexpr (kind == WholeDivision::remainder) store_narrow(wide, hn::Add(r, hn::IfThenElse(other_side, y, hn::CopySign(zero, r))), out);
    if constexpr (kind == WholeDivision::floor) store_narrow(wide, hn::Sub(q, hn::IfThenElseZero(other_side, hn::Set(wide, 1.0))), out);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
