// Depthwise convolution of small nchw planes, as many at once as a vector has lanes: they are transposed into a block that lies like nhwc,
// in the first-level cache and with zeros around it, and the results are transposed back. Private to kernels/depthwise.
// Include after hwy/highway.h; the toggle guard lets every target have its own copy.
#if defined(TESSERA_KERNELS_DEPTHWISE_BLOCK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TESSERA_KERNELS_DEPTHWISE_BLOCK_INL_H_
#undef TESSERA_KERNELS_DEPTHWISE_BLOCK_INL_H_
#else
#define TESSERA_KERNELS_DEPTHWISE_BLOCK_INL_H_
#endif

#include "hwy/highway.h"
#include "tessera/kernels/depthwise/finish-inl.h"
#include "tessera/kernels/depthwise/nhwc-inl.h"
#include "tessera/kernels/planes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A block in scratch, of a band of output rows: [down][across][lanes] inputs with their zeros, [rows * wo][lanes] outputs, and the place of
// every input.
struct Block {
  std::int64_t down, across;
  std::int64_t inputs, outputs;  // floats
};

static HWY_INLINE Block block_of(const DepthwiseShape& s, std::int64_t rows) noexcept {
  Block b;
  b.down = (rows - 1) * s.sh + s.kh;
  b.across = HWY_MAX((s.wo - 1) * s.sw + s.kw, s.left + s.w);
  b.inputs = b.down * b.across * kLanes;
  b.outputs = rows * s.wo * kLanes;
  return b;
}

static HWY_INLINE std::int64_t block_floats(const DepthwiseShape& s, std::int64_t rows) noexcept {
  const Block b = block_of(s, rows);
  return b.inputs + b.outputs + b.down * s.w;
}

// Rows of outputs of a block: all of a small plane in the first-level cache, else bands of equal height that share the second-level cache
// with the lines on their way. 0: blocks, which are for windows with tiles of their own, do not serve this shape.
static HWY_INLINE std::int64_t block_rows_of(const DepthwiseShape& s) noexcept {
  // Large planes at 3x3 and stride 1 are served better along their rows: 40x40x640 in 480 us against 626, on a Zen 3.
  const bool rows_win = s.kh == 3 && s.sh == 1;
  const std::int64_t most = rows_win ? 6 * 1024 : 16 * 1024;
  if (kLanes < 4 || s.m != 1 || s.kh != s.kw || (s.kh != 3 && s.kh != 5) || s.sh != s.sw || s.sh > 2 || s.dh != 1 || s.dw != 1) return 0;
  if (s.wo < 3 || s.w < 4 || s.h > most || s.w > most || s.ho > most || s.wo > most) return 0;
  std::int64_t bands = 1;
  while (block_floats(s, (s.ho + bands - 1) / bands) > most) {
    if (rows_win || bands == s.ho) return 0;
    ++bands;
  }
  const std::int64_t rows = (s.ho + bands - 1) / bands;
  return rows >= s.ho || rows * s.sh >= 2 * s.kh ? rows : 0;
}

#if HWY_TARGET != HWY_SCALAR  // which has nothing to transpose

template <int kK, int kS, int kR, int kX>
static HWY_INLINE void block_tile(const DepthwiseCall& c, const Finish& f, const Block& b, const float* from, const float* packed,
                                  float* to) noexcept {
  constexpr int kRows = (kR - 1) * kS + kK;
  const D d;
  const float* rows[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) rows[i] = from + i * b.across * kLanes;
  V sums[kR * kX];
  window<kK, kS, kR, kX, false>(d, LoadF32(), rows, kLanes, packed, Clip{}, sums);
  finish<kR * kX>(d, c, f, sums, [](int) { return std::int64_t{0}; });  // no residual comes here
#pragma GCC unroll 16
  for (int i = 0; i < kR * kX; ++i) hn::StoreU(sums[i], d, to + (i / kX * c.s.wo + i % kX) * kLanes);
}

template <int kK, int kS, int kR>
static HWY_INLINE void block_rows(const DepthwiseCall& c, const Finish& f, const Block& b, const float* from, const float* packed,
                                  float* to) noexcept {
  // The last tile ends with the row: some outputs are computed twice, with the same result.
  std::int64_t x = 0;
  for (; x + 4 <= c.s.wo; x += 4) block_tile<kK, kS, kR, 4>(c, f, b, from + x * kS * kLanes, packed, to + x * kLanes);
  if (x == c.s.wo) return;
  x = c.s.wo - 3;
  block_tile<kK, kS, kR, 3>(c, f, b, from + x * kS * kLanes, packed, to + x * kLanes);
}

// Planes [first, first + lanes), whose channels are one panel. Input rows [top, bottom) of the planes stand at `places`.
template <int kK, int kS, class X, class Y>
static HWY_INLINE void block(const DepthwiseCall& c, const Finish& f, const Block& b, std::int64_t top, std::int64_t bottom, std::int64_t first,
                             const float* packed) noexcept {
  constexpr int kR = kK == 3 && kS == 1 ? 2 : 1;
  const D d;
  const DepthwiseShape& s = c.s;
  float* const inputs = c.scratch;
  float* const outputs = inputs + b.inputs;
  const auto* const places = reinterpret_cast<const std::int32_t*>(outputs + b.outputs);
  const std::int64_t size = s.h * s.w;
  const std::int64_t count = (bottom - top) * s.w;
  const X* const x = static_cast<const X*>(c.x) + first * size + top * s.w;
  for (std::int64_t i = 0; count > 0; i += 4) {
    if (i + 4 > count) i = count - 4;
    V v[4];
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) v[q] = load_quarters(d, x + (q * size + i), size);
    transpose(d, v);
#pragma GCC unroll 4
    for (int q = 0; q < 4; ++q) hn::StoreU(v[q], d, inputs + places[i + q]);
    if (i + 4 == count) break;
  }

  const std::int64_t rows = c.row_last - c.row_first;
  std::int64_t y = 0;
  const std::int64_t in_row = kS * b.across * kLanes;
  for (; y + kR <= rows; y += kR) block_rows<kK, kS, kR>(c, f, b, inputs + y * in_row, packed, outputs + y * s.wo * kLanes);
  if constexpr (kR > 1)
    for (; y < rows; ++y) block_rows<kK, kS, 1>(c, f, b, inputs + y * in_row, packed, outputs + y * s.wo * kLanes);
  const std::int64_t out_size = s.ho * s.wo;
  planes_out(outputs, kLanes, rows * s.wo, static_cast<Y*>(c.y) + first * out_size + c.row_first * s.wo, out_size, kLanes);
}

template <int kK, int kS, class X, class Y>
static HWY_INLINE void blocks_of_window(const DepthwiseCall& c, std::int64_t first, std::int64_t count) noexcept {
  const DepthwiseShape& s = c.s;
  const Finish f(c);
  const Block b = block_of(s, c.row_last - c.row_first);
  for (std::int64_t i = 0; i < b.inputs; ++i) c.scratch[i] = 0;
  auto* const places = reinterpret_cast<std::int32_t*>(c.scratch + b.inputs + b.outputs);
  const std::int64_t iy = c.row_first * s.sh - s.top;
  const std::int64_t top = HWY_MAX(iy, std::int64_t{0});
  const std::int64_t bottom = HWY_MAX(HWY_MIN(iy + b.down, s.h), top);
  for (std::int64_t y = top; y < bottom; ++y)
    for (std::int64_t x = 0; x < s.w; ++x) places[(y - top) * s.w + x] = static_cast<std::int32_t>(((y - iy) * b.across + x + s.left) * kLanes);
  const std::int64_t panel = (1 + s.kh * s.kw) * kLanes;
  const float* const panels = c.weights + s.c * (1 + s.kh * s.kw);
  for (std::int64_t p = first; p < first + count; p += kLanes) block<kK, kS, X, Y>(c, f, b, top, bottom, p, panels + p % s.c / kLanes * panel);
}

// `count` planes from `first`, both in whole panels of channels.
template <class X, class Y>
static HWY_NOINLINE void blocks(const DepthwiseCall& c, std::int64_t first, std::int64_t count) noexcept {
  if (c.s.kh == 3)
    c.s.sh == 1 ? blocks_of_window<3, 1, X, Y>(c, first, count) : blocks_of_window<3, 2, X, Y>(c, first, count);
  else
    c.s.sh == 1 ? blocks_of_window<5, 1, X, Y>(c, first, count) : blocks_of_window<5, 2, X, Y>(c, first, count);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#endif
