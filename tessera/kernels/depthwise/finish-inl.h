// What follows the sum of a depthwise output: activation, residual, rounding. Private to kernels/depthwise.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_DEPTHWISE_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DEPTHWISE_FINISH_INL_H_
#undef TESSERA_KERNELS_DEPTHWISE_FINISH_INL_H_
#else
#define TESSERA_KERNELS_DEPTHWISE_FINISH_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/activations-inl.h"
#include "tessera/kernels/depthwise/depthwise.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr std::int64_t kLanes = hn::MaxLanes(D());

/// Floor and ceiling of a / b for b > 0.
static HWY_INLINE std::int64_t floor_div(std::int64_t a, std::int64_t b) noexcept { return a >= 0 ? a / b : -((b - 1 - a) / b); }
static HWY_INLINE std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return -floor_div(-a, b); }

/// How a sum is finished. The cheap activations are a clamp in registers; the others, and a residual, take a detour through the stack.
struct Finish {
  explicit Finish(const DepthwiseCall& c) noexcept
      : clamp(c.activation == DepthwiseActivation::relu || c.activation == DepthwiseActivation::relu6),
        high(c.activation == DepthwiseActivation::relu6 ? 6.0f : __builtin_inff()),
        slow((c.activation != DepthwiseActivation::none && !clamp) || c.residual != nullptr) {}
  bool clamp;
  float high;
  bool slow;
};

template <class T, class W>
static HWY_INLINE W clamped(T d, W v, float high) noexcept {
  // Comparisons are false for NaN, which stays.
  v = hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Zero(d), v);
  return hn::IfThenElse(hn::Gt(v, hn::Set(d, high)), hn::Set(d, high), v);
}

/// `count` vectors of T in place.
template <class T>
static HWY_NOINLINE void activate_values(T d, DepthwiseActivation activation, float* values, int count) noexcept {
  const auto lanes = static_cast<int>(hn::Lanes(d));
  for (int i = 0; i < count; ++i) {
    float* const p = values + i * lanes;
    auto v = hn::LoadU(d, p);
    switch (activation) {
      case DepthwiseActivation::relu: v = relu(d, v); break;
      case DepthwiseActivation::relu6: v = relu6(d, v); break;
      case DepthwiseActivation::silu: v = times_sigmoid(d, v, v); break;
      case DepthwiseActivation::gelu: v = gelu_erf(d, v); break;
      case DepthwiseActivation::hardswish: v = hardswish(d, v); break;
      case DepthwiseActivation::none: break;
    }
    hn::StoreU(v, d, p);
  }
}

/// Finishes kCount sums; place(i) is the element of y (and of the residual) where the first lane of sum i belongs.
template <int kCount, class T, class W, class Place>
static HWY_INLINE void finish(T d, const DepthwiseCall& c, const Finish& f, W* sums, Place place) noexcept {
  if (HWY_UNLIKELY(f.slow)) {
    float values[kCount * kLanes];
    const auto lanes = static_cast<int>(hn::Lanes(d));
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) hn::StoreU(sums[i], d, values + i * lanes);
    activate_values(d, c.activation, values, kCount);
    if (c.residual != nullptr) {
      for (int i = 0; i < kCount; ++i) {
        const auto r = c.residual_bf16 ? load_row(d, static_cast<const bf16*>(c.residual) + place(i))
                                       : load_row(d, static_cast<const float*>(c.residual) + place(i));
        hn::StoreU(hn::Add(hn::LoadU(d, values + i * lanes), r), d, values + i * lanes);
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) sums[i] = hn::LoadU(d, values + i * lanes);
    return;
  }
  if (f.clamp) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) sums[i] = clamped(d, sums[i], f.high);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
