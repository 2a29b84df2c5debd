// Depthwise convolution of nchw pictures, vectors along rows: a plane, or a band of one, is copied into f32 rows with zeros around it, so
// that no tap needs a check; columns are dealt to as many phases as the stride, so that every load is one stretch. Private to
// kernels/depthwise. Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_DEPTHWISE_NCHW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DEPTHWISE_NCHW_INL_H_
#undef TESSERA_KERNELS_DEPTHWISE_NCHW_INL_H_
#else
#define TESSERA_KERNELS_DEPTHWISE_NCHW_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/depthwise/block-inl.h"
#include "tessera/kernels/depthwise/finish-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of a band in scratch: [rows][phases][pitch], column q of the padded row at phase q % sw, place q / sw.
struct Band {
  std::int64_t pitch;  // of a phase
  std::int64_t row;    // of a row: sw * pitch
  std::int64_t rows;
};

static HWY_INLINE Band band_of(const DepthwiseShape& s, std::int64_t rows) noexcept {
  Band b;
  // A vector may start at any output, and reaches lanes - 1 beyond; the copy of a row may write as far.
  b.pitch = s.wo + (s.kw - 1) * s.dw / s.sw + 2 * kLanes;
  const std::int64_t widest = (s.left + s.w) / s.sw + 1 + kLanes;
  if (b.pitch < widest) b.pitch = widest;
  b.row = s.sw * b.pitch;
  b.rows = (rows - 1) * s.sh + (s.kh - 1) * s.dh + 1;
  return b;
}

static std::int64_t nchw_scratch(const DepthwiseShape& s, std::int64_t rows) noexcept {
  const Band b = band_of(s, rows);
  const std::int64_t floats = (b.rows + 1) * b.row + s.kh * s.kw * kLanes;
  const std::int64_t most = block_rows_of(s);
  const std::int64_t block = rows <= most ? block_floats(s, rows) : 0;
  return floats > block ? floats : block;
}

static std::int64_t nchw_band(const DepthwiseShape& s) noexcept {
  const std::int64_t block = block_rows_of(s);
  if (block > 0) return block;
  // Bands whose copy stays in the first-level cache.
  constexpr std::int64_t kMost = 6 * 1024;
  std::int64_t rows = s.ho;
  while (rows > 1 && nchw_scratch(s, rows) > kMost && rows * s.sh > s.dh * (s.kh - 1)) rows = (rows + 1) / 2;
  return rows;
}

// One row of w inputs into the band, whose zeros are in place. `room`: elements that may be read from `from`.
template <class X>
static HWY_INLINE void copy_row(const DepthwiseShape& s, const Band& b, const X* from, std::int64_t room, float* to) noexcept {
  const D d;
  if (s.sw == 1) {
    to += s.left;
    std::int64_t x = 0;
    for (; x + kLanes <= s.w; x += kLanes) hn::StoreU(load_row(d, from + x), d, to + x);
    if (x == s.w) return;
    if (x + kLanes <= room) {
      // Reads into what follows and writes zeros where it stood.
      hn::StoreU(hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(s.w - x)), load_row(d, from + x)), d, to + x);
      return;
    }
    const hn::CappedTag<float, 1> one;
    for (; x < s.w; ++x) hn::StoreU(load_row(one, from + x), one, to + x);
    return;
  }
  const hn::CappedTag<float, 1> one;
  for (std::int64_t x = 0, phase = s.left % s.sw, place = s.left / s.sw; x < s.w; ++x) {
    hn::StoreU(load_row(one, from + x), one, to + phase * b.pitch + place);
    if (++phase == s.sw) phase = 0, ++place;
  }
}

// Sums of kR output rows at one stretch of columns. kK = 0: any window.
template <int kK, int kS, int kR>
static HWY_INLINE void plane_sums(const DepthwiseShape& s, const Band& b, const float* in, const float* taps, V bias, V* sums) noexcept {
  const D d;
#pragma GCC unroll 8
  for (int r = 0; r < kR; ++r) sums[r] = bias;
  if constexpr (kK > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < (kR - 1) * kS + kK; ++i)
#pragma GCC unroll 8
      for (int kx = 0; kx < kK; ++kx) {
        const V v = hn::LoadU(d, in + i * b.row + kx % kS * b.pitch + kx / kS);
#pragma GCC unroll 8
        for (int r = 0; r < kR; ++r)
          if (i - r * kS >= 0 && i - r * kS < kK) sums[r] = hn::MulAdd(v, hn::LoadU(d, taps + ((i - r * kS) * kK + kx) * kLanes), sums[r]);
      }
  } else {
    for (std::int64_t ky = 0; ky < s.kh; ++ky)
      for (std::int64_t kx = 0; kx < s.kw; ++kx, taps += kLanes) {
        const std::int64_t column = kx * s.dw;
        const float* p = in + ky * s.dh * b.row + column % s.sw * b.pitch + column / s.sw;
        const V w = hn::LoadU(d, taps);
#pragma GCC unroll 8
        for (int r = 0; r < kR; ++r) sums[r] = hn::MulAdd(hn::LoadU(d, p + r * s.sh * b.row), w, sums[r]);
      }
  }
}

template <class Y>
static HWY_INLINE void store_part(const DepthwiseCall& c, V v, std::int64_t place, std::int64_t count) noexcept {
  const D d;
  float values[kLanes];
  hn::StoreU(v, d, values);
  const hn::CappedTag<float, 1> one;
  for (std::int64_t i = 0; i < count; ++i) {
    auto x = hn::LoadU(one, values + i);
    if (c.residual != nullptr)
      x = hn::Add(x, c.residual_bf16 ? load_row(one, static_cast<const bf16*>(c.residual) + place + i)
                                     : load_row(one, static_cast<const float*>(c.residual) + place + i));
    store_row(one, x, static_cast<Y*>(c.y) + place + i);
  }
}

// kR output rows of one plane, the first one at `place` in y; `in`: the band's row of its first tap. `room`: outputs from
// there to the end of what this call may write.
template <int kK, int kS, int kR, class Y>
static HWY_INLINE void plane_rows(const DepthwiseCall& c, const Finish& f, const Band& b, const float* in, const float* taps, float bias_value,
                                  std::int64_t place, std::int64_t room) noexcept {
  const D d;
  const DepthwiseShape& s = c.s;
  const V bias = hn::Set(d, bias_value);
  V sums[kR];
  std::int64_t x = 0;
  for (; x < s.wo; x += kLanes) {
    // The last vector of a wide row starts early enough to end with the row: some outputs are computed twice, with the same result.
    const bool part = x + kLanes > s.wo;
    if (part && s.wo >= kLanes && c.residual == nullptr) x = s.wo - kLanes;
    plane_sums<kK, kS, kR>(s, b, in + x, taps, bias, sums);
    if (part && (s.wo < kLanes || c.residual != nullptr)) {
      if (c.activation != DepthwiseActivation::none) {
        float values[kR * kLanes];
        for (int r = 0; r < kR; ++r) hn::StoreU(sums[r], d, values + r * kLanes);
        activate_values(d, c.activation, values, kR);
        for (int r = 0; r < kR; ++r) sums[r] = hn::LoadU(d, values + r * kLanes);
      }
      // A narrow row may write over the start of what follows, which comes later; not over residuals, and not at the end.
      for (int r = 0; r < kR; ++r)
        if (c.residual != nullptr || r * s.wo + kLanes > room)
          store_part<Y>(c, sums[r], place + r * s.wo + x, s.wo - x);
        else
          store_row(d, sums[r], static_cast<Y*>(c.y) + place + r * s.wo + x);
      return;
    }
    finish<kR>(d, c, f, sums, [=](int r) { return place + r * s.wo + x; });
#pragma GCC unroll 8
    for (int r = 0; r < kR; ++r) store_row(d, sums[r], static_cast<Y*>(c.y) + place + r * s.wo + x);
  }
}

template <int kK, int kS, class X, class Y>
static HWY_INLINE void planes(const DepthwiseCall& c) noexcept {
  constexpr int kR = 4;
  const D d;
  const DepthwiseShape& s = c.s;
  const Finish f(c);
  const Band b = band_of(s, c.row_last - c.row_first);
  float* const band = c.scratch;
  float* const taps = band + (b.rows + 1) * b.row;
  const std::int64_t count = s.kh * s.kw;
  const std::int64_t size = s.h * s.w;
  // The zeros around the picture; copies of rows leave them as they are.
  for (std::int64_t i = 0; i < (b.rows + 1) * b.row; ++i) band[i] = 0;
  const std::int64_t iy = c.row_first * s.sh - s.top;
  for (std::int64_t p = c.part_first; p < c.part_last; ++p) {
    const X* const x = static_cast<const X*>(c.x) + p * size;
    for (std::int64_t i = iy < 0 ? -iy : 0; i < b.rows && iy + i < s.h; ++i)
      copy_row(s, b, x + (iy + i) * s.w, (c.part_last - p) * size - (iy + i) * s.w, band + i * b.row);
    for (std::int64_t j = 0; j < s.m; ++j) {
      const float* const packed = c.weights + (p % s.c * s.m + j) * (1 + count);
      for (std::int64_t t = 0; t < count; ++t) hn::StoreU(hn::Set(d, packed[1 + t]), d, taps + t * kLanes);
      const std::int64_t out = (p * s.m + j) * s.ho * s.wo;
      const bool whole = c.row_first == 0 && c.row_last == s.ho;
      const std::int64_t end = !whole ? out + c.row_last * s.wo : c.part_last * s.m * s.ho * s.wo;
      const float* in = band;
      std::int64_t y = c.row_first;
      for (; y + kR <= c.row_last; y += kR, in += kR * s.sh * b.row)
        plane_rows<kK, kS, kR, Y>(c, f, b, in, taps, packed[0], out + y * s.wo, end - out - y * s.wo);
      for (; y < c.row_last; ++y, in += s.sh * b.row) plane_rows<kK, kS, 1, Y>(c, f, b, in, taps, packed[0], out + y * s.wo, end - out - y * s.wo);
    }
  }
}

template <class X, class Y>
static HWY_NOINLINE void rows_of_planes(const DepthwiseCall& c, std::int64_t first, std::int64_t last) noexcept {
  if (first >= last) return;
  DepthwiseCall part = c;
  part.part_first = first;
  part.part_last = last;
  const DepthwiseShape& s = c.s;
  const bool square = s.kh == s.kw && s.sh == s.sw && s.dh == 1 && s.dw == 1;
  if (square && s.kh == 3 && s.sh == 1) return planes<3, 1, X, Y>(part);
  if (square && s.kh == 3 && s.sh == 2) return planes<3, 2, X, Y>(part);
  if (square && s.kh == 5 && s.sh == 1) return planes<5, 1, X, Y>(part);
  planes<0, 1, X, Y>(part);
}

// Blocks where whole panels of channels are wanted, the others row by row.
template <class X, class Y>
static HWY_NOINLINE void planes_of(const DepthwiseCall& c) noexcept {
  const DepthwiseShape& s = c.s;
  if (c.residual != nullptr || c.row_last - c.row_first > block_rows_of(s)) return rows_of_planes<X, Y>(c, c.part_first, c.part_last);
#if HWY_TARGET != HWY_SCALAR
  for (std::int64_t p = c.part_first; p < c.part_last;) {
    const std::int64_t channel = p % s.c;
    const std::int64_t left = c.part_last - p < s.c - channel ? c.part_last - p : s.c - channel;  // of this picture
    const std::int64_t before = (kLanes - channel % kLanes) % kLanes;                             // to the next panel
    if (before >= left) {
      rows_of_planes<X, Y>(c, p, p + left);
    } else {
      const std::int64_t whole = (left - before) / kLanes * kLanes;
      rows_of_planes<X, Y>(c, p, p + before);
      if (whole > 0) blocks<X, Y>(c, p + before, whole);
      rows_of_planes<X, Y>(c, p + before + whole, p + left);
    }
    p += left;
  }
#endif
}

static void nchw(const DepthwiseCall& c) noexcept {
  if (c.x_bf16)
    c.y_bf16 ? planes_of<bf16, bf16>(c) : planes_of<bf16, float>(c);
  else
    c.y_bf16 ? planes_of<float, bf16>(c) : planes_of<float, float>(c);
}

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
