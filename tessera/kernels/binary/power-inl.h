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

#include "hwy/highway.h"
#include "tessera/kernels/doubles-inl.h"
#include "tessera/kernels/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

// ---- a ^ b ----

/// c[0] + c[1] x + ... + c[2 n - 1] x^(2 n - 1), in pairs so that the chain of additions is short.
template <class D64, class V, std::size_t kCoefficients>
static HWY_INLINE V polynomial(D64 d, V x, const double (&c)[kCoefficients]) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const V square = hn::Mul(x, x);
  V sum = hn::MulAdd(hn::Set(d, c[kCoefficients - 1]), x, hn::Set(d, c[kCoefficients - 2]));
  for (std::size_t i = kCoefficients - 2; i > 0; i -= 2) sum = hn::MulAdd(sum, square, hn::MulAdd(hn::Set(d, c[i - 1]), x, hn::Set(d, c[i - 2])));
  return sum;
}

/// 2^(y (k + log2(1 + f))) in f64, from f32 as it comes out of mantissa_less_one(). A NaN among them gives some number.
static HWY_INLINE void power_in_doubles(const float* f, const float* k, const float* y, float* out) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  const F64 d;
  const hn::RebindToSigned<F64> di;
  // 2 / ((2 i + 1) ln 2), of atanh: good to 2^-44. 1 / i!, of e^x for |x| <= ln(2) / 2: good to 2^-37.
  constexpr double kLog[] = {2.8853900817779268,     2.8853900817779268 / 3,  2.8853900817779268 / 5,  2.8853900817779268 / 7,
                             2.8853900817779268 / 9, 2.8853900817779268 / 11, 2.8853900817779268 / 13, 2.8853900817779268 / 15};
  constexpr double kExp[] = {1, 1, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880};
  const auto m = load_wide(d, f);
  const auto s = hn::Div(m, hn::Add(m, hn::Set(d, 2.0)));
  const auto log2 = hn::MulAdd(s, polynomial(d, hn::Mul(s, s), kLog), load_wide(d, k));
  auto t = hn::Mul(load_wide(d, y), log2);
  t = hn::IfThenElse(hn::Lt(t, hn::Set(d, 140.0)), t, hn::Set(d, 140.0));  // infinite in f32, and where t is NaN
  t = hn::IfThenElse(hn::Gt(t, hn::Set(d, -160.0)), t, hn::Set(d, -160.0));
  const auto n = hn::Round(t);
  const auto p = polynomial(d, hn::Mul(hn::Sub(t, n), hn::Set(d, 0.69314718055994531)), kExp);
  // n + 1023 in the low bits of a sum whose last place is 1, shifted to where the exponent is.
  const auto scale = hn::BitCast(d, hn::ShiftLeft<52>(hn::BitCast(di, hn::Add(n, hn::Set(d, 0x1.8p52 + 1023)))));
  store_narrow(d, hn::Mul(p, scale), out);
}

/// As the C library's pow for every pair of numbers.
template <class D, class V>
static HWY_INLINE V power_of(D d, V a, V b) noexcept {
  namespace hn = hwy::HWY_NAMESPACE;
  constexpr std::size_t kLanes = hn::MaxLanes(D());
  alignas(64) float pf[kLanes], pk[kLanes], py[kLanes], out[kLanes];
  const V x = hn::Abs(a);
  V k;
  hn::Store(mantissa_less_one(d, x, k), d, pf);
  hn::Store(k, d, pk);
  hn::Store(b, d, py);
  for (std::size_t i = 0; i < hn::Lanes(d); i += hn::Lanes(F64())) power_in_doubles(pf + i, pk + i, py + i, out + i);
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0f), inf = hn::Set(d, __builtin_inff()), half_b = hn::Mul(b, hn::Set(d, 0.5f));
  const auto infinite = hn::Eq(x, inf);
  const auto grows = hn::Not(hn::Xor(infinite, hn::Gt(b, zero)));  // of 0 and infinity: which of the two it becomes
  V m = hn::IfThenElse(hn::Or(infinite, hn::Eq(x, zero)), hn::IfThenElseZero(grows, inf), hn::Load(d, out));
  m = hn::IfThenElse(hn::Eq(x, one), one, m);
  const auto whole = hn::Eq(hn::Trunc(b), b);
  const auto even = hn::Eq(hn::Trunc(half_b), half_b);
  V y = hn::IfThenElse(hn::And(whole, hn::Not(even)), hn::CopySign(m, a), m);
  const auto finite_below = hn::And(hn::Lt(a, zero), hn::Gt(a, hn::Neg(inf)));
  const auto undefined = hn::Or(hn::And(finite_below, hn::Not(whole)), hn::Not(hn::And(hn::Eq(a, a), hn::Eq(b, b))));
  y = hn::IfThenElse(undefined, hn::Set(d, __builtin_nanf("")), y);
  return hn::IfThenElse(hn::Or(hn::Eq(b, zero), hn::Eq(a, one)), one, y);
}

// ---- whole quotients ----

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
