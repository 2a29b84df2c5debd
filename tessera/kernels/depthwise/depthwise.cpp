#include "tessera/kernels/depthwise/depthwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/depthwise/depthwise.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/depthwise/nchw-inl.h"
#include "tessera/kernels/depthwise/nhwc-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {

static constexpr DepthwiseFunctions make_functions() { return {kLanes, &nhwc, &nchw, &nchw_band, &nchw_scratch}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {

TESSERA_HWY_ROWS(DepthwiseFunctions, depthwise_rows, "f32 and bf16, any window, nhwc and nchw")

std::int64_t depthwise_packed(const DepthwiseShape& s, std::int64_t lanes, bool nhwc) noexcept {
  const std::int64_t column = 1 + s.kh * s.kw;
  const std::int64_t panels = (s.c + lanes - 1) / lanes * s.m;
  if (!nhwc) return (s.c * s.m + (s.m == 1 ? panels * lanes : 0)) * column;
  const std::int64_t pairs = s.m == 1 ? s.c / (2 * lanes) : 0;
  return (panels + 2 * pairs) * column * lanes;
}

void depthwise_pack(const DepthwiseShape& s, std::int64_t lanes, bool nhwc, const float* weights, const float* bias, float* packed) noexcept {
  const std::int64_t taps = s.kh * s.kw;
  const auto value = [=](std::int64_t channel, std::int64_t t) {  // t = 0: the bias
    const float v = t == 0 ? (bias == nullptr ? 0.0f : bias[channel]) : weights[channel * taps + t - 1];
    return v == v ? v : __builtin_nanf("");
  };
  if (!nhwc)
    for (std::int64_t o = 0; o < s.c * s.m; ++o)
      for (std::int64_t t = 0; t <= taps; ++t) *packed++ = value(o, t);
  if (nhwc || s.m == 1)
    for (std::int64_t first = 0; first < s.c; first += lanes)
      for (std::int64_t j = 0; j < s.m; ++j)
        for (std::int64_t t = 0; t <= taps; ++t)
          for (std::int64_t l = 0; l < lanes; ++l) *packed++ = first + l < s.c ? value((first + l) * s.m + j, t) : 0.0f;
  if (!nhwc || s.m != 1) return;
  for (std::int64_t first = 0; first + 2 * lanes <= s.c; first += 2 * lanes)
    for (const std::int64_t odd : {0, 1})
      for (std::int64_t t = 0; t <= taps; ++t)
        for (std::int64_t l = 0; l < lanes; ++l) *packed++ = value(first + 2 * l + odd, t);
}

}  // namespace tessera::kernels
#endif
