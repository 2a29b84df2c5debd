#include "tessera/kernels/pool/pool.h"

#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/pool/pool.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "tessera/kernels/planes-inl.h"
#include "tessera/kernels/rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using One = hn::CappedTag<float, 1>;

// v if v > m, else m: of equal values (+0 and -0 among them) the one that came first stays, and a NaN in v does not count.
template <class D_, class V>
static HWY_INLINE V larger(D_, V v, V m) noexcept {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::Max(v, m);  // maxps has just this rule
#else
  return hn::IfThenElse(hn::Gt(v, m), v, m);
#endif
}

template <class V>
static HWY_INLINE auto is_number(V v) noexcept {
  return hn::Eq(v, v);
}

static HWY_INLINE float read(const float* p) noexcept { return *p; }
static HWY_INLINE float read(const bf16* p) noexcept { return to_f32(*p); }
static HWY_INLINE void write(float* p, float v) noexcept { *p = v; }
static HWY_INLINE void write(bf16* p, float v) noexcept { *p = to_bf16(v); }

// PyTorch's rule, one element at a time in row order: for windows in which a NaN was seen, and for indices.
template <class T>
static float exact_max(const PoolRow& p, const T* x, const PoolSpan& span, std::int32_t* index) noexcept {
  float m = -__builtin_inff();
  std::int32_t at = p.first_index + span.first;
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t c = 0; c < span.count; ++c) {
      const std::int64_t column = span.first + c * p.dilation;
      const float v = read(x + r * p.row_step + column * p.column_step);
      if (!(v > m) && v == v) continue;
      m = v;
      at = p.first_index + static_cast<std::int32_t>(r) * p.row_index + static_cast<std::int32_t>(column);
    }
  if (index != nullptr) *index = at;
  return m;
}

// kVectors vectors of channels side by side. Of bf16, two vectors share one load: 32-bit words hold an even channel in their lower and the
// odd one behind it in their upper half, and one operation widens either.
template <int kVectors, class D_, class T>
inline constexpr bool kPaired = hwy::IsSame<T, bf16>() && kVectors % 2 == 0 && (hn::MaxLanes(D_()) > 1);

template <int kVectors, class D_, class T>
static HWY_INLINE void load_block(D_ d, const T* p, hn::Vec<D_>* v) noexcept {
  if constexpr (kPaired<kVectors, D_, T>) {
    const hn::RebindToUnsigned<D_> du;
    for (int k = 0; k < kVectors; k += 2) {
      const auto words = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(p) + k / 2 * static_cast<std::int64_t>(hn::Lanes(d)));
      v[k] = hn::BitCast(d, hn::ShiftLeft<16>(words));
      v[k + 1] = hn::BitCast(d, hn::And(words, hn::Set(du, 0xffff0000u)));
    }
  } else {
    for (int k = 0; k < kVectors; ++k) v[k] = load_row(d, p + k * static_cast<std::int64_t>(hn::Lanes(d)));
  }
}

template <int kVectors, class D_, class T>
static HWY_INLINE void store_block(D_ d, const hn::Vec<D_>* v, T* p) noexcept {
  if constexpr (kPaired<kVectors, D_, T>) {
    const hn::RebindToUnsigned<D_> du;
    for (int k = 0; k < kVectors; k += 2)
      hn::StoreU(hn::Or(bf16_bits(d, v[k]), hn::ShiftLeft<16>(bf16_bits(d, v[k + 1]))), du,
                 reinterpret_cast<std::uint32_t*>(p) + k / 2 * static_cast<std::int64_t>(hn::Lanes(d)));
  } else {
    for (int k = 0; k < kVectors; ++k) store_row(d, v[k], p + k * static_cast<std::int64_t>(hn::Lanes(d)));
  }
}

/// The channel of lane i of vector k of a block.
template <int kVectors, class D_, class T>
static HWY_INLINE std::int64_t channel_of(std::int64_t k, std::int64_t i) noexcept {
  constexpr std::int64_t lanes = hn::MaxLanes(D_());
  return kPaired<kVectors, D_, T> ? k / 2 * 2 * lanes + 2 * i + k % 2 : k * lanes + i;
}

// ---- NHWC: kVectors vectors of channels at a time, whole windows from registers ----

template <int kVectors, class D_, class T>
static HWY_INLINE void max_block(D_ d, const PoolRow& p, const PoolSpan& span, const T* x, T* y) noexcept {
  using V = hn::Vec<D_>;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V m[kVectors], s[kVectors];  // the sum is NaN when any element is: one add finds what two comparisons would
  for (int k = 0; k < kVectors; ++k) m[k] = hn::Set(d, -__builtin_inff()), s[k] = hn::Zero(d);
  const std::int64_t step = p.dilation * p.column_step;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const T* at = x + r * p.row_step + span.first * p.column_step;
    for (std::int64_t c = 0; c < span.count; ++c, at += step) {
      V v[kVectors];
      load_block<kVectors>(d, at, v);
      for (int k = 0; k < kVectors; ++k) {
        m[k] = larger(d, v[k], m[k]);
        s[k] = hn::Add(s[k], v[k]);
      }
    }
  }
  store_block<kVectors>(d, m, y);
  for (int k = 0; k < kVectors; ++k) {
    if (HWY_LIKELY(hn::AllTrue(d, is_number(s[k])))) continue;
    for (std::int64_t i = 0; i < lanes; ++i) {
      const std::int64_t channel = channel_of<kVectors, D_, T>(k, i);
      write(y + channel, exact_max(p, x + channel, span, nullptr));
    }
  }
}

template <class D_, class T>
static HWY_INLINE void max_index_block(D_ d, const PoolRow& p, const PoolSpan& span, const T* x, T* y, std::int32_t* indices) noexcept {
  using V = hn::Vec<D_>;
  const hn::RebindToSigned<D_> di;
  V m = hn::Set(d, -__builtin_inff());
  auto at = hn::Set(di, p.first_index + span.first);
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t c = 0; c < span.count; ++c) {
      const std::int64_t column = span.first + c * p.dilation;
      const V v = load_row(d, x + r * p.row_step + column * p.column_step);
      const auto stays = hn::And(hn::VecFromMask(d, hn::Le(v, m)), hn::VecFromMask(d, is_number(v)));
      // A number is taken when it is larger; a NaN always. With m NaN, v <= m is false as well: then a number must not be taken.
      const auto frozen = hn::AndNot(hn::VecFromMask(d, is_number(m)), hn::VecFromMask(d, is_number(v)));
      const auto keep = hn::MaskFromVec(hn::Or(stays, frozen));
      m = hn::IfThenElse(keep, m, v);
      const auto index = hn::Set(di, p.first_index + static_cast<std::int32_t>(r) * p.row_index + static_cast<std::int32_t>(column));
      at = hn::IfThenElse(hn::RebindMask(di, keep), at, index);
    }
  store_row(d, m, y);
  hn::StoreU(at, di, indices);
}

template <class T>
static void max_nhwc_of(const PoolRow& p) noexcept {
  const D d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* x = static_cast<const T*>(p.x);
  for (std::int64_t o = 0; o < p.out; ++o) {
    const PoolSpan span = p.columns[o];
    T* y = static_cast<T*>(p.y) + o * p.y_step;
    std::int64_t c = 0;
    if (p.indices != nullptr) {
      std::int32_t* indices = p.indices + o * p.y_step;
      for (; c + lanes <= p.channels; c += lanes) max_index_block(d, p, span, x + c, y + c, indices + c);
      for (; c < p.channels; ++c) write(y + c, exact_max(p, x + c, span, indices + c));
      continue;
    }
    for (; c + 4 * lanes <= p.channels; c += 4 * lanes) max_block<4>(d, p, span, x + c, y + c);
    for (; c + lanes <= p.channels; c += lanes) max_block<1>(d, p, span, x + c, y + c);
    for (; c < p.channels; ++c) max_block<1>(one, p, span, x + c, y + c);
  }
}

template <int kVectors, class D_, class T>
static HWY_INLINE void avg_block(D_ d, const PoolRow& p, const PoolSpan& span, float divisor, const T* x, T* y) noexcept {
  using V = hn::Vec<D_>;
  // Even and odd columns apart (two chains of adds), rows summed one by one before they are joined: both shorten the error of long sums.
  V total[kVectors];
  for (int k = 0; k < kVectors; ++k) total[k] = hn::Zero(d);
  const std::int64_t step = p.dilation * p.column_step;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const T* at = x + r * p.row_step + span.first * p.column_step;
    V even[kVectors], odd[kVectors];
    for (int k = 0; k < kVectors; ++k) even[k] = odd[k] = hn::Zero(d);
    std::int64_t c = 0;
    V v[kVectors];
    for (; c + 2 <= span.count; c += 2, at += 2 * step) {
      load_block<kVectors>(d, at, v);
      for (int k = 0; k < kVectors; ++k) even[k] = hn::Add(even[k], v[k]);
      load_block<kVectors>(d, at + step, v);
      for (int k = 0; k < kVectors; ++k) odd[k] = hn::Add(odd[k], v[k]);
    }
    if (c < span.count) {
      load_block<kVectors>(d, at, v);
      for (int k = 0; k < kVectors; ++k) even[k] = hn::Add(even[k], v[k]);
    }
    for (int k = 0; k < kVectors; ++k) total[k] = hn::Add(total[k], hn::Add(even[k], odd[k]));
  }
  for (int k = 0; k < kVectors; ++k) total[k] = hn::Div(total[k], hn::Set(d, divisor));
  store_block<kVectors>(d, total, y);
}

template <class T>
static void avg_nhwc_of(const PoolRow& p) noexcept {
  const D d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto* x = static_cast<const T*>(p.x);
  for (std::int64_t o = 0; o < p.out; ++o) {
    const PoolSpan span = p.columns[o];
    const float divisor = p.row_divisor * p.column_divisor[o];
    T* y = static_cast<T*>(p.y) + o * p.y_step;
    std::int64_t c = 0;
    for (; c + 4 * lanes <= p.channels; c += 4 * lanes) avg_block<4>(d, p, span, divisor, x + c, y + c);
    for (; c + lanes <= p.channels; c += lanes) avg_block<1>(d, p, span, divisor, x + c, y + c);
    for (; c < p.channels; ++c) avg_block<1>(one, p, span, divisor, x + c, y + c);
  }
}

// ---- NCHW: the window's rows are joined column by column into a line, whose elements are then joined output by output ----

// line[c] = op over the window's rows; f(d, row pointer offset) for vectors and single elements alike.
template <class T, class F>
static HWY_INLINE void for_line(const PoolRow& p, const T* x, F f) noexcept {
  const D d;
  const One one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + lanes <= p.width; c += lanes) f(d, x + c, c);
  for (; c < p.width; ++c) f(one, x + c, c);
}

template <class T>
static void avg_nchw_of(const PoolRow& p) noexcept {
  const auto* x = static_cast<const T*>(p.x);
  for_line(p, x, [&](auto d, const T* at, std::int64_t c) {
    auto even = hn::Zero(d), odd = hn::Zero(d);
    std::int64_t r = 0;
    for (; r + 2 <= p.rows; r += 2, at += 2 * p.row_step) {
      even = hn::Add(even, load_row(d, at));
      odd = hn::Add(odd, load_row(d, at + p.row_step));
    }
    if (r < p.rows) even = hn::Add(even, load_row(d, at));
    hn::StoreU(hn::Add(even, odd), d, p.line + c);
  });
  const D d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t o = 0; o < p.out; ++o) {
    const PoolSpan span = p.columns[o];
    const float* line = p.line + span.first;
    float sum = 0;
    std::int64_t c = 0;
    if (p.dilation == 1 && span.count >= 2 * lanes) {
      auto part = hn::Zero(d);
      for (; c + lanes <= span.count; c += lanes) part = hn::Add(part, hn::LoadU(d, line + c));
      sum = hn::GetLane(hn::SumOfLanes(d, part));
    }
    for (; c < span.count; ++c) sum += line[c * p.dilation];
    write(static_cast<T*>(p.y) + o * p.y_step, sum / (p.row_divisor * p.column_divisor[o]));
  }
}

template <class T>
static void max_nchw_of(const PoolRow& p) noexcept {
  const auto* x = static_cast<const T*>(p.x);
  float* sums = p.line + p.width;  // NaN where a column of the window holds a NaN
  for_line(p, x, [&](auto d, const T* at, std::int64_t c) {
    auto m = hn::Set(d, -__builtin_inff());
    auto s = hn::Zero(d);
    for (std::int64_t r = 0; r < p.rows; ++r, at += p.row_step) {
      const auto v = load_row(d, at);
      m = larger(d, v, m);
      s = hn::Add(s, v);
    }
    hn::StoreU(m, d, p.line + c);
    hn::StoreU(s, d, sums + c);
  });
  for (std::int64_t o = 0; o < p.out; ++o) {
    const PoolSpan span = p.columns[o];
    const float* line = p.line + span.first;
    float m = -__builtin_inff();
    float s = 0;
    for (std::int64_t c = 0; c < span.count; ++c) {
      const float v = line[c * p.dilation];
      m = v > m ? v : m;
      s += sums[span.first + c * p.dilation];
    }
    // Column order may meet -0 and +0 in another order than rows do, and does not know positions: rows decide.
    std::int32_t* index = p.indices == nullptr ? nullptr : p.indices + o * p.y_step;
    if (index != nullptr || m == 0 || s != s) m = exact_max(p, x, span, index);
    write(static_cast<T*>(p.y) + o * p.y_step, m);
  }
}

static void max_nhwc(const PoolRow& p, bool b) noexcept { b ? max_nhwc_of<bf16>(p) : max_nhwc_of<float>(p); }
static void avg_nhwc(const PoolRow& p, bool b) noexcept { b ? avg_nhwc_of<bf16>(p) : avg_nhwc_of<float>(p); }
static void max_nchw(const PoolRow& p, bool b) noexcept { b ? max_nchw_of<bf16>(p) : max_nchw_of<float>(p); }
static void avg_nchw(const PoolRow& p, bool b) noexcept { b ? avg_nchw_of<bf16>(p) : avg_nchw_of<float>(p); }

static void from_planes(const void* x, bool b, std::int64_t plane, std::int64_t planes, std::int64_t n, float* to, std::int64_t pitch) noexcept {
  b ? planes_in(static_cast<const bf16*>(x), plane, planes, n, to, pitch) : planes_in(static_cast<const float*>(x), plane, planes, n, to, pitch);
}
static void to_planes(const float* from, std::int64_t pitch, std::int64_t n, void* y, bool b, std::int64_t plane, std::int64_t planes) noexcept {
  b ? planes_out(from, pitch, n, static_cast<bf16*>(y), plane, planes) : planes_out(from, pitch, n, static_cast<float*>(y), plane, planes);
}

static constexpr PoolFunctions make_functions() { return {hn::MaxLanes(D()), &max_nhwc, &avg_nhwc, &max_nchw, &avg_nchw, &from_planes, &to_planes}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(PoolFunctions, pool_rows, "f32 and bf16, NHWC and NCHW, any windows")
}
#endif
