#include "tessera/ops/typecast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "tessera/core/error.h"
#include "tessera/kernels/block_float/block_float.h"
#include "tessera/kernels/elementwise/elementwise.h"
#include "tessera/ops/choose.h"

namespace tessera::ops {
namespace {

constexpr const char* kOp = "typecast";
constexpr std::int64_t kElementsPerItem = std::int64_t{1} << 15;
constexpr std::int64_t kTileElements = kTileSize * kTileSize;

// ---- one element ----

std::uint8_t low_byte(float v) {
  if (!(std::fabs(v) < 0x1p31f)) return 0;  // so are the low bits of every number that large
  return static_cast<std::uint8_t>(static_cast<std::int32_t>(v));
}

template <class To>
To from_float(float v) {
  if constexpr (std::is_same_v<To, float>) return v;
  if constexpr (std::is_same_v<To, bf16>) return to_bf16(v);
  if constexpr (std::is_same_v<To, f16>) return to_f16(v);
  if constexpr (std::is_same_v<To, std::uint8_t> || std::is_same_v<To, std::int8_t>) return static_cast<To>(low_byte(v));
  if constexpr (std::is_same_v<To, std::int32_t>)
    return v >= -0x1p31f && v < 0x1p31f ? static_cast<std::int32_t>(v) : std::numeric_limits<std::int32_t>::min();
  if constexpr (std::is_same_v<To, std::uint32_t>) {
    if (std::signbit(v)) return 0;
    return v < 0x1p32f ? static_cast<std::uint32_t>(v) : std::numeric_limits<std::uint32_t>::max();
  }
  if constexpr (std::is_same_v<To, std::uint16_t>) {
    if (!(v > 0)) return 0;  // NaN too
    return v < 65535 ? static_cast<std::uint16_t>(std::floor(static_cast<double>(v) + 0.5)) : std::numeric_limits<std::uint16_t>::max();
  }
}

float as_float(float v) { return v; }
float as_float(bf16 v) { return to_f32(v); }
float as_float(f16 v) { return to_f32(v); }
template <class T>
float as_float(T v) {
  return static_cast<float>(v);
}

template <class To, class From>
To convert(From v) {
  if constexpr (std::is_same_v<To, std::uint16_t> && std::is_integral_v<From>)
    return static_cast<To>(std::clamp<std::int64_t>(v, 0, std::numeric_limits<To>::max()));
  else if constexpr (std::is_integral_v<To> && std::is_integral_v<From>)
    return static_cast<To>(v);  // the low bits
  else
    return from_float<To>(as_float(v));
}

/// f(T{}) with the C++ type of a dtype that has one.
template <class F>
void with_type(DType dtype, F f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::bf16: return f(bf16{});
    case DType::f16: return f(f16{});
    case DType::i8: return f(std::int8_t{});
    case DType::u8: return f(std::uint8_t{});
    case DType::i32: return f(std::int32_t{});
    case DType::u32: return f(std::uint32_t{});
    case DType::u16: return f(std::uint16_t{});
    case DType::bfloat8_b:
    case DType::bfloat4_b: return;
  }
}

/// n neighbours.
void convert_all(DType from, const std::byte* x, DType to, std::byte* y, std::int64_t n) {
  with_type(from, [&]<class From>(From) {
    with_type(to, [&]<class To>(To) {
      const auto* const source = reinterpret_cast<const From*>(x);
      auto* const target = reinterpret_cast<To*>(y);
      for (std::int64_t i = 0; i < n; ++i) target[i] = convert<To>(source[i]);
    });
  });
}

// ---- rows ----

bool is_wide(DType d) { return d == DType::f32 || d == DType::bf16; }

/// Equal layouts, no block floats: rows of elements, of tiles with their padding.
void cast_rows(Context& ctx, const Tensor& x, Tensor& y) {
  const bool same = x.dtype() == y.dtype();
  const bool vectors = is_wide(x.dtype()) && is_wide(y.dtype());
  const auto& row = choose(ctx, "elementwise", kernels::elementwise_rows());
  runtime::Zone zone(ctx.profiler(), kOp, same ? "copy" : vectors ? row.info.name : "scalar", 0, static_cast<double>(x.bytes() + y.bytes()));
  const bool tiles = x.layout() == Layout::tile;
  const bool flat = tiles || (x.is_contiguous() && y.is_contiguous());
  const std::int64_t rows = flat ? 1 : x.rows();
  const std::int64_t cols = tiles ? x.padded_shape().numel() : flat ? x.numel() : x.cols();
  if (rows == 0 || cols == 0) return;
  const auto x_size = static_cast<std::int64_t>(size_of(x.dtype())), y_size = static_cast<std::int64_t>(size_of(y.dtype()));
  const auto* const px = static_cast<const std::byte*>(x.raw());
  auto* const py = static_cast<std::byte*>(y.raw());
  const auto stretch = [&](std::int64_t r, std::int64_t c, std::int64_t n) {
    const std::byte* const from = px + (r * x.row_stride() + c) * x_size;
    std::byte* const to = py + (r * y.row_stride() + c) * y_size;
    if (same)
      std::memmove(to, from, static_cast<std::size_t>(n * x_size));
    else if (vectors)
      row.functions.unary(kernels::Unary::copy, from, x.dtype() == DType::bf16, to, y.dtype() == DType::bf16, n);
    else
      convert_all(x.dtype(), from, y.dtype(), to, n);
  };
  // Whole rows while they are short, stretches of one row when it is long.
  const std::int64_t pieces = (cols + kElementsPerItem - 1) / kElementsPerItem;
  const std::int64_t together = pieces > 1 ? 1 : kElementsPerItem / cols;
  ctx.pool().parallel_for((rows + together - 1) / together * pieces, [&](std::int64_t item, int) {
    const std::int64_t first = item / pieces * together, start = item % pieces * kElementsPerItem;
    for (std::int64_t r = first; r < std::min(rows, first + together); ++r) stretch(r, start, std::min(kElementsPerItem, cols - start));
  });
}

// ---- tiles of block floats ----

/// One side of a conversion tile by tile. A block of a tile is 16 neighbours of a row, in either layout.
struct Side {
  explicit Side(const Tensor& t)
      : dtype(t.dtype()),
        tiled(t.layout() == Layout::tile),
        base(static_cast<const std::byte*>(t.raw())),
        element(static_cast<std::int64_t>(size_of(t.dtype()))),
        row_stride(t.row_stride()) {}

  std::byte* tile(std::int64_t index) const { return const_cast<std::byte*>(base) + index * static_cast<std::int64_t>(tile_size_of(dtype)); }
  std::byte* row_major(std::int64_t row, std::int64_t column) const { return const_cast<std::byte*>(base) + (row * row_stride + column) * element; }

  DType dtype;
  bool tiled;
  const std::byte* base;
  std::int64_t element;
  std::int64_t row_stride;
};

void cast_tiles(Context& ctx, const Tensor& x, Tensor& y) {
  if (overlap(x, y)) fail_expected(kOp, "y in memory of its own", "memory that overlaps x");
  const auto& row = choose(ctx, "block_float", kernels::block_float_rows());
  runtime::Zone zone(ctx.profiler(), kOp, row.info.name, 0, static_cast<double>(x.bytes() + y.bytes()));
  if (x.numel() == 0) return;
  const Shape stored = padded_shape(x.shape(), Layout::tile);
  const std::int64_t rows = x.shape().rank() < 2 ? 1 : x.shape()[-2];
  const std::int64_t cols = x.cols();
  const std::int64_t across = stored.cols() / kTileSize;
  const std::int64_t in_plane = stored[-2] / kTileSize * across;
  const Side from(x), to(y);
  ctx.pool().parallel_for(stored.numel() / kTileElements, [&](std::int64_t tile, int) {
    alignas(64) float values[kTileElements];
    const std::int64_t plane = tile / in_plane;
    const std::int64_t top = tile % in_plane / across * kTileSize;
    const std::int64_t left = tile % across * kTileSize;
    // f(first value of the block, row in its plane, column, elements that are not padding)
    const auto for_blocks = [&](auto f) {
      for (std::int64_t block = 0; block < kTileElements / kFaceSize; ++block) {
        const std::int64_t r = top + block / 32 * kFaceSize + block % kFaceSize;
        const std::int64_t c = left + block / kFaceSize % 2 * kFaceSize;
        f(block * kFaceSize, r, c, r < rows ? std::clamp<std::int64_t>(cols - c, 0, kFaceSize) : 0);
      }
    };
    if (is_block_float(from.dtype)) row.functions.unpack(from.dtype, from.tile(tile), values);
    for_blocks([&](std::int64_t at, std::int64_t r, std::int64_t c, std::int64_t n) {
      if (!is_block_float(from.dtype)) {
        const std::byte* const source = from.tiled ? from.tile(tile) + at * from.element : from.row_major(plane * rows + r, c);
        if (n > 0) convert_all(from.dtype, source, DType::f32, reinterpret_cast<std::byte*>(values + at), n);
      }
      std::fill(values + at + n, values + at + kFaceSize, 0.0f);
    });
    if (is_block_float(to.dtype)) return row.functions.pack(to.dtype, values, to.tile(tile));
    for_blocks([&](std::int64_t at, std::int64_t r, std::int64_t c, std::int64_t n) {
      std::byte* const target = to.tiled ? to.tile(tile) + at * to.element : to.row_major(plane * rows + r, c);
      if (n > 0) convert_all(DType::f32, reinterpret_cast<const std::byte*>(values + at), to.dtype, target, n);
    });
  });
}

}  // namespace

void typecast(Context& ctx, const Tensor& x, Tensor& y) {
  if (!x.defined() || !y.defined()) fail_expected(kOp, "two tensors", x.str() + " and " + y.str());
  if (x.shape() != y.shape()) fail_expected(kOp, "y of shape " + x.shape().str(), y.shape().str());
  const bool blocks = is_block_float(x.dtype()) || is_block_float(y.dtype());
  if (!blocks && x.layout() != y.layout()) fail_expected(kOp, "y in x's layout, " + x.str(), y.str(), "ops::to_layout converts");
  if (!blocks) return cast_rows(ctx, x, y);
  if (x.dtype() != y.dtype()) return cast_tiles(ctx, x, y);
  runtime::Zone zone(ctx.profiler(), kOp, "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  std::memmove(y.raw(), x.raw(), x.bytes());
}

Tensor typecast(Context& ctx, const Tensor& x, DType dtype) {
  if (!x.defined()) fail_expected(kOp, "a tensor", "none");
  const Layout layout = is_block_float(dtype) ? Layout::tile : x.layout();
  // A shard spec counts stored rows and columns: it is kept where those stay.
  const MemoryConfig config = layout == x.layout() ? x.memory_config() : MemoryConfig{TensorMemoryLayout::interleaved, x.memory_config().buffer, {}};
  Tensor y = layout == Layout::tile ? Tensor::zeros(x.shape(), dtype, layout, config) : Tensor::empty(x.shape(), dtype, layout, config);
  typecast(ctx, x, y);
  return y;
}

}  // namespace tessera::ops
