// Depthwise convolution of nhwc pictures, vectors over channels: tiles of outputs that share the inputs they load (3x3 and 5x5, stride 1
// and 2), and a general loop for every other window, for the last channels, and for mixed dtypes. Private to kernels/depthwise.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_DEPTHWISE_NHWC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DEPTHWISE_NHWC_INL_H_
#undef TESSERA_KERNELS_DEPTHWISE_NHWC_INL_H_
#else
#define TESSERA_KERNELS_DEPTHWISE_NHWC_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/depthwise/finish-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One vector of inputs as f32.
struct LoadF32 {
  HWY_INLINE V operator()(D d, const float* p) const noexcept { return hn::LoadU(d, p); }
};
// 2 * lanes channels of bf16 are as many 32-bit words as a vector has lanes: the even channels are their lower halves, the odd ones their
// upper halves. One operation widens a vector, where taking neighbours apart would need two.
template <class DU>
static HWY_INLINE hn::Vec<DU> load_words(DU du, const bf16* p) noexcept {
  if constexpr (kLanes == 1) {
    // One lane is loaded as a plain integer, which would have to be aligned.
    std::uint32_t word;
    __builtin_memcpy(&word, p, sizeof(word));
    return hn::Set(du, word);
  } else {
    return hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(p));
  }
}
template <class DU, class VU>
static HWY_INLINE void store_words(DU du, VU v, bf16* p) noexcept {
  if constexpr (kLanes == 1) {
    const std::uint32_t word = hn::GetLane(v);
    __builtin_memcpy(static_cast<void*>(p), &word, sizeof(word));
  } else {
    hn::StoreU(v, du, reinterpret_cast<std::uint32_t*>(p));
  }
}
struct LoadEven {
  HWY_INLINE V operator()(D d, const bf16* p) const noexcept { return hn::BitCast(d, hn::ShiftLeft<16>(load_words(hn::RebindToUnsigned<D>(), p))); }
};
struct LoadOdd {
  HWY_INLINE V operator()(D d, const bf16* p) const noexcept {
    const hn::RebindToUnsigned<D> du;
    return hn::BitCast(d, hn::And(load_words(du, p), hn::Set(du, 0xffff0000u)));
  }
};

// Rows and columns of the window of a tile that lie inside the picture.
struct Clip {
  int top, bottom, left, right;
};

// A pointer whose origin the compiler cannot see: left to itself it keeps one for every input of a tile, which are more than it has
// registers for, and loads each from the stack before it is used.
template <class T>
static HWY_INLINE T* opaque(T* p) noexcept {
  __asm__("" : "+r"(p));
  return p;
}

// A vector that stays in a register: GCC otherwise makes memory operands of weights that several products share, and the load ports, not the
// multipliers, set the pace (a tile of 2 x 4 in the first-level cache of a Zen 3: 1.5 times the time of its products, 1.25 with this). With
// bf16, where the loads are not what waits, it loses 5 %.
static HWY_INLINE void pin(V& v) noexcept {
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3
  __asm__("" : "+v"(v.raw));
#elif HWY_ARCH_X86 && HWY_TARGET == HWY_AVX2
  __asm__("" : "+x"(v.raw));
#else
  (void)v;
#endif
}

// Sums of kR x kX outputs of a kK x kK window with stride kS, the rows of its inputs at `in`, columns `pixel` elements apart.
template <int kK, int kS, int kR, int kX, bool kEdge, class Load, class X>
static HWY_INLINE void window(D d, Load load, const X* const* in, std::int64_t pixel, const float* packed, const Clip& clip, V* sums) noexcept {
  const V bias = hn::LoadU(d, packed);
  const float* const w = packed + kLanes;
#pragma GCC unroll 16
  for (int i = 0; i < kR * kX; ++i) sums[i] = bias;
#pragma GCC unroll 16
  for (int i = 0; i < (kR - 1) * kS + kK; ++i) {
    if (kEdge && (i < clip.top || i >= clip.bottom)) continue;
    const X* const row = opaque(in[i]);
    V weights[kR * kK];  // of the rows of the windows that input row i is
#pragma GCC unroll 4
    for (int r = 0; r < kR; ++r)
#pragma GCC unroll 8
      for (int kx = 0; kx < kK; ++kx) {
        const int ky = i - r * kS;
        if (ky < 0 || ky >= kK) continue;
        weights[r * kK + kx] = hn::LoadU(d, w + (ky * kK + kx) * kLanes);
        if constexpr (hwy::IsSame<X, float>()) pin(weights[r * kK + kx]);
      }
#pragma GCC unroll 16
    for (int j = 0; j < (kX - 1) * kS + kK; ++j) {
      if (kEdge && (j < clip.left || j >= clip.right)) continue;
      V v = load(d, row + j * pixel);
      if constexpr (hwy::IsSame<X, float>()) pin(v);
#pragma GCC unroll 4
      for (int r = 0; r < kR; ++r)
#pragma GCC unroll 8
        for (int x = 0; x < kX; ++x) {
          const int ky = i - r * kS;
          const int kx = j - x * kS;
          if (ky >= 0 && ky < kK && kx >= 0 && kx < kK) sums[r * kX + x] = hn::MulAdd(v, weights[r * kK + kx], sums[r * kX + x]);
        }
    }
  }
}

// bf16 bits of a f32 value in the upper half of the lane. A NaN that came from bf16 inputs and packed weights has no lower bits that could
// carry into its exponent, so rounding is an addition.
template <class DU, class VU>
static HWY_INLINE VU rounded(DU du, VU u) noexcept {
  const VU odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
  return hn::Add(hn::Add(u, hn::Set(du, 0x7fffu)), odd);
}

// The upper halves of one, the lower halves of the other.
template <class DU, class VU>
static HWY_INLINE VU upper_lower(DU du, VU upper, VU lower) noexcept {
  if constexpr (kLanes == 1) {
    return hn::Or(hn::And(upper, hn::Set(du, 0xffff0000u)), lower);
  } else {
    const hn::Repartition<std::uint16_t, DU> dh;
    return hn::BitCast(du, hn::OddEven(hn::BitCast(dh, upper), hn::BitCast(dh, lower)));
  }
}

// f32 in and out: channels [first, last), multiples of lanes, of one tile.
template <int kK, int kS, int kR, int kX, bool kEdge>
static HWY_INLINE void tile_f32(const DepthwiseCall& c, const Finish& f, std::int64_t in, std::int64_t out, std::int64_t first, std::int64_t last,
                                const Clip& clip) noexcept {
  const D d;
  const std::int64_t pixel = c.s.c;
  const std::int64_t row = c.s.w * pixel;
  const std::int64_t out_row = c.s.wo * pixel;
  constexpr std::int64_t kPanel = (1 + kK * kK) * kLanes;
  const auto* const x = static_cast<const float*>(c.x);
  auto* const y = static_cast<float*>(c.y);
  const float* packed = c.weights + first / kLanes * kPanel;
  constexpr int kRows = (kR - 1) * kS + kK;
  const float* rows[kRows];
  for (int i = 0; i < kRows; ++i) rows[i] = x + (in + i * row + first);
  constexpr std::int64_t kLine = 64 / sizeof(float);
  constexpr bool kWholeLine = kLanes == kLine;
  constexpr bool kHalfLine = 2 * kLanes == kLine;
  HWY_ALIGN float halves[kHalfLine ? kR * kX * kLanes : 1];
  for (std::int64_t ch = first; ch < last; ch += kLanes, packed += kPanel) {
    V sums[kR * kX];
    window<kK, kS, kR, kX, kEdge>(d, LoadF32(), rows, pixel, packed, clip, sums);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) rows[i] += kLanes;
    const auto place = [=](int i) { return out + ch + i / kX * out_row + i % kX * pixel; };
    finish<kR * kX>(d, c, f, sums, place);
    if (kHalfLine && c.stream) {
      // The two halves of a line, stored past the caches at different times, reach memory as two writes once more lines are open than the
      // core has buffers for (10 x 56 x 56 x 144 on a Zen 3, two threads: 1.3 to 2.4 times the time). The first half waits here for the second.
      if (ch / kLanes % 2 == 0) {
#pragma GCC unroll 16
        for (int i = 0; i < kR * kX; ++i) hn::Store(sums[i], d, halves + i * kLanes);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < kR * kX; ++i) {
          float* const to = y + (out + ch + i / kX * out_row + i % kX * pixel);
          hn::Stream(hn::Load(d, halves + i * kLanes), d, to - kLanes);
          hn::Stream(sums[i], d, to);
        }
      }
      continue;
    }
#pragma GCC unroll 4
    for (int r = 0; r < kR; ++r) {
      float* const to = opaque(y + (out + ch + r * out_row));
      if (kWholeLine && c.stream) {
#pragma GCC unroll 8
        for (int i = 0; i < kX; ++i) hn::Stream(sums[r * kX + i], d, to + i * pixel);
      } else {
#pragma GCC unroll 8
        for (int i = 0; i < kX; ++i) hn::StoreU(sums[r * kX + i], d, to + i * pixel);
      }
    }
  }
}

// bf16 in and out: channels [first, last), multiples of 2 * lanes: the even ones first, their results wait on the stack.
template <int kK, int kS, int kR, int kX, bool kEdge>
static HWY_INLINE void tile_bf16(const DepthwiseCall& c, const Finish& f, std::int64_t in, std::int64_t out, std::int64_t first, std::int64_t last,
                                 const Clip& clip) noexcept {
  const D d;
  const hn::RebindToUnsigned<D> du;
  const std::int64_t pixel = c.s.c;
  const std::int64_t row = c.s.w * pixel;
  const std::int64_t out_row = c.s.wo * pixel;
  constexpr std::int64_t kPanel = (1 + kK * kK) * kLanes;
  const auto* const x = static_cast<const bf16*>(c.x);
  auto* const y = static_cast<bf16*>(c.y);
  const float* packed = c.weights + ((c.s.c + kLanes - 1) / kLanes + first / kLanes) * kPanel;
  constexpr int kRows = (kR - 1) * kS + kK;
  const bf16* rows[kRows];
  for (int i = 0; i < kRows; ++i) rows[i] = x + (in + i * row + first);
  const auto none = [](int) { return std::int64_t{0}; };  // no residual comes here
  for (std::int64_t ch = first; ch < last; ch += 2 * kLanes, packed += 2 * kPanel) {
    HWY_ALIGN std::uint32_t even[kR * kX * kLanes];
    V sums[kR * kX];
    window<kK, kS, kR, kX, kEdge>(d, LoadEven(), rows, pixel, packed, clip, sums);
    finish<kR * kX>(d, c, f, sums, none);
#pragma GCC unroll 16
    for (int i = 0; i < kR * kX; ++i) hn::Store(hn::ShiftRight<16>(rounded(du, hn::BitCast(du, sums[i]))), du, even + i * kLanes);
    window<kK, kS, kR, kX, kEdge>(d, LoadOdd(), rows, pixel, packed + kPanel, clip, sums);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) rows[i] += 2 * kLanes;
    finish<kR * kX>(d, c, f, sums, none);
#pragma GCC unroll 4
    for (int r = 0; r < kR; ++r) {
      bf16* const to = opaque(y + (out + ch + r * out_row));
#pragma GCC unroll 8
      for (int i = 0; i < kX; ++i) {
        const auto odd = rounded(du, hn::BitCast(du, sums[r * kX + i]));
        store_words(du, upper_lower(du, odd, hn::Load(du, even + (r * kX + i) * kLanes)), to + i * pixel);
      }
    }
  }
}

template <int kK, int kS, int kR, int kX, bool kEdge, bool kBf16>
static HWY_NOINLINE void tile(const DepthwiseCall& c, const Finish& f, std::int64_t in, std::int64_t out, std::int64_t first, std::int64_t last,
                              const Clip& clip) noexcept {
  if constexpr (kBf16)
    tile_bf16<kK, kS, kR, kX, kEdge>(c, f, in, out, first, last, clip);
  else
    tile_f32<kK, kS, kR, kX, kEdge>(c, f, in, out, first, last, clip);
}

template <int kK, int kS, int kR, int kX, bool kBf16>
static HWY_INLINE void tile_at(const DepthwiseCall& c, const Finish& f, std::int64_t y, std::int64_t x, std::int64_t first,
                               std::int64_t last) noexcept {
  const std::int64_t iy = y * kS - c.s.top;
  const std::int64_t ix = x * kS - c.s.left;
  constexpr std::int64_t kHigh = (kR - 1) * kS + kK;
  constexpr std::int64_t kWide = (kX - 1) * kS + kK;
  const std::int64_t in = (iy * c.s.w + ix) * c.s.c;  // of the window's corner, which may lie outside
  const std::int64_t out = (y * c.s.wo + x) * c.s.c;
  const auto limit = [](std::int64_t v, std::int64_t most) { return static_cast<int>(v < 0 ? 0 : v > most ? most : v); };
  const Clip clip{limit(-iy, kHigh), limit(c.s.h - iy, kHigh), limit(-ix, kWide), limit(c.s.w - ix, kWide)};
  if (clip.top == 0 && clip.bottom == kHigh && clip.left == 0 && clip.right == kWide)
    tile<kK, kS, kR, kX, false, kBf16>(c, f, in, out, first, last, clip);
  else
    tile<kK, kS, kR, kX, true, kBf16>(c, f, in, out, first, last, clip);
}

// A row of tiles, as equal in width as can be.
template <int kK, int kS, int kR, int kX, bool kBf16>
static HWY_INLINE void tile_row(const DepthwiseCall& c, const Finish& f, std::int64_t y, std::int64_t first, std::int64_t last) noexcept {
  const std::int64_t tiles = (c.s.wo + kX - 1) / kX;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t x = t * c.s.wo / tiles;
    const std::int64_t wide = (t + 1) * c.s.wo / tiles - x;
    if (wide == kX) tile_at<kK, kS, kR, kX, kBf16>(c, f, y, x, first, last);
    if (wide == kX - 1) tile_at<kK, kS, kR, kX - 1, kBf16>(c, f, y, x, first, last);
    if constexpr (kX > 2)
      if (wide < kX - 1)
        for (std::int64_t i = x; i < x + wide; ++i) tile_at<kK, kS, kR, 1, kBf16>(c, f, y, i, first, last);
  }
}

// kR > 1 needs square windows moved by 1.
template <int kK, int kS, int kR, int kX, bool kBf16>
static HWY_NOINLINE void tiles(const DepthwiseCall& c, std::int64_t first, std::int64_t last) noexcept {
  const Finish f(c);
  std::int64_t y = c.row_first;
  for (; y + kR <= c.row_last; y += kR) tile_row<kK, kS, kR, kX, kBf16>(c, f, y, first, last);
  if constexpr (kR > 1)
    for (; y < c.row_last; ++y) tile_row<kK, kS, 1, kX, kBf16>(c, f, y, first, last);
}

// Any window, any multiplier: channels [first, last) in vectors of T, of kX outputs side by side whose columns [kx_first, kx_last) of the
// window lie inside the picture.
template <int kX, class T, class X, class Y>
static HWY_INLINE void general_outputs(T d, const DepthwiseCall& c, const Finish& f, std::int64_t y, std::int64_t x, std::int64_t first,
                                       std::int64_t last) noexcept {
  using W = hn::Vec<T>;
  const DepthwiseShape& s = c.s;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t iy = y * s.sh - s.top;
  const std::int64_t ix = x * s.sw - s.left;
  const auto least = [](std::int64_t a, std::int64_t b) { return a < b ? a : b; };
  const auto most = [](std::int64_t a, std::int64_t b) { return a > b ? a : b; };
  const std::int64_t ky_first = most(0, ceil_div(-iy, s.dh));
  const std::int64_t ky_last = least(s.kh, ceil_div(s.h - iy, s.dh));
  const std::int64_t kx_first = most(0, ceil_div(-ix, s.dw));
  const std::int64_t kx_last = least(s.kw, ceil_div(s.w - ix, s.dw));
  const std::int64_t taps = s.kh * s.kw;
  const std::int64_t panel = (1 + taps) * kLanes;
  const std::int64_t step = s.sw * s.c;
  const auto* const from = static_cast<const X*>(c.x);
  auto* const to = static_cast<Y*>(c.y);
  for (std::int64_t ch = first; ch < last; ch += lanes) {
    for (std::int64_t j = 0; j < s.m; ++j) {
      const float* const packed = c.weights + (ch / kLanes * s.m + j) * panel + ch % kLanes;
      W sums[kX];
#pragma GCC unroll 8
      for (int i = 0; i < kX; ++i) sums[i] = hn::LoadU(d, packed);
      for (std::int64_t ky = ky_first; ky < ky_last && kx_first < kx_last; ++ky) {
        const float* w = packed + (1 + ky * s.kw + kx_first) * kLanes;
        const X* in = from + (((iy + ky * s.dh) * s.w + ix + kx_first * s.dw) * s.c + ch);
        for (std::int64_t kx = kx_first; kx < kx_last; ++kx, w += kLanes, in += s.dw * s.c) {
          const W tap = hn::LoadU(d, w);
#pragma GCC unroll 8
          for (int i = 0; i < kX; ++i) sums[i] = hn::MulAdd(load_row(d, in + i * step), tap, sums[i]);
        }
      }
      const std::int64_t out = (y * s.wo + x) * s.c * s.m;
      if (s.m == 1) {
        const auto place = [=](int i) { return out + i * s.c + ch; };
        finish<kX>(d, c, f, sums, place);
#pragma GCC unroll 8
        for (int i = 0; i < kX; ++i) store_row(d, sums[i], to + place(i));
        continue;
      }
      float values[kX * kLanes];
      for (int i = 0; i < kX; ++i) hn::StoreU(sums[i], d, values + i * lanes);
      activate_values(d, c.activation, values, kX);
      const hn::CappedTag<float, 1> one;
      for (int i = 0; i < kX; ++i)
        for (std::int64_t l = 0; l < lanes; ++l) {
          const std::int64_t place = out + i * s.c * s.m + (ch + l) * s.m + j;
          auto v = hn::LoadU(one, values + i * lanes + l);
          if (c.residual != nullptr)
            v = hn::Add(v, c.residual_bf16 ? load_row(one, static_cast<const bf16*>(c.residual) + place)
                                           : load_row(one, static_cast<const float*>(c.residual) + place));
          store_row(one, v, to + place);
        }
    }
  }
}

template <class T, class X, class Y>
static HWY_INLINE void general_rows(T d, const DepthwiseCall& c, std::int64_t first, std::int64_t last) noexcept {
  if (first >= last) return;
  const DepthwiseShape& s = c.s;
  const Finish f(c);
  constexpr std::int64_t kX = 8;
  // Outputs whose window does not leave the picture sideways.
  const std::int64_t inside_first = ceil_div(s.left, s.sw);
  const std::int64_t inside_last = floor_div(s.w - 1 + s.left - (s.kw - 1) * s.dw, s.sw) + 1;
  for (std::int64_t y = c.row_first; y < c.row_last; ++y)
    for (std::int64_t x = 0; x < s.wo;) {
      if (x >= inside_first && x + kX <= inside_last && x + kX <= s.wo) {
        general_outputs<kX, T, X, Y>(d, c, f, y, x, first, last);
        x += kX;
      } else {
        general_outputs<1, T, X, Y>(d, c, f, y, x, first, last);
        ++x;
      }
    }
}

template <class X, class Y>
static HWY_NOINLINE void general(const DepthwiseCall& c, std::int64_t first, std::int64_t last) noexcept {
  const std::int64_t whole = first + (last - first) / kLanes * kLanes;
  general_rows<D, X, Y>(D(), c, first, whole);
  std::int64_t at = whole;
  if constexpr (kLanes > 4) {
    at += (last - whole) / 4 * 4;
    general_rows<hn::CappedTag<float, 4>, X, Y>({}, c, whole, at);
  }
  general_rows<hn::CappedTag<float, 1>, X, Y>({}, c, at, last);
}

static void nhwc(const DepthwiseCall& c) noexcept {
  const DepthwiseShape& s = c.s;
  const bool square = s.m == 1 && s.kh == s.kw && s.sh == s.sw && s.dh == 1 && s.dw == 1;
  const bool pairs = c.x_bf16 && c.y_bf16 && c.residual == nullptr;
  const bool floats = !c.x_bf16 && !c.y_bf16;
  std::int64_t first = c.part_first;
  if (square && (pairs || floats)) {
    const std::int64_t unit = pairs ? 2 * kLanes : kLanes;
    const std::int64_t last = first + (c.part_last - first) / unit * unit;
    void (*const run)(const DepthwiseCall&, std::int64_t, std::int64_t) noexcept =
        s.kh == 3 && s.sh == 1   ? (pairs ? &tiles<3, 1, 2, 4, true> : &tiles<3, 1, 2, 4, false>)
        : s.kh == 3 && s.sh == 2 ? (pairs ? &tiles<3, 2, 1, 4, true> : &tiles<3, 2, 1, 4, false>)
        : s.kh == 5 && s.sh == 1 ? (pairs ? &tiles<5, 1, 1, 4, true> : &tiles<5, 1, 1, 4, false>)
        : s.kh == 5 && s.sh == 2 ? (pairs ? &tiles<5, 2, 1, 4, true> : &tiles<5, 2, 1, 4, false>)
                                 : nullptr;
    if (run != nullptr && last > first) {
      run(c, first, last);
      first = last;
    }
  }
  if (c.x_bf16)
    c.y_bf16 ? general<bf16, bf16>(c, first, c.part_last) : general<bf16, float>(c, first, c.part_last);
  else
    c.y_bf16 ? general<float, bf16>(c, first, c.part_last) : general<float, float>(c, first, c.part_last);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
