#include "tessera/ops/reorder.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "tessera/core/error.h"
#include "tessera/ops/reorder_impl.h"
#include "tessera/ops/typecast.h"

namespace tessera::ops {
namespace {

constexpr std::int64_t kRowsPerItem = 32;

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
  if (x.numel() == 0) return;
  if (x.layout() == Layout::row_major && y.layout() == Layout::row_major) {
    StridedCopy rows = copy_between(x, 0, y, 0);
    rows.add(x.rows(), x.row_stride(), y.row_stride());
    rows.add(x.cols(), 1, 1);
    return strided_copy(ctx, rows);
  }
  const Planes from(x);
  const Planes to(y);
  constexpr std::int64_t step = kFaceSize;
  for_rows(ctx, x.rows(), [&](std::int64_t r) {
    for (std::int64_t c = 0; c < from.cols; c += step)
      std::memcpy(to.at(r, c), from.at(r, c), static_cast<std::size_t>(std::min(step, from.cols - c) * from.element));
  });
}

/// The part of `whole` that start, end and step name.
struct Part {
  Shape shape;
  std::int64_t first = 0;  // element of the tensor where it begins
  std::array<std::int64_t, Shape::kMaxRank> steps{};
};
Part part_of(const char* op, const Tensor& whole, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
             std::span<const std::int64_t> step) {
  const std::size_t rank = whole.shape().rank();
  if (rank == 0 || start.size() != rank || end.size() != rank || step.size() != rank)
    fail_expected(op, "a start, an end and a step for each of " + std::to_string(rank) + " dimensions (1 or more)",
                  std::to_string(start.size()) + ", " + std::to_string(end.size()) + " and " + std::to_string(step.size()));
  Part part;
  part.steps = steps_of(whole);
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  for (std::size_t i = 0; i < rank; ++i) {
    if (start[i] < 0 || end[i] < start[i] || end[i] > whole.shape().sizes()[i])
      fail_expected(op, "a range inside dimension " + std::to_string(i) + " of " + whole.shape().str(),
                    std::to_string(start[i]) + " to " + std::to_string(end[i]));
    if (step[i] < 1) fail_expected(op, "steps of 1 or more", std::to_string(step[i]));
    const std::int64_t length = end[i] - start[i];
    sizes[i] = length / step[i] + (length % step[i] != 0 ? 1 : 0);
    part.first += start[i] * part.steps[i];
    if (sizes[i] > 1) part.steps[i] *= step[i];  // a step past the end is never taken, and may be beyond all numbers
  }
  part.shape = Shape(std::span<const std::int64_t>(sizes.data(), rank));
  return part;
}

constexpr std::array<std::int64_t, Shape::kMaxRank> kOnes = {1, 1, 1, 1, 1, 1, 1, 1};
std::span<const std::int64_t> ones(std::size_t count) { return {kOnes.data(), std::min(count, kOnes.size())}; }

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
  const auto to = steps_of(y);
  std::int64_t at = 0;
  for (const Tensor& part : parts) {
    const auto from = steps_of(part);
    StridedCopy copy = copy_between(part, 0, y, at * to[d]);
    for (std::size_t i = 0; i < first.rank(); ++i) copy.add(part.shape().sizes()[i], from[i], to[i]);
    strided_copy(ctx, copy);
    at += part.shape().sizes()[d];
  }
  return y;
}

Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
             std::span<const std::int64_t> step) {
  check_row_major("slice", x);
  const Part part = part_of("slice", x, start, end, step);
  Tensor y = Tensor::empty(part.shape, x.dtype());
  runtime::Zone zone(ctx.profiler(), "slice", "copy", 0, 2.0 * static_cast<double>(y.bytes()));
  const auto to = steps_of(y);
  StridedCopy copy = copy_between(x, part.first, y, 0);
  for (std::size_t i = 0; i < part.shape.rank(); ++i) copy.add(part.shape.sizes()[i], part.steps[i], to[i]);
  strided_copy(ctx, copy);
  return y;
}

Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end) {
  return slice(ctx, x, start, end, ones(x.shape().rank()));
}

void slice_write(Context& ctx, const Tensor& x, Tensor& y, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
                 std::span<const std::int64_t> step) {
  check_row_major("slice_write", x);
  check_row_major("slice_write", y);
  const Part part = part_of("slice_write", y, start, end, step);
  if (x.shape() != part.shape || x.dtype() != y.dtype())
    fail_expected("slice_write", std::string("x as ").append(name(y.dtype())).append(part.shape.str()), x.str());
  if (overlap(x, y)) fail_expected("slice_write", "y in memory of its own", "x's memory");
  runtime::Zone zone(ctx.profiler(), "slice_write", "copy", 0, 2.0 * static_cast<double>(x.bytes()));
  const auto from = steps_of(x);
  StridedCopy copy = copy_between(x, 0, y, part.first);
  for (std::size_t i = 0; i < part.shape.rank(); ++i) copy.add(part.shape.sizes()[i], from[i], part.steps[i]);
  strided_copy(ctx, copy);
}

Tensor permute(Context& ctx, const Tensor& x, std::span<const std::int64_t> dims) {
  check_row_major("permute", x);
  const std::size_t rank = x.shape().rank();
  if (dims.size() != rank || rank == 0)
    fail_expected("permute", "all " + std::to_string(rank) + " dimensions (1 or more)", std::to_string(dims.size()));
  std::array<std::size_t, Shape::kMaxRank> order{};
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  std::array<bool, Shape::kMaxRank> seen{};
  for (std::size_t i = 0; i < rank; ++i) {
    const std::size_t d = dimension("permute", x.shape(), dims[i]);
    if (seen[d]) fail_expected("permute", "every dimension once", std::to_string(dims[i]) + " twice");
    seen[d] = true;
    order[i] = d;
    sizes[i] = x.shape().sizes()[d];
  }
  Tensor y = Tensor::empty(Shape(std::span<const std::int64_t>(sizes.data(), rank)), x.dtype());
  runtime::Zone zone(ctx.profiler(), "permute", "copy", 0, 2.0 * static_cast<double>(x.bytes()));
  const auto from = steps_of(x);
  const auto to = steps_of(y);
  StridedCopy copy = copy_between(x, 0, y, 0);
  for (std::size_t i = 0; i < rank; ++i) copy.add(sizes[i], from[order[i]], to[i]);
  strided_copy(ctx, copy);
  return y;
}

}  // namespace tessera::ops
