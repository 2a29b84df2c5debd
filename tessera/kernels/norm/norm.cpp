#include "tessera/kernels/norm/norm.h"

#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/norm/norm.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
using One = hn::CappedTag<float, 1>;

// Sum of f(x) over a row: four vectors of partial sums, joined in a fixed order, then the rest one by one. The order depends on the
// length and the target alone.
template <class X, class F>
static HWY_INLINE float sum_row(const X* x, std::int64_t n, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = hn::Add(s0, f(d, load_row(d, x + i)));
    s1 = hn::Add(s1, f(d, load_row(d, x + i + lanes)));
    s2 = hn::Add(s2, f(d, load_row(d, x + i + 2 * lanes)));
    s3 = hn::Add(s3, f(d, load_row(d, x + i + 3 * lanes)));
  }
  for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, f(d, load_row(d, x + i)));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  const One one;
  for (; i < n; ++i) sum += hn::GetLane(f(one, load_row(one, x + i)));
  return sum;
}

// y[i] = f(d, x[i], i)
template <class X, class Y, class F>
static HWY_INLINE void map_row(const X* x, std::int64_t n, Y* y, F f) noexcept {
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) store_row(d, f(d, load_row(d, x + i), i), y + i);
  const One one;
  for (; i < n; ++i) store_row(one, f(one, load_row(one, x + i), i), y + i);
}

template <class X, class Y>
static void layer_norm(const X* x, std::int64_t n, const float* weight, const float* bias, float eps, Y* y) noexcept {
  const float mean = sum_row(x, n, [](auto, auto v) { return v; }) / static_cast<float>(n);
  const float square = sum_row(x, n, [mean](auto d, auto v) {
    const auto c = hn::Sub(v, hn::Set(d, mean));
    return hn::Mul(c, c);
  });
  const float inverse = 1.0f / std::sqrt(square / static_cast<float>(n) + eps);
  const auto unit = [=](auto d, auto v) { return hn::Mul(hn::Sub(v, hn::Set(d, mean)), hn::Set(d, inverse)); };
  if (weight != nullptr && bias != nullptr)
    map_row(x, n, y, [=](auto d, auto v, std::int64_t i) { return hn::Add(hn::Mul(unit(d, v), hn::LoadU(d, weight + i)), hn::LoadU(d, bias + i)); });
  else if (weight != nullptr)
    map_row(x, n, y, [=](auto d, auto v, std::int64_t i) { return hn::Mul(unit(d, v), hn::LoadU(d, weight + i)); });
  else if (bias != nullptr)
    map_row(x, n, y, [=](auto d, auto v, std::int64_t i) { return hn::Add(unit(d, v), hn::LoadU(d, bias + i)); });
  else
    map_row(x, n, y, [=](auto d, auto v, std::int64_t) { return unit(d, v); });
}

template <class X, class Y>
static void rms_norm(const X* x, std::int64_t n, float offset, const float* scale, const float* shift, float eps, Y* y) noexcept {
  const float square = sum_row(x, n, [](auto, auto v) { return hn::Mul(v, v); });
  const float inverse = 1.0f / std::sqrt(square / static_cast<float>(n) + eps);
  const auto unit = [=](auto d, auto v) { return hn::Mul(v, hn::Set(d, inverse)); };
  const auto scaled = [=](auto d, auto v, std::int64_t i) { return hn::Mul(unit(d, v), hn::Add(hn::Set(d, offset), hn::LoadU(d, scale + i))); };
  if (scale != nullptr && shift != nullptr)
    map_row(x, n, y, [=](auto d, auto v, std::int64_t i) { return hn::Add(scaled(d, v, i), hn::LoadU(d, shift + i)); });
  else if (scale != nullptr)
    map_row(x, n, y, scaled);
  else if (shift != nullptr)
    map_row(x, n, y, [=](auto d, auto v, std::int64_t i) { return hn::Add(unit(d, v), hn::LoadU(d, shift + i)); });
  else
    map_row(x, n, y, [=](auto d, auto v, std::int64_t) { return unit(d, v); });
}

template <class X, class Z>
static void add_rows(const X* x, const Z* z, std::int64_t n, float* sum) noexcept {
  map_row(x, n, sum, [=](auto d, auto v, std::int64_t i) { return hn::Add(v, load_row(d, z + i)); });
}

static constexpr NormFunctions make_functions() {
  return {&layer_norm<float, float>, &layer_norm<float, bf16>, &layer_norm<bf16, float>, &layer_norm<bf16, bf16>,
          &rms_norm<float, float>,   &rms_norm<float, bf16>,   &rms_norm<bf16, float>,   &rms_norm<bf16, bf16>,
          &add_rows<float, float>,   &add_rows<float, bf16>,   &add_rows<bf16, float>,   &add_rows<bf16, bf16>};
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(NormFunctions, norm_rows, "f32 and bf16, any width")
}
#endif
