// Movement without arithmetic: the only place that converts layouts; also concat, slice, pad, permute, repeat and constants. Bit for bit.
// Test: tests/ops/reorder_test.cpp; page: docs/ops/reorder.md.
#pragma once

#include <cstdint>
#include <span>

#include "tessera/core/tensor.h"
#include "tessera/runtime/context.h"

namespace tessera::ops {

/// The same elements in `layout`, any dtype, any rank; padding of tiles is filled with zero. Block floats leave their tiles as bfloat16, which
/// holds each of them exactly. Source: ttnn.to_layout.
Tensor to_layout(Context& ctx, const Tensor& x, Layout layout);
/// Writes x's elements into y (same shape and dtype, either layout; block floats: tiles, or row-major bfloat16). Padding of y that is not an element
/// is left alone.
void to_layout(Context& ctx, const Tensor& x, Tensor& y);

/// Joins along `dim` (negative counts from the back); other sizes and dtypes equal; row-major. Source: torch.cat.
Tensor concat(Context& ctx, std::span<const Tensor> parts, std::int64_t dim);
/// Elements start, start + step, ... before end of every dimension; steps of 1 or more; row-major. Source: ttnn.slice.
Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
             std::span<const std::int64_t> step);
/// The same with steps of 1.
Tensor slice(Context& ctx, const Tensor& x, std::span<const std::int64_t> start, std::span<const std::int64_t> end);
/// Writes x over that part of y: x has the shape that slice() of y would have, and y's dtype; memory of its own. The rest of y is left alone.
void slice_write(Context& ctx, const Tensor& x, Tensor& y, std::span<const std::int64_t> start, std::span<const std::int64_t> end,
                 std::span<const std::int64_t> step);
/// Dimensions in the order `dims`; row-major in and out. Source: torch.permute (with a copy).
Tensor permute(Context& ctx, const Tensor& x, std::span<const std::int64_t> dims);
/// A contiguous copy of a row-major tensor (for views with a row stride).
Tensor contiguous(Context& ctx, const Tensor& x);

/// constant: the given value; replicate: the nearest element of x, along one dimension after the other.
enum class PadMode : std::uint8_t { constant, replicate };
/// before[i] and after[i] elements around dimension i; row-major. replicate does not look at the value and needs an element to repeat.
/// Source: ttnn.pad, torch.nn.functional.pad.
Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value, PadMode mode);
/// The same with a constant.
Tensor pad(Context& ctx, const Tensor& x, std::span<const std::int64_t> before, std::span<const std::int64_t> after, float value);
/// times[i] copies of x along dimension i, one after the other; more times than x has dimensions: x counts as having ones in front.
/// Source: torch.Tensor.repeat.
Tensor repeat(Context& ctx, const Tensor& x, std::span<const std::int64_t> times);
/// Every element along `dim` (negative counts from the back) `times` times in a row. Source: torch.repeat_interleave.
Tensor repeat_interleave(Context& ctx, const Tensor& x, std::int64_t times, std::int64_t dim);
/// x broadcast to `shape`, aligned at the back: dimensions of 1, and those that x lacks, are repeated. Source: torch.Tensor.expand (with a copy).
Tensor expand(Context& ctx, const Tensor& x, const Shape& shape);

/// `value` everywhere, rounded as static_cast<float> and then to the dtype; integers: a whole number that the dtype holds. Source: torch.full.
Tensor full(Context& ctx, const Shape& shape, double value, DType dtype);
/// start, start + step, ... before end, each formed in double, [ceil((end - start) / step)]; integers: whole numbers. Source: torch.arange.
Tensor arange(Context& ctx, double start, double end, double step, DType dtype);

}  // namespace tessera::ops
