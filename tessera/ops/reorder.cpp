#include "tessera/ops/reorder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tessera/core/error.h"
#include "tessera/ops/typecast.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kRowsPerItem = 32;

void check_row_major(const char* op, const Tensor& x) {
  if (!x.defined() || x.layout() != Layout::row_major) fail_expected(op, "a tensor in row-major layout", x.str(), "ops::to_layout converts");
}

std::int64_t bytes_of(DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); }

template <class F>
void for_rows(Context& ctx, std::int64_t rows, F f) {
  ctx.pool().parallel_for((rows + kRowsPerItem - 1) / kRowsPerItem, [&](std::int64_t item, int) {
    const std::int64_t end = std::min(rows, (item + 1) * kRowsPerItem);
    for (std::int64_t r = item * kRowsPerItem; r < end; ++r) f(r);
  });
}

/// A tensor as planes of rows, whichever way it is laid out. A stretch is what lies together: a row, or 16 elements of a face.
struct Planes {
  Planes(const Tensor& t)
      : base(static_cast<const std::byte*>(t.raw())),
        element(bytes_of(t.dtype())),
        tile(t.layout() == Layout::tile),
        rows(t.shape().rank() < 2 ? 1 : t.shape()[-2]),
        cols(t.cols()),
        padded_cols(tile ? t.padded_shape().cols() : t.row_stride()),
        plane(tile ? t.padded_shape()[-2] * padded_cols : rows * t.row_stride()) {}

  std::byte* at(std::int64_t row, std::int64_t column) const {
    const std::int64_t r = row % rows;
    const std::int64_t inside = tile ? tile_offset(r, column, padded_cols) : r * padded_cols + column;
    return const_cast<std::byte*>(base) + (row / rows * plane + inside) * element;
  }

  const std::byte* base;
  std::int64_t element;
  bool tile;
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t padded_cols;
  std::int64_t plane;
};

void copy(Context& ctx, const char* op, const Tensor& x, Tensor& y) {
  runtime::Zone zone(ctx.profiler(), op, "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const Planes from(x);
  const Planes to(y);
  const std::int64_t step = from.tile || to.tile ? kFaceSize : std::max<std::int64_t>(1, x.cols());
  if (x.numel() == 0) return;
  for_rows(ctx, x.rows(), [&](std::int64_t r) {
    for (std::int64_t c = 0; c < from.cols; c += step)
      std::memcpy(to.at(r, c), from.at(r, c), static_cast<std::size_t>(std::min(step, from.cols - c) * from.element));
  });
}

void store_value(DType dtype, float value, std::byte* p) {
  const auto put = [&](auto v) { std::memcpy(p, &v, sizeof v); };
  switch (dtype) {
    case DType::f32: return put(value);
    case DType::bf16: return put(to_bf16(value));
    case DType::f16: return put(to_f16(value));
    case DType::i8: return put(static_cast<std::int8_t>(value));
    case DType::u8: return put(static_cast<std::uint8_t>(value));
    case DType::i32: return put(static_cast<std::int32_t>(value));
    case DType::u32: return put(static_cast<std::uint32_t>(value));
    case DType::u16: return put(static_cast<std::uint16_t>(value));
    case DType::bfloat8_b:
    case DType::bfloat4_b: return;  // tiles only: refused before
  }
}

std::size_t dimension(const char* op, const Shape& shape, std::int64_t dim) {
  const auto rank = static_cast<std::int64_t>(shape.rank());
  const std::int64_t d = dim < 0 ? dim + rank : dim;
  if (d < 0 || d >= rank) fail_expected(op, "a dimension of " + shape.str(), std::to_string(dim));
  return static_cast<std::size_t>(d);
}

/// The value as an element of dtype; integers take only whole numbers of their range (NaN is none of them).
std::array<std::byte, 4> element_of(DType dtype, float value) {
  const auto whole = [&](float lowest, float beyond) {
    if (value >= lowest && value < beyond && std::trunc(value) == value) return;
    fail_expected("pad", "a value that " + std::string(name(dtype)) + " can hold", std::to_string(value));
  };
  if (dtype == DType::i8) whole(-128, 128);
  if (dtype == DType::u8) whole(0, 256);
  if (dtype == DType::i32) whole(-0x1p31f, 0x1p31f);
  if (dtype == DType::u32) whole(0, 0x1p32f);
  if (dtype == DType::u16) whole(0, 65536);
  std::array<std::byte, 4> bytes{};
  store_value(dtype, value, bytes.data());
  return bytes;
}

/// y[i] = x[i * step] for n elements of a dtype's size; x and y are aligned to it.
void gather(std::int64_t element, const std::byte* x, std::int64_t step, std::byte* y, std::int64_t n) {
  const auto run = [&](auto* to, const auto* from) {
    for (std::int64_t i = 0; i < n; ++i) std::memcpy(to + i, from + i * step, sizeof *to);
  };
  if (element == 4) return run(reinterpret_cast<std::uint32_t*>(y), reinterpret_cast<const std::uint32_t*>(x));
  if (element == 2) return run(reinterpret_cast<std::uint16_t*>(y), reinterpret_cast<const std::uint16_t*>(x));
  run(reinterpret_cast<std::uint8_t*>(y), reinterpret_cast<const std::uint8_t*>(x));
}

/// Index of every dimension of flat row `row`, the last dimension left out.
std::array<std::int64_t, Shape::kMaxRank> index_of(std::int64_t row, const Shape& shape) {
  std::array<std::int64_t, Shape::kMaxRank> index{};
  for (std::size_t i = shape.rank() - 1; i-- > 0;) {
    index[i] = row % shape.sizes()[i];
    row /= shape.sizes()[i];
  }
  return index;
}

}  // namespace

void to_layout(Context& ctx, const Tensor& x, Tensor& y) {
  if (!x.defined() || !y.defined()) fail_expected("to_layout", "two tensors", x.str() + " and " + y.str());
  const bool blocks = is_block_float(x.dtype());
  // Every block float is a bfloat16: leaving the tiles changes no value.
  const bool unpacks = blocks && y.layout() == Layout::row_major && y.dtype() == DType::bf16;
  if (x.shape() != y.shape() || (x.dtype() != y.dtype() && !unpacks))
    fail_expected("to_layout", "y of x's shape and dtype, " + x.str(), y.str(), blocks ? "row-major: of bfloat16" : "");
  if (x.raw() == y.raw()) {
    if (x.layout() == y.layout() && x.row_stride() == y.row_stride()) return;
    fail_expected("to_layout", "y in memory of its own", "x's memory");
  }
  if (blocks) return typecast(ctx, x, y);
  copy(ctx, "to_layout", x, y);
}

Tensor to_layout(Context& ctx, const Tensor& x, Layout layout) {
  if (!x.defined()) fail_expected("to_layout", "a tensor", "none");
  // A shard spec counts stored rows and columns: it is kept where the stored plane stays the same.
  const Shape from = x.padded_shape();
  const Shape to = padded_shape(x.shape(), layout);
  MemoryConfig config{TensorMemoryLayout::interleaved, x.memory_config().buffer, {}};
  if (from.rows() == to.rows() && from.cols() == to.cols()) config = x.memory_config();
  const bool unpacks = is_block_float(x.dtype()) && layout == Layout::row_major;
  Tensor y = Tensor::zeros(x.shape(), unpacks ? DType::bf16 : x.dtype(), layout, config);
  to_layout(ctx, x, y);
  return y;
}

Tensor contiguous(Context& ctx, const Tensor& x) {
  check_row_major("contiguous", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  copy(ctx, "contiguous", x, y);
  return y;
}

Tensor concat(Context& ctx, std::span<const Tensor> parts, std::int64_t dim) {
  if (parts.empty()) fail_expected("concat", "at least one tensor", "none");
  for (const Tensor& part : parts) check_row_major("concat", part);
  const Shape& first = parts[0].shape();
  const std::size_t d = dimension("concat", first, dim);
  std::int64_t total = 0;
  double traffic = 0;
  for (const Tensor& part : parts) {
    if (part.shape().rank() != first.rank() || part.shape().with(static_cast<std::int64_t>(d), first.sizes()[d]) != first ||
        part.dtype() != parts[0].dtype())
      fail_expected("concat", "parts like " + parts[0].str() + " but for dimension " + std::to_string(d), part.str());
    total += part.shape().sizes()[d];
    traffic += 2.0 * static_cast<double>(part.bytes());
  }
  Tensor y = Tensor::empty(first.with(static_cast<std::int64_t>(d), total), parts[0].dtype());
  runtime::Zone zone(ctx.profiler(), "concat", "copy", 0, traffic);
  std::int64_t at = 0;
  for (const Tensor& part : parts) {
    const bool last = d + 1 == first.rank();
    const std::int64_t element = bytes_of(part.dtype());
    std::int64_t inner = 1;  // rows below one step of dimension d
    for (std::size_t i = d + 1; i + 1 < first.rank(); ++i) inner *= first.sizes()[i];
    if (part.numel() > 0) {
      for_rows(ctx, part.rows(), [&](std::int64_t r) {
        const auto* from = static_cast<const std::byte*>(part.raw()) + r * part.row_stride() * element;
        const std::int64_t size = part.shape().sizes()[d] * inner;
        const std::int64_t row = last ? r : r / size * total * inner + at * inner + r % size;
        std::memcpy(static_cast<std::byte*>(y.raw()) + (row * y.cols() + (last ? at : 0)) * element, from,
                    static_cast<std::size_t>(part.cols() * element));
      });
    }
    at += part.shape().sizes()[d];
  }
  return y;
}

Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end) {
  check_row_major("slice", x);
  const std::size_t rank = x.shape().rank();
  if (rank == 0 || start.size() != rank || end.size() != rank)
    fail_expected("slice", "a start and an end for each of " + std::to_string(rank) + " dimensions (1 or more)",
                  std::to_string(start.size()) + " and " + std::to_string(end.size()));
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < rank; ++i) {
    if (start[i] < 0 || end[i] < start[i] || end[i] > x.shape().sizes()[i])
      fail_expected("slice", "a range inside dimension " + std::to_string(i) + " of " + x.shape().str(),
                    std::to_string(start[i]) + " to " + std::to_string(end[i]));
    sizes.push_back(end[i] - start[i]);
  }
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(sizes)), x.dtype());
  runtime::Zone zone(ctx.profiler(), "slice", "copy", 0, 2.0 * static_cast<double>(y.bytes()));
  if (y.numel() == 0) return y;
  const std::int64_t element = bytes_of(x.dtype());
  for_rows(ctx, y.rows(), [&](std::int64_t r) {
    const auto index = index_of(r, y.shape());
    std::int64_t row = 0;
    for (std::size_t i = 0; i + 1 < rank; ++i) row = row * x.shape().sizes()[i] + index[i] + start[i];
    std::memcpy(static_cast<std::byte*>(y.raw()) + r * y.cols() * element,
                static_cast<const std::byte*>(x.raw()) + (row * x.row_stride() + start[rank - 1]) * element,
                static_cast<std::size_t>(y.cols() * element));
  });
  return y;
}

Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value) {
  check_row_major("pad", x);
  const std::size_t rank = x.shape().rank();
  if (rank == 0 || before.size() != rank || after.size() != rank)
    fail_expected("pad", "a size before and after each of " + std::to_string(rank) + " dimensions (1 or more)",
                  std::to_string(before.size()) + " and " + std::to_string(after.size()));
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < rank; ++i) {
    if (before[i] < 0 || after[i] < 0 || before[i] > (1 << 30) || after[i] > (1 << 30))
      fail_expected("pad", "padding from 0 to 2^30", std::to_string(before[i]) + " and " + std::to_string(after[i]));
    sizes.push_back(before[i] + x.shape().sizes()[i] + after[i]);
  }
  const std::array<std::byte, 4> fill = element_of(x.dtype(), value);
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(sizes)), x.dtype());
  runtime::Zone zone(ctx.profiler(), "pad", "copy", 0, static_cast<double>(x.bytes() + y.bytes()));
  const std::int64_t element = bytes_of(x.dtype());
  for_rows(ctx, y.cols() == 0 ? 0 : y.rows(), [&](std::int64_t r) {
    const auto index = index_of(r, y.shape());
    auto* to = static_cast<std::byte*>(y.raw()) + r * y.cols() * element;
    bool inside = true;
    std::int64_t row = 0;
    for (std::size_t i = 0; i + 1 < rank; ++i) {
      const std::int64_t at = index[i] - before[i];
      inside = inside && at >= 0 && at < x.shape().sizes()[i];
      row = row * x.shape().sizes()[i] + at;
    }
    const std::int64_t copied = inside ? x.cols() : 0;
    const std::int64_t lead = copied > 0 ? before[rank - 1] : y.cols();
    gather(element, fill.data(), 0, to, lead);
    if (copied == 0) return;
    gather(element, fill.data(), 0, to + (lead + copied) * element, y.cols() - lead - copied);
    std::memcpy(to + lead * element, static_cast<const std::byte*>(x.raw()) + row * x.row_stride() * element,
                static_cast<std::size_t>(copied * element));
  });
  return y;
}

Tensor permute(Context& ctx, const Tensor& x, std::span<const std::int64_t> dims) {
  check_row_major("permute", x);
  const std::size_t rank = x.shape().rank();
  std::vector<std::size_t> order;
  std::array<bool, Shape::kMaxRank> seen{};
  for (const std::int64_t dim : dims) {
    const std::size_t d = dimension("permute", x.shape(), dim);
    if (seen[d]) fail_expected("permute", "every dimension once", std::to_string(dim) + " twice");
    seen[d] = true;
    order.push_back(d);
  }
  if (order.size() != rank || rank == 0)
    fail_expected("permute", "all " + std::to_string(rank) + " dimensions (1 or more)", std::to_string(dims.size()));
  std::vector<std::int64_t> sizes;
  std::array<std::int64_t, Shape::kMaxRank> strides{};  // of x, in elements, by its own dimension
  std::int64_t stride = 1;
  for (std::size_t i = rank; i-- > 0;) {
    strides[i] = stride;
    stride = i + 1 == rank ? x.row_stride() : stride * x.shape().sizes()[i];
  }
  for (const std::size_t d : order) sizes.push_back(x.shape().sizes()[d]);
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(sizes)), x.dtype());
  runtime::Zone zone(ctx.profiler(), "permute", "copy", 0, 2.0 * static_cast<double>(x.bytes()));
  if (y.numel() == 0) return y;
  const std::int64_t element = bytes_of(x.dtype());
  for_rows(ctx, y.rows(), [&](std::int64_t r) {
    const auto index = index_of(r, y.shape());
    std::int64_t from = 0;
    for (std::size_t i = 0; i + 1 < rank; ++i) from += index[i] * strides[order[i]];
    const auto* p = static_cast<const std::byte*>(x.raw()) + from * element;
    auto* to = static_cast<std::byte*>(y.raw()) + r * y.cols() * element;
    gather(element, p, strides[order[rank - 1]], to, y.cols());
  });
  return y;
}

}  // namespace tessera::ops
