#include "tessera/kernels/transpose/transpose.h"

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tessera/kernels/transpose/transpose.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Elements along the side of a block that registers hold: a vector of 16 bytes.
template <class T>
constexpr std::int64_t kSide = 16 / static_cast<std::int64_t>(sizeof(T));
// Elements of a cache line.
template <class T>
constexpr std::int64_t kLine = 64 / static_cast<std::int64_t>(sizeof(T));

template <class T>
static HWY_INLINE const T* row_of(const void* x, std::int64_t stride, std::int64_t r) noexcept {
  return reinterpret_cast<const T*>(static_cast<const std::uint8_t*>(x) + r * stride);
}
template <class T>
static HWY_INLINE T* row_of(void* y, std::int64_t stride, std::int64_t r) noexcept {
  return reinterpret_cast<T*>(static_cast<std::uint8_t*>(y) + r * stride);
}

template <class T>
static HWY_INLINE void one_by_one(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols, T* y, std::int64_t y_stride) noexcept {
  for (std::int64_t c = 0; c < cols; ++c)
    for (std::int64_t r = 0; r < rows; ++r) std::memcpy(row_of<T>(y, y_stride, c) + r, row_of<T>(x, x_stride, r) + c, sizeof(T));
}

// A block of kSide x kSide. Each round deals the first half of the vectors and the second alternately, as a perfect shuffle of cards does; as many
// rounds as the side has bits bring every element to its place.
template <class T>
static HWY_INLINE void block(const T* HWY_RESTRICT x, std::int64_t x_stride, T* HWY_RESTRICT y, std::int64_t y_stride) noexcept {
#if HWY_TARGET == HWY_SCALAR
  one_by_one(x, x_stride, kSide<T>, kSide<T>, y, y_stride);
#else
  constexpr int kRows = static_cast<int>(kSide<T>);
  const hn::FixedTag<T, kSide<T> > d;
  using V = hn::Vec<decltype(d)>;
  V v[kRows];
  V t[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) v[i] = hn::LoadU(d, row_of<T>(x, x_stride, i));
#pragma GCC unroll 4
  for (int side = kRows; side > 1; side /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
      t[2 * i] = hn::InterleaveLower(d, v[i], v[i + kRows / 2]);
      t[2 * i + 1] = hn::InterleaveUpper(d, v[i], v[i + kRows / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) v[i] = t[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) hn::StoreU(v[i], d, row_of<T>(y, y_stride, i));
#endif
}

// Tiles of a cache line each way. Whole ones go through a buffer, so that lines of y are written whole, one after the other: strides of a power of
// two would have them push each other out of the cache.
template <class T>
static void transpose(const void* x, std::int64_t x_stride, std::int64_t rows, std::int64_t cols, void* y, std::int64_t y_stride) noexcept {
  constexpr std::int64_t kTile = kLine<T>;
  constexpr std::int64_t kStep = kSide<T>;
  alignas(64) T tile[kTile * kTile];
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (std::int64_t c0 = 0; c0 < cols; c0 += kTile) {
      const std::int64_t height = HWY_MIN(kTile, rows - r0);
      const std::int64_t width = HWY_MIN(kTile, cols - c0);
      const T* from = row_of<T>(x, x_stride, r0) + c0;
      T* to = row_of<T>(y, y_stride, c0) + r0;
      if (height == kTile && width == kTile) {
        for (std::int64_t r = 0; r < kTile; r += kStep)
          for (std::int64_t c = 0; c < kTile; c += kStep) block(row_of<T>(from, x_stride, r) + c, x_stride, tile + c * kTile + r, 64);
        for (std::int64_t c = 0; c < kTile; ++c) std::memcpy(row_of<T>(to, y_stride, c), tile + c * kTile, 64);
        continue;
      }
      const std::int64_t high = height / kStep * kStep;
      const std::int64_t wide = width / kStep * kStep;
      for (std::int64_t r = 0; r < high; r += kStep)
        for (std::int64_t c = 0; c < wide; c += kStep) block(row_of<T>(from, x_stride, r) + c, x_stride, row_of<T>(to, y_stride, c) + r, y_stride);
      one_by_one(from + wide, x_stride, high, width - wide, row_of<T>(to, y_stride, wide), y_stride);
      one_by_one(row_of<T>(from, x_stride, high), x_stride, height - high, width, to + high, y_stride);
    }
}

static constexpr TransposeFunctions make_functions() { return {&transpose<std::uint8_t>, &transpose<std::uint16_t>, &transpose<std::uint32_t>}; }

}  // namespace HWY_NAMESPACE
}  // namespace tessera::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tessera/kernels/hwy_rows.h"
namespace tessera::kernels {
TESSERA_HWY_ROWS(TransposeFunctions, transpose_rows, "elements of 1, 2 and 4 bytes")
}
#endif
