#include "tessera/kernels/rope/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/rope/rope.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Products and sums are rounded separately (no FMA), as in the reference, so that every row gives the same bits.
static void rotate(float* x, std::int64_t heads, std::int64_t half, const float* cos, const float* sin) noexcept {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t h = 0; h < heads; ++h) {
    float* lo = x + h * 2 * half;
    float* hi = lo + half;
    std::int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      const auto c = hn::LoadU(d, cos + i);
      const auto s = hn::LoadU(d, sin + i);
      const auto a = hn::LoadU(d, lo + i);
      const auto b = hn::LoadU(d, hi + i);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), d, lo + i);
      hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), d, hi + i);
    }
    const hn::CappedTag<float, 1> one;
    for (; i < half; ++i) {
      const auto c = hn::LoadU(one, cos + i);
      const auto s = hn::LoadU(one, sin + i);
      const auto a = hn::LoadU(one, lo + i);
      const auto b = hn::LoadU(one, hi + i);
      hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), one, lo + i);
      hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), one, hi + i);
    }
  }
}

template <class D, class X, class Y>
static HWY_INLINE void turn(D d, const X* x, std::int64_t half, const float* cos, const float* sin, std::int64_t i, Y* y) noexcept {
  const auto lo = load_row(d, x + i);
  const auto hi = load_row(d, x + half + i);
  store_row(d, hn::Sub(hn::Mul(lo, hn::LoadU(d, cos + i)), hn::Mul(hi, hn::LoadU(d, sin + i))), y + i);
  store_row(d, hn::Add(hn::Mul(hi, hn::LoadU(d, cos + half + i)), hn::Mul(lo, hn::LoadU(d, sin + half + i))), y + half + i);
}

template <class X, class Y>
static void rotary(const X* x, std::int64_t half, const float* cos, const float* sin, Y* y) noexcept {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= half; i += lanes) turn(d, x, half, cos, sin, i, y);
  const hn::CappedTag<float, 1> one;
  for (; i < half; ++i) turn(one, x, half, cos, sin, i, y);
}

static constexpr RopeFunctions make_functions() {
  return {&rotate, &rotary<float, float>, &rotary<float, bf16>, &rotary<bf16, float>, &rotary<bf16, bf16>};
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(RopeFunctions, rope_rows, "f32 and bf16, any head size")
}
#endif
